//! What a pack holds: its frames and their blobs. Stored sealed in the pack and again in index objects.

use serde::{Deserialize, Serialize};

use crate::id::{BlobId, PackId};

/// What a blob is part of; data and nodes go to different packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BlobKind {
    /// File or record content.
    Chunk,
    /// A node of a tree.
    Node,
}

/// How a frame's bytes are compressed before sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// As they are.
    Raw,
    /// One zstd frame.
    Zstd,
    /// One zstd frame with the stored form of the base blob as prefix; such a frame holds exactly one blob.
    ZstdDelta,
}

/// How long the data of a pack is meant to live; packs hold one class only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RetentionClass {
    /// No particular class.
    #[default]
    Standard,
    /// Expected to be forgotten soon (hourly backups, partial snapshots).
    Short,
    /// Expected to be kept for years.
    Long,
}

/// One blob in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobEntry {
    /// Its id, of its canonical bytes.
    pub id: BlobId,
    /// Chunk or node.
    pub kind: BlobKind,
    /// Bytes it takes in the frame before compression (its stored form: for leaves the column encoding).
    pub stored_len: u32,
    /// Bytes of its canonical form.
    pub content_len: u32,
}

/// One frame in a pack; its blobs follow one another in its uncompressed bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameEntry {
    /// Where it starts in the pack.
    pub offset: u64,
    /// Length in the pack: nonce, ciphertext, tag.
    pub sealed_len: u32,
    /// Length before compression: the sum of its blobs' `stored_len`.
    pub raw_len: u32,
    /// How it is compressed.
    pub codec: Codec,
    /// The key epoch it is sealed under.
    pub epoch: u32,
    /// The blob whose stored form is the prefix, for [`Codec::ZstdDelta`] only. Never itself a delta.
    pub base: Option<BlobId>,
    /// Its blobs in order.
    pub blobs: Vec<BlobEntry>,
}

/// All frames of a pack in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackDirectory {
    /// The pack's retention class.
    pub class: RetentionClass,
    /// Its frames, by offset.
    pub frames: Vec<FrameEntry>,
}

/// A pack as an index object lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedPack {
    /// The pack.
    pub id: PackId,
    /// Length of the whole object.
    pub size_bytes: u64,
    /// What it holds.
    pub directory: PackDirectory,
}
