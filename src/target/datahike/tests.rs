//! Stores of real Datahike, taken apart and written again.
//!
//! Some of the stores stand in the repository; the others are those of the large fixtures.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../tests/fixtures/shared.rs"]
mod shared;
#[path = "../../../tests/fixtures/unpack.rs"]
mod unpack;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use self::shared::shared;
use self::unpack::{packed, unpack};

use super::*;
use crate::datahike::encode_node::{self, Child};
use crate::datahike::home::FileHome;
use crate::datahike::node::{Address, Node};
use crate::datahike::{Compression, Head, IndexOrder, IndexRoot, Store, field, hasch};
use crate::record::datom::{Datom, edn};

/// Stores that stand in the repository: archive, store in it, whether its generation is the one that is written.
const PACKED: [(&str, &str, bool); 7] = [
    ("store-a", "store-a", true),
    ("store-bf8", "store-bf8", true),
    ("store-crypto", "store-crypto", true),
    ("store-diffbuf", "store-diffbuf", true),
    ("store-attrrefs", "store-attrrefs", true),
    ("store1607", "store1607", false),
    ("a-small-history", "store", false),
];

/// The same of the large fixtures.
const SHARED: [(&str, &str, bool); 5] = [
    ("datahike-stores", "store-nograph", true),
    ("head-small-history/store", "store", true),
    ("h-small-importable/store", "store", false),
    ("e-attribute-refs/store", "store", false),
    ("c-200k/stores", "store", false),
];

/// Unpacks all that are here.
fn unpacked(into: &Path) -> Vec<(String, PathBuf, bool)> {
    let here = PACKED.map(|(archive, store, same)| (packed(archive), archive, store, same));
    let beside = shared().map(|shared| {
        SHARED.map(|(archive, store, same)| (shared.join(format!("{archive}.tar.zst")), archive, store, same))
    });
    let mut found = Vec::new();
    for (file, archive, store, same) in here.into_iter().chain(beside.into_iter().flatten()) {
        let place = into.join(archive);
        std::fs::create_dir_all(&place).unwrap();
        unpack(&file, store, &place);
        found.push((format!("{archive}/{store}"), place.join(store), same));
    }
    found
}

fn open(path: &Path) -> Store {
    Store::open(path.to_str().unwrap(), None).unwrap()
}

/// The datoms of an index, in its order, and how full its nodes are: (level, children) of all but the root.
fn read_index(store: &Store, root: &IndexRoot) -> (Vec<Datom<'static>>, Vec<(u32, usize)>) {
    let mut datoms = Vec::new();
    let mut fill = Vec::new();
    let Some(address) = root.address else { return (datoms, fill) };
    read_node(store, address, true, &mut datoms, &mut fill);
    (datoms, fill)
}

fn read_node(
    store: &Store,
    address: Address,
    is_root: bool,
    datoms: &mut Vec<Datom<'static>>,
    fill: &mut Vec<(u32, usize)>,
) -> Datom<'static> {
    let blob = store.blob(StoreKey::address(&address)).unwrap().unwrap();
    match Node::decode(&blob.bytes).unwrap() {
        Node::Leaf(leaf) => {
            if !is_root {
                fill.push((0, leaf.datoms.len()));
            }
            datoms.extend(leaf.datoms.into_iter().map(Datom::into_owned));
        }
        Node::Branch(branch) => {
            if !is_root {
                fill.push((branch.level, branch.addresses.len()));
            }
            let before = datoms.len();
            for (child, key) in branch.addresses.iter().zip(&branch.keys) {
                let last = read_node(store, *child, false, datoms, fill);
                assert_eq!(last, key.clone().into_owned(), "separator");
            }
            if let Some(count) = branch.subtree_count {
                assert_eq!(count as usize, datoms.len() - before);
            }
        }
    }
    datoms.last().cloned().unwrap_or(Datom {
        e: 0,
        a: crate::record::datom::Attribute::Id(0),
        v: Value::Nil,
        t: 0,
        added: true,
    })
}

/// The datoms of an index of a real store, where differences may wait in branches.
fn walk_index(store: &Store, root: &IndexRoot) -> (Vec<Datom<'static>>, bool) {
    struct All(Vec<Datom<'static>>, bool);
    impl crate::datahike::Visitor for All {
        fn leaf(&mut self, leaf: &crate::datahike::walk::VisitedLeaf<'_, '_>) -> Result<()> {
            self.1 &= leaf.ordered;
            self.0.extend(leaf.datoms.iter().cloned().map(Datom::into_owned));
            Ok(())
        }
    }
    let mut all = All(Vec::new(), true);
    crate::datahike::Walk::new(store).run(root, &mut all).map_err(|e| e.into_error(store)).unwrap();
    (all.0, all.1)
}

fn roots(head: &Head) -> Vec<(&'static str, IndexOrder, IndexRoot)> {
    let mut roots = vec![
        ("eavt", IndexOrder::Eavt, head.eavt.clone()),
        ("aevt", IndexOrder::Aevt, head.aevt.clone()),
        ("avet", IndexOrder::Avet, head.avet.clone()),
    ];
    if let (Some(e), Some(a), Some(v)) = (&head.temporal_eavt, &head.temporal_aevt, &head.temporal_avet) {
        roots.push(("temporal-eavt", IndexOrder::Eavt, e.clone()));
        roots.push(("temporal-aevt", IndexOrder::Aevt, a.clone()));
        roots.push(("temporal-avet", IndexOrder::Avet, v.clone()));
    }
    roots
}

fn key(order: IndexOrder, datom: &Datom<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    order.put_key(datom, &mut key).unwrap();
    key
}

fn text(datom: &Datom<'_>) -> String {
    let mut out = Vec::new();
    edn::print_datom(datom, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn printed(value: &Value<'_>) -> String {
    let mut out = Vec::new();
    edn::print_value(value, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes what a store holds to another one.
fn copy(from: &Store, path: &Path, options: Options) -> Written {
    let home: Arc<dyn Home> = Arc::new(FileHome::create(path.to_owned()).unwrap());
    let mut target = Target::create(home, path.to_str().unwrap(), options).unwrap();
    for branch in from.branches().unwrap() {
        let head = from.head(&branch).unwrap();
        let schema = from.schema(&head).unwrap();
        let (current, _) = walk_index(from, &head.eavt);
        let temporal = head.temporal_eavt.as_ref().map(|root| walk_index(from, root).0);
        // History as Datahike defines it.
        let mut all: BTreeMap<Vec<u8>, (Datom<'static>, bool, bool)> = BTreeMap::new();
        for datom in temporal.iter().flatten() {
            all.insert(key(IndexOrder::Eavt, datom), (datom.clone(), true, false));
        }
        for datom in current {
            let historic = temporal.is_none() || schema.is_history_while_current(&datom.a);
            let entry = all.entry(key(IndexOrder::Eavt, &datom)).or_insert((datom, false, false));
            entry.1 |= historic;
            entry.2 = true;
        }
        let mut config = Vec::new();
        edn::print_value(&head.config, &mut config);
        let properties = BTreeMap::from([
            ("config".to_owned(), String::from_utf8(config).unwrap()),
            ("max-t".to_owned(), head.max_tx.to_string()),
            ("max-eid".to_owned(), head.max_eid.to_string()),
        ]);
        let description =
            Description { branch, keep_history: temporal.is_some(), properties, ..Description::default() };
        let mut writer = target.branch(description);
        for (datom, historic, current) in all.into_values() {
            let membership = match (historic, current) {
                (true, true) => Membership::Both,
                (true, false) => Membership::History,
                (false, _) => Membership::Current,
            };
            writer.put(&datom, membership).unwrap();
        }
        writer.finish().unwrap();
    }
    target.finish().unwrap()
}

#[test]
fn real_indices_are_in_the_order_of_our_keys() {
    let folder = TempDir::new().unwrap();
    for (name, path, _) in unpacked(folder.path()) {
        let store = open(&path);
        for branch in store.branches().unwrap() {
            let head = store.head(&branch).unwrap();
            for (index, order, root) in roots(&head) {
                let (datoms, ordered) = walk_index(&store, &root);
                if !ordered {
                    continue;
                }
                for pair in datoms.windows(2) {
                    let ascends = key(order, &pair[0]) < key(order, &pair[1]);
                    assert!(ascends, "{name} :{branch} {index}: {} {}", text(&pair[0]), text(&pair[1]));
                }
            }
        }
    }
}

#[test]
fn real_nodes_are_encoded_to_their_own_bytes() {
    let folder = TempDir::new().unwrap();
    for (name, path, same) in unpacked(folder.path()) {
        // Datahike's maps of two generations differ; differences that wait are not written.
        if !same || name.ends_with("diffbuf") {
            continue;
        }
        let store = open(&path);
        let (mut leaves, mut branches) = (0, 0);
        let tree = match store.head("db").unwrap().eavt.branching_factor {
            0 => 512,
            factor => factor as usize,
        };
        for file in store.home().list().unwrap() {
            let blob = store.blob(file).unwrap().unwrap();
            let Ok(node) = Node::decode(&blob.bytes) else { continue };
            let bytes = match &node {
                Node::Leaf(leaf) => {
                    leaves += 1;
                    encode_node::leaf(&leaf.datoms, tree).unwrap()
                }
                Node::Branch(branch) => {
                    branches += 1;
                    let children: Vec<Child<'_>> = branch
                        .keys
                        .iter()
                        .zip(&branch.addresses)
                        .map(|(last, address)| Child { last: last.clone(), address: *address })
                        .collect();
                    let Some(count) = branch.subtree_count else { continue };
                    encode_node::branch(branch.level, &children, count, tree).unwrap()
                }
            };
            if bytes != blob.bytes {
                panic!("{name} {file}:\n{}\n{}", crate::id::hex(&bytes), crate::id::hex(&blob.bytes));
            }
            let rewritten =
                encode_head::blob(&blob.key, Lifetime::Immutable, &bytes, blob.last_write.unwrap(), Compression::None);
            let (written_name, written) = rewritten.unwrap();
            assert_eq!(written_name, file);
            assert_eq!(Some(written), store.home().get(file).unwrap(), "{name} {file}");
        }
        assert!(leaves > 5, "{name}: {leaves} leaves, {branches} branches");
    }
}

#[test]
fn a_store_written_again_has_the_same_indices_and_sound_nodes() {
    let folder = TempDir::new().unwrap();
    for (name, path, same) in unpacked(folder.path()) {
        let from = open(&path);
        for branching_factor in [512, 8] {
            // The largest are deep enough as they are.
            if branching_factor == 8 && name.contains("c-200k") {
                continue;
            }
            let to = TempDir::new().unwrap();
            let written =
                copy(&from, to.path(), Options { branching_factor, now: 1_795_000_000_000, ..Default::default() });
            let store = open(to.path());
            assert_eq!(store.branches().unwrap(), from.branches().unwrap(), "{name}");
            for branch in from.branches().unwrap() {
                let (old, new) = (from.head(&branch).unwrap(), store.head(&branch).unwrap());
                assert_eq!((new.max_tx, new.max_eid), (old.max_tx, old.max_eid), "{name}");
                let (was, is) = (roots(&old), roots(&new));
                assert_eq!(was.len(), is.len());
                for ((index, order, was), (_, _, is)) in was.iter().zip(&is) {
                    let (mut wanted, ordered) = walk_index(&from, was);
                    if !ordered {
                        wanted.sort_by_cached_key(|datom| key(*order, datom));
                    }
                    let (datoms, fill) = read_index(&store, is);
                    let difference = wanted.iter().zip(&datoms).find(|(a, b)| a != b);
                    let difference = difference.map(|(a, b)| format!("{} {}", text(a), text(b)));
                    assert_eq!(difference, None, "{name} :{branch} {index}");
                    assert_eq!(wanted.len(), datoms.len(), "{name} :{branch} {index}");
                    assert_eq!(is.count, Some(datoms.len() as u64));
                    let sound = branching_factor / 2..=branching_factor;
                    assert!(fill.iter().all(|(_, children)| sound.contains(children)), "{name} {index}: {fill:?}");
                }
                check_schema(&name, same, (&from, &old), (&store, &new));
            }
            assert!(written.blobs > 8 && written.notes.is_empty(), "{name}: {written:?}");
            // Everything that is there is reachable: nodes, schemas, and of each branch commit and head; and the list.
            let blobs = store.home().list().unwrap().len() as u64;
            if store.head("db").unwrap().has_content_addresses() {
                assert!(blobs <= written.blobs, "{name}");
            } else {
                assert_eq!(blobs, written.blobs, "{name}");
            }
        }
    }
}

/// Heads have the same keys and types, schemas are the same.
fn check_schema(name: &str, same: bool, (from, old): (&Store, &Head), (to, new): (&Store, &Head)) {
    let record = |store: &Store, key: StoreKey| -> Value<'static> {
        let blob = store.blob(key).unwrap().unwrap();
        blob.value().unwrap().into_owned()
    };
    let head = StoreKey::keyword(&new.branch);
    let (was, is) = (record(from, head), record(to, head));
    let names = |value: &Value<'_>| match value {
        Value::Map(entries) => {
            let mut names: Vec<String> = entries.iter().map(|(name, _)| printed(name)).collect();
            names.sort();
            names
        }
        other => panic!("{name}: {other:?}"),
    };
    let commit = record(to, StoreKey::address(&new.commit.unwrap()));
    assert_eq!(commit, is, "{name}: commit");
    if same {
        assert_eq!(names(&is), names(&was), "{name}: head");
        for part in ["meta", "merkle-roots"] {
            assert_eq!(names(field(&is, part).unwrap()), names(field(&was, part).unwrap()), "{name}: {part}");
        }
        let mut config = names(field(&was, "config").unwrap());
        config.retain(|name| name != ":index-config" && name != ":commit-graph?");
        let mut written = names(field(&is, "config").unwrap());
        written.retain(|name| name != ":index-config");
        assert_eq!(written, config, "{name}: config");
        let (was, is) = (
            record(from, StoreKey::address(&old.schema_key.unwrap())),
            record(to, StoreKey::address(&new.schema_key.unwrap())),
        );
        for part in ["schema", "rschema", "system-entities", "ident-ref-map", "ref-ident-map"] {
            let (was, is) = (field(&was, part).unwrap(), field(&is, part).unwrap());
            if let (Value::Map(was), Value::Map(is)) = (was, is) {
                for (key, value) in was {
                    let ours = is.iter().find(|(name, _)| name == key).map(|(_, value)| printed(value));
                    assert_eq!(ours, Some(printed(value)), "{name}: {part} {}", printed(key));
                }
            }
            assert_eq!(printed(is), printed(was), "{name}: {part}");
        }
        // The key of a schema is its hash, in real stores too.
        assert_eq!(hasch::uuid(&was).unwrap(), old.schema_key.unwrap(), "{name}: hash of the schema");
        assert_eq!(new.schema_key, old.schema_key, "{name}");
    }
}

#[test]
fn addresses_are_hashes_where_that_is_wanted() {
    let folder = TempDir::new().unwrap();
    for (name, path, _) in unpacked(folder.path()).into_iter().filter(|(name, ..)| name.ends_with("store-crypto")) {
        let from = open(&path);
        let to = TempDir::new().unwrap();
        copy(&from, to.path(), Options { branching_factor: 8, ..Default::default() });
        let store = open(to.path());
        let head = store.head("db").unwrap();
        assert!(head.has_content_addresses());
        for (index, _, root) in roots(&head) {
            let mut pending = vec![root.address.unwrap()];
            let mut nodes = 0;
            while let Some(address) = pending.pop() {
                let blob = store.blob(StoreKey::address(&address)).unwrap().unwrap();
                let computed = match Node::decode(&blob.bytes).unwrap() {
                    Node::Leaf(leaf) => hasch::of_datoms(&leaf.datoms).unwrap(),
                    Node::Branch(branch) => {
                        pending.extend(&branch.addresses);
                        hasch::of_addresses(&branch.addresses)
                    }
                };
                assert_eq!(computed, address, "{name} {index}");
                nodes += 1;
            }
            assert!(nodes > 10);
        }
    }
}

#[test]
fn a_place_that_holds_a_database_is_refused_and_one_left_halfway_is_none() {
    let folder = TempDir::new().unwrap();
    let home = || -> Arc<dyn Home> { Arc::new(FileHome::create(folder.path().join("store")).unwrap()) };
    let datom = edn::parse_datom_line(b"[1 :user/name \"Ada\" 536870913 true]").unwrap();
    let options = Options::default();
    let mut target = Target::create(home(), "store", options.clone()).unwrap();
    let description = || Description { branch: "db".to_owned(), keep_history: true, ..Default::default() };
    let mut branch = target.branch(description());
    branch.put(&datom, Membership::Both).unwrap();
    branch.finish().unwrap();
    drop(target);
    let store = Store::open(folder.path().join("store").to_str().unwrap(), None);
    assert!(store.and_then(|store| store.head("db")).is_err());

    let other = TempDir::new().unwrap();
    let home: Arc<dyn Home> = Arc::new(FileHome::create(other.path().join("store")).unwrap());
    let mut target = Target::create(Arc::clone(&home), "store", options.clone()).unwrap();
    target.branch(description()).finish().unwrap();
    target.finish().unwrap();
    // An empty database is one.
    let head = Store::new(Arc::clone(&home), None).head("db").unwrap();
    assert_eq!((head.eavt.count, head.max_tx, head.max_eid), (Some(0), crate::datahike::SYSTEM_TRANSACTION, 0));
    let refused = Target::create(home, "store", options).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn attributes_as_ids_need_the_schema_that_names_them() {
    let folder = TempDir::new().unwrap();
    let home: Arc<dyn Home> = Arc::new(FileHome::create(folder.path().join("store")).unwrap());
    let mut target = Target::create(home, "store", Options::default()).unwrap();
    let mut branch = target.branch(Description { branch: "db".to_owned(), keep_history: true, ..Default::default() });
    branch.put(&edn::parse_datom_line(b"[1 55 \"Ada\" 536870913 true]").unwrap(), Membership::Both).unwrap();
    assert!(branch.finish().err().unwrap().to_string().contains("db/ident"));
}

/// A store of these datoms, and what was said when it was written.
fn written_with(lines: &[String]) -> (TempDir, Written) {
    let folder = TempDir::new().unwrap();
    let home: Arc<dyn Home> = Arc::new(FileHome::create(folder.path().join("store")).unwrap());
    let mut target = Target::create(home, "store", Options::default()).unwrap();
    let mut branch = target.branch(Description { branch: "db".to_owned(), keep_history: true, ..Default::default() });
    for line in lines {
        branch.put(&edn::parse_datom_line(line.as_bytes()).unwrap(), Membership::Both).unwrap();
    }
    branch.finish().unwrap();
    (folder, target.finish().unwrap())
}

#[test]
fn decimals_that_differ_far_behind_the_point_or_before_it_are_all_written() {
    let threes = "3".repeat(171);
    let values =
        [format!("1.{threes}1M"), format!("1.{threes}2M"), "1E+30000M".into(), "1E+25000M".into(), "1E-30000M".into()];
    let lines: Vec<_> = values.iter().map(|value| format!("[1 :a/b {value} 536870913 true]")).collect();
    let (_folder, written) = written_with(&lines);
    assert_eq!((written.datoms, written.notes), (5, BTreeMap::new()));
    // What is equal for Datahike still is, in the current index and in the temporal one.
    let (_folder, written) = written_with(&["1.50M", "1.5M"].map(|value| format!("[1 :a/b {value} 536870913 true]")));
    assert_eq!(written.notes.values().copied().collect::<Vec<_>>(), [2]);
}

#[test]
fn a_zero_that_loses_its_sign_is_noted() {
    let values = ["-0.0", "[1.0 -0.0]", "0.0", "1.0", "[0.0]", "-0.0M"];
    let line = |(e, value): (usize, &str)| format!("[{} :a/b {value} 536870913 true]", e + 1);
    let (_folder, written) = written_with(&values.into_iter().enumerate().map(line).collect::<Vec<_>>());
    let notes: Vec<_> = written.notes.into_iter().collect();
    let [(what, 2)] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(what.contains("-0.0"), "{what}");
}

#[test]
fn what_is_kept_of_where_the_store_is_has_no_password() {
    for location in ["Postgres://me:hunter2@host/db", "jdbc:mysql://me:hunter2@host/db", "s3://bucket/id?x=hunter2"] {
        let folder = TempDir::new().unwrap();
        let home: Arc<dyn Home> = Arc::new(FileHome::create(folder.path().join("store")).unwrap());
        let mut target = Target::create(Arc::clone(&home), location, Options::default()).unwrap();
        target.branch(Description { branch: "db".to_owned(), ..Default::default() }).finish().unwrap();
        target.finish().unwrap();
        for key in home.list().unwrap() {
            let blob = home.get(key).unwrap().unwrap();
            assert!(!blob.windows(7).any(|window| window == b"hunter2"), "{location}");
        }
    }
}
