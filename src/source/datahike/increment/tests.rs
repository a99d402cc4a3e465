//! Increments against a simulated store: they give what reading everything gives, or ask for it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::facts::EventSet;
use super::testing::{ATTRIBUTES, Action, Database, Garbage, Manner, Row};
use super::*;
use crate::datahike::{IndexRoot, NodeKey, Stamp, StoreKey, Visitor, Walk, walk::VisitedLeaf};
use crate::record::datom::{Digest, number_bound, to_view_key};

struct Recording(IndexRecorder);

impl Visitor for Recording {
    fn branch(&mut self, node: &NodeKey, stamp: Option<Stamp>, children: &[NodeKey]) -> Result<()> {
        self.0.branch(node, stamp, children);
        Ok(())
    }

    fn leaf(&mut self, leaf: &VisitedLeaf<'_, '_>) -> Result<()> {
        let mut total = Digest::new();
        leaf.datoms.iter().for_each(|datom| total.add(datom));
        self.0.leaf(&leaf.key, leaf.stamp, total);
        Ok(())
    }
}

/// The table that a full read makes.
fn full(database: &Database) -> LeafTable {
    let store = database.store();
    let head = store.head("db").unwrap();
    let index = |root: &IndexRoot| {
        let mut recording = Recording(IndexRecorder::new(&head));
        Walk::new(&store).run(root, &mut recording).unwrap();
        recording.0.finish(root).unwrap()
    };
    let (current, temporal) = (index(&head.eavt), head.temporal_eavt.as_ref().map(index));
    table_of(&head, &store.schema(&head).unwrap(), current, temporal)
}

fn next(database: &Database, table: LeafTable) -> (Next, LeafTable) {
    let mut increments = Increments::new(database.store(), IncrementOptions::default(), Some(table));
    let next = increments.next().unwrap();
    (next, increments.into_table().unwrap())
}

type States = BTreeMap<Vec<u8>, FactState>;

/// What is known of every fact, by the rule of what history is.
fn states(database: &Database) -> States {
    let mut events: BTreeMap<Vec<u8>, (EventSet, BTreeSet<[u8; 8]>)> = BTreeMap::new();
    let current = database.current.iter().map(|row| (true, row));
    for (is_current, row) in current.chain(database.temporal.iter().map(|row| (false, row))) {
        let (e, a, v, t, added): Row = *row;
        let a_name = Attribute::Keyword(ATTRIBUTES[a].into());
        let (mut key, mut view) = (Vec::new(), Vec::new());
        encode_key(&Datom { e, a: a_name, v: Value::Long(v), t, added }, &mut key).unwrap();
        to_view_key(&key, &mut view).unwrap();
        view.truncate(view.len() - 9);
        let of_fact = events.entry(view).or_default();
        if database.manner.history && (!is_current || a != 0) {
            of_fact.0.insert((number_bound(t), added));
        }
        if is_current {
            of_fact.1.insert(number_bound(t));
        }
    }
    let state = |(log, current): (BTreeSet<_>, BTreeSet<_>)| FactState {
        log: log.into_iter().collect(),
        current: current.into_iter().collect(),
    };
    events.into_iter().map(|(fact, sets)| (fact, state(sets))).collect()
}

fn expected(before: &States, after: &States) -> Vec<FactChange> {
    let facts: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).collect();
    let change = |fact: &Vec<u8>| FactChange {
        fact: fact.clone(),
        before: before.get(fact).cloned().unwrap_or_default(),
        after: after.get(fact).cloned().unwrap_or_default(),
    };
    facts.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

fn actions() -> impl Strategy<Value = Action> {
    let (e, a, v) = (1_i64..40, 0_usize..3, 0_i64..4);
    prop_oneof![
        8 => (e.clone(), a.clone(), v.clone()).prop_map(|(e, a, v)| Action::Add(e, a, v)),
        3 => (e.clone(), a, v).prop_map(|(e, a, v)| Action::Retract(e, a, v)),
        1 => e.clone().prop_map(Action::Purge),
        2 => e.prop_map(Action::Again),
    ]
}

fn transactions(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<Action>>> {
    prop::collection::vec(prop::collection::vec(actions(), 0..12), count)
}

fn manners() -> impl Strategy<Value = Manner> {
    let garbage = prop_oneof![Just(Garbage::Kept), Just(Garbage::Deleted), Just(Garbage::Reused)];
    (garbage, 0_usize..4, any::<bool>(), prop::bool::weighted(0.7))
        .prop_map(|(garbage, slot_rows, fused, history)| Manner { garbage, slot_rows, fused, history })
}

proptest! {
    #[test]
    fn an_increment_is_the_difference_of_what_is_known_or_asks_for_a_full_read(
        manner in manners(),
        first in transactions(1..8),
        steps in prop::collection::vec(transactions(0..4), 1..5),
    ) {
        let mut database = Database::new(manner);
        first.iter().for_each(|actions| database.transact(actions));
        let mut table = full(&database);
        for transactions in steps {
            let before = states(&database);
            let t = database.t;
            transactions.iter().for_each(|actions| database.transact(actions));
            let after = states(&database);
            let (next, moved) = next(&database, table);
            match next {
                Next::Unchanged(_) => {
                    prop_assert_eq!(database.t, t);
                    table = moved;
                }
                Next::Changed(difference) => {
                    prop_assert_eq!(difference.facts, expected(&before, &after));
                    prop_assert_eq!(&moved, &full(&database));
                    table = LeafTable::decode(&moved.encode()).unwrap();
                }
                Next::Full(reason) => {
                    let gone = matches!(reason, FullReason::Gone(_));
                    prop_assert!(gone && manner.garbage != Garbage::Kept, "{}", reason);
                    table = full(&database);
                }
            }
        }
    }

    #[test]
    fn a_table_that_says_something_else_never_gives_something_else(
        first in transactions(3..8),
        more in transactions(1..3),
        at: prop::sample::Index,
        bit in 0_u8..8,
    ) {
        let manner = Manner { garbage: Garbage::Kept, slot_rows: 2, fused: false, history: true };
        let mut database = Database::new(manner);
        first.iter().for_each(|actions| database.transact(actions));
        let mut bytes = full(&database).encode();
        let before = states(&database);
        more.iter().for_each(|actions| database.transact(actions));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(table) = LeafTable::decode(&bytes) {
            let attributes = table.attributes.clone();
            if let (Next::Changed(difference), _) = next(&database, table) {
                prop_assert_eq!(&attributes.into_values().collect::<Vec<_>>().len(), &ATTRIBUTES.len());
                let after = states(&database);
                prop_assert_eq!(difference.facts, expected(&before, &after));
            }
        }
    }
}

/// A database of 60 entities, and its manner.
fn filled(garbage: Garbage) -> Database {
    let mut database = Database::new(Manner { garbage, slot_rows: 0, fused: false, history: true });
    for t in 0..6 {
        let actions: Vec<_> = (0..60).filter(|e| e % 6 == t).map(|e| Action::Add(e, 0, e)).collect();
        database.transact(&actions);
    }
    database
}

#[test]
fn nothing_but_the_head_is_read_where_nothing_changed_and_little_where_little_did() {
    let mut database = filled(Garbage::Kept);
    let table = full(&database);
    let read = |database: &Database| crate::datahike::Home::traffic(&*database.home).blobs_read;
    let before = read(&database);
    let (unchanged, table) = next(&database, table);
    assert!(matches!(unchanged, Next::Unchanged(_)));
    assert_eq!(read(&database), before + 1);
    database.transact(&[Action::Add(30, 0, 1000)]);
    let (changed, _) = next(&database, table);
    let Next::Changed(difference) = changed else { panic!("{changed:?}") };
    assert_eq!(difference.facts.len(), 3, "what was, what is, and when");
    let nodes = full(&database).current.nodes.len() + full(&database).temporal.unwrap().nodes.len();
    assert!(difference.read.blobs < nodes as u64 * 3 / 4, "{:?} of {nodes}", difference.read);
}

#[test]
fn where_most_leaves_changed_none_of_them_is_read() {
    let mut database = filled(Garbage::Kept);
    let table = full(&database);
    let actions: Vec<_> = (0..60).map(|e| Action::Add(e, 0, 1000 + e)).collect();
    database.transact(&actions);
    let leaves = table.current.nodes.len();
    let compared_up_to = |few_leaves| {
        let options = IncrementOptions { few_leaves, ..IncrementOptions::default() };
        let mut increments = Increments::new(database.store(), options, Some(table.clone()));
        (increments.next().unwrap(), increments.read_stats().blobs)
    };
    assert!(matches!(compared_up_to(leaves * 2), (Next::Changed(_), _)));
    let (next, blobs) = compared_up_to(0);
    assert!(matches!(next, Next::Full(FullReason::Costly)), "{next:?}");
    assert!(blobs < leaves as u64 / 2, "{blobs} blobs for {leaves} leaves");
}

#[test]
fn an_address_that_was_used_again_is_noticed() {
    let mut database = filled(Garbage::Reused);
    let table = full(&database);
    let before = states(&database);
    for n in 0..12 {
        database.transact(&[Action::Add(5 * n, 0, 7000 + n)]);
    }
    let known: BTreeSet<NodeKey> = table.current.nodes.keys().copied().collect();
    let now = full(&database);
    let reused = now
        .current
        .nodes
        .iter()
        .filter(|(key, entry)| known.contains(key) && table.current.nodes[key].total != entry.total);
    assert!(reused.count() > 0, "the test means nothing otherwise");
    match next(&database, table).0 {
        Next::Full(reason) => assert!(matches!(reason, FullReason::Gone(_)), "{reason}"),
        Next::Changed(difference) => {
            assert_eq!(difference.facts, expected(&before, &states(&database)));
        }
        Next::Unchanged(_) => panic!("it did change"),
    }
}

#[test]
fn a_changed_schema_a_missing_node_and_too_many_changes_want_a_full_read() {
    let mut database = filled(Garbage::Kept);
    let table = full(&database);
    database.many.push("p/one");
    database.transact(&[]);
    let (next_one, _) = next(&database, table.clone());
    assert!(matches!(&next_one, Next::Full(FullReason::Schema(name)) if name.contains("p/one")), "{next_one:?}");
    database.many.pop();
    database.transact(&[Action::Add(1, 0, 5)]);
    let mut narrow = Increments::new(
        database.store(),
        IncrementOptions { max_changes: 1, ..IncrementOptions::default() },
        Some(table.clone()),
    );
    assert!(matches!(narrow.next().unwrap(), Next::Full(FullReason::TooMany)));
    // What was, what is and when, in two indices.
    let within = |max_bytes| {
        let options = IncrementOptions { max_bytes, ..IncrementOptions::default() };
        Increments::new(database.store(), options, Some(table.clone())).next().unwrap()
    };
    assert!(matches!(within(1000), Next::Changed(_)));
    assert!(matches!(within(100), Next::Full(FullReason::TooMany)));
    // A leaf of the current index and one of the temporal index have changed.
    let compared_up_to = |few_leaves| {
        let options = IncrementOptions { few_leaves, ..IncrementOptions::default() };
        Increments::new(database.store(), options, Some(table.clone())).next().unwrap()
    };
    assert!(matches!(compared_up_to(0), Next::Changed(_)), "less than half");
    let root = database.store().head("db").unwrap().eavt.address.unwrap();
    database.home.remove(StoreKey::address(&root));
    let (missing, unmoved) = next(&database, table.clone());
    assert!(matches!(missing, Next::Full(FullReason::Store(_))), "{missing:?}");
    assert_eq!(unmoved, table);
    let mut without = Increments::new(database.store(), IncrementOptions::default(), None);
    assert!(matches!(without.next().unwrap(), Next::Full(FullReason::NoTable)));
}

/// Declares an attribute that a parent does not know, after `before` and together with `with`.
fn declared(name: &'static str, before: &[Action], with: &[Action]) -> (Next, Vec<FactChange>) {
    let mut database = Database::new(Manner { garbage: Garbage::Kept, slot_rows: 2, fused: false, history: true });
    for t in 0..6 {
        let actions: Vec<_> = (0..90).filter(|e| e % 6 == t).map(|e| Action::Add(e, 0, e)).collect();
        database.transact(&actions);
    }
    database.transact(before);
    database.undeclared = vec![name];
    database.commit();
    let (table, old) = (full(&database), states(&database));
    database.undeclared.clear();
    database.transact(with);
    let (next, _) = next(&database, table);
    (next, expected(&old, &states(&database)))
}

#[test]
fn an_attribute_that_is_declared_is_an_increment_where_all_its_datoms_are_new() {
    let used: Vec<_> = (0..40).flat_map(|e| [Action::Add(e, 1, 5), Action::Add(e, 2, 6)]).collect();
    for name in ["p/many", "p/gone"] {
        for with in [&[][..], &used[..1], &used] {
            let (next, expected) = declared(name, &[], with);
            let Next::Changed(difference) = next else { panic!("{name}: {next:?}") };
            assert_eq!(difference.facts, expected);
        }
    }
}

#[test]
fn an_attribute_that_is_declared_again_wants_a_full_read_where_it_has_datoms_of_before() {
    for (name, a) in [("p/many", 1), ("p/gone", 2)] {
        let add = |e| Action::Add(e, a, 5);
        // One datom that stays; one of many, with others beside it; one that goes in the same step.
        let steps: [(Vec<Action>, Vec<Action>); 3] = [
            (vec![add(3)], vec![]),
            ((20..30).map(add).collect(), (0..90).map(add).collect()),
            (vec![add(3)], vec![Action::Retract(3, a, 5), add(4)]),
        ];
        for (before, with) in steps {
            let (next, _) = declared(name, &before, &with);
            assert!(matches!(&next, Next::Full(FullReason::Schema(said)) if said.contains(name)), "{name}: {next:?}");
        }
    }
}

#[test]
fn a_schema_that_was_collected_wants_a_full_read() {
    let mut database = filled(Garbage::Kept);
    database.schema_apart = true;
    database.commit();
    let table = full(&database);
    database.transact(&[Action::Add(1, 0, 5)]);
    database.home.remove(Database::schema_key());
    let (next, unmoved) = next(&database, table.clone());
    assert!(matches!(&next, Next::Full(FullReason::Store(why)) if why.contains("schema")), "{next:?}");
    assert_eq!(unmoved, table);
}
