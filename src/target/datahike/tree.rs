//! One index from its datoms in order: leaves, and branches over them, as full as Datahike's own bulk loading makes them.
//!
//! A node has at most as many children as the branching factor says and, but for the root, at least half of them. As
//! long as twice the mean of both are left, a node takes the mean; what is left then becomes one node or two.

use crate::datahike::encode_node::{self, Child};
use crate::datahike::node::Address;
use crate::datahike::{IndexOrder, hasch};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Datom, decode_key};

use super::blobs::Blobs;

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

/// How nodes are made.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) branching_factor: usize,
    pub(super) crypto_hash: bool,
    /// Seconds since 1970, with which random addresses begin.
    pub(super) seconds: u32,
}

/// Children that wait for a branch.
#[derive(Default)]
struct Level {
    children: Vec<Waiting>,
    branches: u64,
}

struct Waiting {
    last: Vec<u8>,
    address: Address,
    count: u64,
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

    pub(super) fn address(self) -> Address {
        let mut address = [0; 16];
        getrandom::fill(&mut address).expect("the operating system always has random bytes once it is up");
        address[..4].copy_from_slice(&self.seconds.to_be_bytes());
        address[6] = address[6] & 0x0f | 0x40;
        address[8] = address[8] & 0x3f | 0x80;
        address
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
        let datoms = taken.iter().map(|datom| decode(datom)).collect::<Result<Vec<_>>>()?;
        let address = match self.shape.crypto_hash {
            false => self.shape.address(),
            true => hasch::of_datoms(&datoms).map_err(|why| {
                let message = "a leaf has no hash, which `:crypto-hash?` asks for";
                Error::new(ErrorKind::Data, self.order.name(), message).because(why)
            })?,
        };
        let value = encode_node::leaf(&datoms, self.shape.branching_factor).map_err(refused)?;
        drop(datoms);
        blobs.node(address, &value)?;
        self.leaves += 1;
        let count = taken.len() as u64;
        let last = taken.into_iter().next_back().unwrap_or_default();
        self.child(0, Waiting { last, address, count }, blobs)
    }

    fn child(&mut self, level: usize, child: Waiting, blobs: &mut Blobs) -> Result<()> {
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
        let mut children = Vec::with_capacity(taken.len());
        for child in &taken {
            children.push(Child { last: decode(&child.last)?, address: child.address, count: child.count });
        }
        let addresses: Vec<_> = taken.iter().map(|child| child.address).collect();
        let address = if self.shape.crypto_hash { hasch::of_addresses(&addresses) } else { self.shape.address() };
        let height = u32::try_from(level + 1).expect("a tree has few levels");
        let value = encode_node::branch(height, &children, self.shape.branching_factor).map_err(refused)?;
        let count = children.iter().map(|child| child.count).sum();
        drop(children);
        blobs.node(address, &value)?;
        let last = taken.into_iter().next_back().map(|child| child.last).unwrap_or_default();
        self.child(level + 1, Waiting { last, address, count }, blobs)
    }
}

fn decode(datom: &[u8]) -> Result<Datom<'_>> {
    decode_key(datom).map_err(|e| Error::damaged("sorted row", e))
}

fn refused(why: crate::record::datom::EncodeError) -> Error {
    Error::new(ErrorKind::Data, "datom", "cannot be written").because(why)
}
