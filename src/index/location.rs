//! Where a blob is.

use std::sync::Arc;

use crate::format::{BlobEntry, FrameEntry, IndexedPack};
use crate::id::PackId;

/// One copy of a blob, with all that reading it takes. Shares the pack's decoded directory; cheap to clone.
#[derive(Clone, Debug)]
pub struct BlobLocation {
    pack: Arc<IndexedPack>,
    frame: usize,
    blob: usize,
}

impl BlobLocation {
    /// The blob with this number in its pack, counted over all frames; `None` when there are not as many.
    pub(in crate::index) fn at(pack: Arc<IndexedPack>, slot: u32) -> Option<Self> {
        let mut left = slot as usize;
        for (frame, entry) in pack.directory.frames.iter().enumerate() {
            if left < entry.blobs.len() {
                return Some(Self { pack, frame, blob: left });
            }
            left -= entry.blobs.len();
        }
        None
    }

    /// The pack that holds it.
    pub fn pack(&self) -> PackId {
        self.pack.id
    }

    /// Length of that pack.
    pub fn pack_size_bytes(&self) -> u64 {
        self.pack.size_bytes
    }

    /// The pack's whole directory: what else reading this pack would give.
    pub fn indexed_pack(&self) -> &Arc<IndexedPack> {
        &self.pack
    }

    /// The frame that holds it.
    pub fn frame(&self) -> &FrameEntry {
        &self.pack.directory.frames[self.frame]
    }

    /// The number of the frame in the pack.
    pub fn frame_number(&self) -> usize {
        self.frame
    }

    /// Its entry in the directory.
    pub fn blob(&self) -> &BlobEntry {
        &self.frame().blobs[self.blob]
    }

    /// Where its stored form starts in the frame's uncompressed bytes.
    pub fn offset_in_frame(&self) -> u64 {
        self.frame().blobs[..self.blob].iter().map(|blob| u64::from(blob.stored_len)).sum()
    }

    /// Whether it is stored as a delta.
    pub fn is_delta(&self) -> bool {
        self.frame().base.is_some()
    }
}
