//! Proving one snapshot: everything it reaches is opened, hashed again and counted again.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::seen::Seen;
use super::{mark, values};
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::{NamedRoot, Snapshot};
use crate::id::{BlobId, SnapshotId};
use crate::progress::{Event, Observer};
use crate::record::datom::{Datoms, Digest};
use crate::record::{self, RecordKind, Reference, Subtree};
use crate::repository::{Reader, Repository};
use crate::tree::{self, Next, Node, Visit};

/// Leaves that may wait for each thread that counts them.
const WAITING_LEAVES: usize = 8;

/// What a verification found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Nodes read.
    pub nodes: u64,
    /// Chunks read.
    pub chunks: u64,
    /// Records counted.
    pub records: u64,
    /// Canonical bytes hashed.
    pub bytes: u64,
    /// Blobs that could not be read or are not what refers to them says.
    pub damaged: Vec<(BlobId, Error)>,
    /// Counts or digests of a tree that are not what the snapshot says.
    pub mismatches: Vec<String>,
}

impl VerifyReport {
    /// Whether everything was found as it was written.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.mismatches.is_empty()
    }
}

/// Reads everything that a snapshot reaches, compares every id, and recomputes counts and digests.
///
/// What is damaged is collected; an error means that the verification itself could not be done.
pub async fn verify(
    repository: &Repository,
    snapshot: SnapshotId,
    observer: Arc<dyn Observer>,
) -> Result<VerifyReport> {
    let repository = repository.clone();
    super::blocking(move || {
        let snapshot = super::open_snapshot(&repository, snapshot)?;
        verify_snapshot(&repository, &snapshot, &*observer)
    })
    .await
}

fn verify_snapshot(repository: &Repository, snapshot: &Snapshot, observer: &dyn Observer) -> Result<VerifyReport> {
    let total = snapshot.roots.iter().map(|root| root.records).sum();
    observer.event(Event::Stage { name: "verifying", total: Some(total) });
    let proof = Proof {
        reader: repository.reader_of_backend(),
        seen: Mutex::new(Seen::default()),
        announced: Mutex::new(Seen::default()),
        report: Mutex::new(VerifyReport::default()),
        observer,
    };
    for root in &snapshot.roots {
        proof.tree(root)?;
    }
    Ok(proof.report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What the threads that verify share.
struct Proof<'a> {
    reader: Reader,
    seen: Mutex<Seen>,
    /// Chunks that the reader was told of.
    announced: Mutex<Seen>,
    report: Mutex<VerifyReport>,
    observer: &'a dyn Observer,
}

/// What was found in the leaves of a tree.
#[derive(Default)]
struct Counted {
    records: u64,
    row_bytes: u64,
    digest: Digest,
    /// Not everything could be read, so that sums say nothing.
    partly: bool,
    failure: Option<Error>,
}

impl Proof<'_> {
    fn tree(&self, named: &NamedRoot) -> Result<()> {
        let kind = match record::kind(named.kind) {
            Ok(kind) => kind,
            Err(why) => {
                lock(&self.report).mismatches.push(format!("tree {}: {why}", named.name));
                return Ok(());
            }
        };
        let wants_digest = named.kind == Datoms.code() && !named.digest.is_empty();
        let counted = Mutex::new(Counted::default());
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let (leaves, queue) = sync_channel(WAITING_LEAVES * threads);
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.count_leaves(&queue, kind, wants_digest, &counted));
            }
            self.walk(named, kind, leaves, &counted)
        })?;
        let counted = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = counted.failure {
            return Err(error);
        }
        if !counted.partly {
            self.compare(named, &counted, wants_digest);
        }
        Ok(())
    }

    /// Reads the nodes of a tree and hands its leaves over.
    fn walk(
        &self,
        named: &NamedRoot,
        kind: &'static dyn RecordKind,
        leaves: SyncSender<Arc<Node>>,
        counted: &Mutex<Counted>,
    ) -> Result<()> {
        let parameters = self.reader.repository().tree_parameters(kind);
        let mut reached: Vec<u8> = Vec::new();
        let mut current = named.id;
        let walked = tree::walk_nodes(&self.reader, &parameters, &mark::root(named), &mut |visit| match visit {
            Visit::Named { claim, .. } => {
                current = Some(claim.id);
                Ok(Next::Descend)
            }
            Visit::Read { id, node } => {
                if self.is_new(id) {
                    let mut report = lock(&self.report);
                    report.nodes += 1;
                    report.bytes += node.rows.size_bytes() as u64;
                }
                if node.level == 0 {
                    let last = node.rows.key(node.rows.len() - 1);
                    if !reached.is_empty() && node.rows.key(0) <= reached.as_slice() {
                        return Err(Error::damaged(format!("node {id}"), DecodeError::Invalid("order of leaves")));
                    }
                    reached.clear();
                    reached.extend_from_slice(last);
                    self.announce(node, kind);
                    // Nobody listens any more once a thread has failed; its error is told after the walk.
                    let _ = leaves.send(Arc::clone(node));
                }
                Ok(if lock(counted).failure.is_some() { Next::Skip } else { Next::Descend })
            }
            Visit::Unreadable { claim, error, .. } => {
                lock(counted).partly = true;
                self.damaged(claim.id, error)?;
                Ok(Next::Skip)
            }
        });
        match (walked, current) {
            (Err(error), Some(id)) if error.kind() == ErrorKind::Damaged => {
                lock(counted).partly = true;
                self.damaged(id, error)
            }
            (Err(error), None) if error.kind() == ErrorKind::Damaged => {
                lock(counted).partly = true;
                lock(&self.report).mismatches.push(format!("tree {}: {}", named.name, error.message()));
                Ok(())
            }
            (walked, _) => walked,
        }
    }

    /// Tells the reader which chunks of a leaf will be read.
    fn announce(&self, leaf: &Node, kind: &'static dyn RecordKind) {
        if !self.reader.is_far() {
            return;
        }
        let (mut references, mut ids) = (Vec::new(), Vec::new());
        for (key, value) in leaf.rows.iter() {
            references.clear();
            // What cannot be understood is told when its leaf is looked at.
            if kind.references(key, value, &mut references).is_ok() {
                ids.extend(references.iter().filter_map(|reference| match reference {
                    Reference::Chunk(id) | Reference::List(id) => Some(*id),
                    Reference::Tree(_) => None,
                }));
            }
        }
        let index = self.reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
        let mut announced = lock(&self.announced);
        ids.retain(|id| announced.insert(&index, *id));
        drop((announced, index));
        self.reader.prefetch_chunks(ids);
    }

    fn count_leaves(
        &self,
        queue: &Mutex<Receiver<Arc<Node>>>,
        kind: &'static dyn RecordKind,
        wants_digest: bool,
        counted: &Mutex<Counted>,
    ) {
        loop {
            let next = lock(queue).recv();
            let Ok(leaf) = next else { return };
            // After a failure the queue is only emptied.
            if lock(counted).failure.is_some() {
                continue;
            }
            let result = self.leaf(&leaf, kind, wants_digest);
            let mut counted = lock(counted);
            match result {
                Ok(leaf) => {
                    counted.records += leaf.records;
                    counted.row_bytes += leaf.row_bytes;
                    counted.digest.merge(&leaf.digest);
                    counted.partly |= leaf.partly;
                }
                Err(error) => {
                    counted.failure.get_or_insert(error);
                }
            }
        }
    }

    fn leaf(&self, leaf: &Node, kind: &'static dyn RecordKind, wants_digest: bool) -> Result<Counted> {
        let mut counted =
            Counted { records: leaf.rows.len() as u64, row_bytes: leaf.rows.size_bytes() as u64, ..Counted::default() };
        let mut references = Vec::new();
        for (key, value) in leaf.rows.iter() {
            references.clear();
            if let Err(why) = kind.references(key, value, &mut references) {
                lock(&self.report).mismatches.push(format!("a {} record: {why}", kind.name()));
                counted.partly = true;
                continue;
            }
            for reference in &references {
                counted.partly |= !self.reference(reference)?;
            }
            if wants_digest && !counted.partly {
                match values::hash(&self.reader, key) {
                    Ok(hash) => counted.digest.add_hash(hash),
                    Err(error) if error.kind() == ErrorKind::Damaged => {
                        counted.partly = true;
                        match references.first() {
                            Some(Reference::Chunk(id) | Reference::List(id)) => self.damaged(*id, error)?,
                            _ => lock(&self.report).mismatches.push(error.to_string()),
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let mut report = lock(&self.report);
        report.records += counted.records;
        self.observer.event(Event::Progress { done: report.records });
        Ok(counted)
    }

    /// Reads what a record refers to, unless that was done before; whether it could be read.
    fn reference(&self, reference: &Reference) -> Result<bool> {
        match reference {
            Reference::Chunk(id) => self.chunk(*id),
            Reference::List(id) => {
                if !self.chunk(*id)? {
                    return Ok(false);
                }
                match mark::list(&self.reader, *id) {
                    Ok(ids) => ids.into_iter().try_fold(true, |sound, id| Ok(self.chunk(id)? && sound)),
                    Err(error) => self.damaged(*id, error).map(|()| false),
                }
            }
            Reference::Tree(tree) => self.subtree(tree),
        }
    }

    /// Reads a tree that a record refers to, and what its records refer to.
    fn subtree(&self, tree: &Subtree) -> Result<bool> {
        let kind = match record::kind(tree.kind) {
            Ok(kind) => kind,
            Err(why) => return self.damaged(tree.id, Error::damaged(format!("node {}", tree.id), why)).map(|()| false),
        };
        let parameters = self.reader.repository().tree_parameters(kind);
        let mut sound = true;
        let mut references = Vec::new();
        let walked = tree::walk_nodes(&self.reader, &parameters, &tree.clone().into(), &mut |visit| match visit {
            Visit::Named { .. } => Ok(Next::Descend),
            Visit::Read { id, node } => {
                if self.is_new(id) {
                    let mut report = lock(&self.report);
                    report.nodes += 1;
                    report.bytes += node.rows.size_bytes() as u64;
                }
                if node.level == 0 {
                    self.announce(node, kind);
                    references.clear();
                    for (key, value) in node.rows.iter() {
                        kind.references(key, value, &mut references)
                            .map_err(|why| Error::damaged(format!("node {id}"), why))?;
                    }
                    for reference in &references {
                        sound &= self.reference(reference)?;
                    }
                }
                Ok(Next::Descend)
            }
            Visit::Unreadable { claim, error, .. } => {
                sound = false;
                self.damaged(claim.id, error)?;
                Ok(Next::Skip)
            }
        });
        match walked {
            Err(error) if error.kind() == ErrorKind::Damaged => self.damaged(tree.id, error).map(|()| false),
            Err(error) => Err(error),
            Ok(()) => Ok(sound),
        }
    }

    fn chunk(&self, id: BlobId) -> Result<bool> {
        if !self.is_new(id) {
            return Ok(!lock(&self.report).damaged.iter().any(|(damaged, _)| *damaged == id));
        }
        match self.reader.chunk(id) {
            Ok(content) => {
                let mut report = lock(&self.report);
                report.chunks += 1;
                report.bytes += content.len() as u64;
                Ok(true)
            }
            Err(error) => self.damaged(id, error).map(|()| false),
        }
    }

    fn is_new(&self, id: BlobId) -> bool {
        let index = self.reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
        lock(&self.seen).insert(&index, id)
    }

    /// Collects damage; any other error ends the verification.
    fn damaged(&self, id: BlobId, error: Error) -> Result<()> {
        if error.kind() != ErrorKind::Damaged {
            return Err(error);
        }
        self.observer.event(Event::Problem { object: error.object(), message: error.message() });
        let mut report = lock(&self.report);
        if !report.damaged.iter().any(|(known, _)| *known == id) {
            report.damaged.push((id, error));
        }
        Ok(())
    }

    fn compare(&self, named: &NamedRoot, counted: &Counted, wants_digest: bool) {
        let mut report = lock(&self.report);
        let mut differ = |what: &str, said: String, found: String| {
            if said != found {
                let name = &named.name;
                report.mismatches.push(format!("tree {name}: the snapshot says {what} {said}, found {found}"));
            }
        };
        differ("records", named.records.to_string(), counted.records.to_string());
        differ("bytes of rows", named.row_bytes.to_string(), counted.row_bytes.to_string());
        if wants_digest {
            differ("digest", crate::id::hex(&named.digest), crate::id::hex(&counted.digest.encode()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
