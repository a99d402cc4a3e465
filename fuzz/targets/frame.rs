//! Frames whose seal is right around any compressed body: a byte for the codec, three for the raw length, the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::format::{BlobEntry, BlobKind, Codec, open_frame, seal_frame};
use packstone::id::BlobId;
use packstone_fuzz::keys;

fuzz_target!(|data: &[u8]| {
    let Some((&[codec, a, b, c], body)) = data.split_first_chunk() else { return };
    let codec = [Codec::Raw, Codec::Zstd, Codec::ZstdDelta][usize::from(codec % 3)];
    let raw_len = u32::from_le_bytes([a, b, c & 0x1f, 0]);
    let blob = BlobEntry { id: BlobId::new([1; 32]), kind: BlobKind::Chunk, stored_len: raw_len, content_len: raw_len };
    let base = (codec == Codec::ZstdDelta).then_some(BlobId::new([2; 32]));
    let sealed =
        seal_frame(keys(), &[0; 32], BlobKind::Chunk, codec, body, raw_len as usize, vec![blob], base);
    let Ok(frame) = sealed else { return };
    // The base of the frame in the vectors.
    let prefix = b"the quick brown fox ".repeat(20);
    if let Ok(raw) = open_frame(keys(), &frame.entry, &frame.bytes, base.is_some().then_some(&prefix)) {
        assert_eq!(raw.len(), raw_len as usize);
    }
});
