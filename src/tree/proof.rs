//! Proof that a record is in a tree, or that a key is not, for somebody who has the root alone.
//!
//! A proof is the canonical bytes of the nodes on the way from the root to a leaf, and which row leads on. Where a key is
//! missing between two leaves, the ways to both are given: they must part once, at neighbouring rows, then keep to the edge.

use super::root::{Nodes, damaged};
use super::{Child, Node, ReadNode, Root, TreeParameters, find};
use crate::error::{DecodeError, Error};
use crate::id::BlobId;

/// The way from the root to a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofPath {
    /// Canonical bytes of each node, the root's first, and the row that leads to the next one; the last is a leaf, and its
    /// row does not matter.
    pub nodes: Vec<(Vec<u8>, u32)>,
}

/// The ways to the leaf or the two neighbouring leaves that settle whether a key is in a tree; none for the empty tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// In key order, at most two.
    pub paths: Vec<ProofPath>,
}

/// The proof of what the tree says about `key`.
pub fn prove(source: &dyn ReadNode, parameters: &TreeParameters, root: &Root, key: &[u8]) -> Result<Proof, Error> {
    let nodes = Nodes { source, parameters };
    let Some(claim) = root.claim(parameters)? else { return Ok(Proof::default()) };
    let mut way = Vec::new();
    let mut next = Some(claim);
    while let Some(claim) = next.take() {
        let (id, node) = (claim.child.id, nodes.read(&claim)?);
        let row = match node.level {
            0 => node.rows.lower_bound(key),
            _ => find::first_child_reaching(nodes, id, &node, 0, key)?.min(node.rows.len() - 1),
        };
        if node.level > 0 {
            next = Some(nodes.claim(id, &node, row)?);
        }
        way.push((id, node, row));
    }
    let Some((_, leaf, at)) = way.last() else { return Ok(Proof::default()) };
    let found = *at < leaf.rows.len() && leaf.rows.key(*at) == key;
    let mut paths = vec![path_of(&way)];
    if *at == 0
        && !found
        && let Some(before) = way_before(nodes, &way)?
    {
        paths.insert(0, path_of(&before));
    }
    Ok(Proof { paths })
}

type Way = Vec<(BlobId, std::sync::Arc<Node>, usize)>;

fn path_of(way: &Way) -> ProofPath {
    let step = |(_, node, row): &(BlobId, std::sync::Arc<Node>, usize)| {
        (node.canonical(), u32::try_from(*row).expect("a node has fewer rows than bytes"))
    };
    ProofPath { nodes: way.iter().map(step).collect() }
}

/// The way to the leaf before that of `way`.
fn way_before(nodes: Nodes<'_>, way: &Way) -> Result<Option<Way>, Error> {
    let inner = way.len() - 1;
    let Some(fork) = way[..inner].iter().rposition(|(_, _, row)| *row > 0) else { return Ok(None) };
    let mut before: Way = way[..=fork].to_vec();
    before[fork].2 -= 1;
    while let Some((id, node, row)) = before.last()
        && node.level > 0
    {
        let claim = nodes.claim(*id, node, *row)?;
        let child = nodes.read(&claim)?;
        let last = child.rows.len().checked_sub(1);
        let last = last.ok_or_else(|| damaged(claim.child.id, DecodeError::Invalid("node without rows")))?;
        before.push((claim.child.id, child, last));
    }
    Ok(Some(before))
}

impl Proof {
    /// What the tree with this root says about `key`: its value, or `None` for a proven absence.
    ///
    /// `id_of` is the node id of canonical bytes. An error means that the proof proves nothing.
    pub fn verify(
        &self,
        root: Option<BlobId>,
        key: &[u8],
        id_of: &dyn Fn(&[u8]) -> BlobId,
    ) -> Result<Option<Vec<u8>>, DecodeError> {
        let refuse = Err(DecodeError::Invalid("proof"));
        let Some(root) = root else {
            return if self.paths.is_empty() { Ok(None) } else { refuse };
        };
        let ways = self.paths.iter().map(|path| open(path, root, id_of)).collect::<Result<Vec<_>, _>>()?;
        for way in &ways {
            let leaf = &way.leaf.rows;
            let at = leaf.lower_bound(key);
            if at < leaf.len() && leaf.key(at) == key {
                return Ok(Some(leaf.value(at).to_vec()));
            }
        }
        let absent = match ways.as_slice() {
            [way] => {
                let at = way.leaf.rows.lower_bound(key);
                let is_first = way.steps.iter().all(|step| step.row == 0);
                let is_last = way.steps.iter().all(|step| step.row == step.last);
                (at > 0 || is_first) && (at < way.leaf.rows.len() || is_last)
            }
            [left, right] => {
                let after_left = left.leaf.rows.lower_bound(key) == left.leaf.rows.len();
                after_left && right.leaf.rows.lower_bound(key) == 0 && are_neighbours(&left.steps, &right.steps)
            }
            _ => false,
        };
        if absent { Ok(None) } else { refuse }
    }
}

/// A path whose ids fit together.
struct OpenWay {
    steps: Vec<Step>,
    leaf: Node,
}

struct Step {
    row: usize,
    last: usize,
}

fn open(path: &ProofPath, root: BlobId, id_of: &dyn Fn(&[u8]) -> BlobId) -> Result<OpenWay, DecodeError> {
    let (mut id, mut level, mut steps) = (root, None, Vec::new());
    for (canonical, row) in &path.nodes {
        if id_of(canonical) != id {
            return Err(DecodeError::IdMismatch);
        }
        let node = Node::from_canonical(canonical)?;
        if level.is_some_and(|level| level != node.level) {
            return Err(DecodeError::Invalid("level of a node"));
        }
        let Some(below) = node.level.checked_sub(1) else {
            let whole = steps.len() + 1 == path.nodes.len();
            return if whole { Ok(OpenWay { steps, leaf: node }) } else { Err(DecodeError::TrailingBytes) };
        };
        let (row, last) = (usize::try_from(*row).unwrap_or(usize::MAX), node.rows.len() - 1);
        if row > last {
            return Err(DecodeError::Invalid("row of a proof"));
        }
        (id, level) = (Child::decode(node.rows.value(row))?.id, Some(below));
        steps.push(Step { row, last });
    }
    Err(DecodeError::Truncated)
}

/// Whether no leaf lies between the ends of two ways from the same root.
fn are_neighbours(left: &[Step], right: &[Step]) -> bool {
    let Some(fork) = left.iter().zip(right).position(|(left, right)| left.row != right.row) else { return false };
    left.len() == right.len()
        && left[fork].row + 1 == right[fork].row
        && left[fork + 1..].iter().all(|step| step.row == step.last)
        && right[fork + 1..].iter().all(|step| step.row == 0)
}
