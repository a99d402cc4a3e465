//! What a repository holds and what of it is needed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use crate::backend::ObjectStat;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{BlobEntry, IndexedPack, ObjectPath, Snapshot};
use crate::id::{BlobId, PackId, SnapshotId};
use crate::index::{Index, MarkSet};
use crate::ops::mark::{self, Reached};
use crate::progress::{Event, Observer};
use crate::repository::{GcRecords, Reader, Repository};

/// A store's clocks are less than this apart.
const CLOCKS_DIFFER_MS: i64 = 10 * 60 * 1000;

/// Everything that decides what may go, read in the order of the protocol: gc records, snapshots, index; then marked.
pub(super) struct Survey {
    pub(super) gc: GcRecords,
    /// Ids of the live snapshots.
    pub(super) snapshots: HashSet<SnapshotId>,
    pub(super) marks: Marks,
    /// Pack objects that no index object lists and no gc record condemns, with their sizes.
    pub(super) orphans: Vec<(PackId, u64)>,
}

/// The blobs that live snapshots reach.
pub(super) struct Marks {
    set: MarkSet,
    /// Of these, the copies that are needed for more than deltas.
    reached: MarkSet,
    /// Blobs whose every copy is in a condemned pack: to be rescued.
    pub(super) homeless: HashSet<BlobId>,
    /// Bases of needed deltas whose every whole copy is in a condemned pack: to be rescued whole.
    pub(super) homeless_bases: HashSet<BlobId>,
}

impl Survey {
    pub(super) fn take(repository: &Repository, observer: &dyn Observer) -> Result<Self> {
        observer.event(Event::Stage { name: "reading snapshots", total: None });
        let gc = repository.gc_records()?;
        let packs = list_packs(repository)?;
        let snapshots = repository.snapshots()?.into_live()?;
        // A session that ends between this listing and the next has its packs in the index by then.
        let mut oldest = i64::MAX;
        for session in repository.open_sessions()? {
            if repository.outcome(session.id)?.is_none() {
                oldest = oldest.min(session.registered_ms.saturating_sub(CLOCKS_DIFFER_MS));
            }
        }
        repository.load_index(&gc)?;
        let marks = Marks::of(repository, &snapshots, observer)?;
        let index = repository.index().read().unwrap_or_else(PoisonError::into_inner);
        // What is older than every open session is of none of them: a session lists all its packs before another goes on in
        // its place. Were it wrong, that session's snapshot would be rescued like any other, or refuse to commit.
        let orphan = |pack: &PackId, stat: &ObjectStat| {
            stat.modified_ms < oldest && !index.has_pack(pack) && !gc.condemned.contains(pack)
        };
        let orphans = packs.iter().filter(|(pack, stat)| orphan(pack, stat));
        let orphans = orphans.map(|(pack, stat)| (*pack, stat.size_bytes)).collect();
        drop(index);
        Ok(Self { gc, snapshots: snapshots.iter().map(|s| s.id).collect(), marks, orphans })
    }
}

impl Survey {
    /// Which blobs of a pack must stay, over all its frames in order.
    pub(super) fn live_flags(&self, repository: &Repository, pack: &IndexedPack) -> Vec<bool> {
        let index = repository.index().read().unwrap_or_else(PoisonError::into_inner);
        let blobs = pack.directory.frames.iter().flat_map(|frame| &frame.blobs);
        blobs.map(|blob| self.marks.needs(&index, pack.id, blob)).collect()
    }
}

impl Marks {
    pub(super) fn of(repository: &Repository, snapshots: &[Snapshot], observer: &dyn Observer) -> Result<Self> {
        observer.event(Event::Stage { name: "marking what snapshots reach", total: Some(snapshots.len() as u64) });
        let ordinals = repository.index().read().unwrap_or_else(PoisonError::into_inner).ordinals();
        let reader = repository.reader();
        let mut marking = Marking {
            reader: &reader,
            set: MarkSet::new(ordinals),
            walked: MarkSet::new(ordinals),
            homeless: HashSet::new(),
            homeless_bases: HashSet::new(),
        };
        for (done, snapshot) in snapshots.iter().enumerate() {
            mark::walk_snapshot(&reader, snapshot, &mut marking)?;
            observer.event(Event::Progress { done: done as u64 + 1 });
        }
        let Marking { set, walked: reached, homeless, homeless_bases, .. } = marking;
        Ok(Self { set, reached, homeless, homeless_bases })
    }

    /// Whether nothing that is needed is in condemned packs alone.
    pub(super) fn all_at_home(&self) -> bool {
        self.homeless.is_empty() && self.homeless_bases.is_empty()
    }

    /// Whether this very copy of a blob must stay: the blob is needed and this is the copy that readers are sent to.
    pub(super) fn needs(&self, index: &Index, pack: PackId, blob: &BlobEntry) -> bool {
        index.ordinal(&blob.id).is_some_and(|ordinal| self.set.contains(ordinal))
            && index.copies(&blob.id).iter().any(|copy| copy.pack == pack && self.set.contains(copy.ordinal))
    }
}

impl Marks {
    /// Whether a blob that must stay is needed for deltas alone.
    pub(super) fn is_mere_base(&self, index: &Index, blob: &BlobEntry) -> bool {
        index.ordinal(&blob.id).is_some_and(|ordinal| !self.reached.contains(ordinal))
    }
}

struct Marking<'a> {
    reader: &'a Reader,
    /// Copies that must stay.
    set: MarkSet,
    /// Blobs that were reached as such, not only as the base of a delta.
    walked: MarkSet,
    homeless: HashSet<BlobId>,
    homeless_bases: HashSet<BlobId>,
}

impl Reached for Marking<'_> {
    fn blob(&mut self, id: BlobId) -> Result<bool> {
        let index = self.reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
        // Of every delta copy, as any of them may be the one that is kept or rescued.
        for base in index.bases(&id) {
            // A copy of the base that is itself a delta is no help to what names it.
            match index.ordinal_whole(&base) {
                Some(ordinal) => {
                    self.set.insert(ordinal);
                }
                None => {
                    self.homeless_bases.insert(base);
                }
            }
        }
        if let Some(ordinal) = index.ordinal(&id) {
            self.set.insert(ordinal);
            return Ok(self.walked.insert(ordinal));
        }
        if index.find_anywhere(&id).is_none() {
            let message = "is needed by a snapshot and in no pack";
            return Err(Error::new(ErrorKind::Damaged, format!("blob {id}"), message));
        }
        Ok(self.homeless.insert(id))
    }

    fn unreadable(&mut self, _: BlobId, error: Error) -> Result<()> {
        Err(error)
    }
}

/// Every pack object with its size and age.
pub(super) fn list_packs(repository: &Repository) -> Result<HashMap<PackId, ObjectStat>> {
    let listed = repository.store().list("packs/")?;
    Ok(listed.into_iter().filter_map(|(path, stat)| Some((pack_id(&path)?, stat))).collect())
}

fn pack_id(path: &ObjectPath) -> Option<PackId> {
    path.name().parse().ok()
}

/// Every pack of the index that is not condemned.
pub(super) fn indexed_packs(repository: &Repository) -> Result<Vec<Arc<IndexedPack>>> {
    repository.index().read().unwrap_or_else(PoisonError::into_inner).packs().collect()
}
