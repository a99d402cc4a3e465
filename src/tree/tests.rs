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

/// A key, and its values before and after.
type Difference = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

fn differences(store: &Store, shape: &TreeParameters, a: &Root, b: &Root) -> Vec<Difference> {
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

fn model_differences(a: &Model, b: &Model) -> Vec<Difference> {
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
            let proof = prove(&store, &shape, &root, key).unwrap();
            prop_assert_eq!(proof.verify(root.id, key, &id_of).unwrap(), model.get(key).cloned());
        }
    }

    #[test]
    fn a_proof_proves_nothing_else(model in model(200), proved in key(), asked in key()) {
        let shape = parameters(&TINY);
        let mut store = Store::default();
        let root = build(&mut store, &shape, &model);
        let mut proof = prove(&store, &shape, &root, &proved).unwrap();
        if let Ok(answer) = proof.verify(root.id, &asked, &id_of) {
            prop_assert_eq!(answer, model.get(&asked).cloned());
        }
        prop_assert!(proof.verify(Some(id_of(b"another root")), &proved, &id_of).is_err());
        for keep in 0..proof.paths.len() {
            let part = Proof { paths: vec![proof.paths[keep].clone()] };
            if let Ok(answer) = part.verify(root.id, &asked, &id_of) {
                prop_assert_eq!(answer, model.get(&asked).cloned());
            }
        }
        if let Some(byte) = proof.paths.last_mut().and_then(|path| path.nodes.last_mut()).and_then(|(leaf, _)| leaf.last_mut()) {
            *byte ^= 1;
            prop_assert!(proof.verify(root.id, &proved, &id_of).is_err());
        }
    }

    #[test]
    fn nodes_come_back_and_only_from_their_own_bytes(model in model(40), at in any::<Index>(), byte in any::<u8>()) {
        let mut store = Store::default();
        build(&mut store, &parameters(&SMALL), &model);
        for kept in store.kept.values() {
            let node = Node::decode(kept).unwrap();
            let canonical = node.canonical();
            prop_assert_eq!(Node::from_canonical(&canonical).unwrap(), node.clone());
            prop_assert_eq!(Node::decode(&node.encode()).unwrap(), node.clone());
            let mut changed = canonical.clone();
            changed[at.index(canonical.len())] = byte;
            if let Ok(other) = Node::from_canonical(&changed) {
                prop_assert_eq!(other.canonical(), changed.clone());
                prop_assert_eq!(other == node, changed == canonical);
            }
            prop_assert!(Node::from_canonical(&canonical[..at.index(canonical.len())]).is_err());
            changed = canonical;
            changed.push(byte);
            prop_assert!(Node::from_canonical(&changed).is_err());
        }
    }

    #[test]
    fn decoders_take_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), level in 0u8..3, count in 0u8..5) {
        let _ = Child::decode(&bytes);
        let framed = [&[0, 1, 2, level, count], bytes.as_slice()].concat();
        for bytes in [&bytes, &framed] {
            if let Ok(node) = Node::decode(bytes) {
                prop_assert_eq!(Node::from_canonical(&node.canonical()).unwrap(), node);
            }
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

#[test]
fn one_change_of_many_records_reads_and_writes_one_path() {
    let shape = TreeParameters::new(&MEDIUM, &KEYS);
    let (mut store, mut model) = (Store::default(), numbers(100_000));
    let root = build(&mut store, &shape, &model);
    assert!(root.level >= 2, "{root:?}");
    for changed in [0, 1, 49_999, 77_777, 99_999, 100_000] {
        for change in [Change::Put(b"changed".to_vec()), Change::Remove] {
            let changes = [(u64::to_be_bytes(changed).to_vec(), change)];
            store.forget_reads();
            let mut writes = Store::default();
            let (new, _) = edit(&store, &mut writes, &shape, &root, changes.iter().cloned().map(Ok)).unwrap();
            assert!(store.reads.get() < 20, "{} reads by edit", store.reads.get());
            assert!(writes.writes < 20, "{} writes by edit", writes.writes);
            let mut expected = model.clone();
            apply(&mut expected, &changes);
            assert_eq!(new, build(&mut Store::default(), &shape, &expected));

            store.kept.extend(writes.kept);
            store.forget_reads();
            let found = differences(&store, &shape, &root, &new);
            assert_eq!(found, model_differences(&model, &expected));
            assert!(store.reads.get() < 20, "{} reads by diff", store.reads.get());
            store.forget_reads();
            assert_eq!(get(&store, &shape, &new, &changes[0].0).unwrap().as_ref(), expected.get(&changes[0].0));
            assert!(store.reads.get() <= usize::from(new.level) + 1);
        }
    }
    // A range far from both ends, cut out and put back.
    let cut: Vec<_> = (40_000u64..42_000).map(|n| n.to_be_bytes().to_vec()).collect();
    let removed = cut.iter().map(|key| (key.clone(), Change::Remove)).collect::<Vec<_>>();
    store.forget_reads();
    let (without, stats) = edited(&mut store, &shape, &root, &removed);
    assert_eq!(stats.removed, 2_000);
    store.forget_reads();
    assert_eq!(differences(&store, &shape, &without, &root).len(), 2_000);
    assert!(store.reads.get() < 50, "{} reads for 2,000 differences", store.reads.get());
    model.retain(|key, _| !cut.contains(key));
    assert_eq!(without, build(&mut Store::default(), &shape, &model));
}

#[test]
fn changes_spread_over_many_leaves_read_little_more_than_those() {
    let shape = TreeParameters::new(&MEDIUM, &KEYS);
    let (mut store, model) = (Store::default(), numbers(100_000));
    let root = build(&mut store, &shape, &model);
    let changes: Vec<_> =
        (0..20u64).map(|n| ((n * 5_000 + 123).to_be_bytes().to_vec(), Change::Put(vec![1]))).collect();
    let old = Store { kept: store.kept.clone(), ..Store::default() };
    let (new, stats) = edit(&old, &mut store, &shape, &root, changes.into_iter().map(Ok)).unwrap();
    assert_eq!(stats.replaced, 20);
    assert!(old.reads.get() < 20 * 5, "{} reads", old.reads.get());
    assert!(store.writes > 20);
    assert_eq!(differences(&store, &shape, &root, &new).len(), 20);
}

#[test]
fn sizes_of_leaves_and_inner_nodes_stay_near_their_target() {
    let shape = TreeParameters::new(&MEDIUM, &KEYS);
    for value_len in [0, 40, 400] {
        let mut store = Store::default();
        let model: Model = (0..60_000u64.min(4_000_000 / (value_len + 10)))
            .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec(), vec![7; value_len as usize]))
            .collect();
        build(&mut store, &shape, &model);
        for (level, target) in [(0, 4096.0), (1, 6144.0)] {
            let nodes = store.kept.values().map(|kept| Node::decode(kept).unwrap()).filter(|node| node.level == level);
            let sizes: Vec<f64> = nodes.map(|node| (node.canonical().len() - 4) as f64).collect();
            if level == 1 && sizes.len() < 10 {
                continue;
            }
            let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
            let variance = sizes.iter().map(|size| (size - mean).powi(2)).sum::<f64>() / sizes.len() as f64;
            let spread = variance.sqrt() / mean;
            let tolerance = if level == 0 { 0.15 } else { 0.35 };
            assert!((mean / target - 1.0).abs() < tolerance, "mean {mean} of level {level}, values of {value_len}");
            assert!(spread < 0.35, "coefficient of variation {spread} of level {level}, values of {value_len}");
            assert!(sizes.iter().all(|size| *size < 2.6 * target + 420.0));
        }
    }
}

#[test]
fn subtrees_with_an_unwanted_summary_are_not_read() {
    let shape = parameters(&SMALL);
    let model: Model = (0..20_000u16).map(|n| ((n * 3).to_be_bytes().to_vec(), vec![0; 6])).collect();
    let mut store = Store::default();
    let root = build(&mut store, &shape, &model);
    store.forget_reads();
    let walker = Walker::new(&store, &shape, &root, KeyRange::all()).unwrap();
    let found = records(walker.only(|summary| summary[0] <= 100 && 100 <= summary[1]));
    let wanted = model.iter().filter(|(key, _)| key[0] == 100);
    let wanted: Vec<_> = wanted.map(|(key, value)| (key.clone(), value.clone())).collect();
    assert!(wanted.iter().all(|record| found.contains(record)));
    assert!(found.len() < wanted.len() + 100);
    assert!(store.reads.get() < 20, "{} reads", store.reads.get());
    let mut unread = store.read_ids.borrow().clone();
    unread.remove(&root.id.unwrap());
    assert!(unread.is_subset(&store.prefetched.borrow()), "every node but the root is announced");
    assert!(records(Walker::new(&store, &shape, &root, KeyRange::all()).unwrap().only(|_| false)).is_empty());
}

#[test]
fn a_visit_meets_every_node_once_and_goes_on_past_damage() {
    let shape = parameters(&SMALL);
    let mut store = Store::default();
    let root = build(&mut store, &shape, &numbers(3_000));
    let mut seen = BTreeSet::new();
    walk_nodes(&store, &shape, &root, &mut |visit| {
        if let Visit::Read { id, .. } = visit {
            assert!(seen.insert(id));
        }
        Ok(Next::Descend)
    })
    .unwrap();
    assert_eq!(seen, store.kept.keys().copied().collect());

    let mut inner = 0;
    walk_nodes(&store, &shape, &root, &mut |visit| match visit {
        Visit::Named { level: 0, .. } => Ok(Next::Skip),
        Visit::Named { .. } => {
            inner += 1;
            Ok(Next::Descend)
        }
        Visit::Read { .. } => Ok(Next::Descend),
        Visit::Unreadable { error, .. } => Err(error),
    })
    .unwrap();
    assert!(inner > 1 && inner < seen.len() / 3);

    let lost: Vec<_> = store.kept.iter().filter(|(_, kept)| kept[0] == 1).map(|(id, _)| *id).take(3).collect();
    store.kept.remove(&lost[0]);
    store.kept.get_mut(&lost[1]).unwrap().pop();
    *store.kept.get_mut(&lost[2]).unwrap().last_mut().unwrap() ^= 1;
    let (mut unreadable, mut read) = (BTreeSet::new(), 0);
    walk_nodes(&store, &shape, &root, &mut |visit| {
        match visit {
            Visit::Unreadable { claim, error, level } => {
                assert_eq!((level, error.object()), (0, format!("node {}", claim.id).as_str()));
                unreadable.insert(claim.id);
            }
            Visit::Read { .. } => read += 1,
            Visit::Named { .. } => {}
        }
        Ok(Next::Descend)
    })
    .unwrap();
    assert_eq!(unreadable, lost.iter().copied().collect());
    assert_eq!(read, seen.len() - 3);
}

/// A tree whose only inner node says something else about its second child.
fn with_a_lie(lie: impl FnOnce(&mut Vec<u8>, &mut Child)) -> (Store, TreeParameters, Root) {
    let shape = parameters(&MEDIUM);
    let mut store = Store::default();
    let root = build(&mut store, &shape, &numbers(1_000));
    assert_eq!(root.level, 1);
    let honest = Node::decode(&store.kept[&root.id.unwrap()]).unwrap();
    let mut lying = Node { rows: crate::record::Rows::new(), ..honest };
    let mut lie = Some(lie);
    for (i, (key, value)) in honest.rows.iter().enumerate() {
        let (mut key, mut child) = (key.to_vec(), Child::decode(value).unwrap());
        if i == 1
            && let Some(lie) = lie.take()
        {
            lie(&mut key, &mut child);
        }
        lying.rows.push(&key, &child.encode());
    }
    let id = store.write_node(lying.clone()).unwrap();
    let root = Root::of(2, 1, child::describe(&shape, &lying, id).unwrap());
    (store, shape, root)
}

#[test]
fn a_child_that_is_not_as_its_parent_says_is_damage() {
    let check = |(store, shape, root): (Store, TreeParameters, Root), expected: &str| {
        let mut walker = Walker::new(&store, &shape, &root, KeyRange::all()).unwrap();
        let error = loop {
            match walker.next_record() {
                Ok(record) => assert!(record.is_some(), "{expected} went unseen"),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), error.message()), (ErrorKind::Damaged, expected));
        assert!(error.object().starts_with("node "));
    };
    check(with_a_lie(|_, child| child.records += 1), "invalid record count of a node");
    check(with_a_lie(|_, child| child.row_bytes += 1), "invalid row bytes of a node");
    check(with_a_lie(|_, child| child.summary[0] += 1), "invalid summary of a node");
    check(with_a_lie(|key, _| key.push(0)), "invalid last key of a node");
    let (store, shape, root) = with_a_lie(|_, _| ());
    assert_eq!(records(Walker::new(&store, &shape, &root, KeyRange::all()).unwrap()).len(), 1_000);
}

#[test]
fn a_root_that_does_not_fit_its_tree_is_damage() {
    let shape = parameters(&SMALL);
    let mut store = Store::default();
    let root = build(&mut store, &shape, &numbers(1_000));
    let lies = [
        Root { kind: 1, ..root.clone() },
        Root { level: root.level + 1, ..root.clone() },
        Root { records: 999, ..root.clone() },
        Root { summary: vec![], ..root.clone() },
        Root { records: 1, ..Root::empty(2) },
    ];
    for lie in lies {
        assert_eq!(get(&store, &shape, &lie, b"key").unwrap_err().kind(), ErrorKind::Damaged, "{lie:?}");
    }
}

#[test]
fn input_out_of_order_is_refused() {
    let shape = parameters(&SMALL);
    let mut store = Store::default();
    let mut builder = Builder::new(&shape);
    assert_eq!(builder.push(&mut store, b"b", b"1").unwrap(), Pushed::New);
    assert_eq!(builder.push(&mut store, b"b", b"1").unwrap(), Pushed::Duplicate);
    assert_eq!(builder.push(&mut store, b"b", b"2").unwrap_err().kind(), ErrorKind::Data);
    assert_eq!(builder.push(&mut store, b"a", b"1").unwrap_err().kind(), ErrorKind::Data);
    let root = builder.finish(&mut store).unwrap();
    let changes = [b"d", b"c"].map(|key| Ok((key.to_vec(), Change::Remove)));
    let old = Store { kept: store.kept.clone(), ..Store::default() };
    assert_eq!(edit(&old, &mut store, &shape, &root, changes).unwrap_err().kind(), ErrorKind::Data);
}

#[test]
fn the_worked_example_of_the_specification() {
    // format-spec tree 2.4 and 3.
    let mut leaf = Node { kind: 2, level: 0, rows: crate::record::Rows::new() };
    leaf.rows.push(b"a", b"1");
    leaf.rows.push(b"bc", b"");
    assert_eq!(crate::id::hex(&leaf.canonical()), "010200020161013102626300");
    let child = Child { id: crate::id::BlobId::new([0x11; 32]), records: 300, row_bytes: 4, summary: vec![] };
    assert_eq!(crate::id::hex(&child.encode()), "11".repeat(32) + "ac0204");

    let keys = TreeKeys { split: [0; 16], long_key: std::array::from_fn(|i| i as u8) };
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    separator::put(&mut whole, &keys, &[0x61; 256]);
    assert_eq!(whole, [0x61; 256]);
    separator::put(&mut cut, &keys, &[0x61; 257]);
    assert_eq!(cut[..256], [0x61; 256]);
    assert_eq!(crate::id::hex(&cut[256..]), "661774b69b461b639ac01e5c57b2695cbf9da08e82804bcfdf9d3434032cbb66");
}
