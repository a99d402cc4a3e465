//! What was at a location when it was last opened: the repository's config and the key slot that opened it.
//!
//! Both only save waiting: with them the keys can be made, and the first requests sent, while the store is asked whether
//! they are still there, byte for byte. Until it has said so nothing else that it says is used; a slot that was removed
//! opens nothing any more. The file holds what the store holds: whoever can read it can try passwords, as with the store.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cache_file;
use crate::id::{KeySlotId, RepositoryId};

/// The hash of these files needs no secret: it tells damage only. The store tells the rest.
const KEY: [u8; 32] = *b"packstone local cache: locations";

/// What was at a location.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownPlace {
    pub(super) location: String,
    pub(super) repository: RepositoryId,
    pub(super) slot: KeySlotId,
    config: Vec<u8>,
    slot_object: Vec<u8>,
}

impl KnownPlace {
    pub(super) fn new(location: String, repository: RepositoryId, config: &[u8], slot: (KeySlotId, &[u8])) -> Self {
        Self { location, repository, slot: slot.0, config: config.to_vec(), slot_object: slot.1.to_vec() }
    }

    /// What the cache says of a location.
    pub(super) fn read(cache: &Path, location: &str) -> Option<Self> {
        let path = path(cache, location);
        let bytes = cache_file::read(&path, &KEY)?;
        postcard::from_bytes(&bytes).ok().filter(|known: &Self| known.location == location)
    }

    pub(super) fn write(&self, cache: &Path) {
        let encoded = postcard::to_stdvec(self).expect("a vector takes what these types hold");
        if let Err(error) = cache_file::write(&path(cache, &self.location), &KEY, &encoded) {
            tracing::debug!("the local cache keeps nothing: {error}");
        }
    }

    /// Forgets what was at a location.
    pub(super) fn remove(cache: &Path, location: &str) {
        let _ = std::fs::remove_file(path(cache, location));
    }

    /// The locations that the cache knows, with the files that say so.
    pub(super) fn all(cache: &Path) -> Vec<(PathBuf, Self)> {
        let Ok(entries) = std::fs::read_dir(folder(cache)) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        paths
            .filter_map(|path| {
                let known = postcard::from_bytes(&cache_file::read(&path, &KEY)?).ok()?;
                Some((path, known))
            })
            .collect()
    }

    pub(super) fn config(&self) -> Bytes {
        Bytes::copy_from_slice(&self.config)
    }

    pub(super) fn slot_object(&self) -> &[u8] {
        &self.slot_object
    }
}

fn folder(cache: &Path) -> PathBuf {
    cache.join("locations")
}

fn path(cache: &Path, location: &str) -> PathBuf {
    folder(cache).join(blake3::keyed_hash(&KEY, location.as_bytes()).to_hex().as_str())
}
