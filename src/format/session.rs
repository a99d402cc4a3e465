//! Sessions: one backup in progress each, and the signs of life it gives.

use serde::{Deserialize, Serialize};

use super::object::{self, Kind};
use super::{ObjectPath, Sealed};
use crate::crypto::Keys;
use crate::error::DecodeError;
use crate::id::SnapshotId;

/// The registration of a session, at `sessions/<id>/0`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The session, and the snapshot that it will commit.
    pub id: SnapshotId,
    /// Machine it runs on.
    pub host: String,
    /// Its process there.
    pub process_id: u32,
    /// The boot of the machine in which the process runs; empty when unknown.
    pub boot_id: String,
    /// When it began: milliseconds since 1970.
    pub started_ms: i64,
    /// Program and version.
    pub program: String,
    /// Makes every registration unique.
    pub nonce: [u8; 16],
}

impl SessionRecord {
    /// The object for `sessions/<id>/0`.
    pub fn seal(&self, keys: &Keys, random: &[u8; 32]) -> Sealed {
        object::seal(Kind::Session, keys, ObjectPath::session(self.id, 0).as_str(), random, self)
    }

    /// The registration of session `id`.
    pub fn open(keys: &Keys, id: SnapshotId, object: &[u8]) -> Result<Self, DecodeError> {
        let record: Self = object::open(Kind::Session, keys, ObjectPath::session(id, 0).as_str(), object)?;
        if record.id == id { Ok(record) } else { Err(DecodeError::IdMismatch) }
    }
}

impl SessionRecord {
    /// The object for `exclusive/<id>`.
    pub fn seal_exclusive(&self, keys: &Keys, random: &[u8; 32]) -> Sealed {
        object::seal(Kind::Session, keys, ObjectPath::exclusive(self.id).as_str(), random, self)
    }

    /// Who works alone under this id.
    pub fn open_exclusive(keys: &Keys, id: SnapshotId, object: &[u8]) -> Result<Self, DecodeError> {
        let record: Self = object::open(Kind::Session, keys, ObjectPath::exclusive(id).as_str(), object)?;
        if record.id == id { Ok(record) } else { Err(DecodeError::IdMismatch) }
    }
}

/// A sign of life, at `sessions/<id>/<n>` with n from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its number.
    pub n: u32,
    /// When: milliseconds since 1970.
    pub time_ms: i64,
    /// The session will commit no reference into a pack condemned by this gc record or an earlier one; 0 for none.
    pub acknowledged_gc: u64,
}

impl Heartbeat {
    /// The object for `sessions/<session>/<n>`.
    pub fn seal(&self, keys: &Keys, session: SnapshotId, random: &[u8; 32]) -> Sealed {
        object::seal(Kind::Heartbeat, keys, ObjectPath::session(session, self.n).as_str(), random, self)
    }

    /// Heartbeat `n` of a session.
    pub fn open(keys: &Keys, session: SnapshotId, n: u32, object: &[u8]) -> Result<Self, DecodeError> {
        let heartbeat: Self = object::open(Kind::Heartbeat, keys, ObjectPath::session(session, n).as_str(), object)?;
        if heartbeat.n == n && n > 0 { Ok(heartbeat) } else { Err(DecodeError::Invalid("heartbeat number")) }
    }
}
