//! The small objects: config, key slots, sessions, snapshots, gc records.

use std::collections::HashSet;

use super::Check;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Config, GcRecord, Heartbeat, ObjectPath, Outcome, SessionRecord, Snapshot};
use crate::id::{KeySlotId, SnapshotId};
use crate::repository::machine;

/// How long tombstones are kept at least, in milliseconds.
const TOMBSTONES_MS: i64 = 90 * 24 * 3600 * 1000;

impl Check<'_> {
    pub(super) fn config(&mut self) -> Result<()> {
        let path = ObjectPath::config();
        let Some(object) = self.repository().store().find(&path)? else {
            self.damage(path, "missing");
            return Ok(());
        };
        match Config::authenticate(&object, self.repository().keys()) {
            Err(why) => self.damage(path, why),
            Ok(config) if config != *self.repository().config() => self.damage(path, "not what it was"),
            Ok(_) => {}
        }
        Ok(())
    }

    pub(super) fn key_slots(&mut self) -> Result<()> {
        for slot in self.repository().key_slots()? {
            if let Err(error) = slot.slot {
                self.damage(error.object(), error.message());
            }
        }
        let own = ObjectPath::key_slot(self.repository().slot());
        if self.repository().store().stat(&own)?.is_none() {
            self.damage(own, "missing, though this repository was opened with it");
        }
        for (path, _) in self.repository().store().list("keys/")? {
            if path.name().parse::<KeySlotId>().is_err() {
                self.note(path, "not an object of this repository");
            }
        }
        Ok(())
    }

    pub(super) fn sessions(&mut self) -> Result<()> {
        for (path, _) in self.repository().store().list("sessions/")? {
            // Gone since the listing: the session has ended.
            let Some(object) = self.find(&path)? else { continue };
            let parts: Vec<&str> = path.as_str().split('/').collect();
            let parsed = match parts[..] {
                [_, id, n] => id.parse::<SnapshotId>().ok().zip(n.parse::<u32>().ok()),
                _ => None,
            };
            let keys = self.repository().keys();
            let opened = match parsed {
                Some((id, 0)) => SessionRecord::open(keys, id, &object).map(drop),
                Some((id, n)) => Heartbeat::open(keys, id, n, &object).map(drop),
                None => {
                    self.note(path, "not an object of this repository");
                    continue;
                }
            };
            if let Err(why) = opened {
                self.damage(path, why);
            }
        }
        Ok(())
    }

    pub(super) fn snapshots(&mut self) -> Result<()> {
        let mut hashes: HashSet<[u8; 32]> = HashSet::new();
        let mut all_open = true;
        for (path, _) in self.repository().store().list("snapshots/")? {
            let Ok(id) = path.name().parse::<SnapshotId>() else {
                self.note(path, "not an object of this repository");
                continue;
            };
            let Some(object) = self.find(&path)? else { continue };
            hashes.insert(*blake3::hash(&object).as_bytes());
            match Outcome::open(self.repository().keys(), id, &object) {
                Ok(Outcome::Committed(snapshot)) => self.snapshots.push(snapshot),
                Ok(Outcome::Forgotten { was, .. }) => {
                    hashes.insert(was);
                }
                Ok(Outcome::Fenced { .. }) => {}
                Err(why) => {
                    all_open = false;
                    self.damage(path, why);
                }
            }
        }
        self.report.snapshots = self.snapshots.len() as u64;
        self.snapshots.sort_by_key(|snapshot| (snapshot.time_ms, snapshot.id));
        if all_open {
            self.omissions(&hashes);
        }
        Ok(())
    }

    /// Snapshots whose predecessor is neither there nor forgotten: somebody removed its object.
    fn omissions(&mut self, hashes: &HashSet<[u8; 32]>) {
        // The tombstone of an older one's predecessor may have been removed by right.
        let since_ms = machine::now_ms() - TOMBSTONES_MS;
        let lacks = |s: &&Snapshot| s.time_ms >= since_ms && s.previous.is_some_and(|hash| !hashes.contains(&hash));
        let lacking: Vec<ObjectPath> =
            self.snapshots.iter().filter(lacks).map(|s| ObjectPath::snapshot(s.id)).collect();
        for path in lacking {
            self.note(
                path,
                "the snapshot before it, of the same host and label, is gone without having been forgotten",
            );
        }
    }

    pub(super) fn gc_records(&mut self) -> Result<()> {
        for (path, _) in self.repository().store().list("gc/")? {
            let Ok(n) = path.name().parse::<u64>() else {
                self.note(path, "not an object of this repository");
                continue;
            };
            let Some(object) = self.find(&path)? else { continue };
            match GcRecord::open(self.repository().keys(), n, &object) {
                Ok(record) => self.condemned.extend(record.condemned),
                Err(why) => self.damage(path, why),
            }
        }
        Ok(())
    }

    /// The object; none when it is gone. One that the backend cannot read is damage, and none as well.
    pub(super) fn find(&mut self, path: &ObjectPath) -> Result<Option<bytes::Bytes>> {
        match self.repository().store().find(path) {
            Err(error) => self.damage_or_stop(named(error, path)).map(|()| None),
            found => found,
        }
    }
}

/// The error, about this object whatever the backend called it.
fn named(error: Error, path: &ObjectPath) -> Error {
    if error.kind() == ErrorKind::Failed {
        Error::new(ErrorKind::Failed, path, error.message()).because(error)
    } else {
        error
    }
}
