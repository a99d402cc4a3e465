//! Lines of EDN, and single values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record::datom::edn::{parse_datom_line, parse_line, parse_value, print_datom, print_value};
use packstone_fuzz::check_stored;

fuzz_target!(|data: &[u8]| {
    let _ = parse_line(data);
    if let Ok(datom) = parse_datom_line(data) {
        check_stored(&datom);
        let mut text = Vec::new();
        print_datom(&datom, &mut text);
        assert_eq!(parse_datom_line(&text).as_ref(), Ok(&datom), "{}", String::from_utf8_lossy(&text));
    }
    if let Ok(value) = parse_value(data) {
        let mut text = Vec::new();
        print_value(&value, &mut text);
        assert_eq!(parse_value(&text).as_ref(), Ok(&value), "{}", String::from_utf8_lossy(&text));
    }
});
