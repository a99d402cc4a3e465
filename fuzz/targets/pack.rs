//! Whole packs, their name and hash put right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::format::{PackTrailer, verify_pack};
use packstone::id::PackId;
use packstone_fuzz::keys;

fuzz_target!(|data: &[u8]| {
    let name = |pack: &[u8]| PackId::new(blake3::hash(pack).into());
    let _ = verify_pack(keys(), name(data), data);
    let mut pack = [b"PSPACK\x01\x00", data].concat();
    pack.extend_from_slice(blake3::hash(&pack).as_bytes());
    let _ = verify_pack(keys(), name(&pack), &pack);
    let size = data.first_chunk().map_or(0, |size| u64::from_le_bytes(*size));
    for size in [size, data.len() as u64] {
        if let Ok(trailer) = PackTrailer::decode(data, size) {
            let range = trailer.directory_range();
            assert!(range.start <= range.end && range.end <= size);
        }
    }
});
