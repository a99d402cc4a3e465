//! Making what is left usable.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::pack_content;
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::{IndexContent, IndexedPack, ObjectPath};
use crate::id::PackId;
use crate::progress::{Event, Observer};
use crate::repository::Repository;

/// The most packs in one index object ...
const OBJECT_PACKS: usize = 2_000;
/// ... and about the most bytes.
const OBJECT_BYTES: usize = 32 << 20;
/// The directory of nearly every pack is found in so many bytes at its end.
const TAIL_BYTES: u64 = 64 << 10;

/// What repairing the index did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// Packs whose directories were read.
    pub packs: u64,
    /// Blobs in the new index.
    pub blobs: u64,
    /// Old index objects removed.
    pub removed: u64,
    /// Packs that could not be read: object and why.
    pub damaged: Vec<(String, String)>,
}

/// Rebuilds the index from the directories of all packs but the condemned ones. A pack that cannot be read is left out of
/// the index and otherwise left alone.
///
/// The new index is durable before anything of the old one is removed. Backups may run at the same time; their packs and
/// index objects are theirs.
pub async fn repair_index(repository: &Repository, dry_run: bool, observer: Arc<dyn Observer>) -> Result<RepairReport> {
    let repository = repository.clone();
    super::blocking(move || {
        if dry_run {
            return rebuild(&repository, true, &*observer);
        }
        // While a session is open, what pruners condemn from now on is neither un-indexed nor removed.
        let session = repository.register_session()?;
        let report = rebuild(&repository, false, &*observer);
        session.close()?;
        report
    })
    .await
}

fn rebuild(repository: &Repository, dry_run: bool, observer: &dyn Observer) -> Result<RepairReport> {
    let gc = repository.gc_records()?;
    // The old index first: a pack that comes later is listed by an index object that is not replaced.
    let old: Vec<ObjectPath> = repository.store().list("index/")?.into_iter().map(|(path, _)| path).collect();
    let mut report = RepairReport::default();
    let mut packs = Vec::new();
    for (path, stat) in repository.store().list("packs/")? {
        match path.name().parse::<PackId>() {
            Ok(id) if ObjectPath::pack(id) != path => report.damaged.push((path.to_string(), "misplaced".to_owned())),
            Ok(id) if gc.condemned.contains(&id) => {}
            Ok(id) => packs.push((id, stat.size_bytes)),
            Err(_) => report.damaged.push((path.to_string(), "not a pack".to_owned())),
        }
    }
    observer.event(Event::Stage { name: "reading pack directories", total: Some(packs.len() as u64) });
    let rebuilding = Rebuilding {
        repository,
        dry_run,
        observer,
        packs: &packs,
        next: AtomicUsize::new(0),
        found: Mutex::new(Found { report, ..Found::default() }),
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| rebuilding.work());
        }
    });
    let Found { mut report, content, failure, .. } =
        rebuilding.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = failure {
        return Err(error);
    }
    report.damaged.sort();
    report.removed = old.len() as u64;
    if !dry_run {
        write(repository, content)?;
        for path in &old {
            repository.store().delete(path)?;
        }
        repository.load_index(&repository.gc_records()?)?;
    }
    Ok(report)
}

/// What the reading threads share.
struct Rebuilding<'a> {
    repository: &'a Repository,
    dry_run: bool,
    observer: &'a dyn Observer,
    packs: &'a [(PackId, u64)],
    next: AtomicUsize,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    report: RepairReport,
    content: Vec<IndexedPack>,
    content_bytes: usize,
    failure: Option<Error>,
}

impl Rebuilding<'_> {
    fn work(&self) {
        while let Some(&(id, size_bytes)) = self.packs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.lock().failure.is_some() {
                return;
            }
            let taken = indexed(self.repository, id, size_bytes).and_then(|pack| self.take(pack));
            match taken {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    let object = ObjectPath::pack(id).to_string();
                    self.observer.event(Event::Problem { object: &object, message: error.message() });
                    self.lock().report.damaged.push((object, error.message().to_owned()));
                }
                Err(error) => {
                    self.lock().failure.get_or_insert(error);
                }
            }
        }
    }

    /// Adds a pack to the index object in the making, and writes that when it is full.
    fn take(&self, pack: IndexedPack) -> Result<()> {
        let mut found = self.lock();
        found.report.packs += 1;
        found.report.blobs += pack.directory.frames.iter().map(|frame| frame.blobs.len() as u64).sum::<u64>();
        self.observer.event(Event::Progress { done: found.report.packs });
        if self.dry_run {
            return Ok(());
        }
        found.content_bytes += encoded_bytes(&pack);
        found.content.push(pack);
        if found.content.len() < OBJECT_PACKS && found.content_bytes < OBJECT_BYTES {
            return Ok(());
        }
        let content = std::mem::take(&mut found.content);
        found.content_bytes = 0;
        drop(found);
        write(self.repository, content)
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pack as its own directory describes it.
fn indexed(repository: &Repository, id: PackId, size_bytes: u64) -> Result<IndexedPack> {
    let directory = pack_content::read_directory(repository, id, size_bytes, TAIL_BYTES)?;
    if directory.frames.is_empty() {
        return Err(Error::damaged(ObjectPath::pack(id), DecodeError::Invalid("pack without frames")));
    }
    Ok(IndexedPack { id, size_bytes, directory })
}

fn encoded_bytes(pack: &IndexedPack) -> usize {
    let frames = &pack.directory.frames;
    48 + frames.len() * 24 + frames.iter().map(|frame| frame.blobs.len() * 40).sum::<usize>()
}

/// The new objects state no `replaces`: none of them alone has all the packs of the old ones.
fn write(repository: &Repository, packs: Vec<IndexedPack>) -> Result<()> {
    if packs.is_empty() {
        return Ok(());
    }
    repository.put_index(IndexContent { packs, replaces: Vec::new() }).map(drop)
}
