//! What becomes of a run: counts, problems, and the error that ends it.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Change, ChangeSink};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{Event, Observer};
use crate::target::files::Refused;

/// How many problems are kept with their texts.
const PROBLEMS_KEPT: usize = 1000;

/// What threads add to while they work.
pub(super) struct Report<'a> {
    pub(super) observer: &'a dyn Observer,
    changes: Option<ChangeSink>,
    pub(super) files_restored: AtomicU64,
    pub(super) files_unchanged: AtomicU64,
    pub(super) files_skipped: AtomicU64,
    pub(super) files_deleted: AtomicU64,
    pub(super) directories: AtomicU64,
    pub(super) bytes_restored: AtomicU64,
    pub(super) bytes_reused: AtomicU64,
    pub(super) bytes_total: AtomicU64,
    pub(super) owners_refused: AtomicU64,
    pub(super) attributes_refused: AtomicU64,
    problem_count: AtomicU64,
    damaged: AtomicBool,
    stopped: AtomicBool,
    rest: Mutex<Rest>,
}

#[derive(Default)]
struct Rest {
    problems: Vec<(String, String)>,
    failure: Option<Error>,
}

impl<'a> Report<'a> {
    pub(super) fn new(observer: &'a dyn Observer, changes: Option<ChangeSink>) -> Self {
        Self {
            observer,
            changes,
            files_restored: AtomicU64::new(0),
            files_unchanged: AtomicU64::new(0),
            files_skipped: AtomicU64::new(0),
            files_deleted: AtomicU64::new(0),
            directories: AtomicU64::new(0),
            bytes_restored: AtomicU64::new(0),
            bytes_reused: AtomicU64::new(0),
            bytes_total: AtomicU64::new(0),
            owners_refused: AtomicU64::new(0),
            attributes_refused: AtomicU64::new(0),
            problem_count: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            rest: Mutex::default(),
        }
    }

    /// Says that something was, or would be, done to a path.
    pub(super) fn change(&self, change: Change, path: &Path) {
        if let Some(changes) = &self.changes {
            changes(change, path);
        }
    }

    /// Whether changes are asked for.
    pub(super) fn tells_changes(&self) -> bool {
        self.changes.is_some()
    }

    /// Something about a path that the run survives.
    pub(super) fn problem(&self, path: &Path, message: &str) {
        let object = path.display().to_string();
        self.observer.event(Event::Problem { object: &object, message });
        self.problem_count.fetch_add(1, Ordering::Relaxed);
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.problems.len() < PROBLEMS_KEPT {
            rest.problems.push((object, message.to_owned()));
        }
    }

    /// Something of the repository is not as it was written, and so a path is not whole.
    pub(super) fn damage(&self, path: &Path, error: &Error) {
        self.damaged.store(true, Ordering::Relaxed);
        self.problem(path, &error.to_string());
    }

    /// A system call for a path failed: a problem, or the end of the run if all others would fail too.
    pub(super) fn failed(&self, path: &Path, what: &str, error: io::Error) {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) {
            self.stop(Error::io(path.display(), error));
        } else if what.is_empty() {
            self.problem(path, &error.to_string());
        } else {
            self.problem(path, &format!("{what}: {error}"));
        }
    }

    /// What of a path's metadata could not be set.
    pub(super) fn refused(&self, path: &Path, refused: Refused) {
        self.owners_refused.fetch_add(u64::from(refused.owner), Ordering::Relaxed);
        self.attributes_refused.fetch_add(refused.attributes, Ordering::Relaxed);
        for (what, error) in refused.problems {
            self.failed(path, &what, error);
        }
    }

    /// An error of the repository while something was read for a path.
    pub(super) fn unreadable(&self, path: &Path, error: Error) {
        match error.kind() {
            ErrorKind::Damaged | ErrorKind::NotFound => self.damage(path, &error),
            _ => self.stop(error),
        }
    }

    /// Ends the run; the first error is the one that is told.
    pub(super) fn stop(&self, error: Error) {
        self.stopped.store(true, Ordering::Relaxed);
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).failure.get_or_insert(error);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// The error that ended the run, if one did.
    pub(super) fn go_on(&self) -> Result<()> {
        if !self.is_stopped() {
            return Ok(());
        }
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        Err(rest.failure.take().unwrap_or_else(|| Error::new(ErrorKind::Failed, "", "stopped by an earlier error")))
    }

    /// So many more bytes of files are dealt with.
    pub(super) fn progress(&self, restored: u64, reused: u64) {
        let before = self.bytes_restored.fetch_add(restored, Ordering::Relaxed);
        let reused = self.bytes_reused.fetch_add(reused, Ordering::Relaxed) + reused;
        self.observer.event(Event::Progress { done: before + restored + reused });
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    pub(super) fn problem_count(&self) -> u64 {
        self.problem_count.load(Ordering::Relaxed)
    }

    pub(super) fn take_problems(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.rest.lock().unwrap_or_else(PoisonError::into_inner).problems)
    }
}
