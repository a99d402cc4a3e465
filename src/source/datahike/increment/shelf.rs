//! Nodes by their keys, with the blobs read last kept at hand.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::trouble::Trouble;
use crate::datahike::verify::{self, Verdict};
use crate::datahike::{
    Address, Child, Diff, Head, IndexOrder, Leaf, Node, NodeKey, Resolved, Stamp, Store, StoreKey, hasch,
};
use crate::error::{DecodeError, Result};
use crate::record::datom::{Datom, Digest, encode_key, to_view_key};

/// Bytes of blobs kept at hand.
const KEPT_BYTES: usize = 24 << 20;

/// Leaves fetched at once, and bytes of them as far as the size of those before tells.
const LEAVES_AT_ONCE: usize = 32;
const BYTES_AT_ONCE: usize = 8 << 20;
/// Leaves fetched at once while nothing is known of their size.
const FIRST_AT_ONCE: usize = 4;

/// A node as its parent names it.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) key: NodeKey,
    /// The difference to what is stored at its address.
    pub(super) diff: Option<Diff<'static>>,
    /// Levels above leaves; not known for the root.
    pub(super) level: Option<u32>,
    /// A root that is kept in the head.
    pub(super) fused: Option<crate::record::datom::Value<'static>>,
}

/// A node with what its parent says put in.
pub(super) enum Content {
    /// View keys with whole values, and what they add up to.
    Leaf(Vec<Vec<u8>>, Digest),
    /// The last entity of each child, children, and whether one of them differs from what is stored.
    Branch { last: Vec<i64>, children: Vec<Reference>, has_slots: bool },
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadStats {
    /// Nodes read, some of them from memory.
    pub nodes: u64,
    /// Those of them that are leaves.
    pub leaves: u64,
    /// Those of them whose address was found to be the hash of their content.
    pub verified: u64,
    /// Blobs read from the store.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Nodes left out, each with all below.
    pub shared_nodes: u64,
}

/// A node with its blob and the stamp of that, unless it is gone.
pub(super) type Fetched = (Reference, Option<(Stamp, Bytes)>);

/// Reads nodes of a store.
pub(super) struct Shelf {
    store: Store,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    blobs: HashMap<Address, (Stamp, Bytes)>,
    order: VecDeque<(Address, Stamp)>,
    bytes: usize,
    stats: ReadStats,
    /// When all that the head is made of was written, milliseconds since 1970.
    written_by: Option<i64>,
    /// Whether addresses are hashes of content.
    content_addresses: bool,
    /// The first node that says it was written later.
    too_new: Option<String>,
    /// How many leaves to fetch next.
    at_once: usize,
}

impl Shelf {
    pub(super) fn new(store: Store) -> Self {
        Self { store, kept: Mutex::new(Kept::default()) }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn stats(&self) -> ReadStats {
        self.lock().stats
    }

    pub(super) fn skipped(&self, count: u64) {
        self.lock().stats.shared_nodes += count;
    }

    /// Starts to count anew.
    pub(super) fn reset_stats(&self) {
        self.lock().stats = ReadStats::default();
    }

    /// From now on nodes of this head are read, which were written by this time: none can be newer.
    pub(super) fn begin(&self, head: &Head, written_by: Option<i64>) {
        let mut kept = self.lock();
        kept.written_by = written_by;
        kept.content_addresses = head.has_content_addresses();
        kept.too_new = None;
        kept.at_once = FIRST_AT_ONCE;
    }

    /// A node read since that is newer than its head: its address was used again, or the writer's clock was put back.
    pub(super) fn too_new(&self) -> Option<String> {
        self.lock().too_new.clone()
    }

    pub(super) fn stamps(&self, addresses: &[Address]) -> Result<Vec<Option<Stamp>>> {
        let keys: Vec<_> = addresses.iter().map(StoreKey::address).collect();
        self.store.home().stamps(&keys)
    }

    /// The next of these nodes as stored now, as many as may be in memory together.
    pub(super) fn fetch_next(&self, rest: &mut VecDeque<Reference>) -> Result<Vec<Fetched>> {
        let count = self.lock().at_once.clamp(1, LEAVES_AT_ONCE).min(rest.len());
        let batch: Vec<_> = rest.drain(..count).collect();
        let blobs = self.fetch(&batch)?;
        Ok(batch.into_iter().zip(blobs).collect())
    }

    /// Several nodes as stored now, in order, each with its stamp; `None` for one that is gone.
    pub(super) fn fetch(&self, references: &[Reference]) -> Result<Vec<Option<(Stamp, Bytes)>>> {
        let addresses: Vec<Address> = references.iter().map(|r| r.key.address.unwrap_or_default()).collect();
        let at_hand: Vec<usize> = {
            let kept = self.lock();
            (0..addresses.len()).filter(|&i| kept.blobs.contains_key(&addresses[i])).collect()
        };
        let mut found: Vec<Option<(Stamp, Bytes)>> = vec![None; addresses.len()];
        let names: Vec<Address> = at_hand.iter().map(|&i| addresses[i]).collect();
        if !names.is_empty() {
            let stamps = self.stamps(&names)?;
            let kept = self.lock();
            for (&i, stamp) in at_hand.iter().zip(stamps) {
                found[i] = kept.blobs.get(&addresses[i]).filter(|(kept, _)| Some(*kept) == stamp).cloned();
            }
        }
        let missing: Vec<usize> = (0..addresses.len()).filter(|&i| found[i].is_none()).collect();
        if !missing.is_empty() {
            let keys: Vec<_> = missing.iter().map(|&i| StoreKey::address(&addresses[i])).collect();
            let read = self.store.home().get_stamped(&keys)?;
            for (i, blob) in missing.into_iter().zip(read) {
                if let Some((stamp, bytes)) = &blob {
                    self.keep(addresses[i], *stamp, bytes);
                }
                found[i] = blob;
            }
        }
        let largest = found.iter().flatten().map(|(_, blob)| blob.len()).max().unwrap_or(0);
        let mut kept = self.lock();
        kept.at_once = at_once_after(kept.at_once, largest);
        Ok(found)
    }

    /// A node as it was with this stamp, if it is at hand, else as it is in the store; with `exactly` only when it was not
    /// written again.
    pub(super) fn fetch_old(&self, address: &Address, stamp: Option<Stamp>, exactly: bool) -> Result<Option<Bytes>> {
        let at_hand = self.lock().blobs.get(address).filter(|(kept, _)| Some(*kept) == stamp).cloned();
        if let Some((_, blob)) = at_hand {
            return Ok(Some(blob));
        }
        let blob = match stamp.filter(|_| exactly) {
            None => self.store.home().get(StoreKey::address(address))?,
            Some(stamp) => {
                let found = self.store.home().get_stamped(&[StoreKey::address(address)])?.pop().flatten();
                found.filter(|(now, _)| *now == stamp).map(|(_, blob)| blob)
            }
        };
        if let Some(blob) = &blob {
            let mut kept = self.lock();
            kept.stats.blobs += 1;
            kept.stats.bytes += blob.len() as u64;
        }
        Ok(blob)
    }

    fn keep(&self, address: Address, stamp: Stamp, bytes: &Bytes) {
        let mut kept = self.lock();
        kept.stats.blobs += 1;
        kept.stats.bytes += bytes.len() as u64;
        kept.bytes += bytes.len();
        kept.order.push_back((address, stamp));
        if let Some((_, old)) = kept.blobs.insert(address, (stamp, bytes.clone())) {
            kept.bytes -= old.len();
        }
        while kept.bytes > KEPT_BYTES {
            let Some((oldest, stamp)) = kept.order.pop_front() else { break };
            if kept.blobs.get(&oldest).is_some_and(|(kept, _)| *kept == stamp) {
                let dropped = kept.blobs.remove(&oldest).map_or(0, |(_, bytes)| bytes.len());
                kept.bytes -= dropped;
            }
        }
    }

    /// What is in a node's blob; the message says what is wrong with it.
    pub(super) fn open(&self, reference: &Reference, stored: Option<&Bytes>) -> Result<Content, String> {
        self.open_with(reference, stored, |_| ()).map(|((), content)| content)
    }

    /// The same, with what `look` sees in the node itself.
    fn open_with<T>(
        &self,
        reference: &Reference,
        stored: Option<&Bytes>,
        look: impl FnOnce(&Node<'_>) -> T,
    ) -> Result<(T, Content), String> {
        self.lock().stats.nodes += 1;
        let wrong = |why: &dyn std::fmt::Display| format!("node {}: {why}", spell(&reference.key));
        if let Some(fused) = &reference.fused {
            let node = Node::from_value(fused.clone()).map_err(|why| wrong(&why))?;
            return Ok((look(&node), content(reference, node).map_err(|why| wrong(&why))?));
        }
        let stored = stored.ok_or_else(|| wrong(&"no such blob"))?;
        let address = reference.key.address.unwrap_or_default();
        let blob = self.store.decode(StoreKey::address(&address), stored).map_err(|why| wrong(&why))?;
        let content_addresses = {
            let mut kept = self.lock();
            if blob.last_write.zip(kept.written_by).is_some_and(|(written, by)| written > by) {
                kept.too_new.get_or_insert_with(|| spell(&reference.key));
            }
            kept.content_addresses
        };
        let node = Node::decode(&blob.bytes).map_err(|why| wrong(&why))?;
        let verdict = content_addresses.then(|| verify::node(&address, &node));
        if verdict == Some(Verdict::Differs) {
            return Err(wrong(&DecodeError::IdMismatch));
        }
        {
            let mut kept = self.lock();
            kept.stats.leaves += u64::from(matches!(node, Node::Leaf(_)));
            kept.stats.verified += u64::from(verdict == Some(Verdict::Same));
        }
        Ok((look(&node), content(reference, node).map_err(|why| wrong(&why))?))
    }

    /// A node as it is now.
    pub(super) fn read(&self, reference: &Reference) -> Result<(Option<Stamp>, Content), Trouble> {
        self.read_with(reference, |_| ()).map(|(stamp, (), content)| (stamp, content))
    }

    /// A node of the index by attribute, as it is now, and of a branch the last attribute of each child, as bytes that
    /// sort like attributes.
    pub(super) fn read_by_attribute(&self, reference: &Reference) -> Result<(Vec<Vec<u8>>, Content), Trouble> {
        let attributes = |node: &Node<'_>| match node {
            Node::Leaf(_) => Vec::new(),
            Node::Branch(branch) => branch.keys.iter().map(|key| IndexOrder::attribute_prefix(&key.a)).collect(),
        };
        self.read_with(reference, attributes).map(|(_, attributes, content)| (attributes, content))
    }

    fn read_with<T>(
        &self,
        reference: &Reference,
        look: impl FnOnce(&Node<'_>) -> T,
    ) -> Result<(Option<Stamp>, T, Content), Trouble> {
        let fetched = match reference.fused {
            Some(_) => None,
            None => self.fetch(std::slice::from_ref(reference))?.pop().flatten(),
        };
        let blob = fetched.as_ref().map(|(_, blob)| blob);
        let (seen, content) = self.open_with(reference, blob, look).map_err(Trouble::Now)?;
        Ok((fetched.map(|(stamp, _)| stamp), seen, content))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many leaves to fetch after so many nodes at once, the largest of so many bytes: branches have datoms too.
fn at_once_after(at_once: usize, largest: usize) -> usize {
    (BYTES_AT_ONCE / largest.max(1)).min(at_once.saturating_mul(2)).clamp(1, LEAVES_AT_ONCE)
}

/// The name of a node, for messages.
pub(super) fn spell(key: &NodeKey) -> String {
    key.address.map_or_else(|| "in the head".to_owned(), |address| hasch::spell(&address))
}

fn content(reference: &Reference, node: Node<'_>) -> Result<Content, String> {
    match node.resolve(reference.diff.clone(), reference.level).map_err(|why| why.to_string())? {
        Resolved::Leaf(leaf) => rows(&leaf),
        Resolved::Branch { level, keys, children } => {
            let has_slots = children.iter().any(|child| child.diff.is_some());
            let reference = |child: Child| Reference {
                key: NodeKey { address: Some(child.address), slot: child.slot },
                diff: child.diff,
                level: Some(level),
                fused: None,
            };
            let children = children.into_iter().map(reference).collect();
            Ok(Content::Branch { last: keys.iter().map(|key| key.e).collect(), children, has_slots })
        }
    }
}

fn rows(leaf: &Leaf<'_>) -> Result<Content, String> {
    let mut total = Digest::new();
    let mut rows = Vec::with_capacity(leaf.datoms.len());
    let mut log_key = Vec::new();
    for datom in &leaf.datoms {
        total.add_hash(Digest::hash(datom));
        rows.push(view_key(datom, &mut log_key)?);
    }
    if !rows.is_sorted_by(|one, other| one[..8] <= other[..8]) {
        // A difference puts its datoms behind the others.
        rows.sort_by(|one, other| one[..8].cmp(&other[..8]));
    }
    Ok(Content::Leaf(rows, total))
}

fn view_key(datom: &Datom<'_>, log_key: &mut Vec<u8>) -> Result<Vec<u8>, String> {
    log_key.clear();
    encode_key(datom, log_key).map_err(|why| why.to_string())?;
    let mut view = Vec::with_capacity(log_key.len());
    to_view_key(log_key, &mut view).map_err(|why| why.to_string())?;
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_fetched_one_by_one_where_they_are_large_and_together_where_they_are_small() {
        let mut at_once = FIRST_AT_ONCE;
        let mut after = |largest| {
            at_once = at_once_after(at_once, largest);
            at_once
        };
        assert_eq!([after(1000), after(0), after(9000), after(9000)], [8, 16, 32, 32]);
        assert_eq!([after(3 << 20), after(9 << 20), after(usize::MAX)], [2, 1, 1]);
        assert_eq!([after(10), after(10)], [2, 4]);
    }
}
