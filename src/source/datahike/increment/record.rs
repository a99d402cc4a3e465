//! Tables of what was read whole.

use std::collections::HashMap;

use super::table::{Entry, IndexTable, LeafTable};
use super::{attributes, mark};
use crate::datahike::{Head, IndexRoot, NodeKey, SchemaMeta, Stamp};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Digest, encode_value};

/// A branch that was read.
pub(super) struct ReadBranch {
    pub(super) key: NodeKey,
    pub(super) stamp: Option<Stamp>,
    pub(super) children: Vec<NodeKey>,
}

/// Notes the nodes of one index while it is read from its root to its end.
pub struct IndexRecorder {
    content_addresses: bool,
    nodes: HashMap<NodeKey, Entry>,
    branches: Vec<ReadBranch>,
    total: Digest,
}

impl IndexRecorder {
    /// Of an index of this head.
    pub fn new(head: &Head) -> Self {
        Self {
            content_addresses: head.has_content_addresses(),
            nodes: HashMap::new(),
            branches: Vec::new(),
            total: Digest::new(),
        }
    }

    /// Notes a branch; parents come before children.
    pub fn branch(&mut self, key: &NodeKey, stamp: Option<Stamp>, children: &[NodeKey]) {
        let stamp = stamp.filter(|_| !self.content_addresses);
        self.branches.push(ReadBranch { key: *key, stamp, children: children.to_vec() });
    }

    /// Notes a leaf and what its datoms add up to.
    pub fn leaf(&mut self, key: &NodeKey, stamp: Option<Stamp>, total: Digest) {
        self.total.merge(&total);
        if key.address.is_some() {
            let stamp = stamp.filter(|_| !self.content_addresses);
            self.nodes.insert(*key, Entry { stamp, total });
        }
    }

    /// The table of the index with this root.
    pub fn finish(self, root: &IndexRoot) -> Result<IndexTable> {
        let mut table = begin_table(root).map_err(|why| Error::new(ErrorKind::Data, "root of an index", why))?;
        table.total = self.total;
        table.nodes = self.nodes;
        add_branches(&mut table, &self.branches);
        Ok(table)
    }
}

/// The table of a branch whose indices were read whole.
pub fn table_of(head: &Head, schema: &SchemaMeta, current: IndexTable, temporal: Option<IndexTable>) -> LeafTable {
    LeafTable { head: mark(head), attributes: attributes(schema), current, temporal }
}

/// A table that knows where an index begins, and nothing else yet.
pub(super) fn begin_table(now: &IndexRoot) -> Result<IndexTable, String> {
    let address = now.address.filter(|_| now.fused.is_none());
    let root = address.map(|address| NodeKey { address: Some(address), slot: None });
    let mut table = IndexTable { root, ..IndexTable::default() };
    if let Some(node) = &now.fused {
        let mut bytes = Vec::new();
        encode_value(node, &mut bytes).map_err(|why| format!("the root of an index: {why}"))?;
        table.fused = Some(bytes);
    }
    Ok(table)
}

/// Adds up branches, whose parents come before children.
pub(super) fn add_branches(table: &mut IndexTable, branches: &[ReadBranch]) {
    for branch in branches.iter().rev() {
        let mut total = Digest::new();
        branch.children.iter().filter_map(|key| table.nodes.get(key)).for_each(|entry| total.merge(&entry.total));
        if branch.key.address.is_some() {
            table.nodes.insert(branch.key, Entry { stamp: branch.stamp, total });
        }
    }
}
