//! Ordered Merkle trees ("prolly trees"): the same records give the same root, however they got there.
//!
//! No I/O here: nodes come from a [`ReadNode`] and go to a [`WriteNode`]. What is read is checked against what its parent
//! says about it; a difference is an error that names the node.

mod build;
mod child;
mod diff;
mod edit;
mod find;
mod node;
mod proof;
mod root;
mod separator;
mod split;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod varint;
mod visit;
mod walk;

pub use build::{Builder, MAX_RECORD_BYTES, Pushed};
pub use child::{Child, MAX_SUMMARY_LEN};
pub use diff::{DiffItem, diff};
pub use edit::{Change, EditStats, edit};
pub use find::{get, node_around};
pub use node::{MAX_LEVEL, MAX_NODE_BYTES, Node};
pub use proof::{Proof, ProofPath, prove};
pub use root::{ReadNode, Root, TreeKeys, TreeParameters, WriteNode};
pub use visit::{Next, Visit, walk_nodes};
pub use walk::{KeyRange, LeafRows, Record, Walker, WantSummary};
