//! Frames into packs, packs to the backend, their directories into index objects.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Repository;
use super::random::random;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{
    BlobKind, FinishedPack, IndexContent, IndexedPack, ObjectPath, PackBuilder, RetentionClass, SealedFrame,
};
use crate::id::BlobId;

/// Size at which a pack of chunks is finished.
const DATA_PACK_BYTES: u64 = 32 << 20;
/// Size at which a pack of nodes is finished: they are read at random, and several are in memory at once.
const NODE_PACK_BYTES: u64 = 8 << 20;
/// Room reserved for a pack, of which only what is filled takes memory. More than any pack takes, so that packs are not
/// copied as they grow, and more than allocators keep to themselves when a pack is gone.
const PACK_ROOM_BYTES: usize = 36 << 20;
/// The same for a store that is far away, where what is longer than 16 MiB goes up in parts: more requests, and several
/// round trips one after another.
const FAR_PACK_BYTES: u64 = 14 << 20;
/// There the first packs are shorter: sending begins sooner, and less is left to send when all has been read.
const FIRST_FAR_PACK_BYTES: u64 = 4 << 20;
/// Bytes of packs that may be on their way to a store that is far away. How many requests run at once is for the backend to
/// say. A disk of this machine takes one pack after another.
const UPLOADING_BYTES: u64 = 64 << 20;
/// An index object is written when this much was stored since the last one ...
const INDEX_EVERY_BYTES: u64 = 128 << 20;
/// ... or this long ago.
const INDEX_EVERY: Duration = Duration::from_secs(60);

/// Collects frames into open packs. Chunks go to one of two open packs at random, so that neither lengths nor order of
/// the blobs of one file show in the packs; nodes have packs of their own.
pub(super) struct Packer {
    repository: Repository,
    in_flight: std::sync::Arc<Mutex<HashSet<BlobId>>>,
    class: RetentionClass,
    data: [OpenPack; 2],
    nodes: OpenPack,
    uploads: VecDeque<Upload>,
    uploading_bytes: u64,
    /// Packs of chunks that were started.
    started: u64,
    unindexed_bytes: u64,
    indexed_at: Instant,
    /// Every pack this session has written.
    pub(super) written: Vec<crate::id::PackId>,
    pub(super) stored_bytes: u64,
}

/// A pack in the making, and the size at which it is finished.
struct OpenPack {
    kind: BlobKind,
    pack: PackBuilder,
    limit: u64,
}

impl OpenPack {
    fn new(kind: BlobKind, class: RetentionClass, limit: u64) -> Self {
        Self { kind, pack: PackBuilder::with_capacity(kind, class, PACK_ROOM_BYTES), limit }
    }
}

struct Upload {
    pack: IndexedPack,
    request: JoinHandle<Result<()>>,
}

impl Packer {
    pub(super) fn new(
        repository: Repository,
        in_flight: std::sync::Arc<Mutex<HashSet<BlobId>>>,
        class: RetentionClass,
    ) -> Self {
        let is_far = !repository.store().is_local();
        // One begins half a pack ahead: else both would be full, and wait for their uploads, at the same time.
        let data = [0, 1].map(|number| OpenPack::new(BlobKind::Chunk, class, data_pack_bytes(is_far, number)));
        Self {
            repository,
            in_flight,
            class,
            data,
            nodes: OpenPack::new(BlobKind::Node, class, NODE_PACK_BYTES),
            uploads: VecDeque::new(),
            uploading_bytes: 0,
            started: 2,
            unindexed_bytes: 0,
            indexed_at: Instant::now(),
            written: Vec::new(),
            stored_bytes: 0,
        }
    }

    /// Takes a sealed frame; may wait for an upload.
    pub(super) fn add(&mut self, kind: BlobKind, frame: SealedFrame) -> Result<()> {
        let open = match kind {
            BlobKind::Chunk => {
                let [coin] = random();
                &mut self.data[usize::from(coin & 1)]
            }
            BlobKind::Node => &mut self.nodes,
        };
        open.pack.add(frame).map_err(|e| Error::new(ErrorKind::Failed, "pack", e))?;
        if open.pack.len() >= open.limit {
            let limit = match kind {
                BlobKind::Chunk => data_pack_bytes(!self.repository.store().is_local(), self.started),
                BlobKind::Node => NODE_PACK_BYTES,
            };
            self.started += u64::from(kind == BlobKind::Chunk);
            let full = std::mem::replace(open, OpenPack::new(kind, self.class, limit)).pack;
            self.upload(kind, full)?;
            if self.unindexed_bytes >= INDEX_EVERY_BYTES || self.indexed_at.elapsed() >= INDEX_EVERY {
                self.write_index()?;
            }
        }
        Ok(())
    }

    /// Finishes every open pack, waits until all are durable, then writes what is not yet indexed to an index object.
    pub(super) fn flush(&mut self) -> Result<()> {
        let [first, second] = &mut self.data;
        let open = [first, second, &mut self.nodes].map(|open| {
            let (kind, limit) = (open.kind, open.limit);
            (kind, std::mem::replace(open, OpenPack::new(kind, self.class, limit)).pack)
        });
        for (kind, pack) in open {
            if !pack.is_empty() {
                self.upload(kind, pack)?;
            }
        }
        while !self.uploads.is_empty() {
            self.wait_for_oldest()?;
        }
        self.write_index()
    }

    fn upload(&mut self, kind: BlobKind, pack: PackBuilder) -> Result<()> {
        let most = if self.repository.store().is_local() { 0 } else { UPLOADING_BYTES.saturating_sub(pack.len()) };
        while self.uploading_bytes > most {
            self.wait_for_oldest()?;
        }
        let FinishedPack { id, body, directory, size_bytes } = pack.finish(self.repository.keys(), &random());
        if kind == BlobKind::Node {
            for frame in &directory.frames {
                self.repository.cache_frame(id, frame, body.bytes());
            }
        }
        let request = self.repository.store().start_put(ObjectPath::pack(id), body);
        self.uploading_bytes += size_bytes;
        self.uploads.push_back(Upload { pack: IndexedPack { id, size_bytes, directory }, request });
        Ok(())
    }

    fn wait_for_oldest(&mut self) -> Result<()> {
        let Some(upload) = self.uploads.pop_front() else { return Ok(()) };
        self.finish(upload).inspect_err(|_| self.keep_what_is_done())
    }

    /// The run ends: what did get there is indexed if that can still be done, so that the next run finds it.
    fn keep_what_is_done(&mut self) {
        while let Some(upload) = self.uploads.pop_front() {
            // The error that ends the run is the first one.
            let _ = self.finish(upload);
        }
        let _ = self.write_index();
    }

    fn finish(&mut self, Upload { pack, request }: Upload) -> Result<()> {
        self.uploading_bytes -= pack.size_bytes;
        self.repository.store().wait(request)?;
        let ids: Vec<BlobId> = pack.directory.frames.iter().flat_map(|f| f.blobs.iter().map(|b| b.id)).collect();
        self.repository.index().write().unwrap_or_else(PoisonError::into_inner).add_pending(pack.clone())?;
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        for id in &ids {
            in_flight.remove(id);
        }
        drop(in_flight);
        self.written.push(pack.id);
        self.stored_bytes += pack.size_bytes;
        self.unindexed_bytes += pack.size_bytes;
        self.repository.unlisted().push(pack);
        Ok(())
    }

    /// Packs first, then the index object that lists them: whoever sees it can read everything in it.
    fn write_index(&mut self) -> Result<()> {
        self.indexed_at = Instant::now();
        // Others wait until it is certain that these are listed: they may have taken for known what is in them.
        let repository = self.repository.clone();
        let mut unlisted = repository.unlisted();
        // Dead for ever: what is listed of them would be sought in vain.
        let index = repository.index().read().unwrap_or_else(PoisonError::into_inner);
        unlisted.retain(|pack| !index.is_condemned(&pack.id));
        drop(index);
        if unlisted.is_empty() {
            return Ok(());
        }
        repository.put_index(IndexContent { packs: unlisted.clone(), replaces: Vec::new() })?;
        // Those of others too: a pruner may have taken them for orphans.
        let others = unlisted.drain(..).map(|pack| pack.id).filter(|id| !self.written.contains(id));
        let others: Vec<_> = others.collect();
        self.written.extend(others);
        self.unindexed_bytes = 0;
        Ok(())
    }
}

/// The length at which the pack of chunks with this number is finished.
fn data_pack_bytes(is_far: bool, number: u64) -> u64 {
    match (is_far, number) {
        (false, 1) => DATA_PACK_BYTES / 2,
        (false, _) => DATA_PACK_BYTES,
        // 4, 6, 8 ... MiB.
        (true, _) => FIRST_FAR_PACK_BYTES.saturating_add(number.saturating_mul(2 << 20)).min(FAR_PACK_BYTES),
    }
}
