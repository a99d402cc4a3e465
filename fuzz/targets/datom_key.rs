//! Keys of datoms, in both orders.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record::datom::*;
use packstone::record::{RecordKind, Rows};

fuzz_target!(|data: &[u8]| {
    let _ = (value_range(data), attribute_len(data), view_fact(data));
    if let Ok(parts) = split_key(data) {
        assert_eq!(attribute_len(&data[16..]), Ok(parts.a.len()));
        assert_eq!(value_range(data).map(|range| &data[range]), Ok(parts.v));
        let _ = Datoms.references(data, &[], &mut Vec::new());
        let mut rows = Rows::new();
        rows.push(data, &[]);
        Datoms.summarize(&rows);
    }
    if let Ok(datom) = decode_key(data) {
        let mut again = Vec::new();
        encode_key(&datom, &mut again).expect("what was decoded can be encoded");
        assert_eq!(again, data);
    }
    let (mut view, mut again) = (Vec::new(), Vec::new());
    if to_view_key(data, &mut view).is_ok() {
        from_view_key(&view, &mut again).expect("a view key gives its key");
        assert_eq!(again, data);
    }
});
