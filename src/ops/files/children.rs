//! What is in one directory.

use super::FileTree;
use crate::error::Result;
use crate::record::entry::{self, Entry};
use crate::tree::{KeyRange, LeafRows, Walker};

/// Leaves in a row that all had something of the directory, after which more are fetched ahead.
const STEADY_LEAVES: usize = 2;

/// The entries of one directory in the order of their names.
pub struct Children<'a> {
    tree: &'a FileTree,
    walker: Walker<'a>,
    to: Option<Vec<u8>>,
    leaf: Option<LeafRows>,
    /// Where the next child is at the earliest, after everything below the last one.
    after: Option<Vec<u8>>,
    /// Leaves since the last jump, until more are fetched ahead.
    steady: Option<usize>,
}

impl<'a> Children<'a> {
    pub(super) fn new(tree: &'a FileTree, key: &[u8]) -> Result<Self> {
        let (from, to) = entry::children(key);
        let range = KeyRange { from, to: to.clone() };
        let walker = Walker::new(&tree.once, &tree.entries, &tree.root, range)?;
        Ok(Self { tree, walker, to, leaf: None, after: None, steady: Some(0) })
    }

    /// From the first child behind `last` on, which is the key of one.
    pub(super) fn behind(tree: &'a FileTree, key: &[u8], last: &[u8]) -> Result<Self> {
        let mut children = Self::new(tree, key)?;
        children.walker = children.tree_from(entry::subtree(last).1.unwrap_or_default(), Ahead::No)?;
        Ok(children)
    }

    fn next_child(&mut self) -> Result<Option<(Vec<u8>, Entry)>> {
        loop {
            if self.leaf.is_none() {
                self.leaf = self.walker.next_leaf()?;
                self.count_leaf()?;
            }
            let Some((node, rows)) = &mut self.leaf else { return Ok(None) };
            if let Some(after) = &self.after {
                rows.start = node.rows.lower_bound(after).clamp(rows.start, rows.end);
            }
            if let Some(row) = rows.next() {
                let key = node.rows.key(row).to_vec();
                let entry = super::decode(&key, node.rows.value(row))?;
                self.after = if entry.is_directory() { entry::subtree(&key).1 } else { None };
                return Ok(Some((key, entry)));
            }
            self.leaf = None;
        }
    }

    /// Looks whether the leaf that just came is worth its reading: jumps when nothing of it is of this directory itself,
    /// fetches ahead when that did not happen for a while.
    fn count_leaf(&mut self) -> Result<()> {
        let Some((node, rows)) = &self.leaf else { return Ok(()) };
        if let Some(after) = &self.after
            && node.rows.lower_bound(after) >= rows.end
        {
            self.walker = self.tree_from(after.clone(), Ahead::No)?;
            self.steady = Some(0);
            self.leaf = self.walker.next_leaf()?;
        } else if let Some(leaves) = &mut self.steady {
            *leaves += 1;
            if *leaves > STEADY_LEAVES {
                self.walker = self.tree_from(node.rows.key(rows.start).to_vec(), Ahead::Yes)?;
                self.steady = None;
                self.leaf = self.walker.next_leaf()?;
            }
        }
        Ok(())
    }

    fn tree_from(&self, from: Vec<u8>, ahead: Ahead) -> Result<Walker<'a>> {
        let tree = self.tree;
        let range = KeyRange { from, to: self.to.clone() };
        match ahead {
            Ahead::Yes => Walker::new(&tree.reader, &tree.entries, &tree.root, range),
            Ahead::No => Walker::new(&tree.once, &tree.entries, &tree.root, range),
        }
    }
}

/// Whether nodes are fetched before they are asked for.
#[derive(Clone, Copy)]
enum Ahead {
    Yes,
    No,
}

impl Iterator for Children<'_> {
    type Item = Result<(Vec<u8>, Entry)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_child().transpose()
    }
}
