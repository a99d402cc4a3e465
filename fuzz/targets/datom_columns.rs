//! Columns of datoms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record::RecordKind;
use packstone::record::datom::{Datoms, decode_key, encode_key};

fuzz_target!(|data: &[u8]| {
    let Ok(rows) = Datoms.decode(data) else { return };
    let mut again = Vec::new();
    for (key, value) in rows.iter() {
        assert!(value.is_empty());
        let datom = decode_key(key).expect("columns give keys of datoms only");
        if encode_key(&datom, &mut again).is_ok() {
            assert_eq!(again, key);
        }
        again.clear();
    }
    Datoms.summarize(&rows);
    assert_eq!(Datoms.decode(&Datoms.encode(&rows)), Ok(rows));
});
