//! Records in key order: a range of keys, without the subtrees whose summary is not wanted.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;
use std::vec;

use super::child::Claim;
use super::find::first_child_reaching;
use super::root::{Nodes, damaged};
use super::{Node, ReadNode, Root, TreeParameters, separator};
use crate::error::{DecodeError, Error};
use crate::id::BlobId;

/// Keys from `from` on and below `to`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key that is in; empty for all from the beginning.
    pub from: Vec<u8>,
    /// The first key that is not; `None` for all to the end.
    pub to: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self::default()
    }
}

/// Says from a subtree's summary whether to look into it.
pub type WantSummary<'a> = Box<dyn FnMut(&[u8]) -> bool + 'a>;

/// A leaf, and which of its rows are meant.
pub type LeafRows = (Arc<Node>, Range<usize>);

/// Key and value of a record.
pub type Record<'a> = (&'a [u8], &'a [u8]);

/// Reads a tree leaf by leaf, or record by record.
pub struct Walker<'a> {
    nodes: Nodes<'a>,
    range: KeyRange,
    wanted: Option<WantSummary<'a>>,
    top: Option<Claim>,
    path: Vec<Frame>,
    /// The last key of the last leaf.
    reached: Option<Vec<u8>>,
    leaf: Option<LeafRows>,
}

struct Frame {
    id: BlobId,
    node: Arc<Node>,
    children: vec::IntoIter<usize>,
    /// What is below the children before this one was announced.
    announced: usize,
}

/// What is below so many inner nodes after the current one is announced as soon as they are at hand, ...
const NODES_AHEAD: usize = 8;
/// ... up to so many bytes of rows: the walk then never waits for one node after another.
const ROW_BYTES_AHEAD: u64 = 16 << 20;

impl<'a> Walker<'a> {
    /// At the start of `range`; nothing is read before the first leaf is asked for.
    pub fn new(
        source: &'a dyn ReadNode,
        parameters: &'a TreeParameters,
        root: &Root,
        range: KeyRange,
    ) -> Result<Self, Error> {
        let top = root.claim(parameters)?;
        let nodes = Nodes { source, parameters };
        Ok(Self { nodes, range, wanted: None, top, path: Vec::new(), reached: None, leaf: None })
    }

    /// Leaves out subtrees whose summary is not wanted. Records of a wanted leaf come all, wanted or not.
    pub fn only(mut self, wanted: impl FnMut(&[u8]) -> bool + 'a) -> Self {
        self.wanted = Some(Box::new(wanted));
        self
    }

    /// The next leaf with records in the range, and which of its rows are. Not to be mixed with [`Self::next_record`].
    pub fn next_leaf(&mut self) -> Result<Option<LeafRows>, Error> {
        while let Some(claim) = self.next_claim()? {
            let node = self.nodes.read(&claim)?;
            if node.level > 0 {
                self.descend(claim.child.id, node)?;
                continue;
            }
            if self.reached.as_deref().is_some_and(|reached| reached >= node.rows.key(0)) {
                return Err(damaged(claim.child.id, DecodeError::Invalid("order of leaves")));
            }
            let last = node.rows.len() - 1;
            let start =
                if self.range.from.as_slice() > node.rows.key(0) { node.rows.lower_bound(&self.range.from) } else { 0 };
            let end = match &self.range.to {
                Some(to) if to.as_slice() <= node.rows.key(last) => {
                    self.path.clear();
                    node.rows.lower_bound(to)
                }
                _ => node.rows.len(),
            };
            let reached = self.reached.get_or_insert_default();
            reached.clear();
            reached.extend_from_slice(node.rows.key(last));
            if start < end {
                return Ok(Some((node, start..end)));
            }
        }
        Ok(None)
    }

    /// The next record in the range.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        let next = match &mut self.leaf {
            Some((_, rows)) => rows.next(),
            None => None,
        };
        let row = match next {
            Some(row) => row,
            None => {
                self.leaf = self.next_leaf()?;
                let Some((_, rows)) = &mut self.leaf else { return Ok(None) };
                rows.next().expect("a leaf that is handed out has rows")
            }
        };
        Ok(self.leaf.as_ref().map(|(node, _)| (node.rows.key(row), node.rows.value(row))))
    }

    /// The next node to look into, after the last one in key order.
    fn next_claim(&mut self) -> Result<Option<Claim>, Error> {
        if let Some(top) = self.top.take() {
            return Ok(self.is_wanted(&top.child.summary).then_some(top));
        }
        while let Some(frame) = self.path.last_mut() {
            if let Some(i) = frame.children.next() {
                return self.nodes.claim(frame.id, &frame.node, i).map(Some);
            }
            self.path.pop();
        }
        Ok(None)
    }

    /// Goes on with those children of an inner node that may have records in the range.
    fn descend(&mut self, id: BlobId, node: Arc<Node>) -> Result<(), Error> {
        let mut from = 0;
        if !self.range.from.is_empty() {
            from = first_child_reaching(self.nodes, id, &node, 0, &self.range.from)?;
        }
        let (mut children, mut ids) = (Vec::new(), Vec::new());
        for i in from..node.rows.len() {
            let claim = self.nodes.claim(id, &node, i)?;
            if self.is_wanted(&claim.child.summary) {
                children.push(i);
                ids.push(claim.child.id);
            }
            let order = self.range.to.as_ref().and_then(|to| separator::compare(node.rows.key(i), to));
            if order.is_some_and(Ordering::is_ge) {
                break;
            }
        }
        if !ids.is_empty() {
            self.nodes.source.prefetch(&ids);
        }
        self.look_ahead()?;
        self.path.push(Frame { id, node, children: children.into_iter(), announced: 0 });
        Ok(())
    }

    /// Announces what is below the nodes that come after the current one.
    fn look_ahead(&mut self) -> Result<(), Error> {
        let Some(frame) = self.path.last_mut().filter(|frame| frame.node.level > 1) else { return Ok(()) };
        let (mut ids, mut row_bytes) = (Vec::new(), 0);
        for &i in frame.children.as_slice().iter().take(NODES_AHEAD) {
            let claim = self.nodes.claim(frame.id, &frame.node, i)?;
            row_bytes += claim.child.row_bytes;
            if row_bytes > ROW_BYTES_AHEAD {
                break;
            }
            if i < frame.announced {
                continue;
            }
            let Some(node) = self.nodes.source.peek_node(claim.child.id) else { break };
            frame.announced = i + 1;
            for row in 0..node.rows.len() {
                // A node that is not as it should be is found to be so when it is read.
                let Ok(below) = self.nodes.claim(claim.child.id, &node, row) else { break };
                if self.wanted.as_mut().is_none_or(|wanted| wanted(&below.child.summary)) {
                    ids.push(below.child.id);
                }
            }
        }
        if !ids.is_empty() {
            self.nodes.source.prefetch(&ids);
        }
        Ok(())
    }

    fn is_wanted(&mut self, summary: &[u8]) -> bool {
        self.wanted.as_mut().is_none_or(|wanted| wanted(summary))
    }
}
