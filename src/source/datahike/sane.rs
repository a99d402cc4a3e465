//! What must hold for the datoms of an index, whichever nodes they came from.
//!
//! An address that was used again shows as a node that is out of order, too new, or of the wrong size.

use super::increment::IndexRecorder;
use crate::datahike::walk::{NodeKey, VisitedLeaf, Visitor};
use crate::datahike::{Head, IndexRoot, Stamp, Store, hasch};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Datom, Digest};

/// An index that is read.
pub(super) struct Index<'h> {
    pub(super) name: &'static str,
    pub(super) root: &'h IndexRoot,
    /// When all its nodes were written, milliseconds since 1970.
    pub(super) written_by: Option<i64>,
}

/// Looks at every leaf of an index by entity before it hands its datoms on.
pub(super) struct Watcher<'w> {
    store: &'w Store,
    head: &'w Head,
    index: &'w Index<'w>,
    take: &'w mut dyn FnMut(&Datom<'_>) -> Result<()>,
    last_e: i64,
    pub(super) latest_t: i64,
    /// Notes the nodes.
    pub(super) recorder: IndexRecorder,
    /// What was wrong, and where.
    pub(super) broken: Option<(Error, NodeKey)>,
}

impl<'w> Watcher<'w> {
    pub(super) fn new(
        store: &'w Store,
        head: &'w Head,
        index: &'w Index<'w>,
        take: &'w mut dyn FnMut(&Datom<'_>) -> Result<()>,
    ) -> Self {
        let recorder = IndexRecorder::new(head);
        Self { store, head, index, take, last_e: i64::MIN, latest_t: i64::MIN, recorder, broken: None }
    }

    /// What is wrong with a leaf.
    fn fault(&mut self, leaf: &VisitedLeaf<'_, '_>) -> Option<String> {
        if let Some(datom) = leaf.datoms.iter().find(|datom| datom.t > self.head.max_tx) {
            return Some(format!("a datom of transaction {}, after the latest, {}", datom.t, self.head.max_tx));
        }
        let entities = || leaf.datoms.iter().map(|datom| datom.e);
        if leaf.ordered && !entities().is_sorted() {
            return Some("datoms out of order".to_owned());
        }
        if entities().min().is_some_and(|first| first < self.last_e) {
            return Some("datoms that belong before the node before it".to_owned());
        }
        self.last_e = entities().max().unwrap_or(self.last_e);
        self.latest_t = leaf.datoms.iter().map(|datom| datom.t).max().unwrap_or(i64::MIN).max(self.latest_t);
        None
    }
}

impl Visitor for Watcher<'_> {
    fn branch(&mut self, node: &NodeKey, stamp: Option<Stamp>, children: &[NodeKey]) -> Result<()> {
        self.recorder.branch(node, stamp, children);
        Ok(())
    }

    fn leaf(&mut self, leaf: &VisitedLeaf<'_, '_>) -> Result<()> {
        if let Some(fault) = self.fault(leaf) {
            let address = leaf.key.address.map_or_else(|| "in the head".to_owned(), |address| hasch::spell(&address));
            let object = self.store.object(&format!("node {address} of {}", self.index.name));
            self.broken = Some((Error::damaged(&object, &fault), leaf.key));
            return Err(Error::new(ErrorKind::Damaged, object, fault));
        }
        let mut total = Digest::new();
        for datom in leaf.datoms {
            total.add(datom);
            (self.take)(datom)?;
        }
        self.recorder.leaf(&leaf.key, leaf.stamp, total);
        Ok(())
    }
}
