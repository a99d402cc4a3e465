//! Trees: every node that a snapshot reaches is read, every blob it names must be known; and whom damage harms.

use std::collections::HashSet;
use std::mem;
use std::sync::PoisonError;

use super::{Check, is_about_data};
use crate::error::{Error, Result};
use crate::format::{ObjectPath, Snapshot};
use crate::id::{BlobId, SnapshotId};
use crate::ops::mark::{self, Reached};
use crate::ops::seen::Seen;
use crate::progress::Event;
use crate::repository::Reader;

impl Check<'_> {
    /// Walks what snapshots reach, shared parts once.
    pub(super) fn trees(&mut self) -> Result<()> {
        let snapshots = mem::take(&mut self.snapshots);
        self.observer.event(Event::Stage { name: "walking snapshots", total: Some(snapshots.len() as u64) });
        let reader = self.reader.clone();
        let mut walk = Walk { check: self, reader: &reader, seen: Seen::default(), snapshot: None };
        for (done, snapshot) in (1..).zip(&snapshots) {
            walk.snapshot = Some(snapshot.id);
            mark::walk_snapshot(&reader, snapshot, &mut walk).or_else(|error| walk.check.damage_or_stop(error))?;
            walk.check.observer.event(Event::Progress { done });
        }
        let count = walk.seen.count();
        self.report.blobs = count;
        self.snapshots = snapshots;
        Ok(())
    }

    /// Counts for every snapshot how much of the damage it reaches. Without damage there is nothing to do.
    pub(super) fn attribute(&mut self) -> Result<()> {
        if self.damaged.is_empty() {
            return Ok(());
        }
        let total = Some(self.snapshots.len() as u64);
        self.observer.event(Event::Stage { name: "looking whom the damage harms", total });
        let mut harmed = Vec::new();
        for (done, snapshot) in (1..).zip(&self.snapshots) {
            let count = harm(&self.reader, snapshot, &self.damaged)?;
            if count > 0 && !self.is_forgotten(snapshot.id)? {
                harmed.push((snapshot.id, count));
            }
            self.observer.event(Event::Progress { done });
        }
        self.report.harmed = harmed;
        Ok(())
    }
}

/// A walk through all snapshots that looks for what is missing or unreadable.
struct Walk<'a, 'b> {
    check: &'a mut Check<'b>,
    reader: &'a Reader,
    seen: Seen,
    snapshot: Option<SnapshotId>,
}

/// What the index knows of a blob.
enum Known {
    Whole,
    /// As a delta of this blob, which has a whole copy.
    Delta(BlobId),
    /// As a delta of this blob, which has none; the delta is in this pack.
    Baseless(BlobId, ObjectPath),
    Condemned,
    Nowhere,
}

impl Walk<'_, '_> {
    /// What the index knows of a blob; `None` when it has been met before.
    fn look_up(&mut self, id: BlobId) -> Option<Known> {
        let index = self.reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
        if !self.seen.insert(&index, id) {
            return None;
        }
        let copies = index.copies(&id);
        if copies.iter().any(|copy| !copy.is_delta) {
            return Some(Known::Whole);
        }
        Some(match (index.find(&id), index.find_anywhere(&id)) {
            (Some(location), _) => match location.frame().base {
                Some(base) if index.contains(&id) => Known::Delta(base),
                Some(base) => Known::Baseless(base, ObjectPath::pack(location.pack())),
                None => Known::Whole,
            },
            (None, Some(_)) => Known::Condemned,
            (None, None) => Known::Nowhere,
        })
    }

    fn is_forgotten(&self) -> Result<bool> {
        self.snapshot.map_or(Ok(false), |id| self.check.is_forgotten(id))
    }
}

impl Reached for Walk<'_, '_> {
    fn blob(&mut self, id: BlobId) -> Result<bool> {
        let Some(known) = self.look_up(id) else { return Ok(false) };
        match known {
            Known::Whole => Ok(true),
            Known::Delta(base) => {
                if self.check.damaged.contains(&base) {
                    self.check.damaged.insert(id);
                }
                Ok(true)
            }
            Known::Baseless(base, pack) => {
                if !self.check.damaged.contains(&id) {
                    self.check.damage(pack, format!("blob {id} needs {base}, of which no whole copy exists"));
                }
                self.check.damaged.insert(id);
                Ok(false)
            }
            Known::Condemned => {
                self.check.report.suggest_prune = true;
                self.check.note(format!("blob {id}"), "only in a condemned pack: the next prune copies it");
                Ok(true)
            }
            Known::Nowhere => {
                if !self.is_forgotten()? {
                    self.check.damage(format!("blob {id}"), "a snapshot needs it and the index does not know it");
                    self.check.report.suggest_repair_index = true;
                    self.check.damaged.insert(id);
                }
                Ok(false)
            }
        }
    }

    fn unreadable(&mut self, id: BlobId, error: Error) -> Result<()> {
        if !is_about_data(&error) {
            return Err(error);
        }
        if self.check.damaged.insert(id) && !self.is_forgotten()? {
            let message = if error.message().contains(&id.to_string()) || error.object().contains(&id.to_string()) {
                error.message().to_owned()
            } else {
                format!("blob {id}: {}", error.message())
            };
            self.check.damage(error.object(), message);
        }
        Ok(())
    }
}

/// How many of the damaged blobs a snapshot reaches, as far as it can be walked.
fn harm(reader: &Reader, snapshot: &Snapshot, damaged: &HashSet<BlobId>) -> Result<u64> {
    struct Harm<'a> {
        reader: &'a Reader,
        damaged: &'a HashSet<BlobId>,
        seen: Seen,
        harmed: u64,
    }
    impl Reached for Harm<'_> {
        fn blob(&mut self, id: BlobId) -> Result<bool> {
            let index = self.reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
            if !self.seen.insert(&index, id) {
                return Ok(false);
            }
            let is_damaged = self.damaged.contains(&id);
            self.harmed += u64::from(is_damaged);
            Ok(!is_damaged)
        }

        fn unreadable(&mut self, id: BlobId, error: Error) -> Result<()> {
            if !is_about_data(&error) {
                return Err(error);
            }
            self.harmed += u64::from(!self.damaged.contains(&id));
            Ok(())
        }
    }
    let mut harm = Harm { reader, damaged, seen: Seen::default(), harmed: 0 };
    match mark::walk_snapshot(reader, snapshot, &mut harm) {
        Err(error) if !is_about_data(&error) => Err(error),
        Err(_) => Ok(harm.harmed + 1),
        Ok(()) => Ok(harm.harmed),
    }
}
