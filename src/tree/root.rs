//! The top of a tree, what shapes it, and where its nodes come from and go to.

use std::sync::Arc;

use super::child::Claim;
use super::{Child, Node};
use crate::error::{DecodeError, Error};
use crate::id::BlobId;
use crate::record::{RecordKind, Subtree};

/// Target size of inner nodes, in bytes of rows: small, so that an append rewrites little.
const INNER_TARGET_BYTES: u32 = 6 << 10;

/// The secrets that shape a tree.
#[derive(Clone)]
pub struct TreeKeys {
    /// Key of the SipHash that decides where nodes end.
    pub split: [u8; 16],
    /// Key of the BLAKE3 that stands in for the rest of a long key in inner nodes.
    pub long_key: [u8; 32],
}

/// All that the shape of a tree depends on besides its records.
#[derive(Clone)]
pub struct TreeParameters {
    kind: &'static dyn RecordKind,
    pub(super) keys: TreeKeys,
    pub(super) inner_target_bytes: u32,
}

impl TreeParameters {
    /// For trees of this kind in the repository that these keys belong to.
    pub fn new(kind: &'static dyn RecordKind, keys: &TreeKeys) -> Self {
        Self { kind, keys: keys.clone(), inner_target_bytes: INNER_TARGET_BYTES }
    }

    /// What the records are.
    pub fn kind(&self) -> &'static dyn RecordKind {
        self.kind
    }

    pub(super) fn target_bytes(&self, level: u8) -> u32 {
        if level == 0 { self.kind.leaf_target_bytes() } else { self.inner_target_bytes }
    }
}

/// The top of a tree; `None` as id is the empty tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The record kind.
    pub kind: u8,
    /// Id of the top node; `None` when there are no records.
    pub id: Option<BlobId>,
    /// Level of the top node.
    pub level: u8,
    /// Records in the tree.
    pub records: u64,
    /// Bytes of rows.
    pub row_bytes: u64,
    /// The record kind's summary of all records; empty for the empty tree.
    pub summary: Vec<u8>,
}

impl Root {
    /// The tree without records.
    pub fn empty(kind: u8) -> Self {
        Self { kind, id: None, level: 0, records: 0, row_bytes: 0, summary: Vec::new() }
    }

    pub(super) fn of(kind: u8, level: u8, child: Child) -> Self {
        let Child { id, records, row_bytes, summary } = child;
        Self { kind, id: Some(id), level, records, row_bytes, summary }
    }

    /// What its top node must be; `None` for the empty tree.
    pub(super) fn claim(&self, parameters: &TreeParameters) -> Result<Option<Claim>, Error> {
        let refuse = |why| Err(Error::damaged("root of a tree", DecodeError::Invalid(why)));
        if self.kind != parameters.kind.code() {
            return refuse("record kind");
        }
        let Some(id) = self.id else {
            let nothing = self.level == 0 && self.records == 0 && self.row_bytes == 0 && self.summary.is_empty();
            return if nothing { Ok(None) } else { refuse("counts of an empty tree") };
        };
        let child = Child { id, records: self.records, row_bytes: self.row_bytes, summary: self.summary.clone() };
        Ok(Some(Claim { level: self.level, child, separator: None }))
    }
}

impl From<Subtree> for Root {
    fn from(tree: Subtree) -> Self {
        let Subtree { kind, id, level, records, row_bytes, summary } = tree;
        Self { kind, id: Some(id), level, records, row_bytes, summary }
    }
}

/// Where nodes come from. Implementations verify the id and cache as they see fit.
pub trait ReadNode {
    /// The node with this id.
    fn read_node(&self, id: BlobId) -> Result<Arc<Node>, Error>;

    /// These nodes will be read soon, in this order.
    fn prefetch(&self, ids: &[BlobId]) {
        let _ = ids;
    }

    /// The node with this id if it is at hand, so that reading it takes no time.
    fn peek_node(&self, id: BlobId) -> Option<Arc<Node>> {
        let _ = id;
        None
    }
}

/// Where nodes go.
pub trait WriteNode {
    /// Takes a finished node and returns its id. A node that is already known costs its hash only.
    fn write_node(&mut self, node: Node) -> Result<BlobId, Error>;
}

/// Nodes of trees of one shape, each checked against what is said about it.
#[derive(Clone, Copy)]
pub(super) struct Nodes<'a> {
    pub(super) source: &'a dyn ReadNode,
    pub(super) parameters: &'a TreeParameters,
}

impl Nodes<'_> {
    pub(super) fn read(&self, claim: &Claim) -> Result<Arc<Node>, Error> {
        let node = self.source.read_node(claim.child.id)?;
        claim.check(self.parameters, &node).map_err(|why| damaged(claim.child.id, why))?;
        Ok(node)
    }

    /// What row `i` of the node with this id says about a child.
    pub(super) fn claim(&self, id: BlobId, node: &Node, i: usize) -> Result<Claim, Error> {
        Claim::of_row(node, i).map_err(|why| damaged(id, why))
    }
}

/// A node that is not what it should be.
pub(super) fn damaged(id: BlobId, why: DecodeError) -> Error {
    Error::damaged(format_args!("node {id}"), why)
}
