//! One index from its datoms in order: leaves, and branches over them, as full as Datahike's own bulk loading makes them.
//!
//! A node has at most as many children as the branching factor says and, but for the root, at least half of them. As
//! long as twice the mean of both are left, a node takes the mean; what is left then becomes one node or two.

use crate::datahike::IndexOrder;
use crate::datahike::node::Address;
use crate::error::Result;

use super::blobs::Blobs;
use super::nodes::{Child, Encoded, Shape};

/// An index that is being built.
pub(super) struct Tree {
    pub(super) order: IndexOrder,
    pub(super) temporal: bool,
    shape: Shape,
    /// Datoms that wait for a leaf.
    datoms: Vec<Vec<u8>>,
    leaves: u64,
    levels: Vec<Level>,
    last_key: Vec<u8>,
    pub(super) count: u64,
    /// Datoms left out because Datahike holds them to be equal to the one before.
    pub(super) equal: u64,
}

/// Children that wait for a branch.
#[derive(Default)]
struct Level {
    children: Vec<Child>,
    branches: u64,
}

impl Shape {
    /// Children of a node where there are many.
    fn mean(self) -> usize {
        (self.branching_factor / 2 + self.branching_factor) / 2
    }

    /// How many of those that wait make the next node: nothing until it is certain.
    fn ready(self, waiting: usize) -> Option<usize> {
        (waiting >= 2 * self.mean()).then(|| self.mean())
    }

    /// How many of the last ones make the next node.
    fn last(self, waiting: usize) -> usize {
        if waiting <= self.branching_factor { waiting } else { waiting / 2 }
    }
}

impl Tree {
    pub(super) fn new(order: IndexOrder, temporal: bool, shape: Shape) -> Self {
        Self {
            order,
            temporal,
            shape,
            datoms: Vec::new(),
            leaves: 0,
            levels: Vec::new(),
            last_key: Vec::new(),
            count: 0,
            equal: 0,
        }
    }

    /// Takes the next datom, as the key of a record, and its key in this order.
    pub(super) fn push(&mut self, key: &[u8], datom: &[u8], blobs: &mut Blobs) -> Result<()> {
        if self.last_key == key {
            self.equal += 1;
            return Ok(());
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.count += 1;
        self.datoms.push(datom.to_vec());
        match self.shape.ready(self.datoms.len()) {
            Some(len) => self.leaf(len, blobs),
            None => Ok(()),
        }
    }

    /// The address of the top node.
    pub(super) fn finish(&mut self, blobs: &mut Blobs) -> Result<Address> {
        while !self.datoms.is_empty() || self.leaves == 0 {
            self.leaf(self.shape.last(self.datoms.len()), blobs)?;
        }
        let mut level = 0;
        loop {
            let all = &mut self.levels[level];
            if all.branches == 0
                && let [only] = all.children.as_slice()
            {
                return Ok(only.address);
            }
            while !self.levels[level].children.is_empty() {
                let len = self.shape.last(self.levels[level].children.len());
                self.branch(level, len, blobs)?;
            }
            level += 1;
        }
    }

    fn leaf(&mut self, len: usize, blobs: &mut Blobs) -> Result<()> {
        let rest = self.datoms.split_off(len);
        let taken = std::mem::replace(&mut self.datoms, rest);
        let Encoded { address, value } = self.shape.leaf(self.order, &taken)?;
        blobs.node(address, &value)?;
        self.leaves += 1;
        let count = taken.len() as u64;
        let last = taken.into_iter().next_back().unwrap_or_default();
        self.child(0, Child { last, address, count }, blobs)
    }

    fn child(&mut self, level: usize, child: Child, blobs: &mut Blobs) -> Result<()> {
        if self.levels.len() == level {
            self.levels.push(Level::default());
        }
        self.levels[level].children.push(child);
        match self.shape.ready(self.levels[level].children.len()) {
            Some(len) => self.branch(level, len, blobs),
            None => Ok(()),
        }
    }

    fn branch(&mut self, level: usize, len: usize, blobs: &mut Blobs) -> Result<()> {
        let all = &mut self.levels[level];
        let rest = all.children.split_off(len);
        let taken = std::mem::replace(&mut all.children, rest);
        all.branches += 1;
        let height = u32::try_from(level + 1).expect("a tree has few levels");
        let count = taken.iter().map(|child| child.count).sum();
        let Encoded { address, value } = self.shape.branch(height, &taken, count)?;
        blobs.node(address, &value)?;
        let last = taken.into_iter().next_back().map(|child| child.last).unwrap_or_default();
        self.child(level + 1, Child { last, address, count }, blobs)
    }
}
