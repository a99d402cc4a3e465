//! The pack directories used last, decoded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::format::IndexedPack;

/// A row of a shard.
pub(in crate::index) type RowKey = (u64, u32);

/// Decoded directories within a memory limit; the one not used for longest goes first.
#[derive(Debug)]
pub(in crate::index) struct Directories {
    limit_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    packs: HashMap<RowKey, (Arc<IndexedPack>, u64)>,
    used_bytes: usize,
    clock: u64,
}

impl Directories {
    pub(in crate::index) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, kept: Mutex::default() }
    }

    /// The directory under `key`, decoded now if it is not kept.
    pub(in crate::index) fn get(
        &self,
        key: RowKey,
        decode: impl FnOnce() -> Option<IndexedPack>,
    ) -> Option<Arc<IndexedPack>> {
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.clock += 1;
            let clock = kept.clock;
            if let Some((pack, used)) = kept.packs.get_mut(&key) {
                *used = clock;
                return Some(Arc::clone(pack));
            }
        }
        let pack = Arc::new(decode()?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(key, Arc::clone(&pack), self.limit_bytes);
        Some(pack)
    }
}

impl Kept {
    fn insert(&mut self, key: RowKey, pack: Arc<IndexedPack>, limit_bytes: usize) {
        self.used_bytes += memory_bytes(&pack);
        if let Some((before, _)) = self.packs.insert(key, (pack, self.clock)) {
            self.used_bytes -= memory_bytes(&before);
        }
        while self.used_bytes > limit_bytes && self.packs.len() > 1 {
            let oldest = self.packs.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let removed = oldest.and_then(|key| self.packs.remove(&key));
            let (pack, _) = removed.expect("there is more than one");
            self.used_bytes -= memory_bytes(&pack);
        }
    }
}

fn memory_bytes(pack: &IndexedPack) -> usize {
    let frames = &pack.directory.frames;
    let blobs: usize = frames.iter().map(|frame| frame.blobs.capacity()).sum();
    size_of::<IndexedPack>() + size_of_val(frames.as_slice()) + blobs * size_of::<crate::format::BlobEntry>()
}
