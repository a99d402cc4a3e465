//! Restoring directory trees.
//!
//! The tree of paths is walked once in order. Directories are made on the way; everything else is gathered into batches
//! bounded in memory. What stands in the target already is compared chunk by chunk; what is missing is written pack by
//! pack, so that a frame is read and opened once for all files of a batch that need it. What has several names comes after
//! that, then what is deleted, then the metadata of directories.
//!
//! A file that is not finished has another time of change than in the snapshot: one that was begun has the time of the last
//! write, one that cannot be finished because of damage 1970. Running again compares, and continues.

mod batch;
mod examine;
mod finish;
mod frames;
mod gather;
mod report;
mod rows;
mod run;
mod select;
mod shares;
mod thaw;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use select::PathPattern;
pub use thaw::{ThawPlan, thaw_for_restore};

use batch::State;
use finish::Known;
use gather::Gather;
use report::Report;
use run::Run;
use select::{Selection, Step};

use crate::error::{Error, ErrorKind, Result};
use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::ops::Shard;
use crate::ops::backup::files::FILES;
use crate::ops::mark;
use crate::progress::{Event, Observer};
use crate::record::Entries;
use crate::record::entry::key_of_path;
use crate::repository::Repository;
use crate::sorter::{Sorter, SorterOptions};
use crate::target::files::Root;

/// With more paths than this, bytes are counted before anything is restored, so that progress can be told.
const COUNTED_FIRST: u64 = 100_000;

/// What happens to what is in the target already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// It becomes as in the snapshot. Contents are compared; what is right is not written again.
    #[default]
    Always,
    /// The same, but a file of the same size and time of change is taken for the same.
    IfChanged,
    /// The same as [`Self::Always`] for what changed last before it did in the snapshot; everything else stays.
    IfNewer,
    /// It stays.
    Never,
}

/// What happened, or in a dry run would have happened, to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    New,
    /// It was there with another content or other metadata.
    Changed,
    /// It was not in the snapshot.
    Deleted,
}

/// Is told of every change; called from several threads.
pub type ChangeSink = Arc<dyn Fn(Change, &Path) + Send + Sync>;

/// What to restore, and how.
#[derive(Clone, Debug)]
pub struct RestoreFilesOptions {
    /// Only this absolute path of the snapshot: what is in this directory comes right below the target, anything else
    /// there by its name.
    pub path: Option<PathBuf>,
    /// Only what one of these names, and the directories that lead there; everything when empty.
    pub include: Vec<PathPattern>,
    /// Not what one of these names. It is not deleted either.
    pub exclude: Vec<PathPattern>,
    /// What happens to what is there.
    pub overwrite: Overwrite,
    /// Delete what is in the restored directories but not in the snapshot. Directories that only lead to what was backed up
    /// are left alone, and so is everything when part of the snapshot cannot be read.
    pub delete: bool,
    /// Change nothing, only say what would be.
    pub dry_run: bool,
    /// Read everything again afterwards.
    pub verify: bool,
    /// Anonymous memory that sorting may take, roughly.
    pub memory_bytes: usize,
    /// Where sorted runs are spilled; the system's temporary folder by default.
    pub temporary: Option<PathBuf>,
    /// Only one of several parts, which may run side by side and on several machines, into the same target. All names of
    /// one file belong to the same part. Directories are made by every part that puts something there, and each sets
    /// their metadata after that: whichever is last leaves them right.
    pub shard: Option<Shard>,
}

impl Default for RestoreFilesOptions {
    fn default() -> Self {
        Self {
            path: None,
            include: Vec::new(),
            exclude: Vec::new(),
            overwrite: Overwrite::default(),
            delete: false,
            dry_run: false,
            verify: false,
            memory_bytes: 64 << 20,
            temporary: None,
            shard: None,
        }
    }
}

/// What a restore of directory trees did, or would have done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestoreFilesSummary {
    /// The snapshot it is from.
    pub snapshot: SnapshotId,
    /// Files, links and special files made or changed.
    pub files_restored: u64,
    /// Those that were right already.
    pub files_unchanged: u64,
    /// Those that were there and to be left.
    pub files_skipped: u64,
    /// Files and directories deleted.
    pub files_deleted: u64,
    /// Directories chosen.
    pub directories: u64,
    /// Bytes of files written.
    pub bytes_restored: u64,
    /// Bytes of files that were right already.
    pub bytes_reused: u64,
    /// Bytes of all files chosen.
    pub bytes_total: u64,
    /// What could not be restored, or not wholly, and why: the first 1,000.
    pub problems: Vec<(String, String)>,
    /// How many those are in all.
    pub problem_count: u64,
    /// Whether any of them is damage: in the repository, or found by reading again.
    pub is_damaged: bool,
    /// What a user who is not root could not set: what, and of how many paths.
    pub notes: Vec<(String, u64)>,
    /// How long it took.
    pub duration: Duration,
}

/// Restores a snapshot's directory trees, or part of them, below `target`, which is made if need be.
///
/// The metadata of a target that was there before is left as it is, unless it is the very directory that was backed up.
/// Nothing outside the target is touched, whatever the snapshot says and whatever links the target holds. What cannot be
/// restored is told to the observer and counted; an error means that the restore stopped, and that running it again
/// continues.
pub async fn restore_files(
    repository: &Repository,
    snapshot: SnapshotId,
    target: PathBuf,
    options: RestoreFilesOptions,
    changes: Option<ChangeSink>,
    observer: Arc<dyn Observer>,
) -> Result<RestoreFilesSummary> {
    let repository = repository.clone();
    crate::ops::blocking(move || {
        let snapshot = crate::ops::open_snapshot(&repository, snapshot)?;
        restore(&repository, &snapshot, &target, &options, changes, &*observer)
    })
    .await
}

fn restore(
    repository: &Repository,
    snapshot: &Snapshot,
    target: &Path,
    options: &RestoreFilesOptions,
    changes: Option<ChangeSink>,
    observer: &dyn Observer,
) -> Result<RestoreFilesSummary> {
    let started = Instant::now();
    let named = snapshot.roots.iter().find(|root| root.name == FILES);
    let object = || format!("snapshot {}", snapshot.id.short());
    let top = mark::root(named.ok_or_else(|| Error::new(ErrorKind::Usage, object(), "holds no directory trees"))?);
    let parameters = repository.tree_parameters(&Entries);
    let reader = repository.reader();
    let choose = || {
        let path = options.path.as_deref();
        Selection::new(&reader, &parameters, &top, path, &options.include, &options.exclude)
            .map(|selection| selection.of_shard(options.shard))
    };
    if options.shard.is_some() && options.overwrite == Overwrite::Never {
        // Directories that another part made look like those that are to be left as they are.
        let message = "cannot be told from what other parts of the restore have made";
        return Err(Error::new(ErrorKind::Usage, "what is there and shall stay", message));
    }
    let selection = choose()?;
    let sources: Vec<_> = snapshot.sources.iter().filter_map(|s| key_of_path(Path::new(&s.location))).collect();
    if options.delete && sources.is_empty() {
        return Err(Error::new(
            ErrorKind::Usage,
            object(),
            "does not say what was backed up whole: nothing can be deleted",
        ));
    }
    let said = snapshot.statistics.figures.iter().find(|(name, _)| name == "total_bytes").map(|(_, bytes)| *bytes);
    let mut bytes_total = said.filter(|_| options.path.is_none() && options.shard.is_none() && selection.is_whole());
    if bytes_total.is_none() && named.is_some_and(|root| root.records > COUNTED_FIRST) {
        observer.event(Event::Stage { name: "counting", total: None });
        let mut total = 0;
        selection.each(&reader, &parameters, &top, &mut |step| {
            total += if let Step::Chosen(chosen) = step { chosen.entry.size() } else { 0 };
            Ok(())
        })?;
        bytes_total = Some(total);
    }
    observer.event(Event::Stage { name: "restoring files", total: bytes_total });
    let (root, mut state) = open_target(target, options.dry_run)?;
    if options.shard.is_some() && state == State::New {
        // Who made it depends on who came first: no part sets its metadata.
        state = State::Old;
    }
    let sorter = SorterOptions { memory_bytes: options.memory_bytes / 4, directory: options.temporary.clone() };
    let run = Run {
        reader: reader.clone(),
        root,
        target,
        options,
        report: Report::new(observer, changes),
        is_root: rustix::process::geteuid().is_root(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        is_original: target.canonicalize().is_ok_and(|path| key_of_path(&path) == Some(selection.full_key(b""))),
        deletable: if options.delete { Some(choose()?) } else { None },
        left_out: Mutex::new(Sorter::new(sorter)),
    };
    let mut gather = Gather::new(&run, state, bytes_total.is_none());
    selection.each(&reader, &parameters, &top, &mut |step| gather.step(step))?;
    let (directories, is_partial) = gather.finish()?;
    if options.delete && is_partial {
        observer.event(Event::Note("nothing is deleted, as part of the snapshot cannot be read"));
    }
    let known = Known { reader: &reader, parameters: &parameters, root: &top, selection: &selection, sources };
    run.finish_directories(directories, (options.delete && !is_partial).then_some(&known))?;
    if options.verify && !options.dry_run {
        run.verify(&parameters, &top, &selection)?;
    }
    Ok(summarize(&run.report, snapshot.id, started.elapsed()))
}

fn open_target(target: &Path, dry_run: bool) -> Result<(Option<Root>, State)> {
    let named = |error| Error::io(target.display(), error);
    if !target.exists() {
        if dry_run {
            return Ok((None, State::Absent));
        }
        std::fs::create_dir_all(target).map_err(named)?;
        return Ok((Some(Root::open(target).map_err(named)?), State::New));
    }
    Ok((Some(Root::open(target).map_err(named)?), State::Old))
}

fn summarize(report: &Report<'_>, snapshot: SnapshotId, duration: Duration) -> RestoreFilesSummary {
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let notes = [
        ("owners not set, as only root may", read(&report.owners_refused)),
        ("extended attributes not set, as only root may", read(&report.attributes_refused)),
    ];
    RestoreFilesSummary {
        snapshot,
        files_restored: read(&report.files_restored),
        files_unchanged: read(&report.files_unchanged),
        files_skipped: read(&report.files_skipped),
        files_deleted: read(&report.files_deleted),
        directories: read(&report.directories),
        bytes_restored: read(&report.bytes_restored),
        bytes_reused: read(&report.bytes_reused),
        bytes_total: read(&report.bytes_total),
        problem_count: report.problem_count(),
        problems: report.take_problems(),
        is_damaged: report.is_damaged(),
        notes: notes
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| (what.to_owned(), count))
            .collect(),
        duration,
    }
}
