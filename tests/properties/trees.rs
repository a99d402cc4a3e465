//! Trees of datoms: any sequence of edits gives the root that a build of the result gives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use packstone::crypto::{Keyring, Keys, MasterKey};
use packstone::error::{DecodeError, Error, ErrorKind, Result};
use packstone::id::{BlobId, RepositoryId};
use packstone::record::datom::{Attribute, Datom, Datoms, Value, encode_key};
use packstone::tree::{
    Builder, Change, DiffItem, Node, Pushed, ReadNode, Root, TreeKeys, TreeParameters, WriteNode, diff, edit,
};
use proptest::prelude::*;

/// Keys of datoms.
type Facts = BTreeSet<Vec<u8>>;

/// Nodes in their kept form.
struct Nodes {
    keys: Keys,
    kept: HashMap<BlobId, Vec<u8>>,
}

impl Nodes {
    fn new() -> Self {
        let keys = Keys::derive(RepositoryId::new([1; 16]), &Keyring::new(MasterKey::new([2; 32])));
        Self { keys, kept: HashMap::new() }
    }

    fn parameters(&self) -> TreeParameters {
        let keys = TreeKeys { split: self.keys.tree_split_key(), long_key: self.keys.tree_long_key() };
        TreeParameters::new(&Datoms, &keys)
    }

    fn build(&mut self, facts: &Facts) -> Root {
        let mut builder = Builder::new(&self.parameters());
        for key in facts {
            assert_eq!(builder.push(self, key, &[]).unwrap(), Pushed::New);
        }
        builder.finish(self).unwrap()
    }

    fn edit(&mut self, root: &Root, changes: &BTreeMap<Vec<u8>, Change>) -> Root {
        // An edit reads only what was there before it.
        let mut written = Self::new();
        let changes = changes.iter().map(|(key, change)| Ok((key.clone(), change.clone())));
        let root = edit(self, &mut written, &self.parameters(), root, changes).unwrap().0;
        self.kept.extend(written.kept);
        root
    }

    /// Keys only in `a`, and keys only in `b`.
    fn difference(&self, a: &Root, b: &Root) -> (Facts, Facts) {
        let (mut removed, mut added) = (Facts::new(), Facts::new());
        let sink = &mut |item: DiffItem<'_>| {
            match item {
                DiffItem::Removed { key, .. } => removed.insert(key.to_vec()),
                DiffItem::Added { key, .. } => added.insert(key.to_vec()),
                DiffItem::Changed { .. } => panic!("datoms have no value that could change"),
            };
            Ok(())
        };
        diff(self, &self.parameters(), a, b, sink).unwrap();
        (removed, added)
    }
}

impl ReadNode for Nodes {
    fn read_node(&self, id: BlobId) -> Result<Arc<Node>> {
        let kept = self.kept.get(&id).ok_or_else(|| Error::new(ErrorKind::NotFound, id, "missing"))?;
        let node = Node::decode(kept).map_err(|why| Error::damaged(id, why))?;
        if self.keys.blob_id_node(&node.canonical()) != id {
            return Err(Error::damaged(id, DecodeError::IdMismatch));
        }
        Ok(Arc::new(node))
    }
}

impl WriteNode for Nodes {
    fn write_node(&mut self, node: Node) -> Result<BlobId> {
        let id = self.keys.blob_id_node(&node.canonical());
        self.kept.entry(id).or_insert_with(|| node.encode());
        Ok(id)
    }
}

/// The key of a datom that a number stands for: few transactions, entities and attributes, values of many types.
fn fact(number: u64, longest: usize) -> Vec<u8> {
    let [t, e, a, kind, byte, long, len @ ..] = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let v = match kind % 8 {
        0 => Value::Long(i64::from(byte)),
        1 => Value::Double(f64::from(byte) / 7.0),
        2 => Value::Boolean(byte % 2 == 0),
        3 => Value::Tuple(vec![Value::Long(i64::from(byte)), Value::Nil]),
        _ => Value::String(vec![b'a' + byte % 26; usize::from(u16::from_be_bytes(len)) % longest].into()),
    };
    let a = match a % 8 {
        0 => Attribute::Id(i64::from(long)),
        n => Attribute::Keyword(["db/ident", "person/name", "person/friend", "a"][usize::from(n % 4)].into()),
    };
    let datom = Datom { e: i64::from(e), a, v, t: 0x2000_0000 + i64::from(t), added: long % 5 > 0 };
    let mut key = Vec::new();
    encode_key(&datom, &mut key).unwrap();
    key
}

/// Applies edits one after the other and compares with builds.
fn check(start: impl IntoIterator<Item = u64>, edits: &[Vec<(u64, bool)>], longest: usize) -> Root {
    let mut nodes = Nodes::new();
    let mut facts: Facts = start.into_iter().map(|number| fact(number, longest)).collect();
    let mut root = nodes.build(&facts);
    for changes in edits {
        let mut sorted = BTreeMap::new();
        for (number, add) in changes {
            sorted.insert(fact(*number, longest), if *add { Change::Put(Vec::new()) } else { Change::Remove });
        }
        let (before, facts_before) = (root, facts.clone());
        for (key, change) in &sorted {
            match change {
                Change::Put(_) => facts.insert(key.clone()),
                Change::Remove => facts.remove(key),
            };
        }
        root = nodes.edit(&before, &sorted);
        assert_eq!(root, nodes.build(&facts));
        assert_eq!(root.records, facts.len() as u64);
        let (removed, added) = nodes.difference(&before, &root);
        assert!(removed.iter().eq(facts_before.difference(&facts)));
        assert!(added.iter().eq(facts.difference(&facts_before)));
    }
    root
}

/// Changes that meet what is there about as often as not.
fn edits(numbers: u64) -> impl Strategy<Value = Vec<Vec<(u64, bool)>>> {
    let change = (0..numbers, any::<bool>());
    let few = prop::collection::vec(change.clone(), 0..6);
    prop::collection::vec(prop_oneof![few, prop::collection::vec(change, 0..400)], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_sequence_of_edits_gives_the_root_of_a_build(start in 0_u64..4000, edits in edits(5000)) {
        check(0..start, &edits, 1000);
    }

    #[test]
    fn so_it_does_for_trees_of_a_leaf_or_none(start in 0_u64..5, edits in edits(12)) {
        check(0..start, &edits, 20);
    }
}

#[test]
fn so_it_does_for_trees_of_several_levels() {
    let spread = (0..200).map(|i| (i * 331, i % 3 == 0)).collect();
    let edits =
        [vec![(7, false)], spread, vec![(90_000, true), (90_001, true)], (0..30_000).map(|i| (i, false)).collect()];
    let whole = check(0..66_000, &[], 1000);
    assert!(whole.level >= 2, "level {}", whole.level);
    check(0..66_000, &edits, 1000);
}
