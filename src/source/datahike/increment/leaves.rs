//! Leaves of an index as it is now, read several at once.

use std::collections::VecDeque;

use super::shelf::{Content, Fetched, Reference, Shelf, spell};
use super::trouble::Trouble;
use crate::datahike::{NodeKey, Stamp};
use crate::record::datom::Digest;

/// A leaf.
pub(super) struct ReadLeaf {
    pub(super) key: NodeKey,
    pub(super) stamp: Option<Stamp>,
    /// View keys with whole values.
    pub(super) rows: Vec<Vec<u8>>,
    /// What they add up to.
    pub(super) total: Digest,
}

/// Reads leaves one after another.
pub(super) struct LeafReader<'a> {
    shelf: &'a Shelf,
    rest: VecDeque<Reference>,
    fetched: VecDeque<Fetched>,
}

impl<'a> LeafReader<'a> {
    /// Of these leaves, in this order.
    pub(super) fn new(shelf: &'a Shelf, leaves: impl IntoIterator<Item = Reference>) -> Self {
        Self { shelf, rest: leaves.into_iter().collect(), fetched: VecDeque::new() }
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Result<Option<ReadLeaf>, Trouble> {
        if self.fetched.is_empty() {
            self.fetch()?;
        }
        let Some((reference, blob)) = self.fetched.pop_front() else { return Ok(None) };
        let (stamp, blob) = blob.unzip();
        match self.shelf.open(&reference, blob.as_ref()).map_err(Trouble::Now)? {
            Content::Leaf(rows, total) => Ok(Some(ReadLeaf { key: reference.key, stamp, rows, total })),
            Content::Branch { .. } => {
                let message = format!("node {}: a branch where its parent has a leaf", spell(&reference.key));
                Err(Trouble::Now(message))
            }
        }
    }

    fn fetch(&mut self) -> Result<(), Trouble> {
        // A root that is kept in the head is alone, and there already.
        if self.rest.front().is_some_and(|first| first.fused.is_some()) {
            self.fetched.extend(self.rest.drain(..).map(|reference| (reference, None)));
        } else {
            self.fetched.extend(self.shelf.fetch_next(&mut self.rest)?);
        }
        Ok(())
    }
}
