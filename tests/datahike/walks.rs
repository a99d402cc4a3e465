//! Walks through indices: everything once, or without the subtrees they are told to leave out.

use std::collections::HashSet;

use packstone::Result;
use packstone::datahike::walk::{VisitedLeaf, WalkError};
use packstone::datahike::{Head, IndexRoot, NodeKey, Stamp, Store, StoreKey, Unreadable, Visitor, Walk, WalkStats};
use packstone::error::DecodeError;

use crate::world::Unpacked;

#[derive(Default)]
struct Collected {
    datoms: Vec<String>,
    leaves: Vec<NodeKey>,
    known: HashSet<NodeKey>,
}

impl Visitor for Collected {
    fn skip(&mut self, node: &NodeKey) -> bool {
        self.known.contains(node)
    }

    fn leaf(&mut self, leaf: &VisitedLeaf<'_, '_>) -> Result<()> {
        self.leaves.push(leaf.key);
        self.datoms.extend(leaf.datoms.iter().map(|datom| format!("{datom:?}")));
        Ok(())
    }

    fn branch(&mut self, _: &NodeKey, stamp: Option<Stamp>, children: &[NodeKey]) -> Result<()> {
        assert!(!children.is_empty());
        let _: Option<Stamp> = stamp;
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
        let (collected, _) = walk(&store, &root, HashSet::new()).unwrap();
        slots += collected.leaves.iter().filter(|key| key.slot.is_some()).count();
    }
    assert!(slots > 0, "the fixture has leaves that are not as stored");
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
