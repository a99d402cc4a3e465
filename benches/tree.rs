//! Ordered trees over nodes in memory: building, editing, comparing and walking a million items of 90 bytes.
//!
//! Nodes are hashed and kept as they are, so the figures are those of the tree, not of codecs or packs.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking and prints its figures")]

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use packstone::error::{Error, ErrorKind};
use packstone::id::BlobId;
use packstone::record::Items;
use packstone::tree::{
    Builder, Change, KeyRange, Node, ReadNode, Root, TreeKeys, TreeParameters, Walker, WriteNode, diff, edit, get,
};

const RECORDS: u64 = 1_000_000;
const KEYS: TreeKeys = TreeKeys { split: [1; 16], long_key: [2; 32] };

#[derive(Default)]
struct Memory {
    nodes: HashMap<BlobId, Arc<Node>>,
    bytes: u64,
    reads: Cell<u64>,
}

impl ReadNode for Memory {
    fn read_node(&self, id: BlobId) -> Result<Arc<Node>, Error> {
        self.reads.set(self.reads.get() + 1);
        self.nodes.get(&id).cloned().ok_or_else(|| Error::new(ErrorKind::NotFound, id, "missing"))
    }
}

impl WriteNode for Memory {
    fn write_node(&mut self, node: Node) -> Result<BlobId, Error> {
        let canonical = node.canonical();
        let id = BlobId::new(*blake3::keyed_hash(&[3; 32], &canonical).as_bytes());
        self.bytes += canonical.len() as u64;
        self.nodes.insert(id, Arc::new(node));
        Ok(id)
    }
}

/// Takes nodes without hashing or keeping them: what is left is the builder's own work.
struct Nowhere(u64);

impl WriteNode for Nowhere {
    fn write_node(&mut self, _: Node) -> Result<BlobId, Error> {
        self.0 += 1;
        let mut id = [0; 32];
        id[..8].copy_from_slice(&self.0.to_be_bytes());
        Ok(BlobId::new(id))
    }
}

fn key(n: u64) -> [u8; 40] {
    let mut key = [0x61; 40];
    key[..8].copy_from_slice(&n.to_be_bytes());
    key
}

fn value(n: u64) -> [u8; 50] {
    let mut value = [0x62; 50];
    value[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    value
}

fn build(parameters: &TreeParameters, writer: &mut dyn WriteNode) -> Root {
    let mut builder = Builder::new(parameters);
    for n in 0..RECORDS {
        let _ = builder.push(writer, &key(n * 16), &value(n)).unwrap();
    }
    builder.finish(writer).unwrap()
}

fn report(what: &str, count: u64, start: Instant, note: &str) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what:<34} {:>8.1} ms  {:>8.2} M/s  {note}", seconds * 1e3, count as f64 / seconds / 1e6);
}

fn main() {
    let parameters = TreeParameters::new(&Items, &KEYS);

    let start = Instant::now();
    build(&parameters, &mut Nowhere(0));
    report("build, nodes dropped", RECORDS, start, "");

    let (mut memory, start) = (Memory::default(), Instant::now());
    let root = build(&parameters, &mut memory);
    let (leaves, inner): (Vec<_>, Vec<_>) = memory.nodes.values().partition(|node| node.level == 0);
    let note = format!("{} leaves, {} inner nodes, {} levels", leaves.len(), inner.len(), root.level + 1);
    report("build, nodes hashed and kept", RECORDS, start, &note);

    for (name, step) in [("scattered", 100), ("clustered", 1)] {
        let changes = (0..RECORDS / 100).map(|n| Ok((key((n * step + 50) * 16).to_vec(), Change::Put(vec![9; 50]))));
        let (mut new, start) = (Memory::default(), Instant::now());
        memory.reads.set(0);
        let (edited, stats) = edit(&memory, &mut new, &parameters, &root, changes).unwrap();
        assert_eq!(stats.replaced, RECORDS / 100);
        let note = format!("{} nodes read, {} written, {} KiB", memory.reads.get(), new.nodes.len(), new.bytes >> 10);
        report(&format!("edit 1 % {name}, changes"), RECORDS / 100, start, &note);

        memory.nodes.extend(new.nodes);
        memory.reads.set(0);
        let (mut differences, start) = (0, Instant::now());
        diff(&memory, &parameters, &root, &edited, &mut |_| {
            differences += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(differences, RECORDS / 100);
        report(&format!("diff 1 % {name}, changes"), differences, start, &format!("{} nodes read", memory.reads.get()));
    }

    let (mut records, mut bytes, start) = (0, 0, Instant::now());
    let mut walker = Walker::new(&memory, &parameters, &root, KeyRange::all()).unwrap();
    while let Some((leaf, rows)) = walker.next_leaf().unwrap() {
        records += rows.len() as u64;
        bytes += rows.map(|i| leaf.rows.value(i).len()).sum::<usize>();
    }
    assert_eq!((records, bytes as u64), (RECORDS, RECORDS * 50));
    report("walk by leaves", records, start, "");

    let (mut records, start) = (0, Instant::now());
    let mut walker = Walker::new(&memory, &parameters, &root, KeyRange::all()).unwrap();
    while walker.next_record().unwrap().is_some() {
        records += 1;
    }
    report("walk by records", records, start, "");

    let start = Instant::now();
    for n in 0..100_000 {
        assert!(get(&memory, &parameters, &root, &key((n * 7_919 % RECORDS) * 16)).unwrap().is_some());
    }
    report("get", 100_000, start, "");
}
