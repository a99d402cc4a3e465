//! Transactions that wait to share a commit.

use std::collections::BTreeMap;

use crate::format::TreeChanges;
use crate::ops::datoms::{KeyChanges, root_names};
use crate::ops::sync::{self, Changed};

/// Transactions that wait for a commit.
pub(super) struct Held {
    /// The greatest transaction id.
    pub(super) t: i64,
    /// How many.
    pub(super) transactions: u64,
    /// What they change of the database's properties.
    pub(super) properties: Vec<(String, String)>,
    /// What they change, by branch.
    pub(super) changes: BTreeMap<String, KeyChanges>,
}

impl Held {
    pub(super) fn of(branches: Vec<String>, changed: Changed) -> Self {
        let Changed { trees, t, transactions, properties, .. } = changed;
        Self { t, transactions, properties, changes: by_branch(branches, trees) }
    }

    /// Takes in what came later; what is undone disappears.
    pub(super) fn then(&mut self, later: Self) {
        self.t = later.t;
        self.transactions += later.transactions;
        self.properties.extend(later.properties);
        for (branch, changes) in later.changes {
            let earlier = self.changes.remove(&branch).unwrap_or_default();
            self.changes.insert(branch, earlier.then(changes));
        }
    }
}

/// The changes of trees by the branches whose trees they are.
fn by_branch(branches: Vec<String>, trees: Vec<TreeChanges>) -> BTreeMap<String, KeyChanges> {
    let mut trees: BTreeMap<String, TreeChanges> = trees.into_iter().map(|tree| (tree.name.clone(), tree)).collect();
    let mut keys = |name: &str| {
        let mut all: Vec<_> = trees.remove(name).map(sync::keys).into_iter().flatten().collect();
        all.sort_unstable();
        all
    };
    let mut all = BTreeMap::new();
    for branch in branches {
        let (log, exceptions) = root_names(Some(&branch));
        let changes = KeyChanges { log: keys(&log), exceptions: keys(&exceptions) };
        if !changes.is_empty() {
            all.insert(branch, changes);
        }
    }
    all
}
