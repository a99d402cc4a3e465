//! Snapshots from one repository into another, whatever the keys, chunk sizes and backends of the two.
//!
//! Nothing of one repository means anything in another: ids, cuts and the shape of trees follow from its keys. So what is
//! copied is read, verified and stored anew; but only what differs from the last snapshot that was copied.

mod content;
mod datoms;
mod extents;
mod memo;
mod run;
mod shares;
mod trees;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Filter, Shard};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::progress::Observer;
use crate::repository::{Repository, WriterStatistics};

/// What to copy, and how.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// These snapshots; the complete ones that the filter allows when empty.
    pub ids: Vec<SnapshotId>,
    /// Which snapshots are meant when none are named.
    pub filter: Filter,
    /// zstd level.
    pub compression_level: i32,
    /// Memory for sorting.
    pub memory_bytes: usize,
    /// Where runs of a sort are kept; by default the system's directory for temporary files.
    pub temporary: Option<PathBuf>,
    /// A partial snapshot is written this often, so that little is read again after an interruption ...
    pub partial_every: Duration,
    /// ... and whenever so many bytes were copied since the last one.
    pub partial_every_bytes: u64,
    /// Say which snapshots would be copied, do nothing.
    pub dry_run: bool,
    /// Only one of several parts. Each commits what it has copied of a snapshot as a partial snapshot; a copy without this
    /// then puts them together without reading their content again.
    pub shard: Option<Shard>,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            filter: Filter::default(),
            compression_level: 3,
            memory_bytes: 64 << 20,
            temporary: None,
            partial_every: Duration::from_secs(300),
            partial_every_bytes: 1 << 30,
            dry_run: false,
            shard: None,
        }
    }
}

/// A snapshot and its copy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Copied {
    /// In the repository that was read.
    pub source: SnapshotId,
    /// In the repository that was written to; in a dry run the snapshot that would be copied.
    pub snapshot: Snapshot,
}

/// What `copy` did, or would do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyReport {
    /// Snapshots that were copied, oldest first.
    pub copied: Vec<Copied>,
    /// Snapshots that were there already, and as what.
    pub present: Vec<(SnapshotId, SnapshotId)>,
    /// Bytes of chunks that were read.
    pub bytes_read: u64,
    /// What was written.
    pub written: WriterStatistics,
    /// Of a part: the parts, from 1, that have not ended for every snapshot that is to be copied.
    pub shards_missing: Vec<u32>,
}

/// Copies snapshots that the repository `to` does not have, oldest first.
///
/// Each is committed by itself, with the properties `copied-from` (repository and snapshot), by which the next run knows it,
/// and `original`. A long copy leaves partial snapshots, with which the next run goes on.
///
/// # Errors
/// [`ErrorKind::Usage`] when both are the same repository, [`ErrorKind::Damaged`] when something to copy does not open.
pub async fn copy(
    from: &Repository,
    to: &Repository,
    options: CopyOptions,
    observer: Arc<dyn Observer>,
) -> Result<CopyReport> {
    if from.id() == to.id() {
        return Err(Error::new(ErrorKind::Usage, to.location(), "is the repository that is to be copied from"));
    }
    let (from, to) = (from.clone(), to.clone());
    super::blocking(move || run::run(&from, &to, &options, &*observer)).await
}
