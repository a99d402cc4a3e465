//! A tree with changes, from a tree and a sorted stream of changes.
//!
//! The old tree is walked in key order into a [`Builder`]. Wherever the build stands between two nodes, as the old tree
//! does, and the next change lies beyond the old node, that node is taken over whole, unread: the rule that ended it would
//! end it again. So the result is what a build from scratch would give.

use std::cmp::Ordering;
use std::sync::Arc;

use super::build::name_of;
use super::child::Claim;
use super::find::first_child_reaching;
use super::root::Nodes;
use super::{Builder, Node, Pushed, ReadNode, Root, TreeParameters, WriteNode};
use crate::error::{Error, ErrorKind};
use crate::id::BlobId;

/// What is to become of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key gets this value, whether it was there or not.
    Put(Vec<u8>),
    /// The key goes.
    Remove,
}

/// What the changes came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EditStats {
    /// Keys that were not there before.
    pub added: u64,
    /// Keys with a new value.
    pub replaced: u64,
    /// Keys that went.
    pub removed: u64,
    /// Keys put with the value they had.
    pub unchanged: u64,
    /// Keys to remove that were not there.
    pub absent: u64,
}

/// The tree of `root` with `changes`, whose keys must strictly ascend: the root that a [`Builder`] gives for the result.
///
/// Reads and writes O(changes · log n) nodes, holding one path of the old tree and one open node per level of the new.
///
/// # Errors
/// [`ErrorKind::Data`] when the keys of the changes do not ascend. An error of `changes` ends the edit.
pub fn edit(
    source: &dyn ReadNode,
    writer: &mut dyn WriteNode,
    parameters: &TreeParameters,
    root: &Root,
    changes: impl IntoIterator<Item = Result<(Vec<u8>, Change), Error>>,
) -> Result<(Root, EditStats), Error> {
    let mut changes = Changes::new(changes.into_iter())?;
    let top = root.claim(parameters)?;
    if changes.next.is_none() {
        return Ok((root.clone(), EditStats::default()));
    }
    let nodes = Nodes { source, parameters };
    let mut editor = Editor { nodes, writer, builder: Builder::new(parameters), stats: EditStats::default() };
    if let Some(top) = top {
        editor.take_over(top, &mut changes)?;
    }
    while let Some((key, change)) = changes.take()? {
        editor.apply_new(&key, change)?;
    }
    Ok((editor.builder.finish(editor.writer)?, editor.stats))
}

struct Editor<'a> {
    nodes: Nodes<'a>,
    writer: &'a mut dyn WriteNode,
    builder: Builder,
    stats: EditStats,
}

/// An open inner node of the old tree.
struct Frame {
    id: BlobId,
    node: Arc<Node>,
    next: usize,
    /// The children before this one end before the next change, as of so many changes taken.
    untouched: usize,
    changes_taken: u64,
    /// Whether its last child is the last node of its level.
    is_last: bool,
}

impl Editor<'_> {
    /// Brings the old tree into the build, with the changes up to its last key.
    fn take_over<I>(&mut self, top: Claim, changes: &mut Changes<I>) -> Result<(), Error>
    where
        I: Iterator<Item = Result<(Vec<u8>, Change), Error>>,
    {
        let mut path = Vec::new();
        self.open(top, true, &mut path, changes)?;
        while let Some(frame) = path.last_mut() {
            if frame.next == frame.node.rows.len() {
                path.pop();
                continue;
            }
            if frame.changes_taken != changes.taken || frame.next == 0 {
                frame.changes_taken = changes.taken;
                frame.untouched = match &changes.next {
                    Some((key, _)) => first_child_reaching(self.nodes, frame.id, &frame.node, frame.next, key)?,
                    None => frame.node.rows.len(),
                };
            }
            let i = frame.next;
            frame.next += 1;
            let claim = self.nodes.claim(frame.id, &frame.node, i)?;
            // The last node of a level may have ended with the records, not by the rule.
            let is_last = frame.is_last && frame.next == frame.node.rows.len();
            if i < frame.untouched && !is_last && self.builder.is_between_nodes(claim.level) {
                self.builder.push_node(self.writer, claim.level, frame.node.rows.key(i), claim.child)?;
            } else {
                self.open(claim, is_last, &mut path, changes)?;
            }
        }
        Ok(())
    }

    fn open<I>(
        &mut self,
        claim: Claim,
        is_last: bool,
        path: &mut Vec<Frame>,
        changes: &mut Changes<I>,
    ) -> Result<(), Error>
    where
        I: Iterator<Item = Result<(Vec<u8>, Change), Error>>,
    {
        let node = self.nodes.read(&claim)?;
        if node.level == 0 {
            return self.merge(&node, changes);
        }
        let id = claim.child.id;
        path.push(Frame { id, node, next: 0, untouched: 0, changes_taken: changes.taken, is_last });
        Ok(())
    }

    /// Pushes the records of an old leaf with the changes up to its last key.
    fn merge<I>(&mut self, leaf: &Node, changes: &mut Changes<I>) -> Result<(), Error>
    where
        I: Iterator<Item = Result<(Vec<u8>, Change), Error>>,
    {
        for (key, value) in leaf.rows.iter() {
            let mut kept = Some(value);
            while let Some(order) = changes.next.as_ref().map(|(changed, _)| changed.as_slice().cmp(key)) {
                if order.is_gt() {
                    break;
                }
                let Some((changed, change)) = changes.take()? else { break };
                if order == Ordering::Less {
                    self.apply_new(&changed, change)?;
                    continue;
                }
                kept = None;
                match change {
                    Change::Put(new) if new == value => {
                        self.stats.unchanged += 1;
                        kept = Some(value);
                    }
                    Change::Put(new) => {
                        self.stats.replaced += 1;
                        self.push(key, &new)?;
                    }
                    Change::Remove => self.stats.removed += 1,
                }
            }
            if let Some(value) = kept {
                self.push(key, value)?;
            }
        }
        Ok(())
    }

    /// Applies a change of a key that the old tree does not have.
    fn apply_new(&mut self, key: &[u8], change: Change) -> Result<(), Error> {
        match change {
            Change::Put(value) => {
                self.stats.added += 1;
                self.push(key, &value)
            }
            Change::Remove => {
                self.stats.absent += 1;
                Ok(())
            }
        }
    }

    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        match self.builder.push(self.writer, key, value)? {
            Pushed::New => Ok(()),
            Pushed::Duplicate => Err(disorder(key)),
        }
    }
}

/// The changes, one ahead.
struct Changes<I> {
    rest: I,
    next: Option<(Vec<u8>, Change)>,
    taken: u64,
}

impl<I: Iterator<Item = Result<(Vec<u8>, Change), Error>>> Changes<I> {
    fn new(mut rest: I) -> Result<Self, Error> {
        let next = rest.next().transpose()?;
        Ok(Self { rest, next, taken: 0 })
    }

    fn take(&mut self) -> Result<Option<(Vec<u8>, Change)>, Error> {
        let Some(taken) = self.next.take() else { return Ok(None) };
        self.taken += 1;
        self.next = self.rest.next().transpose()?;
        match &self.next {
            Some((key, _)) if *key <= taken.0 => Err(disorder(key)),
            _ => Ok(Some(taken)),
        }
    }
}

fn disorder(key: &[u8]) -> Error {
    Error::new(ErrorKind::Data, name_of(key), "keys do not ascend")
}
