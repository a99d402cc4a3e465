//! The small objects: config, key slots, sessions, snapshots, gc records.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Check;
use crate::crypto::Keys;
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::{Config, GcRecord, Heartbeat, ObjectPath, Outcome, SessionRecord, Snapshot};
use crate::id::{KeySlotId, SnapshotId};
use crate::repository::machine;

/// How long tombstones are kept at least, in milliseconds.
const TOMBSTONES_MS: i64 = 90 * 24 * 3600 * 1000;

impl Check<'_> {
    pub(super) fn config(&mut self) -> Result<()> {
        let path = ObjectPath::config();
        let keys = Arc::clone(self.repository().keys());
        let whole = |object: &[u8]| Config::authenticate(object, &keys).is_ok();
        let Some(object) = self.repository().store().find_checked(&path, whole)? else {
            self.damage(path, "missing");
            return Ok(());
        };
        match Config::authenticate(&object, &keys) {
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
            let parts: Vec<&str> = path.as_str().split('/').collect();
            let parsed = match parts[..] {
                [_, id, n] => id.parse::<SnapshotId>().ok().zip(n.parse::<u32>().ok()),
                _ => None,
            };
            let Some((id, n)) = parsed else {
                self.note(path, "not an object of this repository");
                continue;
            };
            // Gone since the listing: the session has ended.
            let opened = self.open_object(&path, |keys, object| match n {
                0 => SessionRecord::open(keys, id, object).map(drop),
                n => Heartbeat::open(keys, id, n, object).map(drop),
            })?;
            if let Some((_, Err(why))) = opened {
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
            let opened = self.open_object(&path, |keys, object| Outcome::open(keys, id, object))?;
            let Some((object, opened)) = opened else { continue };
            hashes.insert(*blake3::hash(&object).as_bytes());
            match opened {
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
            let opened = self.open_object(&path, |keys, object| GcRecord::open(keys, n, object))?;
            let Some((_, opened)) = opened else { continue };
            match opened {
                Ok(record) => self.condemned.extend(record.condemned),
                Err(why) => self.damage(path, why),
            }
        }
        Ok(())
    }

    /// The object and what it says, or why it does not open; none when it is gone. One that the backend cannot read is
    /// damage, and none as well.
    pub(super) fn open_object<T>(
        &mut self,
        path: &ObjectPath,
        open: impl Fn(&Keys, &[u8]) -> std::result::Result<T, DecodeError>,
    ) -> Result<Option<(Bytes, std::result::Result<T, DecodeError>)>> {
        let keys = Arc::clone(self.repository().keys());
        match self.repository().store().find_checked(path, |object| open(&keys, object).is_ok()) {
            Err(error) => self.damage_or_stop(named(error, path)).map(|()| None),
            Ok(object) => Ok(object.map(|object| {
                let opened = open(&keys, &object);
                (object, opened)
            })),
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
