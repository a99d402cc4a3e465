//! Everything that one place holds, by folder.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};
use crate::format::ObjectPath;
use crate::repository::Store;

/// Objects and their sizes. Sessions and the mark of a mirror are not among them: each place has its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) keys: BTreeMap<ObjectPath, u64>,
    pub(super) lists: BTreeMap<ObjectPath, u64>,
    pub(super) snapshots: BTreeMap<ObjectPath, u64>,
    pub(super) gc: BTreeMap<ObjectPath, u64>,
    pub(super) index: BTreeMap<ObjectPath, u64>,
    pub(super) packs: BTreeMap<ObjectPath, u64>,
}

impl Listing {
    /// Lists snapshots before the index and the index before packs: what a listed object needs is listed too.
    pub(super) fn of(store: &Store) -> Result<Self> {
        let mut lists = folder(store, "mirrors/")?;
        lists.remove(&ObjectPath::mirror_mark());
        Ok(Self {
            keys: folder(store, "keys/")?,
            lists,
            snapshots: folder(store, "snapshots/")?,
            gc: folder(store, "gc/")?,
            index: folder(store, "index/")?,
            packs: folder(store, "packs/")?,
        })
    }
}

pub(super) fn folder(store: &Store, prefix: &str) -> Result<BTreeMap<ObjectPath, u64>> {
    Ok(store.list(prefix)?.into_iter().map(|(path, stat)| (path, stat.size_bytes)).collect())
}

/// Refuses a place that does not hold this very `config`: another repository, an empty disk at the same path.
pub(super) fn expect_same(primary: &Store, mirror: &Store) -> Result<()> {
    let path = ObjectPath::config();
    let config = primary.get(&path, None)?;
    match mirror.find(&path)? {
        Some(found) if found == config => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::AlreadyExists, mirror.location(), "another repository is there")),
        None => Err(Error::new(
            ErrorKind::NoRepository,
            mirror.location(),
            "there is no copy of the repository any more: `mirror add` sets it up again",
        )),
    }
}
