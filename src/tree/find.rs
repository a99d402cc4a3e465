//! The record of a key, the node in which it is, and the child of a node.

use super::root::{Nodes, damaged};
use super::{Node, ReadNode, Root, TreeParameters, separator};
use crate::error::{DecodeError, Error};
use crate::id::BlobId;

/// The value of `key`, if the tree has it; reads one node per level.
pub fn get(
    source: &dyn ReadNode,
    parameters: &TreeParameters,
    root: &Root,
    key: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let nodes = Nodes { source, parameters };
    let Some(mut claim) = root.claim(parameters)? else { return Ok(None) };
    loop {
        let node = nodes.read(&claim)?;
        if node.level == 0 {
            let at = node.rows.lower_bound(key);
            let found = at < node.rows.len() && node.rows.key(at) == key;
            return Ok(found.then(|| node.rows.value(at).to_vec()));
        }
        let at = first_child_reaching(nodes, claim.child.id, &node, 0, key)?;
        if at == node.rows.len() {
            return Ok(None);
        }
        claim = nodes.claim(claim.child.id, &node, at)?;
    }
}

/// Id of the node of `level` that holds the keys around `key`, a key or a separator: the first that does not end before it,
/// else the last one. `None` when the tree is not that high. Reads the nodes above it, not the node itself.
///
/// Good for finding what a node resembles: among separators that share 256 bytes it may be off.
pub fn node_around(
    source: &dyn ReadNode,
    parameters: &TreeParameters,
    root: &Root,
    level: u8,
    key: &[u8],
) -> Result<Option<BlobId>, Error> {
    let nodes = Nodes { source, parameters };
    let Some(mut claim) = root.claim(parameters)?.filter(|top| top.level >= level) else { return Ok(None) };
    let wanted = separator::start(key);
    while claim.level > level {
        let node = nodes.read(&claim)?;
        let reaching = first_row(0, node.rows.len(), |i| separator::start(node.rows.key(i)) >= wanted);
        claim = nodes.claim(claim.child.id, &node, reaching.min(node.rows.len() - 1))?;
    }
    Ok(Some(claim.child.id))
}

/// Index of the first child, from `from` on, whose last key is not below `key`; the number of children when there is none.
///
/// Only where `key` and several separators share their first 256 bytes are other nodes read, to learn a few last keys.
pub(super) fn first_child_reaching(
    nodes: Nodes<'_>,
    id: BlobId,
    node: &Node,
    from: usize,
    key: &[u8],
) -> Result<usize, Error> {
    let rows = &node.rows;
    let wanted = separator::start(key);
    let mut low = first_row(from, rows.len(), |i| separator::start(rows.key(i)) >= wanted);
    if key.len() <= separator::WHOLE_LEN {
        return Ok(low);
    }
    if low < rows.len() && rows.key(low) == wanted {
        low += 1;
    }
    let mut high = first_row(low, rows.len(), |i| separator::start(rows.key(i)) > wanted);
    if low == high {
        return Ok(low);
    }
    let mut own = Vec::with_capacity(separator::CUT_LEN);
    separator::put(&mut own, &nodes.parameters.keys, key);
    if let Some(at) = (low..high).find(|&i| rows.key(i) == own) {
        return Ok(at);
    }
    while low < high {
        let middle = low.midpoint(high);
        if last_key(nodes, id, node, middle)?.as_slice() < key { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// The last key below child `i` of the node with this id.
fn last_key(nodes: Nodes<'_>, id: BlobId, node: &Node, i: usize) -> Result<Vec<u8>, Error> {
    let mut claim = nodes.claim(id, node, i)?;
    loop {
        let node = nodes.read(&claim)?;
        let Some(last) = node.rows.len().checked_sub(1) else {
            return Err(damaged(claim.child.id, DecodeError::Invalid("node without rows")));
        };
        if node.level == 0 {
            return Ok(node.rows.key(last).to_vec());
        }
        claim = nodes.claim(claim.child.id, &node, last)?;
    }
}

/// The first of `low..high` that holds, where all after it hold too; `high` when none does.
fn first_row(mut low: usize, mut high: usize, holds: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}
