//! What a snapshot knew of a branch: every node of its indices, by address and slot, with proofs of its content.
//!
//! The bytes are `format-spec/snapshot.md`, "Cursor of datahike".

use std::collections::{BTreeMap, HashMap};

use crate::datahike::{NodeKey, Stamp};
use crate::error::DecodeError;
use crate::record::cursor::{Cursor, put_len, put_varint, put_zigzag};
use crate::record::datom::Digest;

const VERSION: u8 = 1;
/// Least bytes of a node: neither address nor slot, no stamp, total.
const NODE_MIN_BYTES: usize = 1 + 1 + 1 + 17;

/// Every node of the indices that a snapshot of a branch was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafTable {
    /// The branch's head when it was read.
    pub head: HeadMark,
    /// Canonical bytes of each declared attribute: whether the history takes its datoms from the current index.
    pub attributes: BTreeMap<Vec<u8>, bool>,
    /// The current index, in the order of entities.
    pub current: IndexTable,
    /// The temporal index, where history is kept.
    pub temporal: Option<IndexTable>,
}

/// What tells one head of a branch from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadMark {
    /// BLAKE3 of the branch's record.
    pub hash: [u8; 32],
    /// Its commit.
    pub commit: Option<[u8; 16]>,
    /// Its greatest transaction.
    pub max_tx: i64,
}

/// The nodes of one index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexTable {
    /// Where it begins; `None` when it is empty or its root is part of the head.
    pub root: Option<NodeKey>,
    /// Canonical bytes of the root that was part of the head.
    pub fused: Option<Vec<u8>>,
    /// All its datoms.
    pub total: Digest,
    /// Every node below the head.
    pub nodes: HashMap<NodeKey, Entry>,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Stamp of its blob; `None` where the address itself proves the content.
    pub stamp: Option<Stamp>,
    /// The datoms below it.
    pub total: Digest,
}

impl LeafTable {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.head.hash);
        put_option(self.head.commit.as_ref(), &mut out, |commit, out| out.extend_from_slice(commit));
        put_zigzag(self.head.max_tx, &mut out);
        put_len(self.attributes.len(), &mut out);
        for (name, from_current) in &self.attributes {
            put_len(name.len(), &mut out);
            out.extend_from_slice(name);
            out.push(u8::from(*from_current));
        }
        put_index(&self.current, &mut out);
        put_option(self.temporal.as_ref(), &mut out, put_index);
        out
    }

    /// The table of these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        match cursor.byte()? {
            VERSION => {}
            version => return Err(DecodeError::UnknownVersion(version)),
        }
        let hash = cursor.array()?;
        let commit = take_option(&mut cursor, |cursor| cursor.array())?;
        let head = HeadMark { hash, commit, max_tx: cursor.zigzag()? };
        let mut attributes = BTreeMap::new();
        for _ in 0..cursor.count(cursor.rest().len(), "attributes")? {
            let name_len = cursor.count(cursor.rest().len(), "attribute")?;
            let name = cursor.take(name_len)?.to_vec();
            if attributes.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(DecodeError::Invalid("order of attributes"));
            }
            attributes.insert(name, take_flag(&mut cursor)?);
        }
        let current = take_index(&mut cursor)?;
        let temporal = take_option(&mut cursor, take_index)?;
        cursor.finish()?;
        Ok(Self { head, attributes, current, temporal })
    }
}

fn put_option<T>(value: Option<T>, out: &mut Vec<u8>, put: impl Fn(T, &mut Vec<u8>)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put(value, out);
        }
    }
}

fn put_index(index: &IndexTable, out: &mut Vec<u8>) {
    put_option(index.root.as_ref(), out, put_key);
    put_option(index.fused.as_ref(), out, |node, out| {
        put_len(node.len(), out);
        out.extend_from_slice(node);
    });
    put_total(&index.total, out);
    let mut nodes: Vec<_> = index.nodes.iter().collect();
    nodes.sort_unstable_by_key(|(key, _)| **key);
    put_len(nodes.len(), out);
    out.reserve(nodes.len().saturating_mul(NODE_MIN_BYTES + 34));
    for (key, entry) in nodes {
        put_key(key, out);
        put_option(entry.stamp, out, |stamp, out| out.extend_from_slice(&stamp.0));
        put_total(&entry.total, out);
    }
}

fn put_key(key: &NodeKey, out: &mut Vec<u8>) {
    put_option(key.address.as_ref(), out, |address, out| out.extend_from_slice(address));
    put_option(key.slot.as_ref(), out, |slot, out| out.extend_from_slice(slot));
}

fn put_total(total: &Digest, out: &mut Vec<u8>) {
    out.extend_from_slice(&total.xor.to_be_bytes());
    out.extend_from_slice(&total.sum.to_be_bytes());
    put_varint(total.count, out);
}

fn take_flag(cursor: &mut Cursor<'_>) -> Result<bool, DecodeError> {
    match cursor.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("flag")),
    }
}

fn take_option<T>(
    cursor: &mut Cursor<'_>,
    take: impl FnOnce(&mut Cursor<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if take_flag(cursor)? { take(cursor).map(Some) } else { Ok(None) }
}

fn take_index(cursor: &mut Cursor<'_>) -> Result<IndexTable, DecodeError> {
    let root = take_option(cursor, take_key)?;
    let fused = take_option(cursor, |cursor| {
        let len = cursor.count(cursor.rest().len(), "root")?;
        cursor.take(len).map(<[u8]>::to_vec)
    })?;
    let total = take_total(cursor)?;
    let nodes_count = cursor.count(cursor.rest().len() / NODE_MIN_BYTES, "nodes")?;
    let mut nodes = HashMap::with_capacity(nodes_count);
    let mut last = None;
    for _ in 0..nodes_count {
        let key = take_key(cursor)?;
        if last.is_some_and(|last| last >= key) {
            return Err(DecodeError::Invalid("order of nodes"));
        }
        let stamp = take_option(cursor, |cursor| cursor.array().map(Stamp))?;
        nodes.insert(key, Entry { stamp, total: take_total(cursor)? });
        last = Some(key);
    }
    Ok(IndexTable { root, fused, total, nodes })
}

fn take_key(cursor: &mut Cursor<'_>) -> Result<NodeKey, DecodeError> {
    let address = take_option(cursor, |cursor| cursor.array())?;
    Ok(NodeKey { address, slot: take_option(cursor, |cursor| cursor.array())? })
}

fn take_total(cursor: &mut Cursor<'_>) -> Result<Digest, DecodeError> {
    let (xor, sum) = (u64::from_be_bytes(cursor.array()?), u64::from_be_bytes(cursor.array()?));
    Ok(Digest { xor, sum, count: cursor.varint()? })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn totals() -> impl Strategy<Value = Digest> {
        any::<(u64, u64, u64)>().prop_map(|(xor, sum, count)| Digest { xor, sum, count })
    }

    fn keys() -> impl Strategy<Value = NodeKey> {
        any::<(Option<[u8; 16]>, Option<[u8; 16]>)>().prop_map(|(address, slot)| NodeKey { address, slot })
    }

    fn indices() -> impl Strategy<Value = IndexTable> {
        let entry = (any::<Option<[u8; 16]>>(), totals());
        let entry = entry.prop_map(|(stamp, total)| Entry { stamp: stamp.map(Stamp), total });
        let fused = prop::option::of(prop::collection::vec(any::<u8>(), 0..9));
        (prop::option::of(keys()), fused, totals(), prop::collection::hash_map(keys(), entry, 0..6))
            .prop_map(|(root, fused, total, nodes)| IndexTable { root, fused, total, nodes })
    }

    fn tables() -> impl Strategy<Value = LeafTable> {
        let head = any::<([u8; 32], Option<[u8; 16]>, i64)>();
        let attributes = prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..5), any::<bool>(), 0..4);
        (head, attributes, indices(), prop::option::of(indices())).prop_map(|(head, attributes, current, temporal)| {
            let (hash, commit, max_tx) = head;
            LeafTable { head: HeadMark { hash, commit, max_tx }, attributes, current, temporal }
        })
    }

    proptest! {
        #[test]
        fn a_table_comes_back_and_every_cut_of_it_is_refused(table in tables()) {
            let bytes = table.encode();
            prop_assert_eq!(&LeafTable::decode(&bytes).unwrap(), &table);
            for cut in 0..bytes.len() {
                prop_assert!(LeafTable::decode(&bytes[..cut]).is_err());
            }
            prop_assert!(LeafTable::decode(&[&bytes[..], &[0]].concat()).is_err());
        }

        #[test]
        fn a_table_has_one_form(table in tables(), at: prop::sample::Index, byte: u8) {
            let mut bytes = table.encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(decoded) = LeafTable::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}
