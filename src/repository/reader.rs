//! Reading blobs: every one is opened, decompressed and compared with its id before anybody sees it.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;

use super::Repository;
use super::announced::{Announced, FramePlace};
use super::cache::Cache;
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::{self, BlobKind, Codec, FrameEntry, ObjectPath};
use crate::id::{BlobId, PackId};
use crate::index::BlobLocation;
use crate::tree::{Node, ReadNode};

/// Bytes of opened frames kept in memory.
const FRAME_CACHE_BYTES: usize = 24 << 20;
/// Bytes of decoded nodes kept in memory.
const NODE_CACHE_BYTES: usize = 32 << 20;
/// Nodes that may wait to be prefetched.
const PREFETCH_QUEUE: usize = 256;
/// A far pack of nodes of at most this length is read whole, ...
const SMALL_PACK_BYTES: u64 = 1 << 20;
/// ... in a longer one the frames so near to what is asked for come along: a tree's nodes were written one after another.
const AROUND_BYTES: u64 = 256 << 10;

/// Reads blobs of a repository. Clones share caches and prefetching threads.
#[derive(Clone)]
pub struct Reader {
    blobs: Arc<Blobs>,
    prefetch: SyncSender<BlobId>,
}

/// What the prefetching threads share with the readers.
struct Blobs {
    repository: Repository,
    /// Whether frames of nodes may come from the local cache.
    uses_cache: bool,
    frames: Cache<(PackId, u64), Bytes>,
    nodes: Cache<BlobId, Arc<Node>>,
    /// What is on its way, unless the store is on this machine.
    announced: Option<Announced>,
}

impl Repository {
    /// A reader of what the index knows; load that first.
    pub fn reader(&self) -> Reader {
        self.new_reader(true)
    }

    /// A reader that takes nothing from the local cache: for who wants to know what the backend holds.
    pub fn reader_of_backend(&self) -> Reader {
        self.new_reader(false)
    }

    fn new_reader(&self, uses_cache: bool) -> Reader {
        let store = self.store();
        let blobs = Arc::new(Blobs {
            announced: (!store.is_local()).then(|| Announced::new(store.clone())),
            repository: self.clone(),
            uses_cache,
            frames: Cache::new(FRAME_CACHE_BYTES),
            nodes: Cache::new(NODE_CACHE_BYTES),
        });
        let (prefetch, queue) = sync_channel(PREFETCH_QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
        for _ in 0..threads {
            let (blobs, queue) = (Arc::clone(&blobs), Arc::clone(&queue));
            thread::spawn(move || prefetch_nodes(&blobs, &queue));
        }
        Reader { blobs, prefetch }
    }
}

impl Reader {
    /// Content of a chunk.
    pub fn chunk(&self, id: BlobId) -> Result<Bytes> {
        if let Some(content) = self.blobs.repository.overlaid_chunk(&id) {
            return Ok(content);
        }
        let (location, stored) = self.blobs.stored_form(id)?;
        if location.blob().kind != BlobKind::Chunk {
            return Err(wrong_kind(id));
        }
        if self.blobs.repository.keys().blob_id_chunk(&stored) != id {
            return Err(damaged(&location, DecodeError::IdMismatch));
        }
        Ok(stored)
    }

    /// Whether the store is so far away that it pays to say early what will be read.
    pub fn is_far(&self) -> bool {
        self.blobs.announced.is_some()
    }

    /// These chunks will be read soon, in this order: the frames that they are in are fetched ahead where that saves waiting.
    pub fn prefetch_chunks(&self, ids: impl IntoIterator<Item = BlobId>) {
        self.blobs.announce(ids);
    }

    /// A blob's canonical bytes, whatever its kind, verified.
    pub fn canonical(&self, id: BlobId) -> Result<(BlobKind, Bytes)> {
        let (location, _) = self.blobs.stored_form(id)?;
        match location.blob().kind {
            BlobKind::Chunk => Ok((BlobKind::Chunk, self.chunk(id)?)),
            BlobKind::Node => Ok((BlobKind::Node, self.read_node(id)?.canonical().into())),
        }
    }

    /// A blob in the form in which its frame holds it, and where; not yet compared with its id.
    pub fn stored_form(&self, id: BlobId) -> Result<(BlobLocation, Bytes)> {
        self.blobs.stored_form(id)
    }

    /// The repository it reads.
    pub fn repository(&self) -> &Repository {
        &self.blobs.repository
    }
}

impl ReadNode for Reader {
    fn read_node(&self, id: BlobId) -> Result<Arc<Node>> {
        self.blobs.node(id)
    }

    fn prefetch(&self, ids: &[BlobId]) {
        self.blobs.announce(ids.iter().filter(|id| !self.blobs.nodes.has(id)).copied());
        for id in ids.iter().filter(|id| !self.blobs.nodes.has(id)) {
            if let Err(TrySendError::Full(_)) = self.prefetch.try_send(*id) {
                return;
            }
        }
    }

    fn peek_node(&self, id: BlobId) -> Option<Arc<Node>> {
        self.blobs.nodes.peek(&id).map(|node| Arc::clone(&*node))
    }
}

impl Blobs {
    /// Has the frames of these blobs, and of what they are deltas to, fetched from a store that is far away.
    fn announce(&self, ids: impl IntoIterator<Item = BlobId>) {
        let Some(announced) = &self.announced else { return };
        let mut places: Vec<FramePlace> = Vec::new();
        let index = self.repository.index().read().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            let Some(location) = index.find_anywhere(&id) else { continue };
            if self.uses_cache && self.repository.has_cached_frame(&location) {
                continue;
            }
            let base = location.frame().base.and_then(|base| index.find_whole(&base));
            places.extend(base.as_ref().map(place));
            places.push(place(&location));
        }
        drop(index);
        places.dedup();
        places.retain(|(pack, range)| !self.frames.has(&(*pack, range.start)));
        announced.announce(places);
    }

    /// The bytes of a frame as they are stored.
    fn sealed(&self, location: &BlobLocation) -> Result<Bytes> {
        let (pack, range) = place(location);
        if let Some(announced) = &self.announced {
            if let Some(bytes) = announced.take(pack, &range) {
                return Ok(bytes);
            }
            if location.blob().kind == BlobKind::Node {
                announced.announce(self.around(location));
                if let Some(bytes) = announced.take(pack, &range) {
                    return Ok(bytes);
                }
            }
        }
        let path = ObjectPath::pack(pack);
        self.repository.store().get(&path, Some(range)).map_err(|e| missing_is_damage(e, &path))
    }

    /// A frame of nodes and those near it: who reads one soon reads others.
    fn around(&self, location: &BlobLocation) -> Vec<FramePlace> {
        let (pack, range) = place(location);
        let (from, to) = match location.pack_size_bytes() <= SMALL_PACK_BYTES {
            true => (0, u64::MAX),
            false => (range.start.saturating_sub(AROUND_BYTES), range.end.saturating_add(AROUND_BYTES)),
        };
        let frames = location.indexed_pack().directory.frames.iter().map(FrameEntry::range);
        frames
            .filter(|near| *near == range || near.start >= from && near.end <= to)
            .filter(|near| *near == range || !self.frames.has(&(pack, near.start)))
            .map(|near| (pack, near))
            .collect()
    }

    fn node(&self, id: BlobId) -> Result<Arc<Node>> {
        if let Some(node) = self.repository.overlaid_node(&id) {
            return Ok(node);
        }
        let node = self.nodes.get(id, || {
            let (location, stored) = self.stored_form(id)?;
            if location.blob().kind != BlobKind::Node {
                return Err(wrong_kind(id));
            }
            let node = Node::decode(&stored).map_err(|e| damaged(&location, e))?;
            let canonical = node.canonical();
            if self.repository.keys().blob_id_node(&canonical) != id {
                return Err(damaged(&location, DecodeError::IdMismatch));
            }
            Ok((Arc::new(node), canonical.len()))
        })?;
        Ok(Arc::clone(&node))
    }

    fn stored_form(&self, id: BlobId) -> Result<(BlobLocation, Bytes)> {
        let found = self.repository.index().read().unwrap_or_else(PoisonError::into_inner).find_anywhere(&id);
        let location = found.ok_or_else(|| Error::new(ErrorKind::Damaged, format!("blob {id}"), "not in the index"))?;
        let stored = self.slice(&location)?;
        Ok((location, stored))
    }

    fn frame(&self, location: &BlobLocation) -> Result<Bytes> {
        let entry = location.frame();
        let frame = self.frames.get((location.pack(), entry.offset), || {
            let base = match (entry.codec, entry.base) {
                (Codec::ZstdDelta, Some(base)) => Some(self.base(location, base)?),
                _ => None,
            };
            let cached = self.uses_cache.then(|| self.repository.cached_frame(location)).flatten();
            let is_cached = cached.is_some();
            let sealed = cached.map_or_else(|| self.sealed(location), Ok)?;
            let raw = match format::open_frame(self.repository.keys(), entry, &sealed, base.as_deref()) {
                Ok(raw) => {
                    if !is_cached {
                        self.repository.cache_read_frame(location, &sealed);
                    }
                    raw
                }
                Err(why) => self
                    .repository
                    .recover_frame(location.pack(), entry, base.as_deref(), why)
                    .map_err(|e| damaged(location, e))?,
            };
            let bytes = raw.len();
            Ok((Bytes::from(raw), bytes))
        })?;
        Ok(Bytes::clone(&frame))
    }

    /// The stored form of a delta's base, which is never itself a delta.
    fn base(&self, delta: &BlobLocation, base: BlobId) -> Result<Bytes> {
        let index = self.repository.index().read().unwrap_or_else(PoisonError::into_inner);
        let found = index.find_whole(&base);
        drop(index);
        let location = found.ok_or_else(|| {
            let object = ObjectPath::pack(delta.pack());
            Error::new(
                ErrorKind::Damaged,
                object,
                format!("blob {} needs {base}, of which no whole copy exists", delta.blob().id),
            )
        })?;
        self.slice(&location)
    }

    /// The blob's part of its frame.
    fn slice(&self, location: &BlobLocation) -> Result<Bytes> {
        let frame = self.frame(location)?;
        let start = usize::try_from(location.offset_in_frame()).unwrap_or(usize::MAX);
        let end = start.saturating_add(location.blob().stored_len as usize);
        if end > frame.len() {
            return Err(damaged(location, DecodeError::Truncated));
        }
        Ok(frame.slice(start..end))
    }
}

fn place(location: &BlobLocation) -> FramePlace {
    (location.pack(), location.frame().range())
}

fn prefetch_nodes(blobs: &Blobs, queue: &Mutex<Receiver<BlobId>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(id) = next else { return };
        if !blobs.nodes.has(&id) {
            // An error is met again, and reported, by whoever needs the node.
            let _ = blobs.node(id);
        }
    }
}

fn damaged(location: &BlobLocation, why: DecodeError) -> Error {
    let object = ObjectPath::pack(location.pack());
    Error::new(ErrorKind::Damaged, object, format!("blob {}: {why}", location.blob().id)).because(why)
}

fn wrong_kind(id: BlobId) -> Error {
    Error::new(ErrorKind::Damaged, format!("blob {id}"), "is of another kind than what refers to it says")
}

fn missing_is_damage(error: Error, path: &ObjectPath) -> Error {
    match error.kind() {
        ErrorKind::NotFound => {
            Error::new(ErrorKind::Damaged, path, "the index lists it but it is missing").because(error)
        }
        _ => error,
    }
}
