//! Entries that no writer makes, and what they are asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::format::{FrameEntry, PackDirectory, RetentionClass, open_frame};
use packstone_fuzz::keys;

fuzz_target!(|data: &[u8]| {
    let Ok((entry, rest)) = postcard::take_from_bytes::<FrameEntry>(data) else { return };
    let _ = (entry.range(), entry.kind());
    for i in 0..=entry.blobs.len() {
        let range = entry.blob_range(i);
        if entry.validate().is_ok() {
            assert_eq!(range.is_some(), i < entry.blobs.len());
        }
    }
    let _ = open_frame(keys(), &entry, rest, None);
    let _ = open_frame(keys(), &entry, rest, Some(rest));
    let offset = entry.offset;
    let _ = PackDirectory { class: RetentionClass::Short, frames: vec![entry.clone(), entry] }.validate(offset);
});
