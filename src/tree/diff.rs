//! What is different between two trees, in key order, without reading what they share.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::child::Claim;
use super::root::{Nodes, damaged};
use super::{Node, ReadNode, Root, TreeParameters, separator};
use crate::error::{DecodeError, Error};
use crate::id::BlobId;

/// A difference between tree `a` and tree `b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffItem<'a> {
    /// Only `a` has the key.
    Removed {
        /// The key.
        key: &'a [u8],
        /// Its value in `a`.
        value: &'a [u8],
    },
    /// Only `b` has the key.
    Added {
        /// The key.
        key: &'a [u8],
        /// Its value in `b`.
        value: &'a [u8],
    },
    /// Both have the key.
    Changed {
        /// The key.
        key: &'a [u8],
        /// Its value in `a`.
        before: &'a [u8],
        /// Its value in `b`.
        after: &'a [u8],
    },
}

/// Hands the differences to `sink` in key order; an error of `sink` ends the diff.
///
/// Reads the nodes that only one of the trees has, and few others.
pub fn diff(
    source: &dyn ReadNode,
    parameters: &TreeParameters,
    a: &Root,
    b: &Root,
    sink: &mut dyn FnMut(DiffItem<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let nodes = Nodes { source, parameters };
    let (mut a, mut b) = (Side::new(nodes, a)?, Side::new(nodes, b)?);
    loop {
        match (&a.head, &b.head) {
            (Head::End, Head::End) => return Ok(()),
            (Head::Rows { .. }, Head::Rows { .. }) => merge(&mut a, &mut b, sink)?,
            (Head::Rows { leaf, next }, _) => {
                if b.is_past(leaf.rows.key(*next)) {
                    a.drain(&b, &mut |key, value| sink(DiffItem::Removed { key, value }))?;
                } else {
                    b.open()?;
                }
            }
            (_, Head::Rows { leaf, next }) => {
                if a.is_past(leaf.rows.key(*next)) {
                    b.drain(&a, &mut |key, value| sink(DiffItem::Added { key, value }))?;
                } else {
                    a.open()?;
                }
            }
            (Head::Node(_), Head::End) => a.open()?,
            (Head::End, Head::Node(_)) => b.open()?,
            (Head::Node(ours), Head::Node(theirs)) => {
                if ours.child.id == theirs.child.id {
                    a.skip()?;
                    b.skip()?;
                    continue;
                }
                let order = ours.level.cmp(&theirs.level);
                if order.is_ge() {
                    a.open()?;
                }
                if order.is_le() {
                    b.open()?;
                }
                if order.is_eq() {
                    prefetch_unshared(source, &a, &b);
                }
            }
        }
    }
}

/// Compares the rows of two leaves until one has no more.
fn merge(
    a: &mut Side<'_>,
    b: &mut Side<'_>,
    sink: &mut dyn FnMut(DiffItem<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (Head::Rows { leaf: ours, next: i }, Head::Rows { leaf: theirs, next: j }) = (&mut a.head, &mut b.head) else {
        return Ok(());
    };
    while *i < ours.rows.len() && *j < theirs.rows.len() {
        let (key, value) = (ours.rows.key(*i), ours.rows.value(*i));
        let (other_key, other_value) = (theirs.rows.key(*j), theirs.rows.value(*j));
        let order = key.cmp(other_key);
        match order {
            Ordering::Less => sink(DiffItem::Removed { key, value })?,
            Ordering::Greater => sink(DiffItem::Added { key: other_key, value: other_value })?,
            Ordering::Equal if value != other_value => {
                sink(DiffItem::Changed { key, before: value, after: other_value })?;
            }
            Ordering::Equal => {}
        }
        *i += usize::from(order.is_le());
        *j += usize::from(order.is_ge());
    }
    a.leave_finished_leaf()?;
    b.leave_finished_leaf()
}

/// Announces the children of two nodes that were just opened, without those that both have.
fn prefetch_unshared(source: &dyn ReadNode, a: &Side<'_>, b: &Side<'_>) {
    let (ours, theirs) = (a.coming_ids(), b.coming_ids());
    let (in_ours, in_theirs): (HashSet<_>, HashSet<_>) = (ours.iter().collect(), theirs.iter().collect());
    for unshared in [
        ours.iter().filter(|id| !in_theirs.contains(id)).copied().collect::<Vec<_>>(),
        theirs.iter().filter(|id| !in_ours.contains(id)).copied().collect(),
    ] {
        if !unshared.is_empty() {
            source.prefetch(&unshared);
        }
    }
}

/// Takes the key and value of records that one of the trees has.
type RecordSink<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), Error>;

/// How far one of the trees has been compared.
struct Side<'a> {
    nodes: Nodes<'a>,
    head: Head,
    path: Vec<Frame>,
    /// Separator of the last node that is done with: all keys to come are above its key.
    passed: Option<Vec<u8>>,
}

/// What comes next of a tree.
enum Head {
    /// A node that has not been read.
    Node(Claim),
    /// Rows of a leaf, from `next` on.
    Rows { leaf: Arc<Node>, next: usize },
    /// Nothing.
    End,
}

struct Frame {
    id: BlobId,
    node: Arc<Node>,
    next: usize,
}

impl<'a> Side<'a> {
    fn new(nodes: Nodes<'a>, root: &Root) -> Result<Self, Error> {
        let head = root.claim(nodes.parameters)?.map_or(Head::End, Head::Node);
        Ok(Self { nodes, head, path: Vec::new(), passed: None })
    }

    /// Goes past the node at the head.
    fn skip(&mut self) -> Result<(), Error> {
        if let Head::Node(claim) = &mut self.head {
            self.passed = claim.separator.take();
        }
        self.advance()
    }

    /// Reads the node at the head; its first child or row is the new head.
    fn open(&mut self) -> Result<(), Error> {
        let Head::Node(claim) = &self.head else { return Ok(()) };
        let (id, node) = (claim.child.id, self.nodes.read(claim)?);
        if node.level > 0 {
            self.path.push(Frame { id, node, next: 0 });
            return self.advance();
        }
        if self.is_past(node.rows.key(0)) {
            return Err(damaged(id, DecodeError::Invalid("order of leaves")));
        }
        self.head = Head::Rows { leaf: node, next: 0 };
        Ok(())
    }

    /// Makes the node after the current one the head.
    fn advance(&mut self) -> Result<(), Error> {
        while let Some(frame) = self.path.last_mut() {
            if frame.next < frame.node.rows.len() {
                self.head = Head::Node(self.nodes.claim(frame.id, &frame.node, frame.next)?);
                frame.next += 1;
                return Ok(());
            }
            self.path.pop();
        }
        self.head = Head::End;
        Ok(())
    }

    /// Hands out rows of the leaf at the head as long as all that is to come of `other` lies above them.
    fn drain(&mut self, other: &Side<'_>, sink: RecordSink<'_>) -> Result<(), Error> {
        if let Head::Rows { leaf, next } = &mut self.head {
            while *next < leaf.rows.len() && other.is_past(leaf.rows.key(*next)) {
                sink(leaf.rows.key(*next), leaf.rows.value(*next))?;
                *next += 1;
            }
        }
        self.leave_finished_leaf()
    }

    /// Goes past a leaf whose rows are done.
    fn leave_finished_leaf(&mut self) -> Result<(), Error> {
        if let Head::Rows { leaf, next } = &self.head
            && *next == leaf.rows.len()
        {
            let mut passed = Vec::new();
            separator::put(&mut passed, &self.nodes.parameters.keys, leaf.rows.key(leaf.rows.len() - 1));
            self.passed = Some(passed);
            return self.advance();
        }
        Ok(())
    }

    /// Whether all that is to come lies above `key`, as far as is known without reading.
    fn is_past(&self, key: &[u8]) -> bool {
        match (&self.head, &self.passed) {
            (Head::End, _) => true,
            (_, Some(passed)) => separator::compare(passed, key).is_some_and(Ordering::is_ge),
            (_, None) => false,
        }
    }

    /// The node at the head and those after it below the same parent.
    fn coming_ids(&self) -> Vec<BlobId> {
        let (Head::Node(claim), Some(frame)) = (&self.head, self.path.last()) else { return Vec::new() };
        let rest = frame.node.rows.iter().skip(frame.next);
        let rest = rest.filter_map(|(_, value)| value.first_chunk().map(|id| BlobId::new(*id)));
        std::iter::once(claim.child.id).chain(rest).collect()
    }
}
