//! One session of a backup: blobs in, a snapshot out.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::packer::Packer;
use super::random::random;
use super::{GcRecords, Repository, Session, SnapshotList};
use crate::backend::PutNew;
use crate::chunker::Chunker;
use crate::compression::{Compressed, Compressor};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{self, BlobEntry, BlobKind, Codec, ObjectPath, Outcome, RetentionClass, Snapshot};
use crate::id::{BlobId, SnapshotId};
use crate::tree::{Node, WriteNode};

/// Chunks are framed together up to this many bytes; a chunk of half of it has a frame of its own.
const CHUNK_FRAME_BYTES: usize = 1 << 20;
/// Leaves are framed together up to this many bytes of rows, about an eighth of it once encoded.
const LEAF_FRAME_BYTES: usize = 1 << 20;
/// Inner nodes are framed together up to this many bytes.
const INNER_FRAME_BYTES: usize = 128 << 10;

/// When a new blob is stored as its difference to an older one that it resembles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delta {
    /// When the older one is cheap to read.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// How a session writes.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// zstd level.
    pub compression_level: i32,
    /// Class of the packs it writes.
    pub class: RetentionClass,
    /// Whether what changed a little is stored as a difference.
    pub delta: Delta,
    /// Compute ids and count what is new, but write nothing, not even a session.
    pub dry_run: bool,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { compression_level: 3, class: RetentionClass::Standard, delta: Delta::Auto, dry_run: false }
    }
}

/// What a session has written so far.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WriterStatistics {
    /// Blobs that were not known.
    pub blobs_added: u64,
    /// Their canonical bytes.
    pub bytes_added: u64,
    /// Bytes of finished packs.
    pub bytes_stored: u64,
    /// Packs finished.
    pub packs_written: u64,
}

/// What became of a commit.
#[derive(Debug)]
pub enum Commit {
    /// The snapshot is durable and will restore until it is forgotten.
    Done,
    /// A pruner has closed the session: nothing was committed, start again.
    Fenced,
}

/// A session that stores blobs. Only [`Writer::commit`] publishes; dropping it leaves unreferenced packs for `prune`.
pub struct Writer {
    repository: Repository,
    id: SnapshotId,
    session: Option<Session>,
    gc: GcRecords,
    /// The newest gc record that everything referenced so far was checked against.
    gc_checked: u64,
    must_check: bool,
    snapshots: SnapshotList,
    shared: Arc<Shared>,
    chunker: Arc<Chunker>,
    chunks: Batch,
    leaves: Batch,
    inners: Batch,
    jobs: Option<SyncSender<Job>>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    repository: Repository,
    options: WriterOptions,
    /// Blobs handed over that are not yet in a durable pack.
    in_flight: Arc<Mutex<HashSet<BlobId>>>,
    packer: Mutex<Packer>,
    unfinished: Mutex<Progress>,
    idle: Condvar,
    blobs_added: AtomicU64,
    bytes_added: AtomicU64,
}

#[derive(Default)]
struct Progress {
    jobs: usize,
    failure: Option<Error>,
}

#[derive(Default)]
struct Batch {
    blobs: Vec<(BlobId, Content)>,
    bytes: usize,
}

enum Content {
    Chunk(Bytes),
    Node(Node, u32),
}

struct Job {
    kind: BlobKind,
    blobs: Vec<(BlobId, Content)>,
}

impl Repository {
    /// Registers a session, then reads gc records, snapshots and index, in this order: the order keeps blobs that a
    /// pruner is about to remove from being taken for known.
    pub fn writer(&self, options: WriterOptions) -> Result<Writer> {
        let session = if options.dry_run { None } else { Some(self.register_session()?) };
        let id = session.as_ref().map_or_else(|| SnapshotId::new(random()), Session::id);
        let gc = self.gc_records()?;
        // Snapshots before the index: whatever a listed snapshot reaches is then in the index.
        let snapshots = self.snapshots()?;
        self.load_index(&gc)?;
        let sizes = self.config().chunker.sizes().map_err(|e| Error::damaged(ObjectPath::config(), e))?;
        let chunker = Arc::new(Chunker::new(self.keys().gear(), sizes));
        let in_flight = Arc::new(Mutex::new(HashSet::new()));
        let packer = Packer::new(self.clone(), Arc::clone(&in_flight), options.class);
        let shared = Arc::new(Shared {
            repository: self.clone(),
            options,
            in_flight,
            packer: Mutex::new(packer),
            unfinished: Mutex::new(Progress::default()),
            idle: Condvar::new(),
            blobs_added: AtomicU64::new(0),
            bytes_added: AtomicU64::new(0),
        });
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let (jobs, queue) = sync_channel(threads);
        let queue = Arc::new(Mutex::new(queue));
        let workers = (0..threads)
            .map(|_| {
                let (shared, queue) = (Arc::clone(&shared), Arc::clone(&queue));
                thread::spawn(move || work(&shared, &queue))
            })
            .collect();
        Ok(Writer {
            repository: self.clone(),
            id,
            session,
            gc_checked: gc.newest,
            must_check: false,
            gc,
            snapshots,
            shared,
            chunker,
            chunks: Batch::default(),
            leaves: Batch::default(),
            inners: Batch::default(),
            jobs: Some(jobs),
            workers,
        })
    }
}

impl Writer {
    /// Id of the session, and of the snapshot that [`Writer::commit`] would publish.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// The repository it writes to.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Snapshots as they were listed after the session was registered.
    pub fn snapshots(&self) -> &SnapshotList {
        &self.snapshots
    }

    /// Number of the newest gc record that everything taken for known was checked against.
    pub fn gc_checked(&self) -> u64 {
        self.gc_checked
    }

    /// Whether packs were condemned, or the session was closed, after blobs had been taken for known: then everything
    /// the snapshot reaches must be compared with the newer view before it is committed.
    pub fn must_check(&self) -> bool {
        self.must_check
    }

    /// Everything that will be committed was found known in the current view.
    pub fn checked(&mut self) {
        self.must_check = false;
        self.gc_checked = self.gc.newest;
    }

    /// Ends the session without publishing anything.
    pub fn abandon(&mut self) -> Result<()> {
        self.session.take().map_or(Ok(()), Session::close)
    }

    /// What was written so far; packs count once they are durable.
    pub fn statistics(&self) -> WriterStatistics {
        let packer = lock(&self.shared.packer);
        WriterStatistics {
            blobs_added: self.shared.blobs_added.load(Ordering::Relaxed),
            bytes_added: self.shared.bytes_added.load(Ordering::Relaxed),
            bytes_stored: packer.stored_bytes,
            packs_written: packer.written.len() as u64,
        }
    }

    /// Cuts content as this repository wants it cut.
    pub fn chunker(&self) -> &Arc<Chunker> {
        &self.chunker
    }

    /// Whether a blob is stored, or on its way.
    pub fn is_known(&self, id: &BlobId) -> bool {
        if lock(&self.shared.in_flight).contains(id) {
            return true;
        }
        self.repository.index().read().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Stores a chunk unless it is known, and returns its id.
    pub fn write_chunk(&mut self, content: Bytes) -> Result<BlobId> {
        let id = self.repository.keys().blob_id_chunk(&content);
        self.write_hashed_chunk(id, content, None)?;
        Ok(id)
    }

    /// Stores a chunk unless it is known. `id` must be its id, made elsewhere; `like` a chunk that it probably resembles,
    /// such as the one at the same place of the same file in the parent snapshot.
    pub(crate) fn write_hashed_chunk(&mut self, id: BlobId, content: Bytes, like: Option<BlobId>) -> Result<()> {
        let _ = like;
        if self.is_known(&id) {
            return Ok(());
        }
        self.count(id, content.len());
        let length = content.len();
        if length >= CHUNK_FRAME_BYTES / 2 {
            self.submit(BlobKind::Chunk, vec![(id, Content::Chunk(content))])?;
        } else if self.chunks.push(id, Content::Chunk(content), length, CHUNK_FRAME_BYTES) {
            let batch = self.chunks.take();
            self.submit(BlobKind::Chunk, batch)?;
        }
        Ok(())
    }

    /// Makes everything written so far durable and indexed.
    pub fn flush(&mut self) -> Result<()> {
        for (kind, batch) in [
            (BlobKind::Chunk, self.chunks.take()),
            (BlobKind::Node, self.leaves.take()),
            (BlobKind::Node, self.inners.take()),
        ] {
            if !batch.is_empty() {
                self.submit(kind, batch)?;
            }
        }
        let mut progress = lock(&self.shared.unfinished);
        while progress.jobs > 0 {
            progress = self.shared.idle.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(error) = progress.failure.take() {
            return Err(error);
        }
        drop(progress);
        if self.shared.options.dry_run { Ok(()) } else { lock(&self.shared.packer).flush() }
    }

    /// Publishes a snapshot: packs, index, then the snapshot itself, which is the commit. `snapshot.id` must be
    /// [`Writer::id`]. On `Fenced` the writer has a new session and has read gc records and index again: whoever calls
    /// must make sure that everything the snapshot reaches is still known before trying again.
    pub fn commit(&mut self, snapshot: &Snapshot) -> Result<Commit> {
        self.flush()?;
        if self.own_packs_condemned()? {
            return Err(Error::new(ErrorKind::Busy, "session", "a pruner condemned packs that it had just written"));
        }
        match self.put_snapshot(snapshot)? {
            Commit::Done => {
                if let Some(session) = self.session.take() {
                    session.close()?;
                }
                Ok(Commit::Done)
            }
            Commit::Fenced => {
                self.renew()?;
                Ok(Commit::Fenced)
            }
        }
    }

    /// Publishes a partial snapshot and goes on: the next session is registered before this one commits, so that no
    /// moment is unprotected.
    pub fn commit_partial(&mut self, snapshot: &Snapshot) -> Result<Commit> {
        self.flush()?;
        let next = self.repository.register_session()?;
        let outcome = self.put_snapshot(snapshot)?;
        self.continue_in(next)?;
        Ok(outcome)
    }

    /// Packs that were uploaded but not yet indexed may have looked like orphans to a pruner.
    fn own_packs_condemned(&mut self) -> Result<bool> {
        let written = lock(&self.shared.packer).written.clone();
        if written.is_empty() || self.repository.newest_gc()? == self.gc.newest {
            return Ok(false);
        }
        let gc = self.repository.gc_records()?;
        Ok(written.iter().any(|pack| gc.condemned.contains(pack)))
    }

    fn put_snapshot(&self, snapshot: &Snapshot) -> Result<Commit> {
        let id = self.id();
        if snapshot.id != id {
            return Err(Error::new(ErrorKind::Failed, format!("snapshot {}", snapshot.id), "is not of this session"));
        }
        let body = Outcome::Committed(snapshot.clone()).seal(self.repository.keys(), id, &random());
        Ok(match self.repository.store().put_new(&ObjectPath::snapshot(id), body)? {
            PutNew::Created => Commit::Done,
            PutNew::Exists => Commit::Fenced,
        })
    }

    /// A new session in place of a fenced one; its view of what is known is read afresh.
    fn renew(&mut self) -> Result<()> {
        let next = self.repository.register_session()?;
        self.snapshots = self.repository.snapshots()?;
        self.continue_in(next)?;
        self.must_check = true;
        Ok(())
    }

    /// Goes on in a session that was registered before the old one ends.
    fn continue_in(&mut self, next: Session) -> Result<()> {
        self.id = next.id();
        if let Some(session) = self.session.replace(next) {
            session.close()?;
        }
        self.gc = self.repository.gc_records()?;
        self.must_check |= self.gc.newest != self.gc_checked;
        self.repository.load_index(&self.gc)
    }

    fn count(&self, id: BlobId, length: usize) {
        lock(&self.shared.in_flight).insert(id);
        self.shared.blobs_added.fetch_add(1, Ordering::Relaxed);
        self.shared.bytes_added.fetch_add(length as u64, Ordering::Relaxed);
    }

    fn submit(&self, kind: BlobKind, blobs: Vec<(BlobId, Content)>) -> Result<()> {
        if self.shared.options.dry_run {
            return Ok(());
        }
        let mut progress = lock(&self.shared.unfinished);
        if let Some(error) = progress.failure.take() {
            return Err(error);
        }
        progress.jobs += 1;
        drop(progress);
        let jobs = self.jobs.as_ref().expect("the queue is closed on drop only");
        jobs.send(Job { kind, blobs }).map_err(|_| Error::new(ErrorKind::Failed, "", "the writing threads have ended"))
    }
}

impl WriteNode for Writer {
    fn write_node(&mut self, node: Node) -> Result<BlobId> {
        let canonical = node.canonical();
        let id = self.repository.keys().blob_id_node(&canonical);
        if self.is_known(&id) {
            return Ok(id);
        }
        let length = canonical.len();
        self.count(id, length);
        let (batch, limit) =
            if node.level == 0 { (&mut self.leaves, LEAF_FRAME_BYTES) } else { (&mut self.inners, INNER_FRAME_BYTES) };
        let content_len = u32::try_from(length).expect("nodes are limited to far less than 4 GiB");
        if batch.push(id, Content::Node(node, content_len), length, limit) {
            let batch = batch.take();
            self.submit(BlobKind::Node, batch)?;
        }
        Ok(id)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        for worker in self.workers.drain(..) {
            // A worker that panicked has left its job uncounted as finished; there is nothing more to save here.
            let _ = worker.join();
        }
    }
}

impl Batch {
    /// Whether the batch is now full.
    fn push(&mut self, id: BlobId, content: Content, bytes: usize, limit: usize) -> bool {
        self.blobs.push((id, content));
        self.bytes += bytes;
        self.bytes >= limit
    }

    fn take(&mut self) -> Vec<(BlobId, Content)> {
        self.bytes = 0;
        std::mem::take(&mut self.blobs)
    }
}

fn work(shared: &Shared, queue: &Mutex<Receiver<Job>>) {
    let mut compressor = Compressor::new(shared.options.compression_level);
    loop {
        let next = lock(queue).recv();
        let Ok(job) = next else { return };
        let result = frame(shared, &mut compressor, job);
        let mut progress = lock(&shared.unfinished);
        progress.jobs -= 1;
        if let Err(error) = result {
            progress.failure.get_or_insert(error);
        }
        shared.idle.notify_all();
    }
}

/// Encodes, compresses and seals the blobs of one frame and hands it to the packer.
fn frame(shared: &Shared, compressor: &mut Compressor, job: Job) -> Result<()> {
    let mut raw = Vec::new();
    let mut entries = Vec::with_capacity(job.blobs.len());
    for (id, content) in job.blobs {
        let start = raw.len();
        let content_len = match content {
            Content::Chunk(bytes) => {
                raw.extend_from_slice(&bytes);
                format_len(bytes.len())
            }
            Content::Node(node, content_len) => {
                raw.extend_from_slice(&node.encode());
                content_len
            }
        };
        entries.push(BlobEntry { id, kind: job.kind, stored_len: format_len(raw.len() - start), content_len });
    }
    let mut compressed = Vec::new();
    let (codec, body) = match compressor.compress(&raw, &mut compressed) {
        Compressed::Zstd => (Codec::Zstd, &compressed),
        Compressed::Raw => (Codec::Raw, &raw),
    };
    let keys = shared.repository.keys();
    let sealed = format::seal_frame(keys, &random(), job.kind, codec, body, raw.len(), entries, None)
        .map_err(|e| Error::new(ErrorKind::Failed, "frame", e))?;
    lock(&shared.packer).add(job.kind, sealed)
}

fn format_len(length: usize) -> u32 {
    u32::try_from(length).expect("frames are limited to far less than 4 GiB")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
