//! For tests: a store in memory that counts what is read, and a record kind with small leaves.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{Builder, Node, Pushed, ReadNode, Root, TreeKeys, TreeParameters, WriteNode};
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::id::BlobId;
use crate::record::{Items, RecordKind, Reference, Rows};

pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) const KEYS: TreeKeys = TreeKeys { split: [3; 16], long_key: [4; 32] };

/// The id of canonical bytes in the tests.
pub(super) fn id_of(canonical: &[u8]) -> BlobId {
    BlobId::new(*blake3::keyed_hash(&[5; 32], canonical).as_bytes())
}

/// Items in small leaves; the summary is the lowest and highest first byte of the keys.
pub(super) struct SmallItems(u32);

pub(super) static TINY: SmallItems = SmallItems(128);
pub(super) static SMALL: SmallItems = SmallItems(512);
pub(super) static MEDIUM: SmallItems = SmallItems(4096);

impl RecordKind for SmallItems {
    fn code(&self) -> u8 {
        2
    }

    fn name(&self) -> &'static str {
        "small item"
    }

    fn leaf_target_bytes(&self) -> u32 {
        self.0
    }

    fn encode(&self, rows: &Rows) -> Vec<u8> {
        Items.encode(rows)
    }

    fn decode(&self, columns: &[u8]) -> Result<Rows, DecodeError> {
        Items.decode(columns)
    }

    fn summarize(&self, rows: &Rows) -> Vec<u8> {
        let firsts = || rows.iter().map(|(key, _)| key.first().copied().unwrap_or(0));
        vec![firsts().min().unwrap_or(0), firsts().max().unwrap_or(0)]
    }

    fn merge(&self, summaries: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
        let mut merged = vec![255, 0];
        for summary in summaries {
            let [low, high] = summary else { return Err(DecodeError::Invalid("summary")) };
            merged = vec![*low.min(&merged[0]), *high.max(&merged[1])];
        }
        Ok(merged)
    }

    fn references(&self, _: &[u8], _: &[u8], _: &mut Vec<Reference>) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// Parameters with inner nodes as small as the leaves of `kind`.
pub(super) fn parameters(kind: &'static SmallItems) -> TreeParameters {
    let mut parameters = TreeParameters::new(kind, &KEYS);
    parameters.inner_target_bytes = kind.0;
    parameters
}

/// Nodes in their kept form.
#[derive(Default)]
pub(super) struct Store {
    pub(super) kept: HashMap<BlobId, Vec<u8>>,
    pub(super) reads: Cell<usize>,
    pub(super) read_ids: RefCell<HashSet<BlobId>>,
    pub(super) prefetched: RefCell<HashSet<BlobId>>,
    pub(super) writes: usize,
}

impl Store {
    pub(super) fn forget_reads(&self) {
        self.reads.set(0);
        self.read_ids.borrow_mut().clear();
        self.prefetched.borrow_mut().clear();
    }
}

impl ReadNode for Store {
    fn read_node(&self, id: BlobId) -> Result<Arc<Node>> {
        self.reads.set(self.reads.get() + 1);
        self.read_ids.borrow_mut().insert(id);
        let name = format!("node {id}");
        let kept = self.kept.get(&id).ok_or_else(|| Error::new(ErrorKind::NotFound, &name, "missing"))?;
        let node = Node::decode(kept).map_err(|why| Error::damaged(&name, why))?;
        if id_of(&node.canonical()) != id {
            return Err(Error::damaged(name, DecodeError::IdMismatch));
        }
        Ok(Arc::new(node))
    }

    fn prefetch(&self, ids: &[BlobId]) {
        self.prefetched.borrow_mut().extend(ids);
    }
}

impl WriteNode for Store {
    fn write_node(&mut self, node: Node) -> Result<BlobId> {
        let id = id_of(&node.canonical());
        self.writes += 1;
        self.kept.insert(id, node.encode());
        Ok(id)
    }
}

pub(super) fn build<'a>(
    store: &mut Store,
    parameters: &TreeParameters,
    records: impl IntoIterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
) -> Root {
    let mut builder = Builder::new(parameters);
    for (key, value) in records {
        assert_eq!(builder.push(store, key, value).expect("keys ascend"), Pushed::New);
    }
    builder.finish(store).expect("the store takes everything")
}

/// `count` records of 8-byte keys and values, in order.
pub(super) fn numbers(count: u64) -> Model {
    (0..count).map(|n| (n.to_be_bytes().to_vec(), n.wrapping_mul(0x9e37_79b9).to_be_bytes().to_vec())).collect()
}
