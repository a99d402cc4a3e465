//! Removing what no snapshot reaches.

mod finish;
mod plan;
mod run;
mod survey;

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::id::SnapshotId;
use crate::progress::Observer;
use crate::repository::{Leftovers, Repository};

/// How to prune.
#[derive(Clone, Debug)]
pub struct PruneOptions {
    /// Say what would happen, do nothing.
    pub dry_run: bool,
    /// Share of unused bytes in the repository that may stay, 0 to 100.
    pub max_unused_percent: f64,
    /// The most bytes of live data that one run copies to new packs.
    pub max_repack_bytes: Option<u64>,
    /// Sessions that showed no life for this long are closed.
    pub idle_limit: Duration,
    /// On a store where nobody can be fenced: what is done about sessions that nobody may be behind any more.
    pub leftovers: Leftovers,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            max_unused_percent: 5.0,
            max_repack_bytes: None,
            idle_limit: Duration::from_secs(48 * 3600),
            leftovers: Leftovers::Respect,
        }
    }
}

/// What a prune did, or would do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PruneReport {
    /// Packs before.
    pub packs: u64,
    /// Bytes of packs before.
    pub bytes: u64,
    /// Bytes that no snapshot reaches.
    pub unused_bytes: u64,
    /// Bytes that snapshots need only because others are stored as differences to them.
    pub base_bytes: u64,
    /// Packs without anything live: removed.
    pub packs_dead: u64,
    /// Bytes of them.
    pub bytes_dead: u64,
    /// Packs whose live part is copied to new packs.
    pub packs_repacked: u64,
    /// Bytes of them.
    pub bytes_repacked: u64,
    /// Packs that would have been worth copying, but are in a class that cannot be read.
    pub packs_cold: u64,
    /// Live bytes copied.
    pub bytes_copied: u64,
    /// Packs condemned that wait for open sessions to end; the next prune removes them.
    pub packs_waiting: u64,
    /// Bytes of them.
    pub bytes_waiting: u64,
    /// Packs removed from the backend.
    pub packs_removed: u64,
    /// Bytes of them.
    pub bytes_removed: u64,
    /// Blobs copied out of condemned packs because a snapshot came to need them.
    pub blobs_rescued: u64,
    /// Sessions still open, for which condemned packs wait.
    pub open_sessions: Vec<SnapshotId>,
    /// Sessions closed because their process is dead or showed no life for too long.
    pub fenced_sessions: Vec<SnapshotId>,
    /// Snapshots made of sync segments that nobody went on with.
    pub folded_sessions: Vec<SnapshotId>,
    /// Index objects before and after.
    pub index_objects: (u64, u64),
    /// Uploads removed that were begun more than a day before and never ended.
    pub uploads_removed: u64,
    /// Tombstones removed.
    pub tombstones_removed: u64,
}

/// Removes what no snapshot reaches, in the two phases of the protocol: packs are condemned first, and removed when every
/// session that might count on them has ended. Backups may run at the same time, unless the store was found not to honour
/// `put_new`: there it works alone.
///
/// # Errors
/// [`crate::ErrorKind::Busy`] when it must work alone and cannot.
/// [`crate::ErrorKind::Damaged`] when a snapshot, or a node that one reaches, cannot be read: what cannot be followed
/// cannot be told from what nothing needs.
pub async fn prune(repository: &Repository, options: PruneOptions, observer: Arc<dyn Observer>) -> Result<PruneReport> {
    let repository = repository.clone();
    // Marks are numbers of index entries: a backup on the same handle must not renumber them meanwhile.
    super::blocking(move || run::run(&repository.with_own_index()?, &options, &*observer)).await
}
