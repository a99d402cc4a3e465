//! Walks through indices: everything once, or without the subtrees they are told to leave out.

use std::collections::{HashMap, HashSet};

use packstone::Result;
use packstone::datahike::node::{Address, SlotHash};
use packstone::datahike::walk::{VisitedLeaf, WalkError};
use packstone::datahike::{Head, IndexRoot, NodeKey, Stamp, Store, StoreKey, Unreadable, Visitor, Walk, WalkStats};
use packstone::error::DecodeError;

use crate::world::Unpacked;

#[derive(Default)]
struct Collected {
    datoms: Vec<String>,
    leaves: Vec<NodeKey>,
    /// How many datoms each leaf has, in the order of `leaves`.
    counts: Vec<usize>,
    stamps: Vec<(NodeKey, Option<Stamp>)>,
    known: HashSet<NodeKey>,
}

impl Visitor for Collected {
    fn skip(&mut self, node: &NodeKey) -> bool {
        self.known.contains(node)
    }

    fn leaf(&mut self, leaf: &VisitedLeaf<'_, '_>) -> Result<()> {
        self.leaves.push(leaf.key);
        self.counts.push(leaf.datoms.len());
        self.stamps.push((leaf.key, leaf.stamp));
        self.datoms.extend(leaf.datoms.iter().map(|datom| format!("{datom:?}")));
        Ok(())
    }

    fn branch(&mut self, node: &NodeKey, stamp: Option<Stamp>, children: &[NodeKey]) -> Result<()> {
        assert!(!children.is_empty());
        self.stamps.push((*node, stamp));
        Ok(())
    }
}

fn walk(store: &Store, root: &IndexRoot, known: HashSet<NodeKey>) -> Result<(Collected, WalkStats), WalkError> {
    let mut collected = Collected { known, ..Collected::default() };
    let stats = Walk::new(store).run(root, &mut collected)?;
    Ok((collected, stats))
}

fn roots(head: &Head) -> Vec<IndexRoot> {
    let temporal = [&head.temporal_eavt, &head.temporal_aevt, &head.temporal_avet];
    [&head.eavt, &head.aevt, &head.avet].into_iter().chain(temporal.into_iter().flatten()).cloned().collect()
}

#[test]
fn every_index_holds_as_many_datoms_as_its_root_says() {
    for name in ["a-small-history", "store-a", "store-attrrefs", "store-bf8", "store-diffbuf", "store-crypto"] {
        let unpacked = Unpacked::fixture(name);
        let store = unpacked.store();
        let head = store.head("db").unwrap();
        for root in roots(&head) {
            let (collected, stats) = walk(&store, &root, HashSet::new()).unwrap();
            assert_eq!(stats.datoms, collected.datoms.len() as u64);
            if let Some(count) = root.count {
                assert_eq!(stats.datoms, count, "{name}");
            }
        }
        // The same datoms by entity and by attribute.
        let sorted = |root| {
            let mut datoms = walk(&store, root, HashSet::new()).unwrap().0.datoms;
            datoms.sort();
            datoms
        };
        assert_eq!(sorted(&head.eavt), sorted(&head.aevt), "{name}");
    }
}

#[test]
fn subtrees_that_are_known_are_not_read() {
    for name in ["store-bf8", "store-diffbuf"] {
        let unpacked = Unpacked::fixture(name);
        let store = unpacked.store();
        let head = store.head("db").unwrap();
        let (all, _) = walk(&store, &head.eavt, HashSet::new()).unwrap();
        let known: HashSet<_> = all.leaves.iter().copied().skip(3).collect();
        let before = store.home().traffic().blobs_read;
        let (some, stats) = walk(&store, &head.eavt, known).unwrap();
        assert_eq!((some.leaves.len(), stats.skipped as usize), (3, all.leaves.len() - 3), "{name}");
        assert_eq!(store.home().traffic().blobs_read - before, stats.leaves + stats.branches);
        assert_eq!(some.datoms, all.datoms[..some.datoms.len()]);
        let root = NodeKey { address: head.eavt.address, slot: None };
        let (none, stats) = walk(&store, &head.eavt, HashSet::from([root])).unwrap();
        assert_eq!((none.datoms.len(), stats.skipped), (0, 1));
    }
}

#[test]
fn a_node_with_another_difference_is_another_node() {
    let unpacked = Unpacked::fixture("store-diffbuf");
    let store = unpacked.store();
    let head = store.head("db").unwrap();
    let mut slots = 0;
    for root in roots(&head) {
        let (all, _) = walk(&store, &root, HashSet::new()).unwrap();
        let different: Vec<NodeKey> = all.leaves.iter().copied().filter(|key| key.slot.is_some()).collect();
        slots += different.len();
        // Who knows what is stored there, or that with another difference, does not know the leaf.
        let stored = different.iter().map(|key| NodeKey { slot: None, ..*key });
        let other = different.iter().map(|key| NodeKey { slot: key.slot.map(|hash| hash.map(|byte| !byte)), ..*key });
        let (again, stats) = walk(&store, &root, stored.chain(other).collect()).unwrap();
        assert_eq!((stats.skipped, again.datoms), (0, all.datoms));
        let (rest, stats) = walk(&store, &root, different.iter().copied().collect()).unwrap();
        assert_eq!(stats.skipped, different.len() as u64);
        assert_eq!(rest.leaves, all.leaves.into_iter().filter(|key| key.slot.is_none()).collect::<Vec<_>>());
    }
    assert!(slots > 0, "the fixture has leaves that are not as stored");
}

#[test]
fn a_leaf_that_only_its_difference_changed_is_another_node_at_the_same_address() {
    let unpacked = Unpacked::fixture("store-diffbuf");
    let store = unpacked.store();
    // By address: with which difference, and how many datoms.
    let mut seen: HashMap<Address, HashMap<Option<SlotHash>, usize>> = HashMap::new();
    for (_, head) in unpacked.heads(20) {
        unpacked.put_head(&head);
        let (all, _) = walk(&store, &store.head("db").unwrap().eavt, HashSet::new()).unwrap();
        for (key, count) in all.leaves.iter().zip(all.counts) {
            let old = seen.entry(key.address.unwrap()).or_default().insert(key.slot, count);
            assert!(old.is_none_or(|old| old == count), "one key, two nodes: {key:?}");
        }
    }
    let changed = |nodes: &&HashMap<_, usize>| nodes.values().collect::<HashSet<_>>().len() > 1;
    assert!(seen.values().filter(changed).count() > 0, "a leaf changes where it is");
}

#[test]
fn every_node_comes_with_the_stamp_of_its_blob() {
    for name in ["store-bf8", "store-diffbuf", "store1607"] {
        let unpacked = Unpacked::fixture(name);
        let store = unpacked.store();
        let (all, stats) = walk(&store, &store.head("db").unwrap().eavt, HashSet::new()).unwrap();
        assert_eq!(all.stamps.len() as u64, stats.leaves + stats.branches, "{name}");
        let keys: Vec<_> = all.stamps.iter().map(|(key, _)| StoreKey::address(&key.address.unwrap())).collect();
        let stamps: Vec<_> = all.stamps.into_iter().map(|(_, stamp)| stamp).collect();
        assert!(stamps.iter().all(Option::is_some), "{name}");
        assert_eq!(stamps, store.home().stamps(&keys).unwrap(), "{name}");
    }
}

#[test]
fn a_root_in_the_head_needs_no_blob() {
    for name in ["store-a", "store-bf8", "store-diffbuf"] {
        let unpacked = Unpacked::fixture(name);
        let store = unpacked.store();
        let head = store.head("db").unwrap();
        let (whole, _) = walk(&store, &head.eavt, HashSet::new()).unwrap();
        let key = StoreKey::address(&head.eavt.address.unwrap());
        let node = store.blob(key).unwrap().unwrap().value().unwrap().into_owned();
        std::fs::remove_file(unpacked.path().join(key.file_name())).unwrap();
        assert!(matches!(walk(&store, &head.eavt, HashSet::new()), Err(WalkError::Node { why: None, .. })));
        let fused = IndexRoot { fused: Some(node), ..head.eavt };
        assert_eq!(walk(&store, &fused, HashSet::new()).unwrap().0.datoms, whole.datoms, "{name}");
    }
}

#[test]
fn content_addresses_are_verified() {
    let unpacked = Unpacked::fixture("store-crypto");
    let store = unpacked.store();
    let head = store.head("db").unwrap();
    assert!(head.has_content_addresses());
    let mut nodes = 0;
    for root in roots(&head) {
        let mut collected = Collected::default();
        let stats = Walk::new(&store).verifying(true).run(&root, &mut collected).unwrap();
        assert_eq!(stats.verified, stats.leaves + stats.branches, "{:?}", stats.unverified);
        nodes += stats.verified;
    }
    assert!(nodes > 100, "{nodes}");
    // One letter of a string in one leaf.
    let (collected, _) = walk(&store, &head.eavt, HashSet::new()).unwrap();
    let mut tampered = 0;
    for leaf in collected.leaves {
        let path = unpacked.path().join(StoreKey::address(&leaf.address.unwrap()).file_name());
        let mut bytes = std::fs::read(&path).unwrap();
        let Some(at) = bytes.windows(4).position(|window| window == b"bulk" || window == b"name") else { continue };
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        tampered += 1;
        break;
    }
    assert_eq!(tampered, 1);
    let mut collected = Collected::default();
    let error = Walk::new(&store).verifying(true).run(&head.eavt, &mut collected).unwrap_err();
    let WalkError::Node { why, .. } = error else { panic!("{error:?}") };
    assert_eq!(why, Some(Unreadable::Decode(DecodeError::IdMismatch)));
}

#[test]
fn the_name_of_a_schema_is_its_hash() {
    for name in ["store-a", "store-attrrefs", "store1607", "a-small-history"] {
        let unpacked = Unpacked::fixture(name);
        let store = unpacked.store();
        let key = store.head("db").unwrap().schema_key.unwrap();
        let blob = store.blob(StoreKey::address(&key)).unwrap().unwrap();
        let hash = packstone::datahike::hasch::uuid(&blob.value().unwrap()).unwrap();
        assert_eq!(hash, key, "{name}");
    }
}
