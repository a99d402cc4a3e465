//! What a look around the repository found: gc records, snapshots, and where the index is.
//!
//! Three listings, in an order that is load-bearing (`format-spec`, chapter write order): gc records before the index, lest
//! a record be removed unseen whose packs an older listing of the index still names; snapshots before the index, so that
//! it names everything they reach. They are made at the same time where what the last look saw proves that the order
//! makes no difference:
//!
//! - Numbers of gc records are never used again and the highest stays. When every record since the last look is listed, no
//!   record can have come and gone unseen, and the older ones are remembered. What was removed before the last look was
//!   out of the index by then, for ever.
//! - A snapshot that the last look saw was committed before this listing of the index began.
//!
//! Otherwise the index is listed again, behind the other two.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::Store;
use super::cache_file;
use super::store::Listing;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ObjectPath;
use crate::id::SnapshotId;

/// What the last look saw: sealed objects that stay what they are, so that the next look need not read them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LastLook {
    /// Every gc record that was listed; `None` before the first look.
    pub(super) gc: Option<BTreeMap<u64, Bytes>>,
    /// What stood under `snapshots/`, as far as its length tells that nothing else stands there now.
    pub(super) snapshots: HashMap<SnapshotId, Bytes>,
}

/// The file's content: lists rather than maps, bytes rather than `Bytes`.
#[derive(Serialize, Deserialize)]
struct Stored {
    gc: Option<Vec<(u64, Vec<u8>)>>,
    snapshots: Vec<(SnapshotId, Vec<u8>)>,
}

impl LastLook {
    /// From a file that was read before the look that it is to help began.
    pub(super) fn decode(path: &Path, key: &[u8; 32], bytes: &[u8]) -> Option<Self> {
        let len = cache_file::prove(path, key, bytes)?;
        let stored: Stored = postcard::from_bytes(bytes.get(..len)?).ok()?;
        Some(Self {
            gc: stored.gc.map(|records| records.into_iter().map(|(n, bytes)| (n, bytes.into())).collect()),
            snapshots: stored.snapshots.into_iter().map(|(id, bytes)| (id, bytes.into())).collect(),
        })
    }

    pub(super) fn write(&self, path: &Path, key: &[u8; 32]) {
        let gc = self.gc.as_ref().map(|records| records.iter().map(|(n, bytes)| (*n, bytes.to_vec())).collect());
        let mut snapshots: Vec<_> = self.snapshots.iter().map(|(id, bytes)| (*id, bytes.to_vec())).collect();
        snapshots.sort_unstable_by_key(|(id, _)| *id);
        let encoded = postcard::to_stdvec(&Stored { gc, snapshots }).expect("a vector takes what these types hold");
        if let Err(error) = cache_file::write(path, key, &encoded) {
            tracing::debug!("the local cache keeps nothing: {error}");
        }
    }

    fn snapshot(&self, id: SnapshotId, size_bytes: u64) -> Option<Bytes> {
        self.snapshots.get(&id).filter(|bytes| bytes.len() as u64 == size_bytes).cloned()
    }

    /// Whether the index may have been listed at the same time as these.
    fn proves_order(&self, gc: &[(u64, ObjectPath)], snapshots: &[(SnapshotId, u64, ObjectPath)]) -> bool {
        let newest = gc.iter().map(|(n, _)| *n).max().unwrap_or(0);
        let all_since = match &self.gc {
            // Where there is no record there never was one.
            None => newest == 0,
            Some(seen) => {
                let last = seen.keys().next_back().copied().unwrap_or(0);
                let since = gc.iter().filter(|(n, _)| *n > last).count() as u64;
                newest >= last && since == newest - last
            }
        };
        all_since && snapshots.iter().all(|(id, size_bytes, _)| self.snapshot(*id, *size_bytes).is_some())
    }
}

/// An object's bytes; none when it was removed since it was listed.
pub(super) type Found = Result<Option<Bytes>>;

/// What a look found. Each part serves once: it grows old.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) gc: Option<GcFound>,
    pub(super) snapshots: Option<Result<Vec<(SnapshotId, u64, Found)>>>,
    pub(super) index: Option<Result<Listing>>,
}

/// The gc records listed, and those of the last look that are not any more: index objects of the same look may still name
/// their packs.
pub(super) type GcFound = Result<(Vec<(u64, Found)>, Vec<(u64, Bytes)>)>;

/// Which listings are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Snapshots,
    Everything,
}

/// Listings on their way.
pub(super) struct Looking {
    gc: Option<JoinHandle<Result<Listing>>>,
    snapshots: JoinHandle<Result<Listing>>,
    index: Option<JoinHandle<Result<Listing>>>,
    wanted: Wanted,
}

impl Looking {
    /// Asks for the listings. The index is among them only with a last look that may prove it to be worth something; that
    /// must have been read before this is called.
    pub(super) fn start(store: &Store, wanted: Wanted, has_last: bool) -> Self {
        let everything = wanted == Wanted::Everything;
        Self {
            gc: everything.then(|| store.start_list("gc/")),
            snapshots: store.start_list("snapshots/"),
            index: (everything && has_last).then(|| store.start_list("index/")),
            wanted,
        }
    }

    /// Waits for the listings and reads what the last look did not see.
    pub(super) async fn finish(self, store: Store, last: Arc<LastLook>) -> Look {
        let gc = match self.gc {
            Some(gc) => Some(joined(gc).await.map(|listing| listed_gc(&listing))),
            None => None,
        };
        let snapshots = joined(self.snapshots).await.map(|listing| listed_snapshots(&listing));
        let in_order = match (&gc, &snapshots) {
            (Some(Ok(gc)), Ok(snapshots)) => last.proves_order(gc, snapshots),
            _ => false,
        };
        let index = match self.index {
            Some(index) if in_order => Some(index),
            _ => (self.wanted == Wanted::Everything).then(|| store.start_list("index/")),
        };
        let gc = async {
            match gc {
                Some(Ok(listed)) => Some(Ok(read_gc(&store, listed, &last).await)),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            }
        };
        let snapshots = async {
            match snapshots {
                Ok(listed) => Ok(read_snapshots(&store, listed, &last).await),
                Err(error) => Err(error),
            }
        };
        let index = async {
            match index {
                Some(index) => Some(joined(index).await),
                None => None,
            }
        };
        let (gc, snapshots, index) = tokio::join!(gc, snapshots, index);
        Look { gc, snapshots: Some(snapshots), index }
    }
}

/// gc records and their numbers.
pub(super) fn listed_gc(listing: &Listing) -> Vec<(u64, ObjectPath)> {
    listing.iter().filter_map(|(path, _)| Some((path.name().parse().ok()?, path.clone()))).collect()
}

/// What stands under `snapshots/`, and how long it is.
pub(super) fn listed_snapshots(listing: &Listing) -> Vec<(SnapshotId, u64, ObjectPath)> {
    listing.iter().filter_map(|(path, stat)| Some((path.name().parse().ok()?, stat.size_bytes, path.clone()))).collect()
}

/// The records listed, read as far as the last look does not have them, and what it has besides.
pub(super) async fn read_gc(
    store: &Store,
    listed: Vec<(u64, ObjectPath)>,
    last: &LastLook,
) -> (Vec<(u64, Found)>, Vec<(u64, Bytes)>) {
    let mut seen = last.gc.clone().unwrap_or_default();
    let found = listed.into_iter().map(|(n, path)| (n, path, seen.remove(&n))).collect();
    (read_rest(store, found).await, seen.into_iter().collect())
}

/// What is listed, read as far as the last look does not have it.
pub(super) async fn read_snapshots(
    store: &Store,
    listed: Vec<(SnapshotId, u64, ObjectPath)>,
    last: &LastLook,
) -> Vec<(SnapshotId, u64, Found)> {
    let found = listed.into_iter().map(|(id, size, path)| ((id, size), path, last.snapshot(id, size))).collect();
    read_rest(store, found).await.into_iter().map(|((id, size), found)| (id, size, found)).collect()
}

async fn read_rest<K>(store: &Store, found: Vec<(K, ObjectPath, Option<Bytes>)>) -> Vec<(K, Found)> {
    let missing = found.iter().filter(|(_, _, bytes)| bytes.is_none()).map(|(_, path, _)| path.clone()).collect();
    let mut read = store.find_all(missing).await.into_iter();
    let mut next = || read.next().expect("there is an answer to each request");
    found.into_iter().map(|(key, _, bytes)| (key, bytes.map_or_else(&mut next, |bytes| Ok(Some(bytes))))).collect()
}

async fn joined<T>(request: JoinHandle<Result<T>>) -> Result<T> {
    request.await.map_err(|e| Error::new(ErrorKind::Failed, "", "a request was cancelled").because(e))?
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn snapshot(n: u8) -> SnapshotId {
        SnapshotId::new([n; 16])
    }

    fn records(numbers: &[u64]) -> Vec<(u64, ObjectPath)> {
        numbers.iter().map(|n| (*n, ObjectPath::gc(*n))).collect()
    }

    fn listed(snapshots: &[(u8, u64)]) -> Vec<(SnapshotId, u64, ObjectPath)> {
        snapshots.iter().map(|(n, size)| (snapshot(*n), *size, ObjectPath::snapshot(snapshot(*n)))).collect()
    }

    fn last(gc: Option<&[u64]>, snapshots: &[(u8, usize)]) -> LastLook {
        LastLook {
            gc: gc.map(|numbers| numbers.iter().map(|n| (*n, Bytes::from_static(b"record"))).collect()),
            snapshots: snapshots.iter().map(|(n, size)| (snapshot(*n), vec![7; *size].into())).collect(),
        }
    }

    #[test]
    fn one_round_is_enough_when_no_record_can_have_come_and_gone() {
        let proves = |seen: Option<&[u64]>, now: &[u64]| last(seen, &[]).proves_order(&records(now), &[]);
        assert!(proves(None, &[]) && proves(Some(&[]), &[]), "there never was a record");
        assert!(!proves(None, &[1]), "never looked");
        assert!(proves(Some(&[]), &[1, 2]), "all that came since are there");
        assert!(!proves(Some(&[]), &[2]), "the first has come and gone");
        assert!(proves(Some(&[2, 5]), &[2, 5]) && proves(Some(&[2, 5]), &[5]), "2 is remembered");
        assert!(proves(Some(&[2, 5]), &[5, 6, 7]));
        assert!(!proves(Some(&[2, 5]), &[5, 7]) && !proves(Some(&[2, 5]), &[7]));
        assert!(!proves(Some(&[2, 5]), &[2]) && !proves(Some(&[2, 5]), &[]), "another repository");
    }

    #[test]
    fn one_round_is_enough_when_every_snapshot_was_seen() {
        let last = last(Some(&[]), &[(1, 500), (2, 600)]);
        let proves = |now: &[(u8, u64)]| last.proves_order(&[], &listed(now));
        assert!(proves(&[(1, 500), (2, 600)]) && proves(&[(2, 600)]));
        assert!(!proves(&[(1, 500), (3, 500)]), "a new one");
        assert!(!proves(&[(1, 306)]), "a tombstone");
    }

    #[test]
    fn the_file_says_what_was_seen_and_nothing_when_spoilt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("look");
        for look in [last(None, &[]), last(Some(&[1, 9]), &[(1, 5), (2, 70)])] {
            look.write(&path, &[1; 32]);
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(LastLook::decode(&path, &[1; 32], &bytes).unwrap(), look);
            assert!(LastLook::decode(&path, &[2; 32], &bytes).is_none());
            assert!(LastLook::decode(&path, &[1; 32], &bytes[1..]).is_none());
        }
    }
}
