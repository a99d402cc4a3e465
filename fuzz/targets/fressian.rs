//! Fressian documents and chunks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::error::DecodeError;
use packstone::record::datom::fressian::Reader;
use packstone::record::datom::{decode_value, encode_value};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    while !reader.at_end() {
        let before = reader.position();
        let Ok(value) = reader.value() else { break };
        assert!(reader.position() > before && reader.position() <= data.len());
        let mut bytes = Vec::new();
        if encode_value(&value, &mut bytes).is_ok() {
            assert_eq!(decode_value(&bytes), Ok(value));
        }
    }
    let _ = Reader::new(data).map_with_list::<DecodeError>("datoms", &mut |_| Ok(()));
});
