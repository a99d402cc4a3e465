//! A small Datahike for tests: its rules of what goes into which index, and trees that share what does not change.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::datahike::{Compression, Home, Stamp, Store, StoreKey, Traffic, blob};
use crate::error::Result;

/// Datoms of a leaf and children of a branch, at most.
const WIDTH: usize = 5;
/// Attributes by number: one value each, several values, no history.
pub(crate) const ATTRIBUTES: [&str; 4] = ["p/one", "p/many", "p/gone", "db/txInstant"];
pub(crate) const FIRST_T: i64 = 0x2000_0001;

/// e, place of a in [`ATTRIBUTES`], v, t, asserted.
pub(crate) type Row = (i64, usize, i64, i64, bool);

/// Addresses of the index by attribute begin here; none of them is ever given up.
const BY_ATTRIBUTE: u128 = 1 << 64;
/// Address of the schema.
const SCHEMA: u128 = 1 << 65;

/// Address of a root, the root itself where it stands in the head, and the datoms below.
type Root = (Option<u128>, Option<Vec<u8>>, usize);

/// Blobs in memory.
#[derive(Default)]
pub(crate) struct MemoryHome {
    blobs: Mutex<BTreeMap<StoreKey, (u64, Bytes)>>,
    traffic: Mutex<(u64, Traffic)>,
}

impl MemoryHome {
    pub(crate) fn remove(&self, key: StoreKey) {
        self.blobs.lock().unwrap().remove(&key);
    }

    pub(crate) fn put(&self, key: StoreKey, bytes: Vec<u8>) {
        let mut traffic = self.traffic.lock().unwrap();
        traffic.0 += 1;
        self.blobs.lock().unwrap().insert(key, (traffic.0, bytes.into()));
    }
}

impl Home for MemoryHome {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn get(&self, key: StoreKey) -> Result<Option<Bytes>> {
        let blob = self.blobs.lock().unwrap().get(&key).map(|(_, bytes)| bytes.clone());
        let mut traffic = self.traffic.lock().unwrap();
        traffic.1.blobs_read += 1;
        traffic.1.bytes_read += blob.as_ref().map_or(0, |blob| blob.len() as u64);
        Ok(blob)
    }

    fn stamps(&self, keys: &[StoreKey]) -> Result<Vec<Option<Stamp>>> {
        let blobs = self.blobs.lock().unwrap();
        Ok(keys.iter().map(|key| blobs.get(key).map(|(version, _)| Stamp::of(&version.to_be_bytes()))).collect())
    }

    fn put_many(&self, blobs: Vec<(StoreKey, Bytes)>) -> Result<()> {
        blobs.into_iter().for_each(|(key, bytes)| self.put(key, bytes.to_vec()));
        Ok(())
    }

    fn remove_many(&self, keys: &[StoreKey]) -> Result<()> {
        keys.iter().for_each(|key| self.remove(*key));
        Ok(())
    }

    fn list(&self) -> Result<Vec<StoreKey>> {
        Ok(self.blobs.lock().unwrap().keys().copied().collect())
    }

    fn traffic(&self) -> Traffic {
        self.traffic.lock().unwrap().1
    }
}

impl Database {
    /// Brings a folder in line with the store, as Datahike writes files: each under another name first.
    pub(crate) fn write_to(&self, folder: &Path, written: &mut BTreeMap<StoreKey, u64>) {
        let blobs = self.home.blobs.lock().unwrap();
        for (key, (version, bytes)) in blobs.iter() {
            if written.insert(*key, *version) != Some(*version) {
                let new = folder.join(format!("{}.new", key.file_name()));
                fs::write(&new, bytes).unwrap();
                fs::rename(new, folder.join(key.file_name())).unwrap();
            }
        }
        for gone in written.keys().filter(|key| !blobs.contains_key(key)) {
            let _ = fs::remove_file(folder.join(gone.file_name()));
        }
        written.retain(|key, _| blobs.contains_key(key));
    }
}

/// What becomes of addresses that are no longer needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Garbage {
    Kept,
    Deleted,
    Reused,
}

/// How the database keeps its nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) garbage: Garbage,
    /// Changes of a leaf that its parent keeps in a slot, at most.
    pub(crate) slot_rows: usize,
    /// The root stands in the head.
    pub(crate) fused: bool,
    pub(crate) history: bool,
}

/// One change of a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Add(i64, usize, i64),
    Retract(i64, usize, i64),
    Purge(i64),
    /// The datom moves to the transaction, as Datahike 0.6 does when a value is asserted again.
    Again(i64),
}

/// A database with one branch.
pub(crate) struct Database {
    pub(crate) home: Arc<MemoryHome>,
    pub(crate) current: BTreeSet<Row>,
    pub(crate) temporal: BTreeSet<Row>,
    pub(crate) t: i64,
    pub(crate) many: Vec<&'static str>,
    /// Attributes that the schema says nothing of.
    pub(crate) undeclared: Vec<&'static str>,
    /// Branches beside the main one, which are where it is.
    pub(crate) branches: Vec<&'static str>,
    /// The schema has a blob of its own, under [`SCHEMA`].
    pub(crate) schema_apart: bool,
    pub(crate) manner: Manner,
    trees: [Tree; 2],
    next_address: u128,
    next_by_attribute: u128,
    free: Vec<u128>,
}

#[derive(Clone, Default)]
struct Tree {
    branches: Vec<Branch>,
    root: Option<u128>,
}

#[derive(Clone)]
struct Branch {
    address: u128,
    leaves: Vec<Leaf>,
}

#[derive(Clone)]
struct Leaf {
    address: u128,
    stored: Vec<Row>,
    rows: Vec<Row>,
}

impl Database {
    pub(crate) fn new(manner: Manner) -> Self {
        let mut database = Self {
            home: Arc::new(MemoryHome::default()),
            current: BTreeSet::new(),
            temporal: BTreeSet::new(),
            t: FIRST_T - 1,
            many: vec!["p/many"],
            undeclared: Vec::new(),
            branches: Vec::new(),
            schema_apart: false,
            manner,
            trees: [Tree::default(), Tree::default()],
            next_address: 1,
            next_by_attribute: BY_ATTRIBUTE,
            free: Vec::new(),
        };
        database.commit();
        database
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(Arc::clone(&self.home) as Arc<dyn Home>, None)
    }

    pub(crate) fn transact(&mut self, actions: &[Action]) {
        self.t += 1;
        let t = self.t;
        self.current.insert((t, 3, t * 1000, t, true));
        for action in actions {
            self.act(*action, t);
        }
        if !self.manner.history {
            self.temporal.clear();
        }
        self.commit();
    }

    fn act(&mut self, action: Action, t: i64) {
        let of = |rows: &BTreeSet<Row>, e: i64, a: usize| -> Vec<Row> {
            rows.iter().filter(|row| row.0 == e && row.1 == a).copied().collect()
        };
        match action {
            Action::Add(e, a, v) => {
                let old = of(&self.current, e, a);
                if old.iter().any(|row| row.2 == v) {
                    return;
                }
                if a != 1 {
                    for row in old {
                        self.current.remove(&row);
                        if a == 0 {
                            self.temporal.insert((e, a, row.2, t, false));
                        }
                    }
                }
                self.current.insert((e, a, v, t, true));
                if a == 0 {
                    self.temporal.insert((e, a, v, t, true));
                }
            }
            Action::Retract(e, a, v) => {
                for row in of(&self.current, e, a).into_iter().filter(|row| row.2 == v) {
                    self.current.remove(&row);
                    if a != 2 {
                        self.temporal.insert(row);
                        self.temporal.insert((e, a, v, t, false));
                    }
                }
            }
            Action::Purge(e) => {
                self.current.retain(|row| row.0 != e);
                self.temporal.retain(|row| row.0 != e);
            }
            Action::Again(e) => {
                for row in of(&self.current, e, 0) {
                    self.current.remove(&row);
                    self.current.insert((e, 0, row.2, t, true));
                }
            }
        }
    }

    pub(crate) fn commit(&mut self) {
        let before: BTreeSet<u128> = self.trees.iter().flat_map(Tree::addresses).collect();
        let mut roots = Vec::new();
        for place in 0..2 {
            let rows = if place == 0 { self.current.clone() } else { self.temporal.clone() };
            let mut tree = std::mem::take(&mut self.trees[place]);
            roots.push(self.write_tree(&mut tree, &rows));
            self.trees[place] = tree;
        }
        roots.push(self.write_by_attribute());
        self.write_head(&roots);
        let now: BTreeSet<u128> = self.trees.iter().flat_map(Tree::addresses).collect();
        for gone in before.difference(&now) {
            match self.manner.garbage {
                Garbage::Kept => {}
                Garbage::Deleted => self.home.remove(StoreKey::address(&gone.to_be_bytes())),
                Garbage::Reused => self.free.push(*gone),
            }
        }
    }

    fn address(&mut self) -> u128 {
        if !self.free.is_empty() {
            return self.free.remove(0);
        }
        self.next_address += 1;
        self.next_address
    }

    /// Brings a tree in line with its rows; returns the root for the head, its node when that is to stand in the head.
    fn write_tree(&mut self, tree: &mut Tree, rows: &BTreeSet<Row>) -> Root {
        let old: BTreeSet<Row> = tree.branches.iter().flat_map(|b| &b.leaves).flat_map(|l| &l.rows).copied().collect();
        if old == *rows && (tree.root.is_some() || rows.is_empty()) {
            let fused = self.manner.fused.then(|| tree.root_node()).filter(|_| tree.root.is_some());
            return (tree.root, fused, rows.len());
        }
        if tree.branches.is_empty() {
            let leaf = Leaf { address: 0, stored: Vec::new(), rows: Vec::new() };
            tree.branches.push(Branch { address: 0, leaves: vec![leaf] });
        }
        let mut rest: Vec<Row> = rows.iter().copied().collect();
        let last_branch = tree.branches.len() - 1;
        let mut branches = Vec::new();
        for (i, mut branch) in std::mem::take(&mut tree.branches).into_iter().enumerate() {
            let last_leaf = branch.leaves.len() - 1;
            let before: Vec<(u128, Vec<Row>)> = branch.leaves.iter().map(|l| (l.address, l.rows.clone())).collect();
            let mut leaves = Vec::new();
            for (j, leaf) in std::mem::take(&mut branch.leaves).into_iter().enumerate() {
                // A leaf keeps its range: up to its last row, the very last one everything.
                let is_last = i == last_branch && j == last_leaf;
                let count =
                    if is_last { rest.len() } else { rest.partition_point(|row| leaf.rows.last() >= Some(row)) };
                let mine: Vec<Row> = rest.drain(..count).collect();
                if mine == leaf.rows && leaf.address != 0 {
                    leaves.push(leaf);
                    continue;
                }
                let changed = mine.iter().filter(|row| !leaf.stored.contains(row)).count()
                    + leaf.stored.iter().filter(|row| !mine.contains(row)).count();
                if leaf.address != 0 && changed <= self.manner.slot_rows && !mine.is_empty() && mine.len() <= 2 * WIDTH
                {
                    leaves.push(Leaf { rows: mine, ..leaf });
                    continue;
                }
                for part in mine.chunks(WIDTH) {
                    let address = self.address();
                    let leaf = Leaf { address, stored: part.to_vec(), rows: part.to_vec() };
                    self.put(address, &leaf.node());
                    leaves.push(leaf);
                }
            }
            let after: Vec<(u128, Vec<Row>)> = leaves.iter().map(|l| (l.address, l.rows.clone())).collect();
            if before == after && branch.address != 0 {
                branches.push(Branch { leaves, ..branch });
                continue;
            }
            for part in leaves.chunks(WIDTH) {
                let branch = Branch { address: self.address(), leaves: part.to_vec() };
                self.put(branch.address, &branch.node());
                branches.push(branch);
            }
        }
        tree.branches = branches;
        tree.root = None;
        if rows.is_empty() {
            tree.branches.clear();
            return (None, None, 0);
        }
        let address = self.address();
        tree.root = Some(address);
        if self.manner.fused {
            return (tree.root, Some(tree.root_node()), rows.len());
        }
        self.put(address, &tree.root_node());
        (tree.root, None, rows.len())
    }

    /// The current datoms by attribute, written anew.
    fn write_by_attribute(&mut self) -> Root {
        let mut rows: Vec<Row> = self.current.iter().copied().collect();
        if rows.is_empty() {
            return (None, None, 0);
        }
        rows.sort_by_key(|row| (ATTRIBUTES[row.1], *row));
        let mut tree = Tree::default();
        for part in rows.chunks(WIDTH * WIDTH) {
            let mut leaves = Vec::new();
            for part in part.chunks(WIDTH) {
                self.next_by_attribute += 1;
                let leaf = Leaf { address: self.next_by_attribute, stored: part.to_vec(), rows: part.to_vec() };
                self.put(leaf.address, &leaf.node());
                leaves.push(leaf);
            }
            self.next_by_attribute += 1;
            let branch = Branch { address: self.next_by_attribute, leaves };
            self.put(branch.address, &branch.node());
            tree.branches.push(branch);
        }
        self.next_by_attribute += 1;
        tree.root = Some(self.next_by_attribute);
        if self.manner.fused {
            return (tree.root, Some(tree.root_node()), rows.len());
        }
        self.put(self.next_by_attribute, &tree.root_node());
        (tree.root, None, rows.len())
    }

    fn put(&self, address: u128, node: &[u8]) {
        let key = uuid(address);
        self.home.put(StoreKey::address(&address.to_be_bytes()), encode_blob(&key, node));
    }

    fn write_head(&mut self, roots: &[Root]) {
        let set = |(address, _, count): &Root| {
            let mut fields = vec![(keyword("count"), long(*count as i64))];
            fields.extend(address.map(|address| (keyword("address"), uuid(address))));
            structure("pss/set", &map(&fields))
        };
        let is_declared = |name: &&&str| !self.undeclared.contains(*name);
        let many: Vec<_> = self.many.iter().filter(is_declared).map(|name| keyword(name)).collect();
        let no_history = ["p/gone", "db/txInstant"].iter().filter(is_declared).map(|name| keyword(name));
        let no_history: Vec<_> = no_history.collect();
        let rschema =
            map(&[(keyword("db.cardinality/many"), list(&many)), (keyword("db/noHistory"), list(&no_history))]);
        let schema: Vec<_> = ATTRIBUTES.iter().filter(is_declared).map(|name| (keyword(name), map(&[]))).collect();
        let schema = vec![(keyword("schema"), map(&schema)), (keyword("rschema"), rschema)];
        let mut record = vec![
            (keyword("config"), map(&[(keyword("schema-flexibility"), keyword("write"))])),
            (keyword("meta"), map(&[(keyword("datahike/commit-id"), uuid(u128::from(self.t.cast_unsigned())))])),
            (keyword("max-tx"), long(self.t)),
            (keyword("max-eid"), long(100)),
        ];
        for (name, root) in [("eavt", 0), ("aevt", 2), ("avet", 0), ("temporal-eavt", 1)] {
            if root == 1 && !self.manner.history {
                continue;
            }
            record.push((keyword(&format!("{name}-key")), set(&roots[root])));
            record.extend(roots[root].1.as_ref().map(|node| (keyword(&format!("{name}-root")), node.clone())));
        }
        if self.schema_apart {
            self.put(SCHEMA, &map(&schema));
            record.push((keyword("schema-meta-key"), uuid(SCHEMA)));
        } else {
            record.extend(schema);
        }
        let branches: Vec<_> = self.branches.iter().chain(&["db"]).map(|branch| keyword(branch)).collect();
        for branch in self.branches.iter().chain(&["db"]) {
            self.home.put(StoreKey::keyword(branch), encode_blob(&keyword(branch), &map(&record)));
        }
        self.put_branches(&list(&branches));
    }

    /// Puts a value where the list of branches stands.
    pub(crate) fn put_branches(&self, value: &[u8]) {
        self.home.put(StoreKey::keyword("branches"), encode_blob(&keyword("branches"), value));
    }

    /// Where the schema stands, if it has a blob of its own.
    pub(crate) fn schema_key() -> StoreKey {
        StoreKey::address(&SCHEMA.to_be_bytes())
    }
}

impl Tree {
    fn addresses(&self) -> Vec<u128> {
        let below = self.branches.iter().flat_map(|b| b.leaves.iter().map(|l| l.address).chain([b.address]));
        below.chain(self.root).collect()
    }

    fn root_node(&self) -> Vec<u8> {
        let last =
            self.branches.iter().map(|b| datom(b.leaves.last().unwrap().rows.last().unwrap())).collect::<Vec<_>>();
        let addresses = self.branches.iter().map(|b| uuid(b.address)).collect::<Vec<_>>();
        branch_node(2, &last, &addresses, None)
    }
}

impl Leaf {
    fn node(&self) -> Vec<u8> {
        let rows: Vec<_> = self.rows.iter().map(datom).collect();
        structure("pss/leaf", &map(&[(keyword("keys"), list(&rows))]))
    }

    fn slot(&self) -> Option<Vec<u8>> {
        if self.stored == self.rows {
            return None;
        }
        let only = |one: &[Row], other: &[Row]| {
            let rows: Vec<_> = one.iter().filter(|row| !other.contains(row)).map(datom).collect();
            list(&rows)
        };
        let absent = (keyword("absent"), only(&self.stored, &self.rows));
        let diff = map(&[absent, (keyword("present"), only(&self.rows, &self.stored))]);
        Some(map(&[(keyword("count"), long(self.rows.len() as i64)), (keyword("diff"), diff)]))
    }
}

impl Branch {
    fn node(&self) -> Vec<u8> {
        // As stored, so that keys lag behind what slots change.
        let last: Vec<_> = self.leaves.iter().map(|leaf| datom(leaf.stored.last().unwrap())).collect();
        let addresses: Vec<_> = self.leaves.iter().map(|leaf| uuid(leaf.address)).collect();
        let slots: Vec<_> =
            self.leaves.iter().enumerate().filter_map(|(i, leaf)| Some((long(i as i64), leaf.slot()?))).collect();
        branch_node(1, &last, &addresses, (!slots.is_empty()).then(|| map(&slots)))
    }
}

fn branch_node(level: i64, last: &[Vec<u8>], addresses: &[Vec<u8>], slots: Option<Vec<u8>>) -> Vec<u8> {
    let mut fields =
        vec![(keyword("level"), long(level)), (keyword("keys"), list(last)), (keyword("addresses"), list(addresses))];
    fields.extend(slots.map(|slots| (keyword("slots"), slots)));
    structure("pss/branch", &map(&fields))
}

fn datom(row: &Row) -> Vec<u8> {
    let (e, a, v, t, added) = row;
    let flag = vec![if *added { 0xf5 } else { 0xf6 }];
    structure("datahike.datom.Datom", &list(&[long(*e), keyword(ATTRIBUTES[*a]), long(*v), long(*t), flag]))
}

fn encode_blob(key: &[u8], value: &[u8]) -> Vec<u8> {
    blob::encode(&map(&[(keyword("key"), key.to_vec())]), value, Compression::None, None)
}

fn long(number: i64) -> Vec<u8> {
    [&[0xf8], &number.to_be_bytes()[..]].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&[0xe3][..], &long(text.len() as i64), text.as_bytes()].concat()
}

pub(crate) fn keyword(name: &str) -> Vec<u8> {
    match name.split_once('/') {
        Some((namespace, name)) => [vec![0xca], string(namespace), string(name)].concat(),
        None => [vec![0xca, 0xf7], string(name)].concat(),
    }
}

fn uuid(number: u128) -> Vec<u8> {
    [&[0xc3, 0xd9, 16], &number.to_be_bytes()[..]].concat()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [&[0xec][..], &long(items.len() as i64), &items.concat()].concat()
}

fn map(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<_> = entries.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
    [vec![0xc0], list(&items)].concat()
}

/// Every struct names its type anew.
fn structure(tag: &str, fields: &[u8]) -> Vec<u8> {
    [&[0xef][..], &string(tag), &[1], fields].concat()
}
