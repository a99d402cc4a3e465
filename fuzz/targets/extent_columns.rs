//! Columns of extents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record::{Extents, RecordKind};

fuzz_target!(|data: &[u8]| {
    if let Ok(rows) = Extents.decode(data) {
        assert_eq!(Extents.encode(&rows), data);
    }
});
