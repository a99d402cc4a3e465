//! What a chain of differences comes to.

use std::collections::BTreeMap;

use super::changes::keys;
use crate::format::{NamedRoot, Segment, Snapshot, TreeChanges};
use crate::ops::datoms::is_exceptions;

/// Bytes that a key takes in memory beside its own.
const KEY_OVERHEAD_BYTES: usize = 64;

/// The changes of any number of differences: of those of one key the last counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Net {
    /// By tree, then by key: whether it is put or removed.
    pub(super) trees: BTreeMap<String, BTreeMap<Vec<u8>, bool>>,
    properties: BTreeMap<String, String>,
    consistency_point: String,
    time_ms: i64,
    /// The greatest transaction id.
    pub(super) t: i64,
    /// Transactions in all.
    pub(super) transactions: u64,
    /// Segments in all.
    pub(super) segments: u64,
    /// Memory that the changes take, roughly.
    pub(super) bytes: usize,
}

impl Net {
    /// Takes in what came later.
    pub(super) fn take(&mut self, trees: Vec<TreeChanges>) {
        for mut changes in trees {
            let name = std::mem::take(&mut changes.name);
            self.take_keys(name, keys(changes));
        }
    }

    fn take_keys(&mut self, tree: String, keys: impl IntoIterator<Item = (Vec<u8>, bool)>) {
        let tree = self.trees.entry(tree).or_default();
        for (key, put) in keys {
            let bytes = key.len() + KEY_OVERHEAD_BYTES;
            if tree.insert(key, put).is_none() {
                self.bytes += bytes;
            }
        }
    }

    /// Takes in a segment; the state is that after it.
    pub(super) fn take_segment(&mut self, segment: Segment) {
        self.transactions = segment.transactions;
        self.t = segment.t;
        self.segments += 1;
        self.time_ms = segment.time_ms;
        self.properties.extend(segment.properties);
        self.consistency_point = segment.consistency_point;
        self.take(segment.trees);
    }

    /// Takes in all that came later than what is here.
    pub(super) fn append(&mut self, later: Self) {
        for (name, keys) in later.trees {
            self.take_keys(name, keys);
        }
        if later.segments > 0 {
            self.properties.extend(later.properties);
            self.consistency_point = later.consistency_point;
            self.time_ms = later.time_ms;
            self.t = later.t;
            self.transactions = later.transactions;
            self.segments += later.segments;
        }
    }

    /// Whether nothing was taken in.
    pub(super) fn is_empty(&self) -> bool {
        self.segments == 0
    }

    /// The snapshot of the state that these changes make of `base`, with these roots; of the session it still has the base's.
    pub(super) fn snapshot(&self, base: &Snapshot, roots: Vec<NamedRoot>) -> Snapshot {
        let mut properties: BTreeMap<String, String> = crate::ops::derived::source_properties(base).cloned().collect();
        properties.extend(self.properties.clone());
        // Datoms are counted, as in a backup: keys of logs, not of exceptions.
        let logs = || self.trees.iter().filter(|(name, _)| !is_exceptions(name)).flat_map(|(_, keys)| keys.values());
        let count = |put: bool| logs().filter(|is_put| **is_put == put).count();
        let (new, removed) = (count(true) as u64, count(false) as u64);
        let mut snapshot = base.clone();
        snapshot.time_ms = self.time_ms.max(base.time_ms);
        snapshot.parent = Some(base.id);
        snapshot.cursor = Vec::new();
        snapshot.properties = properties.into_iter().collect();
        for source in &mut snapshot.sources {
            source.consistency_point.clone_from(&self.consistency_point);
        }
        let log_records: u64 = roots.iter().filter(|root| !is_exceptions(&root.name)).map(|root| root.records).sum();
        snapshot.roots = roots;
        snapshot.statistics = crate::format::Statistics {
            records_new: new,
            records_removed: removed,
            records_unmodified: log_records.saturating_sub(new),
            ..Default::default()
        };
        snapshot
    }
}
