//! Pack directories that a key holder sealed: four bytes of length of the frames, then the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::format::{PackTrailer, open_directory};
use packstone_fuzz::{keys, seal_directory};

fuzz_target!(|data: &[u8]| {
    let Some((frames_len, body)) = data.split_first_chunk() else { return };
    let frames_end = 8 + u64::from(u32::from_le_bytes(*frames_len));
    let (sealed, trailer) = seal_directory(frames_end, body);
    let size = frames_end + (sealed.len() + trailer.len()) as u64;
    let trailer = PackTrailer::decode(&trailer, size).expect("the trailer is right");
    if let Ok(directory) = open_directory(keys(), &trailer, &sealed) {
        assert_eq!(directory.validate(8), Ok(frames_end));
        for frame in &directory.frames {
            assert!(frame.range().end <= frames_end);
            for (i, blob) in frame.blobs.iter().enumerate() {
                assert!(frame.find(blob.id).is_some_and(|first| first <= i));
                assert!(frame.blob_range(i).is_some_and(|range| range.end <= frame.raw_len as usize));
            }
        }
    }
});
