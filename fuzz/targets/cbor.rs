//! CBOR in both dialects: datoms and chunks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::error::DecodeError;
use packstone::record::datom::cbor::{Dialect, decode_chunk, decode_datom, digest_bytes, encode_datom, skip};
use packstone_fuzz::check_stored;

fuzz_target!(|data: &[u8]| {
    let len = skip(data);
    for dialect in [Dialect::CljCbor, Dialect::Archival] {
        if let Ok((datom, taken)) = decode_datom(dialect, data) {
            assert_eq!(len, Ok(taken));
            check_stored(&datom);
            digest_bytes(&datom, &mut Vec::new());
            let mut again = Vec::new();
            if encode_datom(dialect, &datom, &mut again).is_ok() {
                decode_datom(dialect, &again).expect("what was written can be read");
            }
        }
        let _ = decode_chunk(dialect, data, &mut |datom| {
            check_stored(&datom);
            Ok::<(), DecodeError>(())
        });
    }
});
