//! Snapshots: one finished (or partial) backup each, and what stands at a snapshot's path instead of it.

use serde::{Deserialize, Serialize};

use super::object::{self, Kind};
use super::{ObjectPath, RetentionClass, Sealed};
use crate::crypto::Keys;
use crate::error::DecodeError;
use crate::id::{BlobId, SnapshotId};

/// One backup: what was read, and the roots of the trees that hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id, the same as its session's.
    pub id: SnapshotId,
    /// When the backup began: milliseconds since 1970-01-01T00:00Z.
    pub time_ms: i64,
    /// Machine it was made on.
    pub host: String,
    /// User who made it.
    pub user: String,
    /// Name of the backup job; (host, label) is the group that retention works on.
    pub label: String,
    /// Free tags, sorted.
    pub tags: Vec<String>,
    /// Program and version that wrote it, e.g. `packstone 0.1.0`.
    pub program: String,
    /// What was read, as the user named it, with the options that matter, e.g. (`datoms:dump.edn`, [("format", "edn")]).
    pub sources: Vec<SourceDescription>,
    /// Whether all of the source is in it.
    pub status: Status,
    /// Named roots.
    pub roots: Vec<NamedRoot>,
    /// The snapshot it was compared with.
    pub parent: Option<SnapshotId>,
    /// BLAKE3 of this client's previous snapshot object of the same (host, label); a gap shows an omission.
    pub previous: Option<[u8; 32]>,
    /// Where an incremental read resumes; opaque to all but the source.
    pub cursor: Vec<u8>,
    /// Number of the newest gc record against which everything it reaches was checked; 0 when there was none.
    pub gc_checked: u64,
    /// How long it is meant to live.
    pub class: RetentionClass,
    /// What was skipped and why, first 1,000 only.
    pub skipped: Vec<(String, String)>,
    /// How many were skipped in all.
    pub skipped_count: u64,
    /// Figures of the run.
    pub statistics: Statistics,
    /// What the source says about the data (schema, configuration, max t, ...): names and texts, sorted by name.
    pub properties: Vec<(String, String)>,
}

/// Whether all of the source is in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// All of it.
    Complete,
    /// What had been stored when it was written; superseded by the next complete one.
    Partial,
}

/// A source as the user named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceDescription {
    /// E.g. `datoms:/srv/dump.edn`.
    pub location: String,
    /// Options that change what was read.
    pub options: Vec<(String, String)>,
    /// The source's own statement of where it stands (t, LSN, offsets, ...); empty when it has none.
    pub consistency_point: String,
    /// Whether everything was read as of that point.
    pub atomic: bool,
}

/// A tree of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedRoot {
    /// E.g. `log` or `exceptions`.
    pub name: String,
    /// The record kind.
    pub kind: u8,
    /// Id of the top node; `None` for the empty tree.
    pub id: Option<BlobId>,
    /// Level of the top node.
    pub level: u8,
    /// Records in the tree.
    pub records: u64,
    /// Bytes of rows.
    pub row_bytes: u64,
    /// The record kind's summary of the whole tree.
    pub summary: Vec<u8>,
    /// Digest of the records that does not depend on their order (`format-spec`, chapter records); empty when not taken.
    pub digest: Vec<u8>,
}

/// Figures of the run that made a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Records that the parent does not have.
    pub records_new: u64,
    /// Records of the parent that are gone.
    pub records_removed: u64,
    /// Records in both.
    pub records_unmodified: u64,
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// Blobs added to the repository.
    pub blobs_added: u64,
    /// Canonical bytes of those blobs.
    pub bytes_added: u64,
    /// Bytes of the packs written.
    pub bytes_stored: u64,
    /// Packs written.
    pub packs_written: u64,
    /// Requests to the backend by class, e.g. ("put", 3).
    pub requests: Vec<(String, u64)>,
    /// How long the run took.
    pub duration_ms: u64,
    /// Duplicate records met and not kept.
    pub duplicates: u64,
    /// What else the kind of source counts, e.g. ("files_new", 3), sorted by name.
    pub figures: Vec<(String, u64)>,
}

/// What the object at `snapshots/<id>` is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "one at a time is in memory")]
pub enum Outcome {
    /// The session committed.
    Committed(Snapshot),
    /// A pruner closed the session; its client must start a new one.
    Fenced {
        /// When.
        time_ms: i64,
        /// Makes every fence unique.
        nonce: [u8; 16],
    },
    /// The snapshot was forgotten.
    Forgotten {
        /// When.
        time_ms: i64,
        /// BLAKE3 of the snapshot object that stood here.
        was: [u8; 32],
    },
}

impl Outcome {
    /// The object for `snapshots/<id>`.
    pub fn seal(&self, keys: &Keys, id: SnapshotId, random: &[u8; 32]) -> Sealed {
        object::seal(Kind::Snapshot, keys, ObjectPath::snapshot(id).as_str(), random, self)
    }

    /// What stands at `snapshots/<id>`.
    pub fn open(keys: &Keys, id: SnapshotId, object: &[u8]) -> Result<Self, DecodeError> {
        let outcome: Self = object::open(Kind::Snapshot, keys, ObjectPath::snapshot(id).as_str(), object)?;
        match &outcome {
            Self::Committed(snapshot) if snapshot.id != id => Err(DecodeError::IdMismatch),
            _ => Ok(outcome),
        }
    }
}
