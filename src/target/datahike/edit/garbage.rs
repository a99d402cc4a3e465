//! Blobs that were replaced.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::datahike::node::Address;
use crate::datahike::walk::VisitedLeaf;
use crate::datahike::{Blob, Head, Home, Node, NodeKey, Stamp, Store, StoreKey, Visitor, Walk, field};
use crate::error::{Error, Result};
use crate::record::datom::Value;

/// Blobs read at once.
const AT_ONCE: usize = 64;

/// What is no longer named by any head, but was once.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    /// Replaced by the last commit.
    young: Vec<Address>,
    /// Replaced before that.
    old: Vec<Address>,
}

impl Garbage {
    /// A commit did without these blobs. Where addresses are hashes of content, it may have written some again.
    pub(super) fn replaced(&mut self, replaced: Vec<Address>) {
        self.old.append(&mut self.young);
        self.young = replaced;
    }

    /// Removes what was replaced before the last commit.
    pub(super) fn remove_older(&mut self, home: &dyn Home) -> Result<()> {
        let keys: Vec<_> = self.old.iter().map(StoreKey::address).collect();
        home.remove_many(&keys)?;
        self.old.clear();
        Ok(())
    }

    /// Removes everything but what is still in use.
    pub(super) fn remove_all(&mut self, home: &dyn Home, in_use: &BTreeSet<Address>) -> Result<()> {
        let all: BTreeSet<_> =
            self.old.iter().chain(&self.young).filter(|address| !in_use.contains(*address)).collect();
        let keys: Vec<_> = all.into_iter().map(StoreKey::address).collect();
        home.remove_many(&keys)?;
        (self.old, self.young) = (Vec::new(), Vec::new());
        Ok(())
    }
}

/// The addresses of everything that the heads of a store name, directly or not.
pub fn reachable(home: &Arc<dyn Home>) -> Result<BTreeSet<Address>> {
    let store = &Store::new(Arc::clone(home), None);
    let mut all = BTreeSet::new();
    for branch in store.branches()? {
        of_head(store, &store.head(&branch)?, &mut all)?;
    }
    Ok(all)
}

/// The blobs of databases, nodes, commits and schemas, that no head names.
pub fn unneeded(home: &Arc<dyn Home>) -> Result<Vec<StoreKey>> {
    let needed: BTreeSet<StoreKey> = reachable(home)?.iter().map(StoreKey::address).collect();
    let store = Store::new(Arc::clone(home), None);
    let heads: BTreeSet<StoreKey> = store.branches()?.iter().map(|branch| StoreKey::keyword(branch)).collect();
    let mut all = home.list()?;
    all.retain(|key| !needed.contains(key) && !heads.contains(key));
    of_databases(home, &all)
}

/// Those of some blobs that are what databases are made of, and not what somebody else keeps beside them.
pub fn of_databases(home: &Arc<dyn Home>, keys: &[StoreKey]) -> Result<Vec<StoreKey>> {
    let mut found = Vec::new();
    for keys in keys.chunks(AT_ONCE) {
        for (key, stored) in keys.iter().zip(home.get_many(keys)?) {
            let Some(Ok(blob)) = stored.map(|stored| Blob::decode(&stored, None)) else { continue };
            if matches!(blob.key, Value::Uuid(_)) && is_of_database(&blob) {
                found.push(*key);
            }
        }
    }
    Ok(found)
}

fn is_of_database(blob: &Blob) -> bool {
    if Node::decode(&blob.bytes).is_ok() {
        return true;
    }
    let has = |name: &str| blob.value().is_ok_and(|value| field(&value, name).is_some());
    has("eavt-key") || (has("schema") && has("rschema"))
}

fn of_head(store: &Store, head: &Head, all: &mut BTreeSet<Address>) -> Result<()> {
    all.extend(head.commit);
    all.extend(head.schema_key);
    for (_, _, root) in super::branch::roots(head) {
        Walk::new(store).run(root, &mut Mark(all)).map_err(|error| error.into_error(store))?;
        all.extend(root.address);
    }
    Ok(())
}

/// Takes the addresses of nodes; leaves are not read, as their parents name them.
struct Mark<'a>(&'a mut BTreeSet<Address>);

impl Visitor for Mark<'_> {
    fn skip(&mut self, node: &NodeKey) -> bool {
        // A node that is named twice has the same below.
        node.address.is_none_or(|address| !self.0.insert(address))
    }

    fn branch(&mut self, _: &NodeKey, _: Option<Stamp>, _: &[NodeKey]) -> Result<(), Error> {
        Ok(())
    }

    fn leaf(&mut self, _: &VisitedLeaf<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}
