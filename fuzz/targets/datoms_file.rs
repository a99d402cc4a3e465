//! Files of datoms in whatever format they turn out to be, compressed or not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone_fuzz::{folder, read_datoms};

fuzz_target!(|data: &[u8]| {
    let path = folder().join("datoms");
    std::fs::write(&path, data).expect("the folder takes files");
    read_datoms(&path, false);
});
