//! What users ask for, one file each: plan, then do.
//!
//! These functions are `async` and do their work on a blocking thread of the current tokio runtime.

mod attributes;
mod backup;
mod bill;
mod check;
mod copy;
mod datoms;
mod derived;
mod diff;
mod doctor;
mod dump;
mod edit;
mod files;
mod find;
mod forget;
mod ls;
mod mark;
mod migrate;
mod mirror;
mod pack_content;
mod prune;
mod repair;
mod restore;
mod rewrite;
mod seen;
mod select;
mod shard;
mod stats;
mod streamed;
mod sync;
mod tag;
mod values;
mod verify;
mod verify_database;

pub use attributes::AttributeFilter;
pub use backup::{
    BackupOptions, BackupSummary, DatahikeSource, DatomsSource, FilesSource, Parent, Source, StreamInput, StreamSource,
    backup,
};
pub use bill::{FolderCost, StorageCost, storage_cost};
pub use check::{CheckOptions, CheckReport, CheckRound, Finding, ReadData, check, check_rounds};

pub use copy::{Copied, CopyOptions, CopyReport, copy};
pub use datoms::{KeyChanges, TimePoint, key_changes};
pub use diff::{
    DiffSummary, Difference, FileChange, FileCounts, FileDiffOptions, FileDiffSummary, SnapshotPath, What, diff,
    diff_directory, diff_files,
};
pub use doctor::{DoctorOptions, DoctorReport, doctor};
pub use dump::{Archive, DumpOptions, DumpSummary, dump_files};
pub use files::{Children, Entries as FileEntries, FileContent, FileExtents, FileTree, Piece};
pub use find::{BlobStart, Case, Criteria, FindOptions, Found, Pattern, SizeTest, Wanted, find};
pub use forget::{ForgetGroup, ForgetOptions, ForgetReport, forget};
pub use ls::{ListOptions, ListOrder, ListSummary, ls};
pub use migrate::{MigrateEnd, MigrateEvent, MigrateObserver, MigrateOptions, MigrateSummary, Place, migrate};
pub use mirror::{
    Healed, MirrorStatus, MirrorSyncOptions, MirrorSyncReport, NewMirror, mirror_add, mirror_heal, mirror_list,
    mirror_promote, mirror_remove, mirror_status, mirror_sync,
};
pub use prune::{PruneOptions, PruneReport, prune};
pub use repair::{RepairReport, repair_index};
pub use restore::*;
pub use rewrite::{RewriteOptions, RewriteReport, Rewritten, rewrite};
pub use select::*;
pub use shard::Shard;
pub use stats::{RestoreSize, SnapshotSize, Stats, different_files, restore_sizes, snapshot_sizes, stats};
pub use sync::*;
pub use tag::{Replaced, TagChange, TagOptions, TagReport, tag};
pub use verify::{VerifyReport, verify};
pub use verify_database::{BranchComparison, BranchFound, CompareOptions, DatomDifference, compare_database};

use crate::error::{Error, ErrorKind, Result};
use crate::format::{Outcome, Snapshot};
use crate::id::SnapshotId;
use crate::repository::Repository;

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::new(ErrorKind::Interrupted, "", "the runtime is shutting down").because(error)),
    }
}

/// A live snapshot, with the index loaded afterwards, so that everything in the snapshot is found.
fn open_snapshot(repository: &Repository, id: SnapshotId) -> Result<Snapshot> {
    let object = || format!("snapshot {}", id.short());
    let snapshot = match repository.find_outcome(id)? {
        Some(Outcome::Committed(snapshot)) => snapshot,
        Some(Outcome::Forgotten { .. }) => return Err(Error::new(ErrorKind::NotFound, object(), "was forgotten")),
        Some(Outcome::Fenced { .. }) | None => {
            repository.load_index(&repository.gc_records()?)?;
            let unfolded = sync::materialise(repository, id)?;
            return unfolded.ok_or_else(|| Error::new(ErrorKind::NotFound, object(), "no such snapshot"));
        }
    };
    repository.load_index(&repository.gc_records()?)?;
    Ok(snapshot)
}
