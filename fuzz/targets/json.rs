//! Lines of JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record::datom::json::{parse_datom_line, parse_line, print_datom};
use packstone_fuzz::check_stored;

fuzz_target!(|data: &[u8]| {
    let _ = parse_line(data);
    if let Ok(datom) = parse_datom_line(data) {
        check_stored(&datom);
        let mut text = Vec::new();
        print_datom(&datom, &mut text);
        assert_eq!(parse_datom_line(&text).as_ref(), Ok(&datom), "{}", String::from_utf8_lossy(&text));
    }
});
