//! What stands under `snapshots/`: live ones, fences and tombstones.

use super::Repository;
use super::machine::now_ms;
use super::random::random;
use crate::backend::PutNew;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Outcome, Snapshot};
use crate::id::SnapshotId;

/// One object under `snapshots/`.
#[derive(Debug)]
pub struct Listed {
    /// The session it decides.
    pub id: SnapshotId,
    /// Length of the object.
    pub size_bytes: u64,
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
        let mut all = Vec::new();
        for (path, stat) in self.store().list("snapshots/")? {
            let Ok(id) = path.name().parse::<SnapshotId>() else { continue };
            let outcome = match self.outcome(id) {
                Ok(Some(outcome)) => Ok(outcome),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            all.push(Listed { id, size_bytes: stat.size_bytes, outcome });
        }
        Ok(SnapshotList { all })
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

    /// Overwrites a snapshot with a tombstone. What only it reached is freed by the next prune.
    pub fn forget(&self, id: SnapshotId) -> Result<()> {
        let path = ObjectPath::snapshot(id);
        let bytes = self.store().get(&path, None)?;
        let tombstone = Outcome::Forgotten { time_ms: now_ms(), was: *blake3::hash(&bytes).as_bytes() };
        self.store().replace(&path, tombstone.seal(self.keys(), id, &random()))
    }

    fn open_outcome(&self, id: SnapshotId, bytes: &[u8]) -> Result<Outcome> {
        Outcome::open(self.keys(), id, bytes).map_err(|e| Error::damaged(ObjectPath::snapshot(id), e))
    }
}
