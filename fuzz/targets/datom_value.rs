//! Canonical values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record::datom::*;

fuzz_target!(|data: &[u8]| {
    let _ = is_wtf8(data);
    let Ok(value) = decode_value(data) else { return };
    let mut again = Vec::new();
    encode_value(&value, &mut again).expect("what was decoded can be encoded");
    assert_eq!(again, data);
    assert_eq!(value, value.clone().into_owned());
    let _ = long_value(&value, INLINE_VALUE_MAX);
    let mut text = Vec::new();
    edn::print_value(&value, &mut text);
    let (mut cbor, mut archival) = (Vec::new(), Vec::new());
    let _ = cbor::encode_value(cbor::Dialect::CljCbor, &value, &mut cbor);
    let _ = cbor::encode_value(cbor::Dialect::Archival, &value, &mut archival);
});
