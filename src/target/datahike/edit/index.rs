//! One index, edited: the nodes on the way to what changes are written anew, all others stay.
//!
//! Nodes keep the sizes that Datahike gives them: at most as many children as the branching factor says and, but for the
//! root, at least half of them. A node that became too small takes in a neighbour; one that became too large is divided
//! evenly.

use std::ops::Range;

use super::contents::{Contents, Entry, Row};
use super::nodes::Nodes;
use crate::datahike::IndexOrder;
use crate::datahike::node::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::target::datahike::nodes::{Child, Encoded};

/// What is done at a key: a datom is put, as the key of a record, or the one that is there goes.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Edits one index.
pub(super) struct IndexEditor<'n, 's> {
    pub(super) order: IndexOrder,
    pub(super) nodes: &'n mut Nodes<'s>,
}

/// A child of a branch that is edited.
enum Group {
    Kept(Entry),
    Loose(Contents),
}

impl IndexEditor<'_, '_> {
    /// Makes changes, ascending by key; where the top node is then, and by how much the number of datoms grew.
    pub(super) fn edit(&mut self, root: Address, changes: &[Change]) -> Result<(Address, i64)> {
        if changes.is_empty() {
            return Ok((root, 0));
        }
        let contents = self.open(root)?;
        let (mut contents, grown) = self.change(contents, changes)?;
        loop {
            let most = self.nodes.shape.branching_factor;
            contents = match contents {
                Contents::Branch { entries, .. } if entries.is_empty() => Contents::Leaf(Vec::new()),
                Contents::Branch { mut entries, .. } if entries.len() == 1 => match entries.remove(0) {
                    Entry { loose: Some(contents), .. } => *contents,
                    entry => return Ok((entry.address, grown)),
                },
                contents if contents.len() <= most => return Ok((self.write(contents)?.address, grown)),
                contents => {
                    let (level, count) = (contents.level() + 1, contents.count());
                    Contents::Branch { level, entries: self.write_parts(contents)?, count }
                }
            };
        }
    }

    /// The contents of a node after the changes, and by how much the number of datoms below grew.
    fn change(&mut self, contents: Contents, changes: &[Change]) -> Result<(Contents, i64)> {
        match contents {
            Contents::Leaf(rows) => self.change_leaf(rows, changes),
            Contents::Branch { level, entries, count } => {
                let touched = share_out(&entries, changes);
                let addresses: Vec<_> = touched.iter().map(|(child, _)| entries[*child].address).collect();
                let read = self.nodes.read(self.order, &addresses)?;
                let mut touched = touched.into_iter().zip(read).peekable();
                let mut groups = Vec::with_capacity(entries.len());
                let mut grown = 0;
                for (place, entry) in entries.into_iter().enumerate() {
                    let Some(((_, range), child)) = touched.next_if(|((child, _), _)| *child == place) else {
                        groups.push(Group::Kept(entry));
                        continue;
                    };
                    self.check_level(&child, level)?;
                    self.nodes.replace(entry.address);
                    let (child, more) = self.change(child, &changes[range])?;
                    grown += more;
                    if child.len() > 0 {
                        groups.push(Group::Loose(child));
                    }
                }
                let entries = self.settle(groups)?;
                let count = count.and_then(|count| count.checked_add_signed(grown));
                Ok((Contents::Branch { level, entries, count }, grown))
            }
        }
    }

    fn change_leaf(&self, rows: Vec<Row>, changes: &[Change]) -> Result<(Contents, i64)> {
        let before = rows.len();
        let mut out = Vec::with_capacity(before + changes.len());
        let mut rows = rows.into_iter().peekable();
        for (key, datom) in changes {
            while let Some(row) = rows.next_if(|row| row.key < *key) {
                out.push(row);
            }
            let there = rows.next_if(|row| row.key == *key).is_some();
            match datom {
                Some(datom) => out.push(Row { key: key.clone(), datom: datom.clone() }),
                None if there => {}
                None => {
                    let message = "lacks a datom that is to go: it is not what the other indices are";
                    return Err(Error::new(ErrorKind::Damaged, self.nodes.reader.index_name(self.order), message));
                }
            }
        }
        out.extend(rows);
        let grown = i64::try_from(out.len()).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
        Ok((Contents::Leaf(out), grown))
    }

    /// Lets children that are too small take in a neighbour, and writes those that changed. One that is too small and has
    /// no neighbour stays loose.
    fn settle(&mut self, mut groups: Vec<Group>) -> Result<Vec<Entry>> {
        let least = self.nodes.shape.branching_factor / 2;
        let is_small = |group: &Group| matches!(group, Group::Loose(contents) if contents.len() < least);
        let mut at = 0;
        while at < groups.len() {
            if !is_small(&groups[at]) || groups.len() == 1 {
                at += 1;
                continue;
            }
            let first = if at + 1 < groups.len() { at } else { at - 1 };
            let (one, next) = (groups.remove(first), groups.remove(first));
            let (one, next) = (self.loosen(one)?, self.loosen(next)?);
            let joined = self.settle_inside(one.join(next)?)?;
            groups.insert(first, Group::Loose(joined));
            at = first;
        }
        let mut entries = Vec::with_capacity(groups.len());
        for group in groups {
            match group {
                Group::Kept(entry) => entries.push(entry),
                Group::Loose(contents) if contents.len() < least => entries.push(Entry::loose(contents)),
                Group::Loose(contents) => entries.extend(self.write_parts(contents)?),
            }
        }
        Ok(entries)
    }

    /// Gives children that are loose the neighbours they have now.
    fn settle_inside(&mut self, contents: Contents) -> Result<Contents> {
        let Contents::Branch { level, entries, count } = contents else { return Ok(contents) };
        let group = |entry: Entry| match entry {
            Entry { loose: Some(contents), .. } => Group::Loose(*contents),
            entry => Group::Kept(entry),
        };
        let is_settled = entries.iter().all(|entry| entry.loose.is_none());
        let entries = if is_settled { entries } else { self.settle(entries.into_iter().map(group).collect())? };
        Ok(Contents::Branch { level, entries, count })
    }

    fn loosen(&mut self, group: Group) -> Result<Contents> {
        match group {
            Group::Loose(contents) => Ok(contents),
            Group::Kept(entry) => self.open(entry.address),
        }
    }

    /// Reads a node that will be written anew.
    fn open(&mut self, address: Address) -> Result<Contents> {
        self.nodes.replace(address);
        Ok(self.nodes.read(self.order, &[address])?.remove(0))
    }

    /// Writes contents as nodes, none too large.
    fn write_parts(&mut self, contents: Contents) -> Result<Vec<Entry>> {
        let mut contents = contents;
        if contents.len() > self.nodes.shape.branching_factor {
            self.count_children(&mut contents)?;
        }
        contents.split(self.nodes.shape.branching_factor).into_iter().map(|part| self.write(part)).collect()
    }

    fn write(&mut self, mut contents: Contents) -> Result<Entry> {
        if contents.count().is_none() {
            self.count_children(&mut contents)?;
        }
        let count = contents.count();
        let shape = self.nodes.shape;
        let (key, last) = contents.last();
        let encoded = match contents {
            Contents::Leaf(rows) => {
                let datoms: Vec<&[u8]> = rows.iter().map(|row| row.datom.as_slice()).collect();
                shape.leaf(self.order, &datoms)?
            }
            Contents::Branch { level, entries, .. } => {
                let children: Vec<Child> = entries.into_iter().map(Child::from).collect();
                shape.branch(level, &children, count.unwrap_or(0))?
            }
        };
        let Encoded { address, value } = encoded;
        self.nodes.write(address, value)?;
        Ok(Entry { key, last, address, count, loose: None })
    }

    /// Learns how many datoms are below each child.
    fn count_children(&mut self, contents: &mut Contents) -> Result<()> {
        let Contents::Branch { entries, .. } = contents else { return Ok(()) };
        for entry in entries.iter_mut().filter(|entry| entry.count.is_none()) {
            let mut child = self.nodes.read(self.order, &[entry.address])?.remove(0);
            if child.count().is_none() {
                self.count_children(&mut child)?;
            }
            entry.count = child.count();
        }
        Ok(())
    }

    fn check_level(&self, child: &Contents, above: u32) -> Result<()> {
        if child.level() + 1 == above {
            return Ok(());
        }
        let message = "has a node that is not as high as its parent says";
        Err(Error::new(ErrorKind::Damaged, self.nodes.reader.index_name(self.order), message))
    }
}

/// Which changes each child gets: those up to its last key, the last child all that is left.
fn share_out(entries: &[Entry], changes: &[Change]) -> Vec<(usize, Range<usize>)> {
    let mut shares = Vec::new();
    let mut start = 0;
    for (place, entry) in entries.iter().enumerate() {
        if start == changes.len() {
            break;
        }
        let end = match place + 1 == entries.len() {
            true => changes.len(),
            false => start + changes[start..].partition_point(|(key, _)| *key <= entry.key),
        };
        if end > start {
            shares.push((place, start..end));
        }
        start = end;
    }
    shares
}
