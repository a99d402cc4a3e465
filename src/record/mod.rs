//! Records: what the leaves of a tree hold, one module per kind.
//!
//! A record is a *row*: a key, ordered as bytes, and a value. The row is the canonical form, from which node ids are made;
//! each kind brings a column codec that stores sorted rows in fewer bytes, and a summary that lets a walk skip subtrees.

pub(crate) mod cursor;
pub mod datom;
pub mod entry;
mod extent;
mod item;
mod rows;

pub use entry::Entries;
pub use extent::{Extent, Extents};
pub use item::Items;
pub use rows::Rows;

use crate::error::DecodeError;
use crate::id::BlobId;

/// How one kind of record is stored in leaves.
///
/// `encode` and `decode` are inverse: `decode(encode(rows)) == rows` for every `rows` that came from this kind's key
/// encoder. Both are deterministic. `decode` takes hostile bytes.
pub trait RecordKind: Send + Sync {
    /// The number of this kind in node headers and snapshots.
    fn code(&self) -> u8;

    /// Its name in snapshots, help and JSON, e.g. `datom`.
    fn name(&self) -> &'static str;

    /// Target size of a leaf, in bytes of rows.
    fn leaf_target_bytes(&self) -> u32;

    /// The column encoding of sorted rows.
    fn encode(&self, rows: &Rows) -> Vec<u8>;

    /// The rows of a column encoding.
    fn decode(&self, columns: &[u8]) -> Result<Rows, DecodeError>;

    /// What inner nodes say about a leaf with these rows; at most 64 bytes.
    fn summarize(&self, rows: &Rows) -> Vec<u8>;

    /// The summary of a subtree from its children's summaries.
    fn merge(&self, summaries: &[&[u8]]) -> Result<Vec<u8>, DecodeError>;

    /// Appends all blobs outside the tree that this row refers to.
    fn references(&self, key: &[u8], value: &[u8], references: &mut Vec<Reference>) -> Result<(), DecodeError>;
}

/// Something outside the tree that a row refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A chunk.
    Chunk(BlobId),
    /// A chunk that lists the ids of the chunks that hold the content.
    List(BlobId),
    /// Another tree.
    Tree(Subtree),
}

/// The top of a tree that a row refers to, never an empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtree {
    /// The record kind.
    pub kind: u8,
    /// Id of the top node.
    pub id: BlobId,
    /// Level of the top node.
    pub level: u8,
    /// Records in the tree.
    pub records: u64,
    /// Bytes of rows.
    pub row_bytes: u64,
    /// The record kind's summary of all records.
    pub summary: Vec<u8>,
}

/// The kind with this number.
pub fn kind(code: u8) -> Result<&'static dyn RecordKind, DecodeError> {
    match code {
        1 => Ok(&datom::Datoms),
        2 => Ok(&Items),
        3 => Ok(&Entries),
        4 => Ok(&Extents),
        _ => Err(DecodeError::Invalid("record kind")),
    }
}
