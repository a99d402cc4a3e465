//! What the primary holds, and what it says about it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::PoisonError;

use super::listing::{Listing, folder};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Outcome};
use crate::id::{IndexId, PackId};
use crate::repository::{Repository, Store};

/// How often the primary is listed again when its index changes meanwhile.
const LISTINGS: usize = 5;

/// What an object under `snapshots/` of the primary says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A snapshot, of this time.
    Live(i64),
    /// A tombstone or a fence.
    Dead,
    /// It does not open.
    Damaged,
}

/// The primary at one moment.
pub(super) struct Survey {
    pub(super) listing: Listing,
    pub(super) fates: HashMap<ObjectPath, Fate>,
    pub(super) condemned: HashSet<PackId>,
    /// Packs that index objects list and no gc record condemns.
    pub(super) indexed: HashSet<PackId>,
}

impl Survey {
    /// In the order of the protocol: what a listed snapshot reaches is in the index that is listed after it. The
    /// repository's index is loaded from the same listing.
    pub(super) fn take(repository: &Repository, primary: &Store) -> Result<Self> {
        for _ in 0..LISTINGS {
            let keys = folder(primary, "keys/")?;
            let mut lists = folder(primary, "mirrors/")?;
            lists.remove(&ObjectPath::mirror_mark());
            let mut snapshots = std::collections::BTreeMap::new();
            let mut fates = HashMap::new();
            for listed in repository.snapshots()?.all {
                let path = ObjectPath::snapshot(listed.id);
                let fate = match &listed.outcome {
                    Ok(Outcome::Committed(snapshot)) => Fate::Live(snapshot.time_ms),
                    Ok(_) => Fate::Dead,
                    Err(error) if error.kind() == ErrorKind::Damaged => Fate::Damaged,
                    Err(error) => return Err(Error::new(error.kind(), error.object(), error.message())),
                };
                snapshots.insert(path.clone(), listed.size_bytes);
                fates.insert(path, fate);
            }
            let gc_paths = folder(primary, "gc/")?;
            let gc = repository.gc_records()?;
            repository.load_index(&gc)?;
            let index = folder(primary, "index/")?;
            let packs = folder(primary, "packs/")?;
            let loaded = repository.index().read().unwrap_or_else(PoisonError::into_inner);
            let known: BTreeSet<IndexId> = loaded.known_objects().iter().copied().collect();
            let listed: BTreeSet<IndexId> = index.keys().filter_map(|path| path.name().parse().ok()).collect();
            if known != listed {
                continue;
            }
            let indexed = loaded.objects().map(|(_, pack)| pack).filter(|pack| !gc.condemned.contains(pack)).collect();
            let listing = Listing { keys, lists, snapshots, gc: gc_paths, index, packs };
            return Ok(Self { listing, fates, condemned: gc.condemned, indexed });
        }
        Err(Error::new(ErrorKind::Transient, "index", "changes faster than it can be read"))
    }
}
