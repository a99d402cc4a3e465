//! What a node holds while it is edited.

use crate::datahike::node::Address;
use crate::datahike::{IndexOrder, Node};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Datom, encode_key};

use crate::target::datahike::nodes::{Child, refused};

/// A datom of a leaf.
#[derive(Debug)]
pub(super) struct Row {
    /// Its key in the order of the index.
    pub(super) key: Vec<u8>,
    /// The datom, as the key of a record.
    pub(super) datom: Vec<u8>,
}

/// A child of a branch.
#[derive(Debug)]
pub(super) struct Entry {
    /// The key of its last datom.
    pub(super) key: Vec<u8>,
    /// That datom, as the key of a record.
    pub(super) last: Vec<u8>,
    pub(super) address: Address,
    /// Datoms below it, where that is known.
    pub(super) count: Option<u64>,
    /// A node that is too small and has no neighbour in its branch, which is too small then too: it is not written yet.
    pub(super) loose: Option<Box<Contents>>,
}

/// A node.
#[derive(Debug)]
pub(super) enum Contents {
    Leaf(Vec<Row>),
    Branch {
        level: u32,
        entries: Vec<Entry>,
        /// Datoms below, where that is known.
        count: Option<u64>,
    },
}

impl Contents {
    /// The node in the value of a blob.
    pub(super) fn decode(order: IndexOrder, value: &[u8], name: &str) -> Result<Self> {
        let damaged = |why: &str| Error::new(ErrorKind::Damaged, name, why);
        match Node::decode(value).map_err(|why| why.about(name))? {
            Node::Leaf(leaf) => {
                let row = |datom: &Datom<'_>| {
                    let (key, datom) = keys(order, datom)?;
                    Ok(Row { key, datom })
                };
                Ok(Self::Leaf(leaf.datoms.iter().map(row).collect::<Result<_>>()?))
            }
            Node::Branch(branch) => {
                if !branch.slots.is_empty() {
                    return Err(damaged("carries differences, as Datahike writes them: the database is in use"));
                }
                if branch.keys.len() != branch.addresses.len() || branch.keys.is_empty() || branch.level == 0 {
                    return Err(damaged("is no branch with a key for each child"));
                }
                let entry = |(datom, address): (&Datom<'_>, &Address)| {
                    let (key, last) = keys(order, datom)?;
                    // Right above the leaves a child may be read to be counted; higher up it says so itself.
                    Ok(Entry { key, last, address: *address, count: None, loose: None })
                };
                let entries = branch.keys.iter().zip(&branch.addresses).map(entry).collect::<Result<_>>()?;
                Ok(Self::Branch { level: branch.level, entries, count: branch.subtree_count })
            }
        }
    }

    /// 0 for leaves.
    pub(super) fn level(&self) -> u32 {
        match self {
            Self::Leaf(_) => 0,
            Self::Branch { level, .. } => *level,
        }
    }

    /// Children, or datoms of a leaf.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Leaf(rows) => rows.len(),
            Self::Branch { entries, .. } => entries.len(),
        }
    }

    /// Datoms below, where that is known.
    pub(super) fn count(&self) -> Option<u64> {
        match self {
            Self::Leaf(rows) => Some(rows.len() as u64),
            Self::Branch { entries, count, .. } => count.or_else(|| entries.iter().map(|entry| entry.count).sum()),
        }
    }

    /// The key and the record of its last datom.
    pub(super) fn last(&self) -> (Vec<u8>, Vec<u8>) {
        let of_row = |row: &Row| (row.key.clone(), row.datom.clone());
        let of_entry = |entry: &Entry| (entry.key.clone(), entry.last.clone());
        match self {
            Self::Leaf(rows) => rows.last().map(of_row),
            Self::Branch { entries, .. } => entries.last().map(of_entry),
        }
        .unwrap_or_default()
    }

    /// This node and the one behind it as one.
    pub(super) fn join(self, next: Self) -> Result<Self> {
        let counts = (self.count(), next.count());
        match (self, next) {
            (Self::Leaf(mut rows), Self::Leaf(more)) => {
                rows.extend(more);
                Ok(Self::Leaf(rows))
            }
            (Self::Branch { level, mut entries, .. }, Self::Branch { level: other, entries: more, .. })
                if level == other =>
            {
                entries.extend(more);
                let count = counts.0.zip(counts.1).map(|(one, other)| one + other);
                Ok(Self::Branch { level, entries, count })
            }
            _ => Err(Error::new(ErrorKind::Damaged, "index", "has nodes of different heights beside each other")),
        }
    }

    /// Parts of nearly the same size, none longer than `most`.
    pub(super) fn split(self, most: usize) -> Vec<Self> {
        let parts = self.len().div_ceil(most);
        if parts <= 1 {
            return vec![self];
        }
        match self {
            Self::Leaf(rows) => evenly(rows, parts).into_iter().map(Self::Leaf).collect(),
            Self::Branch { level, entries, .. } => {
                let part = |entries| Self::Branch { level, entries, count: None };
                evenly(entries, parts).into_iter().map(part).collect()
            }
        }
    }
}

impl Entry {
    /// A child that is not written yet.
    pub(super) fn loose(contents: Contents) -> Self {
        let (key, last) = contents.last();
        Self { key, last, address: Address::default(), count: contents.count(), loose: Some(Box::new(contents)) }
    }
}

/// What a branch that is written says of a child.
impl From<Entry> for Child {
    fn from(entry: Entry) -> Self {
        Self { last: entry.last, address: entry.address, count: entry.count.unwrap_or(0) }
    }
}

/// The key of a datom in an order, and as a record.
pub(super) fn keys(order: IndexOrder, datom: &Datom<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut key, mut record) = (Vec::new(), Vec::new());
    order.put_key(datom, &mut key).map_err(refused)?;
    encode_key(datom, &mut record).map_err(refused)?;
    Ok((key, record))
}

fn evenly<T>(all: Vec<T>, parts: usize) -> Vec<Vec<T>> {
    let (each, longer) = (all.len() / parts, all.len() % parts);
    let mut all = all.into_iter();
    (0..parts).map(|part| all.by_ref().take(each + usize::from(part < longer)).collect()).collect()
}
