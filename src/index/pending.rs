//! The packs of this session that are not in a shard yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::format::IndexedPack;
use crate::id::{BlobId, PackId};

/// What a blob takes here, about: its directory entry, its entry and its share of the table.
const BLOB_BYTES: usize = 120;

/// What a frame takes beside its blobs.
const FRAME_BYTES: usize = 96;

/// Packs and a table of their blobs.
#[derive(Debug, Default)]
pub(in crate::index) struct Pending {
    packs: Vec<Arc<IndexedPack>>,
    entries: Vec<PendingEntry>,
    /// The newest entry of a blob; the others hang on it.
    newest: HashMap<BlobId, u32>,
    memory_bytes: usize,
}

#[derive(Debug)]
struct PendingEntry {
    pack: u32,
    slot: u32,
    older: Option<u32>,
}

/// A blob in a pending pack.
pub(in crate::index) struct PendingCopy<'a> {
    pub(in crate::index) pack: &'a Arc<IndexedPack>,
    pub(in crate::index) slot: u32,
    /// Its number among all entries here.
    pub(in crate::index) number: u64,
}

impl Pending {
    pub(in crate::index) fn add(&mut self, pack: Arc<IndexedPack>) {
        let number = self.packs.len() as u32;
        let blobs = pack.directory.frames.iter().flat_map(|frame| &frame.blobs);
        for (slot, blob) in (0..).zip(blobs) {
            let entry = self.entries.len() as u32;
            let older = self.newest.insert(blob.id, entry);
            self.entries.push(PendingEntry { pack: number, slot, older });
            self.memory_bytes += BLOB_BYTES;
        }
        self.memory_bytes += FRAME_BYTES * pack.directory.frames.len();
        self.packs.push(pack);
    }

    /// Forgets packs.
    pub(in crate::index) fn remove(&mut self, packs: &HashSet<PackId>) {
        if self.packs.iter().any(|pack| packs.contains(&pack.id)) {
            let kept = std::mem::take(self).packs;
            for pack in kept.into_iter().filter(|pack| !packs.contains(&pack.id)) {
                self.add(pack);
            }
        }
    }

    pub(in crate::index) fn copies(&self, id: BlobId) -> impl Iterator<Item = PendingCopy<'_>> {
        let mut next = self.newest.get(&id).copied();
        std::iter::from_fn(move || {
            let number = next?;
            let entry = &self.entries[number as usize];
            next = entry.older;
            let pack = &self.packs[entry.pack as usize];
            Some(PendingCopy { pack, slot: entry.slot, number: u64::from(number) })
        })
    }

    pub(in crate::index) fn packs(&self) -> &[Arc<IndexedPack>] {
        &self.packs
    }

    pub(in crate::index) fn into_packs(self) -> Vec<Arc<IndexedPack>> {
        self.packs
    }

    pub(in crate::index) fn entries_count(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(in crate::index) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}
