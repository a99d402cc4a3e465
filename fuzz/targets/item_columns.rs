//! Columns of items.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record::{Items, RecordKind};

fuzz_target!(|data: &[u8]| {
    if let Ok(rows) = Items.decode(data) {
        assert_eq!(Items.encode(&rows), data);
    }
});
