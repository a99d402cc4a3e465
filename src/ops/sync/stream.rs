//! One stream into one repository: segments while transactions come, a snapshot now and then.
//!
//! Everything belongs to one open session. It protects the base and every segment: pruners wait for it, and who closes it
//! makes a snapshot of its chain. After each segment it looks whether it was closed; only then is a segment acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::chain::store_again;
use super::changes::Changed;
use super::fold::apply;
use super::net::Net;
use super::retry::is_passing;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, ObjectPath, Sealed, Segment, Snapshot, TreeChanges};
use crate::id::{SnapshotId, StreamId};
use crate::ops::edit::Sink;
use crate::repository::{Chain, Commit, Repository, Writer, WriterOptions, WriterStatistics, machine};

/// Keys in one segment, in bytes; longer differences are divided.
const SEGMENT_BYTES: usize = 8 << 20;
/// A key of this many bytes is too long for a segment.
pub(super) const KEY_MAX_BYTES: usize = 32 << 20;

/// What was made durable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Appended {
    pub(super) put: u64,
    pub(super) removed: u64,
    /// Bytes of the segments as they are stored.
    pub(super) bytes: u64,
    pub(super) segments: u64,
}

/// An open session with its chain.
pub(super) struct Stream {
    repository: Repository,
    options: WriterOptions,
    id: StreamId,
    base: Snapshot,
    /// The gc record that everything which the base reaches was checked against.
    base_checked: u64,
    session: SnapshotId,
    /// Away while a fold runs.
    writer: Option<Writer>,
    written: WriterStatistics,
    fold: Option<Fold>,
    /// Hash of the newest object of the chain; none before its opening.
    previous: Option<[u8; 32]>,
    next: u64,
    transactions: u64,
    put: u64,
    removed: u64,
    properties: BTreeMap<String, String>,
    /// What no fold has taken yet.
    net: Net,
    opened_at: Instant,
    /// When the oldest segment was written.
    oldest: Option<Instant>,
}

/// Trees in the making.
struct Fold {
    net: Arc<Net>,
    thread: JoinHandle<(Writer, Result<Vec<NamedRoot>>)>,
}

impl Stream {
    /// Registers a session on top of `base`.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when the base was forgotten meanwhile.
    pub(super) fn open(repository: &Repository, base: Snapshot, options: WriterOptions) -> Result<Self> {
        let checked = base.gc_checked;
        Self::open_checked(repository, base, checked, options)
    }

    /// The same for a base that was checked against a newer gc record than its snapshot says, in a session that is still open.
    fn open_checked(repository: &Repository, base: Snapshot, checked: u64, options: WriterOptions) -> Result<Self> {
        let mut writer = repository.writer(options.clone())?;
        let prepared = prepare(&mut writer, &base, checked);
        abandoned_on_error(&mut writer, prepared)?;
        Ok(Self::begun(repository.clone(), options, writer, base))
    }

    /// A stream without segments on top of `base`.
    fn begun(repository: Repository, options: WriterOptions, writer: Writer, base: Snapshot) -> Self {
        Self {
            id: repository.keys().stream_id(&base.host, &base.label),
            repository,
            options,
            session: writer.id(),
            base_checked: writer.gc_checked(),
            written: writer.statistics(),
            writer: Some(writer),
            fold: None,
            previous: None,
            next: 0,
            transactions: 0,
            put: 0,
            removed: 0,
            properties: base.properties.iter().cloned().collect(),
            net: Net::default(),
            opened_at: Instant::now(),
            oldest: None,
            base,
        }
    }

    /// Makes a difference durable: when this returns, any restore finds it. `again` is told of every passing failure and
    /// decides whether to go on.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when the session was closed. After any error the stream is of no use; nothing that was
    /// acknowledged before is lost by dropping it.
    pub(super) fn append(
        &mut self,
        difference: Changed,
        again: &mut dyn FnMut(&Error) -> Result<()>,
    ) -> Result<Appended> {
        let mut appended = Appended::default();
        if self.previous.is_none() {
            let (path, body) = self.repository.seal_opening(self.id, self.session, self.base.clone());
            self.put_object(&path, &body, again)?;
        }
        let time_ms = machine::now_ms();
        let changed = difference.properties.into_iter().filter(|(name, text)| self.properties.get(name) != Some(text));
        let mut properties: Vec<(String, String)> = changed.collect();
        self.properties.extend(properties.iter().cloned());
        self.transactions += difference.transactions;
        let mut parts = split(difference.trees).into_iter().peekable();
        while let Some(trees) = parts.next() {
            let count =
                |keys: fn(&TreeChanges) -> &Vec<Vec<u8>>| trees.iter().map(|t| keys(t).len() as u64).sum::<u64>();
            let (put, removed) = (count(|tree| &tree.put), count(|tree| &tree.removed));
            self.put += put;
            self.removed += removed;
            let segment = Segment {
                n: self.next,
                previous: self.previous.expect("the opening was written before"),
                time_ms,
                ends: parts.peek().is_none(),
                t: difference.t,
                transactions: self.transactions,
                put: self.put,
                removed: self.removed,
                consistency_point: difference.consistency_point.clone(),
                properties: if parts.peek().is_none() { std::mem::take(&mut properties) } else { Vec::new() },
                trees,
            };
            let (path, body) = self.repository.seal_segment(self.id, self.session, &segment);
            self.put_object(&path, &body, again)?;
            appended.put += put;
            appended.removed += removed;
            appended.bytes += body.len() as u64;
            appended.segments += 1;
            self.net.take_segment(segment);
        }
        // The order is load-bearing: the segments are there, now the fence is looked for; who fences lists segments later.
        self.retry(again, |repository, session| repository.is_session_open(session))?
            .then_some(appended)
            .ok_or_else(|| self.closed())
    }

    fn put_object(
        &mut self,
        path: &ObjectPath,
        body: &Sealed,
        again: &mut dyn FnMut(&Error) -> Result<()>,
    ) -> Result<()> {
        self.retry(again, |repository, _| repository.store().put(path, body.clone()))?;
        self.previous = Some(*blake3::hash(body.bytes()).as_bytes());
        self.next += 1;
        self.oldest.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn retry<T>(
        &self,
        again: &mut dyn FnMut(&Error) -> Result<()>,
        work: impl Fn(&Repository, SnapshotId) -> Result<T>,
    ) -> Result<T> {
        loop {
            match work(&self.repository, self.session) {
                Err(error) if is_passing(error.kind()) => again(&error)?,
                result => return result,
            }
        }
    }

    /// The snapshot that the chain adds to.
    pub(super) fn base(&self) -> &Snapshot {
        &self.base
    }

    /// Whether there is anything to fold.
    pub(super) fn is_empty(&self) -> bool {
        self.net.is_empty() && self.fold.is_none()
    }

    /// Whether a fold has begun.
    pub(super) fn is_folding(&self) -> bool {
        self.fold.is_some()
    }

    /// Segments of the chain.
    pub(super) fn segments(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Memory that unfolded changes take, roughly; how many segments they are in; and for how long the oldest waits.
    pub(super) fn unfolded(&self) -> (usize, u64, Duration) {
        (self.net.bytes, self.net.segments, self.oldest.map_or(Duration::ZERO, |at| at.elapsed()))
    }

    /// Begins to make trees of what there is, beside whatever comes.
    pub(super) fn begin_fold(&mut self) {
        if self.fold.is_some() || self.net.is_empty() {
            return;
        }
        let Some(mut writer) = self.writer.take() else { return };
        let net = Arc::new(std::mem::take(&mut self.net));
        let (roots, changes) = (self.base.roots.clone(), Arc::clone(&net));
        let thread = thread::spawn(move || {
            let roots = build(&mut writer, &roots, &changes);
            (writer, roots)
        });
        self.fold = Some(Fold { net, thread });
    }

    /// Whether the trees are made and [`Stream::end_fold`] will not wait.
    pub(super) fn is_fold_ready(&self) -> bool {
        self.fold.as_ref().is_some_and(|fold| fold.thread.is_finished())
    }

    /// Adds to the trees what came meanwhile, commits them as a snapshot with this cursor, removes the chain that it contains,
    /// and goes on in a session that was registered before.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when the session was closed; the chain stays.
    pub(super) fn end_fold(&mut self, cursor: &mut dyn FnMut(&[NamedRoot]) -> Vec<u8>) -> Result<Snapshot> {
        let fold = self.fold.take().expect("a fold was begun");
        let (mut writer, roots) = match fold.thread.join() {
            Ok(built) => built,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let mut roots = roots?;
        let mut net = Arc::unwrap_or_clone(fold.net);
        let later = std::mem::take(&mut self.net);
        if !later.is_empty() {
            roots = build(&mut writer, &roots, &later)?;
            net.append(later);
        }
        let cursor = cursor(&roots);
        let committed = self.commit(&mut writer, &net, roots, cursor);
        let in_old_session = writer.id() == self.session;
        let snapshot = if in_old_session { committed? } else { abandoned_on_error(&mut writer, committed)? };
        let chain = Chain {
            stream: self.id,
            session: self.session,
            objects: (0..self.next).map(|n| (n, ObjectPath::sync(self.id, self.session, n))).collect(),
            last_written_ms: 0,
        };
        let removed = self.repository.remove_chain(&chain);
        abandoned_on_error(&mut writer, removed)?;
        let checked = if writer.must_check() { store_again(&mut writer, &snapshot.roots) } else { Ok(()) };
        let acknowledged = checked.and_then(|()| writer.acknowledge());
        abandoned_on_error(&mut writer, acknowledged)?;
        let (repository, options) = (self.repository.clone(), self.options.clone());
        *self = Self::begun(repository, options, writer, snapshot.clone());
        Ok(snapshot)
    }

    fn commit(&self, writer: &mut Writer, net: &Net, roots: Vec<NamedRoot>, cursor: Vec<u8>) -> Result<Snapshot> {
        let mut snapshot = net.snapshot(&self.base, roots);
        let written = writer.statistics();
        snapshot.statistics.blobs_added = written.blobs_added - self.written.blobs_added;
        snapshot.statistics.bytes_added = written.bytes_added - self.written.bytes_added;
        snapshot.statistics.bytes_stored = written.bytes_stored - self.written.bytes_stored;
        snapshot.statistics.packs_written = written.packs_written - self.written.packs_written;
        snapshot.id = self.session;
        snapshot.program = machine::program();
        snapshot.previous = self.repository.snapshot_hash(self.base.id)?;
        snapshot.gc_checked = writer.gc_checked();
        snapshot.cursor = cursor;
        match writer.commit_partial(&snapshot)? {
            Commit::Done => Ok(snapshot),
            Commit::Fenced => Err(self.closed()),
        }
    }

    /// Replaces a session without segments that has been open for so long, so that pruners need not wait for it.
    pub(super) fn renew(&mut self, every: Duration) -> Result<()> {
        if !self.is_empty() || self.previous.is_some() || self.opened_at.elapsed() < every {
            return Ok(());
        }
        let base = self.base.clone();
        let next = Self::open_checked(&self.repository, base, self.base_checked, self.options.clone())?;
        std::mem::replace(self, next).close()
    }

    /// Ends the session where nothing is left to fold; else it stays, for whoever folds it.
    pub(super) fn close(mut self) -> Result<()> {
        match self.writer.take().filter(|_| self.previous.is_none()) {
            Some(mut writer) => writer.abandon(),
            None => Ok(()),
        }
    }

    fn closed(&self) -> Error {
        let object = ObjectPath::session(self.session, 0);
        Error::new(ErrorKind::Busy, object, "was closed by a pruner or by somebody who follows the same database")
    }
}

/// Makes sure that everything the base reaches is there to stay, and tells pruners so.
fn prepare(writer: &mut Writer, base: &Snapshot, checked: u64) -> Result<()> {
    if !writer.snapshots().live().iter().any(|snapshot| snapshot.id == base.id) {
        let message = "was forgotten before anything could be added to it";
        return Err(Error::new(ErrorKind::Busy, format!("snapshot {}", base.id.short()), message));
    }
    if checked != writer.gc_checked() {
        store_again(writer, &base.roots)?;
    }
    writer.acknowledge()
}

/// Ends a session without a chain when something went wrong: this process lives on, and pruners would wait for it.
fn abandoned_on_error<T>(writer: &mut Writer, result: Result<T>) -> Result<T> {
    if result.is_err() {
        // It is the error that says what is wrong.
        let _ = writer.abandon();
    }
    result
}

fn build(writer: &mut Writer, roots: &[NamedRoot], net: &Net) -> Result<Vec<NamedRoot>> {
    let reader = writer.repository().reader();
    let roots = apply(&reader, &mut Sink::Packs(writer), roots, net)?;
    writer.flush()?;
    Ok(roots)
}

/// Divides changes so that no part is much longer than a segment may be; always at least one part.
fn split(trees: Vec<TreeChanges>) -> Vec<Vec<TreeChanges>> {
    let mut parts: Vec<Vec<TreeChanges>> = vec![Vec::new()];
    let mut bytes = 0;
    for tree in trees {
        let removed = tree.removed.into_iter().map(|key| (key, false));
        for (key, put) in removed.chain(tree.put.into_iter().map(|key| (key, true))) {
            if bytes > 0 && bytes + key.len() > SEGMENT_BYTES {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += key.len();
            let part = parts.last_mut().expect("there is one always");
            if part.last().is_none_or(|last| last.name != tree.name) {
                part.push(TreeChanges { name: tree.name.clone(), ..TreeChanges::default() });
            }
            let last = part.last_mut().expect("it was just put there");
            if put { last.put.push(key) } else { last.removed.push(key) }
        }
    }
    parts
}
