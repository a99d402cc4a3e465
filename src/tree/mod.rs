//! Ordered Merkle trees ("prolly trees"): the same records give the same root, however they got there.
//!
//! No I/O here: nodes come from a [`ReadNode`] and go to a [`WriteNode`].

mod node;

pub use node::{Child, Node, NodeBody, ReadNode, Root, TreeKeys, WriteNode};
