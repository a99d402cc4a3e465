//! An index that is edited is what an ordered set with the same changes is, and its nodes are as full as they should be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::contents::Contents;
use super::*;
use crate::datahike::{Stamp, StoreKey, Traffic};
use crate::record::datom::Value;

/// A store in memory.
#[derive(Default)]
struct Memory(Mutex<HashMap<StoreKey, Bytes>>);

impl Home for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn get(&self, key: StoreKey) -> Result<Option<Bytes>> {
        Ok(self.0.lock().unwrap().get(&key).cloned())
    }

    fn stamps(&self, keys: &[StoreKey]) -> Result<Vec<Option<Stamp>>> {
        Ok(keys.iter().map(|key| self.0.lock().unwrap().get(key).map(|bytes| Stamp::of(bytes))).collect())
    }

    fn put_many(&self, blobs: Vec<(StoreKey, Bytes)>) -> Result<()> {
        self.0.lock().unwrap().extend(blobs);
        Ok(())
    }

    fn remove_many(&self, keys: &[StoreKey]) -> Result<()> {
        keys.iter().for_each(|key| drop(self.0.lock().unwrap().remove(key)));
        Ok(())
    }

    fn list(&self) -> Result<Vec<StoreKey>> {
        Ok(self.0.lock().unwrap().keys().copied().collect())
    }

    fn wait_for_change(&self, _: StoreKey, _: Option<Stamp>, _: Duration) -> Result<bool> {
        Ok(true)
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

fn datom(number: u16) -> Datom<'static> {
    let number = i64::from(number);
    Datom { e: number % 97, a: Attribute::Keyword("a/b".into()), v: Value::Long(number), t: 7, added: true }
}

/// All datoms below a node; checks how full nodes are, the keys of children, and counts.
fn collect(reader: &mut NodeReader<'_>, order: IndexOrder, top: Address, shape: Shape) -> Vec<Vec<u8>> {
    fn below(
        reader: &mut NodeReader<'_>,
        order: IndexOrder,
        node: Address,
        shape: Shape,
        root: bool,
    ) -> (Contents, Vec<Vec<u8>>) {
        let contents = reader.read(order, &[node]).unwrap().remove(0);
        assert!(contents.len() <= shape.branching_factor, "{} children", contents.len());
        assert!(root || contents.len() >= shape.branching_factor / 2, "{} children", contents.len());
        let mut all = Vec::new();
        match &contents {
            Contents::Leaf(rows) => all.extend(rows.iter().map(|row| row.key.clone())),
            Contents::Branch { level, entries, count } => {
                assert!(entries.len() > 1);
                for entry in entries {
                    let (child, keys) = below(reader, order, entry.address, shape, false);
                    assert_eq!(child.level() + 1, *level);
                    assert_eq!(keys.last(), Some(&entry.key));
                    all.extend(keys);
                }
                assert_eq!(*count, Some(all.len() as u64));
            }
        }
        (contents, all)
    }
    below(reader, order, top, shape, true).1
}

/// Applies batches of changes one after another; `check` is told the top node and the model after each.
fn run(branching_factor: usize, crypto_hash: bool, batches: &[Vec<(u16, bool)>]) {
    for order in [IndexOrder::Eavt, IndexOrder::Avet] {
        let home: Arc<dyn Home> = Arc::new(Memory::default());
        let store = Store::new(Arc::clone(&home), None);
        let shape = Shape { branching_factor, crypto_hash, seconds: 1 };
        let mut cache = Cache::default();
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut garbage = Garbage::default();
        let mut blobs = Blobs::new(Arc::clone(&home), 0);
        let empty = shape.leaf::<Vec<u8>>(order, &[]).unwrap();
        blobs.node(empty.address, &empty.value).unwrap();
        blobs.finish().unwrap();
        let mut top = empty.address;
        for batch in batches {
            let mut wanted: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
            for (number, put) in batch {
                let (key, record) = keys(order, &datom(*number)).unwrap();
                match put {
                    true => drop(wanted.insert(key, Some(record))),
                    false if model.contains_key(&key) => drop(wanted.insert(key, None)),
                    false => drop(wanted.remove(&key)),
                }
            }
            let changes: Vec<Change> = wanted.into_iter().collect();
            let before = model.len();
            for (key, record) in &changes {
                match record {
                    Some(record) => drop(model.insert(key.clone(), record.clone())),
                    None => drop(model.remove(key)),
                }
            }
            let reader = NodeReader::new(&store, &mut cache);
            let mut new = NewCommit::new(Blobs::new(Arc::clone(&home), 0));
            let NewCommit { blobs, replaced, written, .. } = &mut new;
            let mut nodes = Nodes { shape, reader, blobs, replaced, written };
            let (address, grown) = IndexEditor { order, nodes: &mut nodes }.edit(top, &changes).unwrap();
            assert_eq!(before as i64 + grown, model.len() as i64);
            let NewCommit { blobs, replaced, .. } = new;
            blobs.finish().unwrap();
            top = address;
            garbage.replaced(replaced);
            if !crypto_hash {
                garbage.remove_older(&*home).unwrap();
            }
            // From the store, not from memory.
            let mut cold = Cache::default();
            let found = collect(&mut NodeReader::new(&store, &mut cold), order, top, shape);
            assert_eq!(found, model.keys().cloned().collect::<Vec<_>>());
            let sought: Vec<_> = batch.iter().map(|(number, _)| keys(order, &datom(*number)).unwrap().0).collect();
            let mut prefixes: Vec<_> = sought.iter().map(|key| IndexOrder::without_time(key).to_vec()).collect();
            prefixes.sort();
            prefixes.dedup();
            let mut seen = Vec::new();
            let mut take = |record: &[u8]| {
                seen.push(record.to_vec());
                Ok(())
            };
            NodeReader::new(&store, &mut cache).find(order, top, &prefixes, &mut take).unwrap();
            let expected: Vec<_> = prefixes
                .iter()
                .flat_map(|prefix| model.iter().filter(move |(key, _)| key.starts_with(prefix)))
                .map(|(_, record)| record.clone())
                .collect();
            assert_eq!(seen, expected);
        }
        if !crypto_hash {
            garbage.remove_all(&*home, &BTreeSet::new()).unwrap();
            let mut in_use = 0;
            let mut count = |reader: &mut NodeReader<'_>| {
                let mut stack = vec![top];
                while let Some(node) = stack.pop() {
                    in_use += 1;
                    if let Contents::Branch { entries, .. } = reader.read(order, &[node]).unwrap().remove(0) {
                        stack.extend(entries.iter().map(|entry| entry.address));
                    }
                }
            };
            count(&mut NodeReader::new(&store, &mut Cache::default()));
            assert_eq!(home.list().unwrap().len(), in_use, "nothing is left of what was replaced");
        }
    }
}

fn batches(
    numbers: std::ops::Range<u16>,
    batch: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<Vec<(u16, bool)>>> {
    // Phases that mostly put and phases that mostly remove, so that trees grow and shrink.
    let step =
        (0.1_f64..0.9).prop_flat_map(move |puts| vec((numbers.clone(), prop::bool::weighted(puts)), batch.clone()));
    vec(step, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_edited_index_is_what_a_set_is(factor in 4_usize..9, batches in batches(0..400, 1..160)) {
        run(factor, false, &batches);
    }

    #[test]
    fn also_where_addresses_are_hashes(factor in 4_usize..6, batches in batches(0..120, 1..60)) {
        run(factor, true, &batches);
    }
}

#[test]
fn an_index_grows_from_nothing_and_goes_back_to_nothing() {
    let all: Vec<_> = (0..3000).map(|number| (number, true)).collect();
    let gone = all.iter().map(|(number, _)| (*number, false)).collect();
    run(8, false, &[all.clone(), vec![(5, false)], gone, vec![(7, true)]]);
    let one_by_one: Vec<Vec<_>> = all.into_iter().take(200).map(|change| vec![change]).collect();
    run(5, false, &one_by_one);
}
