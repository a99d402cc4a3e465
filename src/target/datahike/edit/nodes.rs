//! Nodes of a store that is edited: read through memory, written, and what was written in whose place.

use std::collections::{HashMap, VecDeque};

use super::contents::{Contents, Entry};
use crate::datahike::node::Address;
use crate::datahike::{IndexOrder, Store, StoreKey, hasch};
use crate::error::{Error, ErrorKind, Result};
use crate::target::datahike::blobs::Blobs;
use crate::target::datahike::nodes::Shape;

/// Bytes of values kept in memory.
const KEPT_BYTES: usize = 16 << 20;

/// Values of nodes, those read or written last.
#[derive(Default)]
pub(super) struct Cache {
    values: HashMap<Address, Vec<u8>>,
    order: VecDeque<Address>,
    bytes: usize,
}

impl Cache {
    fn keep(&mut self, address: Address, value: Vec<u8>) {
        self.bytes += value.len();
        if let Some(old) = self.values.insert(address, value) {
            self.bytes -= old.len();
        } else {
            self.order.push_back(address);
        }
        while self.bytes > KEPT_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget_value(&oldest);
        }
    }

    fn forget_value(&mut self, address: &Address) {
        self.bytes -= self.values.remove(address).map_or(0, |value| value.len());
    }
}

/// Reads nodes of a store.
pub(super) struct NodeReader<'s> {
    store: &'s Store,
    cache: &'s mut Cache,
}

impl<'s> NodeReader<'s> {
    pub(super) fn new(store: &'s Store, cache: &'s mut Cache) -> Self {
        Self { store, cache }
    }

    /// Several nodes, in order.
    pub(super) fn read(&mut self, order: IndexOrder, addresses: &[Address]) -> Result<Vec<Contents>> {
        let missing: Vec<Address> = addresses.iter().filter(|a| !self.cache.values.contains_key(*a)).copied().collect();
        let keys: Vec<_> = missing.iter().map(StoreKey::address).collect();
        let blobs = if keys.is_empty() { Vec::new() } else { self.store.home().get_many(&keys)? };
        let mut fetched = HashMap::new();
        for ((address, key), stored) in missing.iter().zip(keys).zip(blobs) {
            let name = self.node_name(address);
            let stored = stored.ok_or_else(|| Error::new(ErrorKind::Damaged, name.clone(), "is gone"))?;
            let blob = self.store.decode(key, &stored).map_err(|why| why.about(name))?;
            fetched.insert(*address, blob.bytes.to_vec());
        }
        let contents = addresses.iter().map(|address| {
            let value = self.cache.values.get(address).or_else(|| fetched.get(address));
            let name = self.node_name(address);
            let value = value.ok_or_else(|| Error::new(ErrorKind::Damaged, name.clone(), "is gone"))?;
            Contents::decode(order, value, &name)
        });
        let contents = contents.collect::<Result<Vec<_>>>()?;
        for (address, value) in fetched {
            self.cache.keep(address, value);
        }
        Ok(contents)
    }

    /// Hands out all datoms below a node whose keys begin with one of these bytes, which are ascending and none of which
    /// begins with another.
    pub(super) fn find(
        &mut self,
        order: IndexOrder,
        top: Address,
        prefixes: &[Vec<u8>],
        take: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if prefixes.is_empty() {
            return Ok(());
        }
        let mut stack = vec![(self.read(order, &[top])?.remove(0), prefixes)];
        while let Some((contents, prefixes)) = stack.pop() {
            match contents {
                Contents::Leaf(rows) => {
                    for row in &rows {
                        let at = prefixes.partition_point(|prefix| prefix.as_slice() <= row.key.as_slice());
                        if at > 0 && row.key.starts_with(&prefixes[at - 1]) {
                            take(&row.datom)?;
                        }
                    }
                }
                Contents::Branch { entries, .. } => {
                    let wanted = wanted(&entries, prefixes);
                    let addresses: Vec<_> = wanted.iter().map(|(address, _)| *address).collect();
                    let children = self.read(order, &addresses)?;
                    stack.extend(children.into_iter().zip(wanted).map(|(child, (_, few))| (child, few)).rev());
                }
            }
        }
        Ok(())
    }

    pub(super) fn index_name(&self, order: IndexOrder) -> String {
        self.store.object(&format!("index {}", order.name()))
    }

    fn node_name(&self, address: &Address) -> String {
        self.store.object(&format!("node {}", hasch::spell(address)))
    }
}

/// The children that may have keys with some of the prefixes: those above the last key of the child before, and not above
/// its own.
fn wanted<'p>(entries: &[Entry], prefixes: &'p [Vec<u8>]) -> Vec<(Address, &'p [Vec<u8>])> {
    let mut wanted = Vec::new();
    let mut low = 0;
    for entry in entries {
        let key = entry.key.as_slice();
        let high = prefixes.partition_point(|prefix| prefix.as_slice() <= key);
        if low < high {
            wanted.push((entry.address, &prefixes[low..high]));
        }
        // A prefix of the child's last key may be one of the next child's first.
        low = prefixes.partition_point(|prefix| prefix.as_slice() <= key && !key.starts_with(prefix));
    }
    wanted
}

/// The nodes of a store while one commit is made.
pub(super) struct Nodes<'s> {
    pub(super) shape: Shape,
    pub(super) reader: NodeReader<'s>,
    pub(super) blobs: &'s mut Blobs,
    /// Nodes that the next commit does without.
    pub(super) replaced: &'s mut Vec<Address>,
    /// Nodes written.
    pub(super) written: &'s mut Vec<Address>,
}

impl Nodes<'_> {
    /// Several nodes, in order, of this commit too.
    pub(super) fn read(&mut self, order: IndexOrder, addresses: &[Address]) -> Result<Vec<Contents>> {
        let is_on_its_way = |a: &Address| !self.reader.cache.values.contains_key(a) && self.written.contains(a);
        if addresses.iter().any(is_on_its_way) {
            self.blobs.flush()?;
        }
        self.reader.read(order, addresses)
    }

    pub(super) fn write(&mut self, address: Address, value: Vec<u8>) -> Result<()> {
        self.blobs.node(address, &value)?;
        self.written.push(address);
        self.reader.cache.keep(address, value);
        Ok(())
    }

    pub(super) fn replace(&mut self, address: Address) {
        self.replaced.push(address);
    }
}
