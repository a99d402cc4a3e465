//! One session of a backup: blobs in, a snapshot out.

use std::collections::{HashMap, HashSet};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::framer::{Blob, Content, Framer, Groups};
use super::packer::Packer;
use super::random::random;
use super::{GcRecords, Reader, Repository, Session, SnapshotList};
use crate::backend::PutNew;
use crate::chunker::Chunker;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Outcome, RetentionClass, Snapshot};
use crate::id::{BlobId, SnapshotId};
use crate::tree::{self, Node, Root, TreeParameters, WriteNode};

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
    /// Blobs stored as a difference to another one.
    pub deltas_added: u64,
    /// Their canonical bytes.
    pub delta_bytes_added: u64,
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
    /// By record kind, the older tree that new nodes resemble.
    resembled: HashMap<u8, (TreeParameters, Root)>,
    jobs: Option<SyncSender<Job>>,
    workers: Vec<JoinHandle<()>>,
}

/// What the session shares with its threads.
pub(super) struct Shared {
    pub(super) repository: Repository,
    pub(super) options: WriterOptions,
    /// Blobs handed over that are not yet in a durable pack.
    in_flight: Arc<Mutex<HashSet<BlobId>>>,
    /// Blobs that wait for others to fill a frame with.
    pub(super) groups: Mutex<Groups>,
    pub(super) packer: Mutex<Packer>,
    reader: OnceLock<Reader>,
    unfinished: Mutex<Progress>,
    idle: Condvar,
    blobs_added: AtomicU64,
    bytes_added: AtomicU64,
    pub(super) deltas_added: AtomicU64,
    pub(super) delta_bytes_added: AtomicU64,
}

#[derive(Default)]
struct Progress {
    jobs: usize,
    failure: Option<Error>,
    /// Something was lost that counts as stored: nothing more may come of this session.
    failed: bool,
}

impl Progress {
    /// The error of a job, once; afterwards that there was one.
    fn check(&mut self) -> Result<()> {
        match self.failure.take() {
            Some(error) => Err(error),
            None if self.failed => {
                let message = "something could not be stored, so nothing can be committed: begin anew";
                Err(Error::new(ErrorKind::Failed, "session", message))
            }
            None => Ok(()),
        }
    }
}

/// What a thread does next.
enum Job {
    /// These share a frame.
    Frame(Vec<Blob>),
    /// As a difference to a blob that it resembles, if that pays.
    Delta(Blob, BlobId),
}

impl Repository {
    /// Registers a session, then reads gc records, snapshots and index, in this order, or at once where the last look
    /// proves that it comes to the same: the order keeps blobs that a pruner is about to remove from being taken for known.
    pub fn writer(&self, options: WriterOptions) -> Result<Writer> {
        let session = if options.dry_run { None } else { Some(self.register_session()?) };
        let id = session.as_ref().map_or_else(|| SnapshotId::new(random()), Session::id);
        if session.is_some() {
            self.look_around();
        }
        let gc = self.gc_records()?;
        // Snapshots before the index: whatever a listed snapshot reaches is then in the index.
        let snapshots = self.snapshots()?;
        self.load_index(&gc)?;
        self.look_for_unlisted()?;
        let sizes = self.config().chunker.sizes().map_err(|e| Error::damaged(ObjectPath::config(), e))?;
        let chunker = Arc::new(Chunker::new(self.keys().gear(), sizes));
        let in_flight = Arc::new(Mutex::new(HashSet::new()));
        let packer = Packer::new(self.clone(), Arc::clone(&in_flight), options.class);
        let shared = Arc::new(Shared {
            repository: self.clone(),
            options,
            in_flight,
            groups: Mutex::new(Groups::default()),
            packer: Mutex::new(packer),
            reader: OnceLock::new(),
            unfinished: Mutex::new(Progress::default()),
            idle: Condvar::new(),
            blobs_added: AtomicU64::new(0),
            bytes_added: AtomicU64::new(0),
            deltas_added: AtomicU64::new(0),
            delta_bytes_added: AtomicU64::new(0),
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
            resembled: HashMap::new(),
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

    /// Promises that everything which will be committed was checked against the newest gc record that was read: pruners
    /// need not wait for this session to remove what that and older ones condemn.
    pub fn acknowledge(&self) -> Result<()> {
        match &self.session {
            Some(session) if self.gc_checked > 0 && !self.must_check => {
                session.acknowledge(self.repository.keys(), self.gc_checked)
            }
            _ => Ok(()),
        }
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
            deltas_added: self.shared.deltas_added.load(Ordering::Relaxed),
            delta_bytes_added: self.shared.delta_bytes_added.load(Ordering::Relaxed),
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
        self.write_chunk_like(content, None)
    }

    /// Stores a chunk unless it is known, if it pays as a difference to one that it probably resembles.
    pub fn write_chunk_like(&mut self, content: Bytes, like: Option<BlobId>) -> Result<BlobId> {
        let id = self.repository.keys().blob_id_chunk(&content);
        self.write_hashed_chunk(id, content, like)?;
        Ok(id)
    }

    /// Stores a chunk unless it is known. `id` must be its id, made elsewhere; `like` a chunk that it probably resembles,
    /// such as the one at the same place of the same file in the parent snapshot.
    pub(crate) fn write_hashed_chunk(&mut self, id: BlobId, content: Bytes, like: Option<BlobId>) -> Result<()> {
        if self.is_known(&id) {
            return Ok(());
        }
        self.count(id, content.len());
        let like = like.filter(|_| self.stores_deltas());
        self.store(Blob { id, content: Content::Chunk(content) }, like)
    }

    /// From now on new nodes of this kind of tree are taken to resemble those of an older tree over the same keys, such as
    /// the parent snapshot's, and stored as differences to them where that pays. An empty tree ends it.
    pub fn resemble(&mut self, parameters: &TreeParameters, older: &Root) {
        match older.id {
            Some(_) => self.resembled.insert(older.kind, (parameters.clone(), older.clone())),
            None => self.resembled.remove(&older.kind),
        };
    }

    /// A reader of what is durable, with caches that the session's threads share.
    pub fn reader(&self) -> &Reader {
        self.shared.reader()
    }

    fn stores_deltas(&self) -> bool {
        let options = &self.shared.options;
        !options.dry_run
            && match options.delta {
                Delta::Auto => self.repository.store().is_local(),
                Delta::On => true,
                Delta::Off => false,
            }
    }

    /// The older node at the place of a new one.
    fn resembled(&self, node: &Node) -> Option<BlobId> {
        let (parameters, older) = self.resembled.get(&node.kind).filter(|_| self.stores_deltas())?;
        let last = node.rows.len().checked_sub(1)?;
        // An older tree that cannot be read is no help; whoever needs it will say so.
        tree::node_around(self.reader(), parameters, older, node.level, node.rows.key(last)).ok()?
    }

    fn store(&self, blob: Blob, like: Option<BlobId>) -> Result<()> {
        if let Some(like) = like {
            return self.submit(Job::Delta(blob, like));
        }
        let full = lock(&self.shared.groups).add(blob);
        full.map_or(Ok(()), |blobs| self.submit(Job::Frame(blobs)))
    }

    /// Makes everything written so far durable and indexed. After an error the session is of no use any more.
    pub fn flush(&mut self) -> Result<()> {
        self.flush_all().inspect_err(|_| lock(&self.shared.unfinished).failed = true)
    }

    fn flush_all(&mut self) -> Result<()> {
        // What turns out not to pay as a delta joins the others.
        self.wait_for_jobs()?;
        let rest = lock(&self.shared.groups).take_all();
        for blobs in rest {
            self.submit(Job::Frame(blobs))?;
        }
        self.wait_for_jobs()?;
        if self.shared.options.dry_run { Ok(()) } else { lock(&self.shared.packer).flush() }
    }

    fn wait_for_jobs(&self) -> Result<()> {
        let mut progress = lock(&self.shared.unfinished);
        while progress.jobs > 0 {
            progress = self.shared.idle.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress.check()
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
        let outcome = match self.put_snapshot(snapshot) {
            Ok(outcome) => outcome,
            Err(error) => {
                // Nobody would end it while this process lives. It is the error that says what is wrong.
                let _ = next.close();
                return Err(error);
            }
        };
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
        // Where nobody can be fenced, a user may have vouched for the end of this session.
        if !self.repository.can_fence() && self.repository.store().stat(&ObjectPath::session(id, 0))?.is_none() {
            return Ok(Commit::Fenced);
        }
        let outcome = Outcome::Committed(snapshot.clone());
        let body = outcome.seal(self.repository.keys(), id, &random());
        Ok(match self.repository.store().put_new(&ObjectPath::snapshot(id), body.clone())? {
            PutNew::Created => {
                self.repository.remember_commit(id, &outcome, &body);
                Commit::Done
            }
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

    fn submit(&self, job: Job) -> Result<()> {
        if self.shared.options.dry_run {
            return Ok(());
        }
        let mut progress = lock(&self.shared.unfinished);
        progress.check()?;
        progress.jobs += 1;
        drop(progress);
        let jobs = self.jobs.as_ref().expect("the queue is closed on drop only");
        jobs.send(job).map_err(|_| Error::new(ErrorKind::Failed, "", "the writing threads have ended"))
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
        drop(canonical);
        self.count(id, length);
        let like = self.resembled(&node);
        self.store(Blob { id, content: Content::Node(node, length) }, like)?;
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

impl Shared {
    pub(super) fn reader(&self) -> &Reader {
        self.reader.get_or_init(|| self.repository.reader())
    }
}

fn work(shared: &Shared, queue: &Mutex<Receiver<Job>>) {
    let mut framer = Framer::new(shared);
    loop {
        let next = lock(queue).recv();
        let Ok(job) = next else { return };
        let result = panic::catch_unwind(AssertUnwindSafe(|| match job {
            Job::Frame(blobs) => framer.frame(blobs),
            Job::Delta(blob, like) => framer.delta(blob, like),
        }));
        // A panic is a bug, but whoever waits for this job must not wait for ever.
        let result = result.unwrap_or_else(|_| {
            framer = Framer::new(shared);
            Err(Error::new(ErrorKind::Failed, "frame", "a writing thread panicked"))
        });
        let mut progress = lock(&shared.unfinished);
        progress.jobs -= 1;
        if let Err(error) = result {
            progress.failed = true;
            progress.failure.get_or_insert(error);
        }
        shared.idle.notify_all();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
