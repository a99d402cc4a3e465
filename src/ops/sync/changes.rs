//! What is followed: a database that can be backed up whole, and tells what has changed since.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Result;
use crate::format::{NamedRoot, Snapshot, TreeChanges};
use crate::ops::BackupOptions;
use crate::progress::Observer;
use crate::repository::Repository;

/// A database that can be followed. Its calls block.
pub trait Followed: Send {
    /// As the user would write it.
    fn location(&self) -> String;

    /// Backs up what the database holds now, as far as the repository does not have it; returns the committed snapshot, or
    /// the parent where nothing has changed.
    fn back_up(
        &mut self,
        repository: &Repository,
        options: &BackupOptions,
        observer: &dyn Observer,
    ) -> Result<Snapshot>;

    /// The differences from the state of a snapshot that [`Followed::back_up`] made.
    fn changes(&mut self, repository: &Repository, since: &Snapshot) -> Result<Box<dyn Changes>>;
}

/// The differences of a database, one after another.
pub trait Changes: Send {
    /// Waits until the database has changed since the last [`Changes::next`], or this long; whether it may have. Asks the
    /// repository nothing.
    fn wait(&mut self, timeout: Duration) -> Result<bool>;

    /// What has changed since the last call.
    fn next(&mut self) -> Result<Step>;

    /// What the cursor of a snapshot of the state after the last [`Changes::next`] is to be, whose trees these are. Empty where
    /// that call saw changes and could not tell them all: a cursor must never be of more than is in the trees.
    fn cursor(&mut self, repository: &Repository, roots: &[NamedRoot]) -> Vec<u8>;
}

/// What [`Changes::next`] found.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Unchanged,
    /// This.
    Changed(Changed),
    /// It cannot be told: only a backup can, for this reason.
    Lost(String),
}

/// What one or more whole transactions have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// What changes in the trees, keys ascending, values whole.
    pub trees: Vec<TreeChanges>,
    /// The greatest transaction id of the database, of its main branch where it has several.
    pub t: i64,
    /// Transactions it is about; 0 when only what is not of any transaction has changed.
    pub transactions: u64,
    /// Properties of the state, as a snapshot has them: all, or those that have other values.
    pub properties: Vec<(String, String)>,
    /// The source's own statement of where it stands.
    pub consistency_point: String,
}

impl Changed {
    /// Takes in what came later.
    pub(in crate::ops) fn then(&mut self, later: Self) {
        for changes in later.trees {
            match self.trees.binary_search_by(|tree| tree.name.cmp(&changes.name)) {
                Ok(at) => merge(&mut self.trees[at], changes),
                Err(at) => self.trees.insert(at, changes),
            }
        }
        for (name, text) in later.properties {
            match self.properties.binary_search_by(|(known, _)| known.cmp(&name)) {
                Ok(at) => self.properties[at].1 = text,
                Err(at) => self.properties.insert(at, (name, text)),
            }
        }
        self.t = later.t;
        self.transactions += later.transactions;
        self.consistency_point = later.consistency_point;
    }

    /// The length of its longest key.
    pub(super) fn longest_key(&self) -> usize {
        let keys = self.trees.iter().flat_map(|tree| tree.put.iter().chain(&tree.removed));
        keys.map(Vec::len).max().unwrap_or(0)
    }
}

/// Of what is said of one key the later counts.
fn merge(tree: &mut TreeChanges, later: TreeChanges) {
    let name = std::mem::take(&mut tree.name);
    let merged: BTreeMap<Vec<u8>, bool> = keys(std::mem::take(tree)).chain(keys(later)).collect();
    *tree = tree_changes(name, merged);
}

/// The keys that change in a tree, and whether each is put: what is put of what is also removed comes later.
pub(in crate::ops) fn keys(changes: TreeChanges) -> impl Iterator<Item = (Vec<u8>, bool)> {
    let TreeChanges { put, removed, .. } = changes;
    removed.into_iter().map(|key| (key, false)).chain(put.into_iter().map(|key| (key, true)))
}

/// Ascending keys that change in a tree, each of which is put or removed.
pub(super) fn tree_changes(name: String, keys: impl IntoIterator<Item = (Vec<u8>, bool)>) -> TreeChanges {
    let mut changes = TreeChanges { name, ..TreeChanges::default() };
    for (key, put) in keys {
        if put { changes.put.push(key) } else { changes.removed.push(key) }
    }
    changes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Names of trees, keys, and whether they are put.
    fn steps() -> impl Strategy<Value = Vec<Vec<(bool, u8, bool)>>> {
        vec(vec((any::<bool>(), 0u8..12, any::<bool>()), 0..8), 1..6)
    }

    fn changed(step: &[(bool, u8, bool)]) -> Changed {
        let mut trees: BTreeMap<&str, BTreeMap<u8, bool>> = BTreeMap::new();
        for (is_log, key, put) in step {
            trees.entry(if *is_log { "log" } else { "exceptions" }).or_default().insert(*key, *put);
        }
        let keys = |tree: &BTreeMap<u8, bool>, wanted: bool| {
            tree.iter().filter(|(_, put)| **put == wanted).map(|(key, _)| vec![*key]).collect()
        };
        let trees = trees.into_iter().map(|(name, tree)| TreeChanges {
            name: name.to_owned(),
            put: keys(&tree, true),
            removed: keys(&tree, false),
        });
        Changed { trees: trees.collect(), transactions: 1, ..Changed::default() }
    }

    fn apply(state: &mut BTreeSet<(String, Vec<u8>)>, changed: &Changed) {
        for tree in &changed.trees {
            for key in &tree.removed {
                state.remove(&(tree.name.clone(), key.clone()));
            }
            for key in &tree.put {
                state.insert((tree.name.clone(), key.clone()));
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_merged_does_what_its_parts_do(steps in steps()) {
            let (mut one_by_one, mut at_once) = (BTreeSet::new(), BTreeSet::new());
            let mut merged = Changed::default();
            for step in &steps {
                apply(&mut one_by_one, &changed(step));
                merged.then(changed(step));
            }
            prop_assert!(merged.trees.is_sorted_by(|a, b| a.name < b.name));
            prop_assert_eq!(merged.transactions, steps.len() as u64);
            apply(&mut at_once, &merged);
            prop_assert_eq!(one_by_one, at_once);
        }
    }
}
