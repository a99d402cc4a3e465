//! Made-up packs.

use packstone::format::{BlobEntry, BlobKind, Codec, FrameEntry, IndexedPack, PackDirectory, RetentionClass};
use packstone::id::{BlobId, IndexId, PackId};

/// The n-th blob id.
pub fn blob(n: u32) -> BlobId {
    BlobId::new(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// The n-th pack id.
pub fn pack_id(n: u32) -> PackId {
    PackId::new(*blake3::hash(format!("pack {n}").as_bytes()).as_bytes())
}

/// The n-th index object's id.
pub fn object(n: u32) -> IndexId {
    IndexId::new(*blake3::hash(format!("object {n}").as_bytes()).as_bytes())
}

/// A pack of whole blobs, three to a frame, and of deltas `(blob, base)`.
pub fn pack(n: u32, whole: &[u32], deltas: &[(u32, u32)]) -> IndexedPack {
    let mut offset = 16;
    let mut frame = |blobs: &[u32], base: Option<u32>| {
        let blobs: Vec<_> = blobs.iter().map(|&n| entry(n)).collect();
        let raw_len = blobs.iter().map(|blob| blob.stored_len).sum();
        let codec = if base.is_some() { Codec::ZstdDelta } else { Codec::Zstd };
        let frame =
            FrameEntry { offset, sealed_len: raw_len + 40, raw_len, codec, epoch: 0, base: base.map(blob), blobs };
        offset += u64::from(frame.sealed_len);
        frame
    };
    let mut frames: Vec<_> = whole.chunks(3).map(|blobs| frame(blobs, None)).collect();
    frames.extend(deltas.iter().map(|&(blob, base)| frame(&[blob], Some(base))));
    let directory = PackDirectory { class: RetentionClass::Standard, frames };
    IndexedPack { id: pack_id(n), size_bytes: offset + 100, directory }
}

fn entry(n: u32) -> BlobEntry {
    BlobEntry { id: blob(n), kind: BlobKind::Chunk, stored_len: 100 + n % 50, content_len: 120 + n % 50 }
}
