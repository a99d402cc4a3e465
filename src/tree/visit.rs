//! Nodes rather than records: what `prune` marks and `check` audits.

use std::collections::HashSet;
use std::sync::Arc;

use super::child::Claim;
use super::root::Nodes;
use super::{Child, Node, ReadNode, Root, TreeParameters};
use crate::error::Error;
use crate::id::BlobId;

/// A moment of a visit.
#[derive(Debug)]
pub enum Visit<'a> {
    /// A node is named by its parent, or by the root; it has not been read yet.
    Named {
        /// Level of the node.
        level: u8,
        /// Its id and what is said about it.
        claim: &'a Child,
    },
    /// A node was read, and is as its parent says.
    Read {
        /// Its id.
        id: BlobId,
        /// The node.
        node: &'a Arc<Node>,
    },
    /// A node could not be read, or is not as its parent says; what is below it stays unvisited.
    Unreadable {
        /// Level of the node.
        level: u8,
        /// Its id and what is said about it.
        claim: &'a Child,
        /// Why.
        error: Error,
    },
}

/// What to do about the node of a [`Visit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read it, or go on to its children.
    Descend,
    /// Leave it and all below it.
    Skip,
}

/// Visits the nodes of a tree, parents before children, children in key order.
///
/// What `visit` returns for [`Visit::Unreadable`] does not matter unless it is an error, which ends the visit.
pub fn walk_nodes(
    source: &dyn ReadNode,
    parameters: &TreeParameters,
    root: &Root,
    visit: &mut dyn FnMut(Visit<'_>) -> Result<Next, Error>,
) -> Result<(), Error> {
    let nodes = Nodes { source, parameters };
    // The nodes still to visit, last first: at most one node's children for each level.
    let mut pending: Vec<Claim> = root.claim(parameters)?.into_iter().collect();
    let mut announced = HashSet::new();
    while let Some(claim) = pending.pop() {
        let (level, child) = (claim.level, &claim.child);
        if visit(Visit::Named { level, claim: child })? == Next::Skip {
            continue;
        }
        let read = nodes.read(&claim).and_then(|node| {
            let rows = if node.level > 0 { node.rows.len() } else { 0 };
            let children = (0..rows).rev().map(|i| nodes.claim(child.id, &node, i)).collect::<Result<Vec<_>, _>>()?;
            Ok((node, children))
        });
        let (node, children) = match read {
            Ok(read) => read,
            Err(error) => {
                visit(Visit::Unreadable { level, claim: child, error })?;
                continue;
            }
        };
        if visit(Visit::Read { id: child.id, node: &node })? == Next::Descend && !children.is_empty() {
            let ids: Vec<_> = children.iter().rev().map(|claim| claim.child.id).collect();
            source.prefetch(&ids);
            announced.remove(&child.id);
            look_ahead(nodes, &pending, level, &mut announced);
            pending.extend(children);
        }
    }
    Ok(())
}

/// What is below so many nodes after the current one is announced as soon as they are at hand, ...
const NODES_AHEAD: usize = 8;
/// ... up to so many bytes of rows.
const ROW_BYTES_AHEAD: u64 = 16 << 20;

/// Announces what is below the inner nodes of this level that come next; `announced` are those of which it was.
fn look_ahead(nodes: Nodes<'_>, pending: &[Claim], level: u8, announced: &mut HashSet<BlobId>) {
    let (mut ids, mut row_bytes) = (Vec::new(), 0);
    for claim in pending.iter().rev().take_while(|claim| claim.level == level).take(NODES_AHEAD) {
        row_bytes += claim.child.row_bytes;
        if row_bytes > ROW_BYTES_AHEAD {
            break;
        }
        if announced.contains(&claim.child.id) {
            continue;
        }
        let Some(node) = nodes.source.peek_node(claim.child.id) else { break };
        announced.insert(claim.child.id);
        // A node that is not as it should be is found to be so when it is read.
        let below = (0..node.rows.len()).map_while(|i| nodes.claim(claim.child.id, &node, i).ok());
        ids.extend(below.map(|claim| claim.child.id));
    }
    if !ids.is_empty() {
        nodes.source.prefetch(&ids);
    }
}
