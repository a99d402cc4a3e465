//! What all stages of a restore share, and the order of the stages of a batch.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::batch::{Batch, Flag, Item, State};
use super::frames::Plan;
use super::report::Report;
use super::select::Selection;
use super::{Change, Overwrite, RestoreFilesOptions};
use crate::error::{Error, Result};
use crate::record::entry::{self, Time, name_of, parent_of};
use crate::repository::Reader;
use crate::sorter::{Sorted, Sorter, SorterOptions};
use crate::target::files::{Directory, Kind, Node, Root};

/// Items that a thread takes at a time.
const ITEMS_AT_ONCE: usize = 32;

/// A restore.
pub(super) struct Run<'a> {
    pub(super) reader: Reader,
    /// The target; a dry run may have none.
    pub(super) root: Option<Root>,
    pub(super) target: &'a Path,
    pub(super) options: &'a RestoreFilesOptions,
    pub(super) report: Report<'a>,
    /// Whether this process may do everything.
    pub(super) is_root: bool,
    pub(super) threads: usize,
    /// Whether the target is where the restored directory was backed up.
    pub(super) is_original: bool,
    /// What may be deleted where a directory is in the way.
    pub(super) deletable: Option<Selection>,
    /// Paths that are not as in the snapshot, for verifying.
    pub(super) left_out: Mutex<Sorter>,
}

impl Run<'_> {
    /// The path of the target.
    pub(super) fn target(&self) -> &Path {
        self.target
    }

    /// Where a key is.
    pub(super) fn path(&self, key: &[u8]) -> PathBuf {
        let below = entry::path_of_key(key);
        match below.strip_prefix("/") {
            Ok(relative) if !key.is_empty() => self.target.join(relative),
            _ => self.target.to_owned(),
        }
    }

    /// The directory at a key; `None` in a dry run without a target.
    pub(super) fn directory(&self, key: &[u8]) -> std::io::Result<Option<Directory>> {
        self.root.as_ref().map(|root| root.directory(key)).transpose()
    }

    /// How paths are sorted outside memory.
    pub(super) fn sorter(&self) -> SorterOptions {
        SorterOptions { memory_bytes: self.options.memory_bytes / 4, directory: self.options.temporary.clone() }
    }

    pub(super) fn take_left_out(&self) -> Result<Sorted> {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *left_out, Sorter::new(self.sorter())).finish()
    }

    /// Restores a batch; nothing of it is unfinished when this returns.
    pub(super) fn restore(&self, batch: &Batch) -> Result<()> {
        let plan = Plan::default();
        let next = AtomicUsize::new(0);
        self.in_parallel(|| {
            let mut pieces = Vec::new();
            loop {
                let from = next.fetch_add(ITEMS_AT_ONCE, Ordering::Relaxed);
                if from >= batch.items.len() || self.report.is_stopped() {
                    break;
                }
                for number in from..batch.items.len().min(from + ITEMS_AT_ONCE) {
                    self.begin(batch, number, &plan, &mut pieces);
                }
            }
            plan.add(pieces);
        });
        self.report.go_on()?;
        self.write(batch, plan)?;
        for names in &batch.links {
            let item = &batch.items[names.item];
            let first = batch.key(item);
            for key in &names.keys {
                if item.is(Flag::Failed) { self.lost_name(&first, key) } else { self.link(&first, key) }
            }
        }
        self.report.go_on()
    }

    /// Does something in a directory, once more if another part of the restore, which has ended, took its owner's rights away
    /// as the snapshot says. This part does so again at its own end.
    pub(super) fn unlocked<T>(&self, key: &[u8], work: &mut dyn FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
        let done = work();
        let denied = |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
        if self.options.shard.is_none() || self.options.dry_run || self.is_root || !done.as_ref().is_err_and(denied) {
            return done;
        }
        let (Some(above), name) = (self.directory(parent_of(key).unwrap_or_default())?, name_of(key)) else {
            return done;
        };
        match above.find(name)? {
            Some(found) if !key.is_empty() && found.kind == Kind::Directory && found.mode & 0o700 != 0o700 => {
                Node::Named(&above, name, found.kind).chmod(found.mode | 0o700)?;
                work()
            }
            _ => done,
        }
    }

    /// Runs `work` on every thread.
    pub(super) fn in_parallel(&self, work: impl Fn() + Sync) {
        thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(&work);
            }
            work();
        });
    }

    /// An item cannot be whole: says why, once.
    pub(super) fn fail(&self, batch: &Batch, item: &Item, error: Error) {
        if item.mark(Flag::Failed) {
            self.leave_out(&batch.key(item));
            self.report.unreadable(&self.path(&batch.key(item)), error);
        }
    }

    /// A system call for an item failed: says so, once.
    pub(super) fn fail_io(&self, batch: &Batch, item: &Item, error: std::io::Error) {
        if item.mark(Flag::Failed) {
            self.leave_out(&batch.key(item));
            self.report.failed(&self.path(&batch.key(item)), "", error);
        }
    }

    /// Sets the metadata of a file that has all its content, and counts it. One that is not whole is marked as such.
    pub(super) fn finish(&self, batch: &Batch, item: &Item, node: Node<'_>) {
        if item.is(Flag::Failed) {
            // A time of change that differs from the right one: nobody takes it for what was backed up.
            let seconds = i64::from(item.wanted.mtime == Time::default());
            let marked = if node.is_open() { node.mark_incomplete(Time { seconds, nanos: 0 }) } else { Ok(()) };
            if let Err(error) = marked {
                self.report.failed(&self.path(&batch.key(item)), "", error);
            }
            return;
        }
        let before = if item.is(Flag::InPlace) || batch.state(item) != State::New { node.find().ok() } else { None };
        let mut refused = Default::default();
        item.wanted.set(node, before.as_ref(), &mut refused);
        if !refused.is_empty() {
            self.report.refused(&self.path(&batch.key(item)), refused);
        }
        self.report.files_restored.fetch_add(1, Ordering::Relaxed);
        if self.report.tells_changes() {
            let change = if item.is(Flag::InPlace) { Change::Changed } else { Change::New };
            self.report.change(change, &self.path(&batch.key(item)));
        }
    }

    /// Gives what was restored under one key a second one.
    pub(super) fn link(&self, first: &[u8], key: &[u8]) {
        let directory = parent_of(key).unwrap_or_default();
        match self.unlocked(directory, &mut || self.try_link(first, key)) {
            Ok(()) => {}
            Err(error) => {
                self.leave_out(key);
                self.report.failed(&self.path(key), "", error);
            }
        }
    }

    /// Says that a name is missing because what it names is.
    pub(super) fn lost_name(&self, first: &[u8], key: &[u8]) {
        let message = format!("is another name of {}, which was not restored", self.path(first).display());
        self.leave_out(key);
        self.report.problem(&self.path(key), &message);
    }

    fn try_link(&self, first: &[u8], key: &[u8]) -> std::io::Result<()> {
        let report = &self.report;
        let one = &report.files_restored;
        let told = |change: Change| {
            one.fetch_add(1, Ordering::Relaxed);
            report.change(change, &self.path(key));
        };
        let directory = match self.options.dry_run {
            false => self.make_leading(key)?,
            true => self.find_directory(parent_of(key).unwrap_or_default())?,
        };
        let Some(directory) = directory else {
            told(Change::New);
            return Ok(());
        };
        let first_directory = match self.options.dry_run {
            false => self.directory(parent_of(first).unwrap_or_default())?,
            true => self.find_directory(parent_of(first).unwrap_or_default())?,
        };
        let (name, first_name) = (name_of(key), name_of(first));
        let there = first_directory.as_ref().map_or(Ok(None), |directory| directory.find(first_name))?;
        let found = directory.find(name)?;
        if let (Some(found), Some(there)) = (&found, &there)
            && found.is_same(there)
        {
            report.files_unchanged.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let change = if found.is_some() { Change::Changed } else { Change::New };
        if let Some(found) = found {
            let keep = match self.options.overwrite {
                Overwrite::Never => true,
                Overwrite::IfNewer => there.is_none_or(|there| there.mtime <= found.mtime),
                Overwrite::Always | Overwrite::IfChanged => false,
            };
            if keep {
                self.leave_out(key);
                report.files_skipped.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            if !self.options.dry_run {
                self.clear_away(&directory, name, key, &found)?;
            }
        }
        if !self.options.dry_run {
            let first_directory = first_directory.ok_or_else(|| std::io::Error::other("no target"))?;
            directory.link(name, &first_directory, first_name)?;
        }
        told(change);
        Ok(())
    }

    /// The directory at a key, if it is there and nothing else is.
    pub(super) fn find_directory(&self, key: &[u8]) -> std::io::Result<Option<Directory>> {
        match self.directory(key) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            found => found,
        }
    }

    /// The directory that a path is in. Those that a snapshot does not have, it makes.
    fn make_leading(&self, key: &[u8]) -> std::io::Result<Option<Directory>> {
        let parent = parent_of(key).unwrap_or_default();
        if let Some(directory) = self.find_directory(parent)? {
            return Ok(Some(directory));
        }
        let ends = parent.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at);
        for end in ends.chain([parent.len()]) {
            let Some(above) = self.directory(parent_of(&parent[..end]).unwrap_or_default())? else { return Ok(None) };
            match above.create_directory(name_of(&parent[..end]), true) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        self.directory(parent)
    }
}
