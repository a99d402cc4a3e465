//! The ledger: what parts of a long job say they have done, where all of them can read it.

use serde::{Deserialize, Serialize};

use super::object::{self, Kind};
use super::{ObjectPath, Sealed};
use crate::crypto::Keys;
use crate::error::DecodeError;
use crate::id::{LedgerId, SnapshotId};

/// What one part of a check has done, at `ledger/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRecord {
    /// Its name: random.
    pub id: LedgerId,
    /// What the user calls the round; may be empty.
    pub round: String,
    /// Which part, from 1.
    pub shard: u32,
    /// Of how many.
    pub shards: u32,
    /// Machine it ran on.
    pub host: String,
    /// Program and version.
    pub program: String,
    /// When it began: milliseconds since 1970. What was indexed then is what it vouches for.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: i64,
    /// Hash of the ids of all packs in the index, ascending: equal when two parts saw the same index.
    pub index_state: [u8; 32],
    /// How many those were, of all parts.
    pub packs_indexed: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Snapshots whose trees were walked; no part but the first does that without need.
    pub snapshots_walked: u64,
    /// How much damage was found.
    pub damage_count: u64,
    /// The first of it: object, and what is wrong with it.
    pub damage: Vec<(String, String)>,
    /// Snapshots that miss something because of it, with the number of blobs.
    pub harmed: Vec<(SnapshotId, u64)>,
}

impl LedgerRecord {
    /// The object for `ledger/<id>`.
    pub fn seal(&self, keys: &Keys, random: &[u8; 32]) -> Sealed {
        object::seal(Kind::Ledger, keys, ObjectPath::ledger(self.id).as_str(), random, self)
    }

    /// The record of this name.
    pub fn open(keys: &Keys, id: LedgerId, object: &[u8]) -> Result<Self, DecodeError> {
        let record: Self = object::open(Kind::Ledger, keys, ObjectPath::ledger(id).as_str(), object)?;
        if record.id != id {
            return Err(DecodeError::IdMismatch);
        }
        if record.shard == 0 || record.shard > record.shards {
            return Err(DecodeError::Invalid("shard"));
        }
        Ok(record)
    }
}
