//! What each snapshot takes, and what forgetting it would free.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::{restored, stored_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Snapshot;
use crate::id::{BlobId, SnapshotId};
use crate::ops::mark::{self, Reached};
use crate::ops::seen::Seen;
use crate::ops::{self};
use crate::progress::{Event, Observer};
use crate::repository::{Reader, Repository};

/// What a snapshot takes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SnapshotSize {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What restoring its files would write; nothing for other snapshots.
    pub restore: super::RestoreSize,
    /// Blobs that it reaches, with the bases of deltas.
    pub blobs: u64,
    /// Bytes that those take in packs, each with its share of its frame.
    pub stored_bytes: u64,
    /// Blobs that no other snapshot reaches.
    pub exclusive_blobs: u64,
    /// Bytes that those take: what is free once the snapshot is forgotten and pruned.
    pub exclusive_bytes: u64,
}

/// The sizes of some snapshots, compared with all there are, in the order of time.
///
/// Every snapshot of the repository is walked. Four bytes of memory are used for each blob, and two bits.
pub async fn snapshot_sizes(
    repository: &Repository,
    wanted: Vec<SnapshotId>,
    observer: Arc<dyn Observer>,
) -> Result<Vec<SnapshotSize>> {
    let repository = repository.clone();
    ops::blocking(move || {
        let mut live = repository.snapshots()?.into_live()?;
        live.sort_by_key(|snapshot| (snapshot.time_ms, snapshot.id));
        repository.load_index(&repository.gc_records()?)?;
        let restore: HashMap<_, _> = restored::sizes(&repository, &wanted, &observer)?.into_iter().collect();
        let reader = repository.reader();
        observer.event(Event::Stage { name: "adding up snapshots", total: Some(live.len() as u64) });
        let mut walk = Walk::new(&reader, live.len())?;
        let mut totals = Vec::with_capacity(live.len());
        for (number, snapshot) in (0..).zip(&live) {
            totals.push(walk.snapshot(number, snapshot)?);
            observer.event(Event::Progress { done: u64::from(number) + 1 });
        }
        let owned = live.into_iter().zip(totals).zip(walk.owners.exclusive);
        let sizes = owned.filter(|((snapshot, _), _)| wanted.contains(&snapshot.id));
        let sizes = sizes.map(|((snapshot, total), exclusive)| SnapshotSize {
            restore: restore.get(&snapshot.id).copied().unwrap_or_default(),
            blobs: total.blobs,
            stored_bytes: total.bytes,
            exclusive_blobs: exclusive.blobs,
            exclusive_bytes: exclusive.bytes,
            snapshot,
        });
        Ok(sizes.collect())
    })
    .await
}

/// Blobs and the bytes they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    blobs: u64,
    bytes: u64,
}

/// Nobody has reached the blob.
const NOBODY: u32 = 0;
/// More than one snapshot has.
const SHARED: u32 = u32::MAX;

/// Which snapshot alone reaches a blob, for each blob.
struct Owners {
    /// One more than the number of the snapshot, [`NOBODY`] or [`SHARED`], by ordinal.
    owners: Vec<u32>,
    exclusive: Vec<Total>,
}

impl Owners {
    fn new(ordinals: usize, snapshots: usize) -> Self {
        Self { owners: vec![NOBODY; ordinals], exclusive: vec![Total::default(); snapshots] }
    }

    /// A snapshot reaches a blob; it may do so more than once.
    fn reach(&mut self, snapshot: u32, ordinal: usize, bytes: u64) {
        if ordinal >= self.owners.len() {
            self.owners.resize(ordinal + 1, NOBODY);
        }
        let owner = &mut self.owners[ordinal];
        match *owner {
            SHARED => {}
            NOBODY => {
                *owner = snapshot + 1;
                let total = &mut self.exclusive[snapshot as usize];
                total.blobs += 1;
                total.bytes += bytes;
            }
            other if other == snapshot + 1 => {}
            other => {
                *owner = SHARED;
                let total = &mut self.exclusive[other as usize - 1];
                total.blobs -= 1;
                total.bytes -= bytes;
            }
        }
    }
}

struct Walk<'a> {
    reader: &'a Reader,
    owners: Owners,
    /// Ordinals of the index; blobs that it has only in condemned packs are numbered after them.
    ordinals: u64,
    others: HashMap<BlobId, u64>,
    snapshot: u32,
    /// Blobs of this snapshot that were looked into, and those that were counted: the base of a delta is counted whether it
    /// is reached as such or not.
    entered: Seen,
    counted: Seen,
    total: Total,
}

impl<'a> Walk<'a> {
    fn new(reader: &'a Reader, snapshots: usize) -> Result<Self> {
        let ordinals = reader.repository().index().read().unwrap_or_else(PoisonError::into_inner).ordinals();
        let len = usize::try_from(ordinals).map_err(|_| Error::new(ErrorKind::Failed, "index", "too many blobs"))?;
        Ok(Self {
            reader,
            owners: Owners::new(len, snapshots),
            ordinals,
            others: HashMap::new(),
            snapshot: 0,
            entered: Seen::default(),
            counted: Seen::default(),
            total: Total::default(),
        })
    }

    fn snapshot(&mut self, number: u32, snapshot: &Snapshot) -> Result<Total> {
        self.snapshot = number;
        (self.entered, self.counted, self.total) = (Seen::default(), Seen::default(), Total::default());
        mark::walk_snapshot(self.reader, snapshot, self)?;
        Ok(self.total)
    }

    /// Counts a blob, and the base that reading it takes.
    fn count(&mut self, id: BlobId) -> Result<()> {
        let index = self.reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
        let mut next = Some(id);
        while let Some(id) = next.filter(|id| self.counted.insert(&index, *id)) {
            let location = index.find_anywhere(&id);
            let location =
                location.ok_or_else(|| Error::new(ErrorKind::Damaged, format!("blob {id}"), "not in the index"))?;
            let bytes = stored_bytes(&location);
            let other = self.ordinals + self.others.len() as u64;
            let ordinal = index.ordinal(&id).unwrap_or_else(|| *self.others.entry(id).or_insert(other));
            let at = usize::try_from(ordinal).map_err(|_| Error::new(ErrorKind::Failed, "index", "too many blobs"))?;
            self.owners.reach(self.snapshot, at, bytes);
            self.total.blobs += 1;
            self.total.bytes += bytes;
            next = location.frame().base;
        }
        Ok(())
    }
}

impl Reached for Walk<'_> {
    fn blob(&mut self, id: BlobId) -> Result<bool> {
        let new = {
            let index = self.reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
            self.entered.insert(&index, id)
        };
        if new {
            self.count(id)?;
        }
        Ok(new)
    }

    fn unreadable(&mut self, _: BlobId, error: Error) -> Result<()> {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn owners_alone_reach_what_they_own(
            snapshots in prop::collection::vec(prop::collection::vec(0_usize..40, 0..60), 0..8),
        ) {
            let size = |blob: usize| blob as u64 * 7 + 1;
            let mut owners = Owners::new(30, snapshots.len());
            for (number, blobs) in (0..).zip(&snapshots) {
                blobs.iter().for_each(|blob| owners.reach(number, *blob, size(*blob)));
            }
            for (i, blobs) in snapshots.iter().enumerate() {
                let others = snapshots.iter().enumerate().filter(|(j, _)| *j != i);
                let others: BTreeSet<usize> = others.flat_map(|(_, blobs)| blobs).copied().collect();
                let own: BTreeSet<usize> = blobs.iter().copied().filter(|blob| !others.contains(blob)).collect();
                let expected = Total { blobs: own.len() as u64, bytes: own.iter().map(|blob| size(*blob)).sum() };
                prop_assert_eq!(owners.exclusive[i], expected);
            }
        }
    }
}
