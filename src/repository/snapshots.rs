//! What stands under `snapshots/`: live ones, fences and tombstones.

use std::collections::HashMap;

use bytes::Bytes;

use super::machine::now_ms;
use super::random::random;
use super::{Repository, look};
use crate::backend::PutNew;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Outcome, Sealed, Snapshot};
use crate::id::SnapshotId;

/// One object under `snapshots/`.
#[derive(Debug)]
pub struct Listed {
    /// The session it decides.
    pub id: SnapshotId,
    /// Length of the object.
    pub size_bytes: u64,
    /// BLAKE3 of the object; `None` when it could not be read.
    pub hash: Option<[u8; 32]>,
    /// What it says, or why it does not open.
    pub outcome: Result<Outcome>,
}

/// Everything under `snapshots/` as of one listing.
#[derive(Debug, Default)]
pub struct SnapshotList {
    /// All objects.
    pub all: Vec<Listed>,
}

impl SnapshotList {
    /// Live snapshots, oldest first.
    pub fn live(&self) -> Vec<&Snapshot> {
        let mut live: Vec<&Snapshot> = self
            .all
            .iter()
            .filter_map(|listed| match &listed.outcome {
                Ok(Outcome::Committed(snapshot)) => Some(snapshot),
                _ => None,
            })
            .collect();
        live.sort_by_key(|snapshot| (snapshot.time_ms, snapshot.id));
        live
    }

    /// Objects that do not open.
    pub fn damaged(&self) -> impl Iterator<Item = (SnapshotId, &Error)> {
        self.all.iter().filter_map(|listed| Some((listed.id, listed.outcome.as_ref().err()?)))
    }

    /// Live snapshots, or the first error when any object does not open.
    pub fn into_live(self) -> Result<Vec<Snapshot>> {
        let mut live = Vec::new();
        for listed in self.all {
            if let Outcome::Committed(snapshot) = listed.outcome? {
                live.push(snapshot);
            }
        }
        live.sort_by_key(|snapshot| (snapshot.time_ms, snapshot.id));
        Ok(live)
    }
}

impl Repository {
    /// Lists and reads everything under `snapshots/`. An object that does not open is part of the list.
    pub fn snapshots(&self) -> Result<SnapshotList> {
        let found = match self.looked_ahead(|look| look.snapshots.take()) {
            Some(found) => found?,
            None => {
                let listed = look::listed_snapshots(&self.store().list("snapshots/")?);
                self.store().block_on(look::read_snapshots(self.store(), listed, &self.last_look()))
            }
        };
        let mut all = Vec::new();
        let mut seen = HashMap::new();
        for (id, size_bytes, found) in found {
            let (hash, outcome) = match found {
                Ok(Some(bytes)) => {
                    let open = |bytes: Bytes| self.open_outcome(id, &bytes).map(|outcome| (bytes, outcome));
                    let opened = self.store().open_or_read_again(&ObjectPath::snapshot(id), bytes.clone(), open);
                    let (bytes, outcome) = match opened {
                        Ok((bytes, outcome)) => (bytes, Ok(outcome)),
                        Err(error) => (bytes, Err(error)),
                    };
                    let hash = blake3::hash(&bytes).into();
                    if outcome.as_ref().is_ok_and(|outcome| self.stays(id, outcome, &bytes)) {
                        seen.insert(id, bytes);
                    }
                    (Some(hash), outcome)
                }
                Ok(None) => continue,
                Err(error) => (None, Err(error)),
            };
            all.push(Listed { id, size_bytes, hash, outcome });
        }
        self.just_listed(all.iter().map(|listed| listed.id));
        self.remember(|last| last.snapshots = seen);
        Ok(SnapshotList { all })
    }

    /// The outcome of a session for somebody who reads: the one that [`Repository::snapshots`] has just listed serves once,
    /// where the repository was opened for reading.
    pub fn find_outcome(&self, id: SnapshotId) -> Result<Option<Outcome>> {
        if self.was_just_listed(id)
            && let Some(bytes) = self.last_look().snapshots.get(&id)
        {
            return self.open_outcome(id, bytes).map(Some);
        }
        self.outcome(id)
    }

    /// The outcome of a session; `None` while it is open.
    pub fn outcome(&self, id: SnapshotId) -> Result<Option<Outcome>> {
        self.store().find_and_open(&ObjectPath::snapshot(id), |bytes| self.open_outcome(id, &bytes))
    }

    /// Puts a fence where the session's snapshot would go, so that it can never commit; returns what stands there now.
    pub fn fence(&self, id: SnapshotId) -> Result<Outcome> {
        let path = ObjectPath::snapshot(id);
        let fence = Outcome::Fenced { time_ms: now_ms(), nonce: random() };
        let body = fence.seal(self.keys(), id, &random());
        match self.store().put_new(&path, body)? {
            PutNew::Created => Ok(fence),
            PutNew::Exists => self
                .outcome(id)?
                .ok_or_else(|| Error::new(ErrorKind::Failed, path, "vanished while its session was being fenced")),
        }
    }

    /// Hash of a snapshot's object, by which the next of its host and label names it; `None` when there is none.
    pub fn snapshot_hash(&self, id: SnapshotId) -> Result<Option<[u8; 32]>> {
        let whole = |bytes: &[u8]| self.open_outcome(id, bytes).is_ok();
        let object = self.store().find_checked(&ObjectPath::snapshot(id), whole)?;
        Ok(object.map(|bytes| *blake3::hash(&bytes).as_bytes()))
    }

    /// Overwrites a snapshot with a tombstone. What only it reached is freed by the next prune.
    pub fn forget(&self, id: SnapshotId) -> Result<()> {
        let path = ObjectPath::snapshot(id);
        let bytes = self.store().get_checked(&path, None, |bytes| self.open_outcome(id, bytes).is_ok())?;
        if let Ok(outcome) = self.open_outcome(id, &bytes) {
            self.remove_contained_chain(&outcome)?;
        }
        let tombstone = Outcome::Forgotten { time_ms: now_ms(), was: *blake3::hash(&bytes).as_bytes() };
        let body = tombstone.seal(self.keys(), id, &random());
        self.store().replace(&path, body.clone())?;
        self.remember_later(|last| {
            last.snapshots.insert(id, body.bytes().clone());
        });
        Ok(())
    }

    /// Keeps a snapshot that was just committed for the next look.
    pub(super) fn remember_commit(&self, id: SnapshotId, outcome: &Outcome, body: &Sealed) {
        if self.stays(id, outcome, body.bytes()) {
            self.remember(|last| {
                last.snapshots.insert(id, body.bytes().clone());
            });
        }
    }

    /// Whether these bytes stand at `snapshots/<id>` as long as something of their length does: tombstones and fences are the
    /// end, and a snapshot gives way to a tombstone only, which is shorter than nearly all of them.
    fn stays(&self, id: SnapshotId, outcome: &Outcome, bytes: &[u8]) -> bool {
        let tombstone = Outcome::Forgotten { time_ms: i64::MAX, was: [0; 32] };
        !matches!(outcome, Outcome::Committed(_)) || bytes.len() > tombstone.seal(self.keys(), id, &[0; 32]).len()
    }

    fn open_outcome(&self, id: SnapshotId, bytes: &[u8]) -> Result<Outcome> {
        Outcome::open(self.keys(), id, bytes).map_err(|e| Error::damaged(ObjectPath::snapshot(id), e))
    }
}
