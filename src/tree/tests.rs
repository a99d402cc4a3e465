//! What holds for all operations together: every tree against a `BTreeMap` of the same records.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::testing::{KEYS, MEDIUM, Model, SMALL, Store, TINY, build, id_of, numbers, parameters};
use super::*;
use crate::error::ErrorKind;

/// Keys that meet each other often: short ones, and long ones that share the 256 bytes of their separators.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let long = |len: usize| {
        (prop_oneof![Just(7u8), Just(8)], 0u16..400).prop_map(move |(fill, n)| {
            let mut key = vec![fill; len];
            key.extend_from_slice(&n.to_be_bytes());
            key
        })
    };
    prop_oneof![
        4 => (0u16..600).prop_map(|n| n.to_be_bytes().to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..3),
        3 => long(256),
        1 => long(300),
        1 => long(254),
        1 => Just(vec![7; 256]),
        1 => Just(vec![7; 255]),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => prop::collection::vec(any::<u8>(), 0..12), 1 => prop::collection::vec(any::<u8>(), 100..1000)]
}

fn model(max: usize) -> impl Strategy<Value = Model> {
    prop::collection::btree_map(key(), value(), 0..max)
}

/// Changes of new keys, and of keys that are there.
fn changes() -> impl Strategy<Value = Vec<(Result<Vec<u8>, Index>, Change)>> {
    let key = prop_oneof![key().prop_map(Ok), any::<Index>().prop_map(Err)];
    let change = prop_oneof![value().prop_map(Change::Put), Just(Change::Remove)];
    prop_oneof![prop::collection::vec((key.clone(), change.clone()), 0..4), prop::collection::vec((key, change), 0..80)]
}

fn sorted(changes: Vec<(Result<Vec<u8>, Index>, Change)>, model: &Model) -> Vec<(Vec<u8>, Change)> {
    let mut sorted = std::collections::BTreeMap::new();
    for (key, change) in changes {
        let key = match key {
            Ok(key) => key,
            Err(_) if model.is_empty() => continue,
            Err(at) => model.keys().nth(at.index(model.len())).unwrap().clone(),
        };
        sorted.insert(key, change);
    }
    sorted.into_iter().collect()
}

fn apply(model: &mut Model, changes: &[(Vec<u8>, Change)]) -> EditStats {
    let mut stats = EditStats::default();
    for (key, change) in changes {
        let place = match change {
            Change::Put(value) => match model.insert(key.clone(), value.clone()) {
                None => &mut stats.added,
                Some(old) if old == *value => &mut stats.unchanged,
                Some(_) => &mut stats.replaced,
            },
            Change::Remove if model.remove(key).is_some() => &mut stats.removed,
            Change::Remove => &mut stats.absent,
        };
        *place += 1;
    }
    stats
}

fn edited(store: &mut Store, shape: &TreeParameters, root: &Root, changes: &[(Vec<u8>, Change)]) -> (Root, EditStats) {
    let mut new = Store { kept: store.kept.clone(), ..Store::default() };
    let edited = edit(store, &mut new, shape, root, changes.iter().cloned().map(Ok)).unwrap();
    store.kept = new.kept;
    store.writes = new.writes;
    edited
}

fn records(mut walker: Walker<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some((key, value)) = walker.next_record().unwrap() {
        records.push((key.to_vec(), value.to_vec()));
    }
    records
}

fn differences(
    store: &Store,
    shape: &TreeParameters,
    a: &Root,
    b: &Root,
) -> Vec<(Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    diff(store, shape, a, b, &mut |item| {
        all.push(match item {
            DiffItem::Removed { key, value } => (key.to_vec(), Some(value.to_vec()), None),
            DiffItem::Added { key, value } => (key.to_vec(), None, Some(value.to_vec())),
            DiffItem::Changed { key, before, after } => (key.to_vec(), Some(before.to_vec()), Some(after.to_vec())),
        });
        Ok(())
    })
    .unwrap();
    all
}

fn model_differences(a: &Model, b: &Model) -> Vec<(Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>)> {
    let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let all = keys.into_iter().map(|key| (key.clone(), a.get(key).cloned(), b.get(key).cloned()));
    all.filter(|(_, before, after)| before != after).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_edits_give_the_root_of_a_bulk_build(start in model(300), rounds in prop::collection::vec(changes(), 1..4)) {
        for kind in [&TINY, &SMALL] {
            let shape = parameters(kind);
            let (mut store, mut model) = (Store::default(), start.clone());
            let mut root = build(&mut store, &shape, &model);
            for round in &rounds {
                let before = (root.clone(), model.clone());
                let changes = sorted(round.clone(), &model);
                let expected_stats = apply(&mut model, &changes);
                let (edited, stats) = edited(&mut store, &shape, &root, &changes);
                prop_assert_eq!(stats, expected_stats);
                prop_assert_eq!(&edited, &build(&mut Store::default(), &shape, &model));
                prop_assert_eq!(records(Walker::new(&store, &shape, &edited, KeyRange::all()).unwrap()).len(), model.len());
                prop_assert_eq!(differences(&store, &shape, &before.0, &edited), model_differences(&before.1, &model));
                root = edited;
            }
            let all: Vec<_> = model.keys().map(|key| (key.clone(), Change::Remove)).collect();
            prop_assert_eq!(edited(&mut store, &shape, &root, &all).0, Root::empty(2));
        }
    }

    #[test]
    fn any_two_trees_differ_as_their_records_do(a in model(200), b in model(200)) {
        let shape = parameters(&TINY);
        let mut store = Store::default();
        let roots = (build(&mut store, &shape, &a), build(&mut store, &shape, &b));
        prop_assert_eq!(differences(&store, &shape, &roots.0, &roots.1), model_differences(&a, &b));
        prop_assert!(differences(&store, &shape, &roots.0, &roots.0).is_empty());
    }

    #[test]
    fn ranges_lookups_and_proofs_agree_with_the_model(model in model(300), from in key(), to in key(), keys in prop::collection::vec(key(), 20)) {
        let shape = parameters(&TINY);
        let mut store = Store::default();
        let root = build(&mut store, &shape, &model);
        for (from, to) in [(vec![], None), (from.clone(), None), (vec![], Some(to.clone())), (from, Some(to))] {
            let range = KeyRange { from: from.clone(), to: to.clone() };
            let expected = model.iter().filter(|(key, _)| **key >= from && to.as_ref().is_none_or(|to| *key < to));
            let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
            prop_assert_eq!(records(Walker::new(&store, &shape, &root, range).unwrap()), expected);
        }
        for key in keys.iter().chain(model.keys()) {
            prop_assert_eq!(get(&store, &shape, &root, key).unwrap(), model.get(key).cloned());
        }
    }

    #[test]
    fn a_checkpoint_is_the_tree_so_far(model in model(120), at in any::<Index>()) {
        let shape = parameters(&TINY);
        let mut store = Store::default();
        let at = at.index(model.len() + 1);
        let mut builder = Builder::new(&shape);
        for (i, (key, value)) in model.iter().enumerate() {
            if i == at {
                let so_far = builder.checkpoint(&mut store).unwrap();
                prop_assert_eq!(so_far, build(&mut Store::default(), &shape, model.iter().take(at)));
            }
            prop_assert_eq!(builder.push(&mut store, key, value).unwrap(), Pushed::New);
            prop_assert_eq!(builder.push(&mut store, key, value).unwrap(), Pushed::Duplicate);
        }
        prop_assert_eq!(builder.finish(&mut store).unwrap(), build(&mut Store::default(), &shape, &model));
    }
}
