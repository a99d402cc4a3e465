//! Nodes, and where they come from and go to.

use std::sync::Arc;

use crate::error::{DecodeError, Error};
use crate::id::BlobId;
use crate::record::Rows;

/// The secrets that shape a tree.
#[derive(Clone)]
pub struct TreeKeys {
    /// Key of the SipHash that decides where nodes end.
    pub split: [u8; 16],
    /// Key of the BLAKE3 that stands in for the rest of a long key in inner nodes.
    pub long_key: [u8; 32],
}

/// A node: rows of records (level 0) or rows of children (above).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The record kind of the tree, see [`crate::record::kind`].
    pub kind: u8,
    /// 0 for a leaf, one more than its children otherwise.
    pub level: u8,
    /// Records, or children as (separator key, encoded [`Child`]).
    pub rows: Rows,
}

/// What an inner node says about a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Id of the child node.
    pub id: BlobId,
    /// Records below it.
    pub records: u64,
    /// Bytes of rows of the leaves below it.
    pub row_bytes: u64,
    /// The record kind's summary of them.
    pub summary: Vec<u8>,
}

/// A node as it is stored: what its id is made of, and the shorter form that is kept.
#[derive(Clone, Debug)]
pub struct NodeBody {
    /// The canonical row encoding, of which the id is the keyed hash.
    pub canonical: Vec<u8>,
    /// The node itself, from which the stored form (columns for leaves, canonical for inner nodes) is made on demand.
    pub node: Node,
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

/// Where nodes come from. Implementations verify the id and cache as they see fit.
pub trait ReadNode {
    /// The node with this id.
    fn read_node(&self, id: BlobId) -> Result<Arc<Node>, Error>;

    /// These nodes will be read soon, in this order.
    fn prefetch(&self, ids: &[BlobId]) {
        let _ = ids;
    }
}

/// Where nodes go.
pub trait WriteNode {
    /// Takes a finished node and returns its id. A node that is already known costs its hash only.
    fn write_node(&mut self, node: Node) -> Result<BlobId, Error>;
}

impl Node {
    /// The canonical row encoding: version, kind, level, row count, then each row as key and value with their lengths.
    pub fn canonical(&self) -> Vec<u8> {
        unimplemented!("written by the tree helper")
    }

    /// The node with this canonical encoding.
    pub fn from_canonical(_bytes: &[u8]) -> Result<Self, DecodeError> {
        unimplemented!("written by the tree helper")
    }

    /// The form kept in frames: columns for leaves, rows for inner nodes; `decode` is its inverse.
    pub fn encode(&self) -> Vec<u8> {
        unimplemented!("written by the tree helper")
    }

    /// The node of a kept form.
    pub fn decode(_bytes: &[u8]) -> Result<Self, DecodeError> {
        unimplemented!("written by the tree helper")
    }
}
