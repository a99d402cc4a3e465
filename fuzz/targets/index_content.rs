//! Index objects that a key holder sealed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::format::IndexContent;
use packstone::id::IndexId;
use packstone_fuzz::{Object, keys};

fuzz_target!(|data: &[u8]| {
    let object = Object::Index.seal(data);
    let _ = IndexContent::open(keys(), IndexId::new(blake3::hash(&object).into()), &object);
    let _ = IndexContent::open(keys(), IndexId::new(blake3::hash(data).into()), data);
});
