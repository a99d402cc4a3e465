//! Chains of sync segments: what changed in a database, transaction by transaction, until a snapshot contains it.
//!
//! A chain belongs to one session. Its opening names the state that it starts from, every segment the one before it by its
//! hash: so neither a hole nor a swap goes unnoticed. A chain needs nothing but the blobs that its opening's roots reach.

use serde::{Deserialize, Serialize};

use super::object::{self, Kind};
use super::{ObjectPath, Sealed, Snapshot};
use crate::compression::{self, Compressed, Compressor, MAX_RAW_LEN};
use crate::crypto::Keys;
use crate::error::DecodeError;
use crate::id::{SnapshotId, StreamId};

/// Shorter segments are not worth compressing.
const COMPRESSED_FROM: usize = 512;

/// The start of a chain, at `sync/<stream>/<session>/0`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// The session that the chain belongs to.
    pub session: SnapshotId,
    /// The snapshot that the first segment applies to, whole: it may be forgotten while the chain lives.
    pub base: Snapshot,
    /// Makes every opening unique.
    pub nonce: [u8; 16],
}

/// What one or more transactions changed, at `sync/<stream>/<session>/<n>` with n from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its number.
    pub n: u64,
    /// BLAKE3 of the object before it in the chain; of the opening for the first.
    pub previous: [u8; 32],
    /// When the database was read: milliseconds since 1970.
    pub time_ms: i64,
    /// Whether the state after it is one that the database was in; else the next segment goes on with the same transactions.
    pub ends: bool,
    /// The greatest transaction id, of the main branch where there are several.
    pub t: i64,
    /// Transactions of the chain up to here.
    pub transactions: u64,
    /// Keys put by the chain up to here.
    pub put: u64,
    /// Keys removed by the chain up to here.
    pub removed: u64,
    /// The source's own statement of where it stands.
    pub consistency_point: String,
    /// Properties of the snapshot that have other values than before, sorted by name.
    pub properties: Vec<(String, String)>,
    /// What changes in the trees, sorted by name.
    pub trees: Vec<TreeChanges>,
}

/// Datoms put into a tree and removed from it. Keys hold their values whole, however long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeChanges {
    /// Name of the root, e.g. `log`.
    pub name: String,
    /// Keys of datoms that the tree gets, ascending.
    pub put: Vec<Vec<u8>>,
    /// Keys of datoms that go, ascending.
    pub removed: Vec<Vec<u8>>,
}

/// A segment's encoding, compressed where that pays.
#[derive(Serialize, Deserialize)]
struct Packed {
    compressed: bool,
    raw_len: u32,
    bytes: Vec<u8>,
}

impl Opening {
    /// The object for `sync/<stream>/<session>/0`.
    pub fn seal(&self, keys: &Keys, stream: StreamId, random: &[u8; 32]) -> Sealed {
        object::seal(Kind::SyncOpening, keys, ObjectPath::sync(stream, self.session, 0).as_str(), random, self)
    }

    /// The opening of the chain of `session`.
    pub fn open(keys: &Keys, stream: StreamId, session: SnapshotId, object: &[u8]) -> Result<Self, DecodeError> {
        let path = ObjectPath::sync(stream, session, 0);
        let opening: Self = object::open(Kind::SyncOpening, keys, path.as_str(), object)?;
        if opening.session == session { Ok(opening) } else { Err(DecodeError::IdMismatch) }
    }
}

impl Segment {
    /// The object for `sync/<stream>/<session>/<n>`; it must have less than 64 MiB of keys.
    pub fn seal(&self, keys: &Keys, stream: StreamId, session: SnapshotId, random: &[u8; 32]) -> Sealed {
        let raw = object::encode_body(self);
        let raw_len = u32::try_from(raw.len()).expect("its keys have less than 64 MiB");
        let mut bytes = Vec::new();
        let is_long = raw.len() >= COMPRESSED_FROM;
        let compressed = is_long && Compressor::default().compress(&raw, &mut bytes) == Compressed::Zstd;
        let packed = Packed { compressed, raw_len, bytes: if compressed { bytes } else { raw } };
        object::seal(Kind::SyncSegment, keys, ObjectPath::sync(stream, session, self.n).as_str(), random, &packed)
    }

    /// Segment `n` of the chain of `session`.
    pub fn open(
        keys: &Keys,
        stream: StreamId,
        session: SnapshotId,
        n: u64,
        object: &[u8],
    ) -> Result<Self, DecodeError> {
        let path = ObjectPath::sync(stream, session, n);
        let packed: Packed = object::open(Kind::SyncSegment, keys, path.as_str(), object)?;
        let raw_len = usize::try_from(packed.raw_len).map_err(|_| DecodeError::TooLarge("segment"))?;
        if raw_len > MAX_RAW_LEN {
            return Err(DecodeError::TooLarge("segment"));
        }
        let raw = if packed.compressed { compression::decompress(&packed.bytes, raw_len)? } else { packed.bytes };
        if raw.len() != raw_len {
            return Err(DecodeError::Invalid("length of a segment"));
        }
        let segment: Self = object::decode_body(&raw)?;
        segment.check(n)?;
        Ok(segment)
    }

    fn check(&self, n: u64) -> Result<(), DecodeError> {
        if self.n != n || n == 0 {
            return Err(DecodeError::Invalid("number of a segment"));
        }
        if !self.trees.is_sorted_by(|a, b| a.name < b.name) {
            return Err(DecodeError::Invalid("order of a segment's trees"));
        }
        let ascends = |keys: &Vec<Vec<u8>>| keys.is_sorted_by(|a, b| a < b);
        if !self.trees.iter().all(|tree| ascends(&tree.put) && ascends(&tree.removed)) {
            return Err(DecodeError::Invalid("order of a segment's keys"));
        }
        Ok(())
    }
}
