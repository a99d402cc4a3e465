//! Paths one after the other.

use super::FileTree;
use crate::error::Result;
use crate::record::entry::Entry;
use crate::tree::{KeyRange, Walker};

/// The entries of a range of keys, in their order.
pub struct Entries<'a> {
    walker: Walker<'a>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(tree: &'a FileTree, (from, to): (Vec<u8>, Option<Vec<u8>>)) -> Result<Self> {
        let walker = Walker::new(&tree.reader, &tree.entries, &tree.root, KeyRange { from, to })?;
        Ok(Self { walker })
    }

    /// Leaves out subtrees whose summary is not wanted; other entries may still come, wanted or not.
    pub fn only(self, wanted: impl FnMut(&[u8]) -> bool + 'a) -> Self {
        Self { walker: self.walker.only(wanted) }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(Vec<u8>, Entry)>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.walker.next_record().transpose()?;
        Some(next.and_then(|(key, value)| Ok((key.to_vec(), super::decode(key, value)?))))
    }
}
