//! Frames: runs of blobs, compressed and sealed together.

use std::ops::Range;

use super::{BlobEntry, BlobKind, Codec, FrameEntry};
use crate::compression;
use crate::crypto::{Keys, Purpose, SEAL_OVERHEAD};
use crate::error::DecodeError;
use crate::id::BlobId;

/// The most bytes a frame, and so a blob, may have before compression.
pub const MAX_FRAME_LEN: u32 = 64 << 20;

/// Version of the way frames are sealed, part of what their seal binds.
const VERSION: u8 = 1;

/// A frame that is not yet in a pack, or no longer: prune moves frames without opening them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFrame {
    /// Nonce, ciphertext, tag.
    pub bytes: Vec<u8>,
    /// What a directory says about it; its offset counts only inside a pack.
    pub entry: FrameEntry,
}

/// Seals a frame. `body` is already compressed as `codec` says, `raw_len` its length before that.
///
/// The blobs are of `kind`, and their stored forms follow one another in the uncompressed frame. The seal binds everything
/// in the entry but offset and length, so that a frame may move.
///
/// # Errors
/// What no reader would accept, see [`FrameEntry::validate`].
#[expect(clippy::too_many_arguments, reason = "each is part of what is sealed")]
pub fn seal_frame(
    keys: &Keys,
    random: &[u8; 32],
    kind: BlobKind,
    codec: Codec,
    body: &[u8],
    raw_len: usize,
    blobs: Vec<BlobEntry>,
    base: Option<BlobId>,
) -> Result<SealedFrame, DecodeError> {
    let too_large = |_| DecodeError::TooLarge("frame");
    let sealed_len = u32::try_from(body.len().saturating_add(SEAL_OVERHEAD)).map_err(too_large)?;
    let raw_len = u32::try_from(raw_len).map_err(too_large)?;
    let entry = FrameEntry { offset: 0, sealed_len, raw_len, codec, epoch: keys.newest_epoch(), base, blobs };
    entry.validate()?;
    if entry.kind() != Some(kind) {
        return Err(DecodeError::Invalid("blobs of two kinds in a frame"));
    }
    let bytes = keys.seal(purpose(kind), &associated(&entry), random, body);
    Ok(SealedFrame { bytes, entry })
}

/// Whether these are the bytes that were sealed as this frame, without decompressing them.
pub fn authenticate_frame(keys: &Keys, entry: &FrameEntry, sealed: &[u8]) -> Result<(), DecodeError> {
    unseal(keys, entry, sealed).map(drop)
}

/// The uncompressed bytes of a frame. `base` is the stored form of the base blob, for frames that have one.
pub fn open_frame(keys: &Keys, entry: &FrameEntry, sealed: &[u8], base: Option<&[u8]>) -> Result<Vec<u8>, DecodeError> {
    let body = unseal(keys, entry, sealed)?;
    let raw_len = usize::try_from(entry.raw_len).map_err(|_| DecodeError::TooLarge("frame"))?;
    match (entry.codec, base) {
        (Codec::Raw, _) if body.len() == raw_len => Ok(body),
        (Codec::Raw, _) => Err(DecodeError::Invalid("length of a raw frame")),
        (Codec::Zstd, _) => compression::decompress(&body, raw_len),
        (Codec::ZstdDelta, Some(base)) => compression::decompress_with_prefix(base, &body, raw_len),
        (Codec::ZstdDelta, None) => Err(DecodeError::Invalid("delta frame opened without its base")),
    }
}

/// The body of a frame as it was compressed.
fn unseal(keys: &Keys, entry: &FrameEntry, sealed: &[u8]) -> Result<Vec<u8>, DecodeError> {
    entry.validate()?;
    if u32::try_from(sealed.len()) != Ok(entry.sealed_len) {
        return Err(DecodeError::Truncated);
    }
    let kind = entry.kind().ok_or(DecodeError::Invalid("frame without blobs"))?;
    keys.open(purpose(kind), entry.epoch, &associated(entry), sealed)
}

fn purpose(kind: BlobKind) -> Purpose {
    match kind {
        BlobKind::Chunk => Purpose::Data,
        BlobKind::Node => Purpose::Tree,
    }
}

// format-spec, chapter blob and frame: the position is left out, so that prune moves frames unopened.
fn associated(entry: &FrameEntry) -> Vec<u8> {
    let mut commitment = blake3::Hasher::new();
    for blob in &entry.blobs {
        commitment.update(blob.id.as_bytes());
        commitment.update(&blob.stored_len.to_le_bytes());
        commitment.update(&blob.content_len.to_le_bytes());
    }
    if let Some(base) = &entry.base {
        commitment.update(base.as_bytes());
    }
    let codec = match entry.codec {
        Codec::Raw => 0,
        Codec::Zstd => 1,
        Codec::ZstdDelta => 2,
    };
    let kind = match entry.kind() {
        Some(BlobKind::Node) => 1,
        _ => 0,
    };
    let mut associated = b"PSFRAME".to_vec();
    associated.extend_from_slice(&[VERSION, kind, codec]);
    associated.extend_from_slice(&entry.epoch.to_le_bytes());
    associated.extend_from_slice(&entry.raw_len.to_le_bytes());
    associated.extend_from_slice(commitment.finalize().as_bytes());
    associated
}

impl FrameEntry {
    /// The kind of its blobs; `None` when it has none, which no valid frame has.
    pub fn kind(&self) -> Option<BlobKind> {
        self.blobs.first().map(|blob| blob.kind)
    }

    /// Its bytes in the pack.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(u64::from(self.sealed_len))
    }

    /// The bytes of blob `i` in the uncompressed frame; `None` when there is no such blob.
    pub fn blob_range(&self, i: usize) -> Option<Range<usize>> {
        let before = self.blobs.get(..i)?.iter().try_fold(0u32, |sum, blob| sum.checked_add(blob.stored_len))?;
        let end = before.checked_add(self.blobs.get(i)?.stored_len)?;
        Some(usize::try_from(before).ok()?..usize::try_from(end).ok()?)
    }

    /// The position among its blobs of the one with this id.
    pub fn find(&self, id: BlobId) -> Option<usize> {
        self.blobs.iter().position(|blob| blob.id == id)
    }

    /// Refuses what no writer makes; the offset is the directory's to check.
    pub fn validate(&self) -> Result<(), DecodeError> {
        let kind = self.kind().ok_or(DecodeError::Invalid("frame without blobs"))?;
        if self.raw_len > MAX_FRAME_LEN {
            return Err(DecodeError::TooLarge("frame"));
        }
        let mut sum = 0u32;
        for blob in &self.blobs {
            if blob.kind != kind {
                return Err(DecodeError::Invalid("blobs of two kinds in a frame"));
            }
            if blob.content_len > MAX_FRAME_LEN {
                return Err(DecodeError::TooLarge("blob"));
            }
            if kind == BlobKind::Chunk && blob.content_len != blob.stored_len {
                return Err(DecodeError::Invalid("length of a chunk"));
            }
            sum = sum.checked_add(blob.stored_len).ok_or(DecodeError::TooLarge("frame"))?;
        }
        if sum != self.raw_len {
            return Err(DecodeError::Invalid("length of a frame"));
        }
        let overhead = u32::try_from(SEAL_OVERHEAD).expect("40 fits");
        let body_len = self.sealed_len.checked_sub(overhead).ok_or(DecodeError::Invalid("length of a frame"))?;
        if body_len > self.raw_len || (self.codec == Codec::Raw && body_len != self.raw_len) {
            return Err(DecodeError::Invalid("length of a frame"));
        }
        match (self.codec, self.base, self.blobs.as_slice()) {
            (Codec::Raw | Codec::Zstd, None, _) => Ok(()),
            (Codec::ZstdDelta, Some(base), [blob]) if base != blob.id => Ok(()),
            _ => Err(DecodeError::Invalid("base of a frame")),
        }
    }
}
