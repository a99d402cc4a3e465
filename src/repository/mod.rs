//! A repository: unlocked, with everything above it a matter of blobs, trees and snapshots.
//!
//! [`Repository::open`] unlocks; [`Reader`] reads blobs and nodes and verifies every one; [`Writer`] is one session of
//! a backup and follows the client's part of the protocol (`format-spec`, chapter write order). All methods but
//! `create` and `open` block on the backend: call them where blocking is allowed, e.g. in
//! [`tokio::task::spawn_blocking`]; the functions in [`crate::ops`] do so.

mod announced;
mod around;
mod cache;
mod cache_file;
mod caches;
mod create;
mod exclusive;
mod framer;
mod gc;
mod kept;
mod keys;
mod known_place;
mod local_cache;
mod look;
pub mod machine;
mod mirrors;
mod object_cache;
mod open;
mod overlay;
mod packer;
mod random;
mod read_ahead;
mod reader;
mod repack;
mod session;
mod snapshots;
mod store;
mod sync;
mod writer;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use caches::{CacheInfo, caches, remove_cache};
pub use create::{CreateOptions, Protocol};
pub use exclusive::{Exclusive, ExclusiveMarker, Leftovers};
pub use gc::GcRecords;
pub use keys::{KeySlotInfo, Secret};
pub use mirrors::{Mirrors, is_intact};
pub use open::{Intent, OpenOptions};
pub use overlay::OverlayWriter;
pub use random::random;
pub use read_ahead::{ReadAhead, Wanted};
pub use reader::Reader;
pub use repack::Repacker;
pub use session::{OpenSession, Session};
pub use snapshots::{Listed, SnapshotList};
pub use store::Store;
pub use sync::Chain;
pub use writer::{Commit, Delta, Writer, WriterOptions, WriterStatistics};

use around::Around;
use overlay::Overlay;

use crate::crypto::{Keyring, Keys};
use crate::error::Result;
use crate::format::{Config, IndexedPack, ObjectPath};
use crate::id::{KeySlotId, RepositoryId};
use crate::index::Index;
use crate::record::RecordKind;
use crate::tree::{TreeKeys, TreeParameters};

/// An unlocked repository. Clones share everything.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    store: Store,
    config: Config,
    keys: Arc<Keys>,
    keyring: Keyring,
    slot: KeySlotId,
    tree_keys: TreeKeys,
    /// Folder of this repository in the local cache.
    cache: Option<PathBuf>,
    index: RwLock<Index>,
    around: Around,
    overlay: Overlay,
    /// Packs that are stored and that no index object lists yet: whoever commits next lists them first, because what is in
    /// them counts as known.
    unlisted: Mutex<Vec<IndexedPack>>,
    /// What sources want to find again, where there is no cache to keep it in.
    kept: Mutex<VecDeque<([u8; 32], Vec<u8>)>>,
}

impl Repository {
    /// Its random id.
    pub fn id(&self) -> RepositoryId {
        self.0.config.id
    }

    /// What was fixed when it was created.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Makes sure that packs of earlier sessions which no index object lists are still there: a pruner takes them for
    /// orphans, and its record may be gone too. Those that are gone count as condemned. To be asked when a session is
    /// registered, so that none goes later.
    fn look_for_unlisted(&self) -> Result<()> {
        let packs: Vec<_> = self.unlisted().iter().map(|pack| pack.id).collect();
        let mut gone = Vec::new();
        for pack in packs {
            if self.store().stat(&ObjectPath::pack(pack))?.is_none() {
                gone.push(pack);
            }
        }
        self.index().write().unwrap_or_else(PoisonError::into_inner).condemn(&gone);
        Ok(())
    }

    fn unlisted(&self) -> MutexGuard<'_, Vec<IndexedPack>> {
        self.0.unlisted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is, as shown to people.
    pub fn location(&self) -> String {
        self.0.store.location()
    }

    /// Its objects.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Its keys.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.0.keys
    }

    /// All epochs of its master key, for key slots.
    pub fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    /// The key slot that opened it.
    pub fn slot(&self) -> KeySlotId {
        self.0.slot
    }

    /// What shapes its trees of records of this kind.
    pub fn tree_parameters(&self, kind: &'static dyn RecordKind) -> TreeParameters {
        TreeParameters::new(kind, &self.0.tree_keys)
    }

    /// Folder of this repository in the local cache, if there is one.
    pub fn cache(&self) -> Option<&PathBuf> {
        self.0.cache.as_ref()
    }

    /// Which pack holds which blob, as far as it was loaded: see [`Repository::load_index`].
    pub fn index(&self) -> &RwLock<Index> {
        &self.0.index
    }
}
