//! Moving a database to another store while it is in use: restored, kept in step, and cut over when its users say so.
//!
//! The source goes through a repository: it is backed up, and what the target is to become is what a snapshot holds. The
//! first time that is restored; afterwards the differences of whole transactions are put into the target's indices. Where
//! a run left the target is not written down: the target is backed up too, and the trees of both snapshots are compared,
//! which finds whatever a killed run, or anything else, left different.
//!
//! The target says itself that it is being written ([`Migration`]), and by which run, so that one run can take over from
//! another.

mod apply;
mod catch_up;
mod claim;
mod held;
mod replica;
mod run;

use std::sync::Arc;
use std::time::Duration;

use super::BackupOptions;
use super::sync::{Followed, Stop};
use crate::datahike::Home;
use crate::error::{Error, Result};
use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::progress::Observer;
use crate::repository::Repository;

#[allow(unused_imports, reason = "named in the documentation above")]
use crate::target::datahike::Migration;

/// How to migrate.
#[derive(Clone, Debug)]
pub struct MigrateOptions {
    /// How snapshots of the source are made; host and label name them.
    pub backup: BackupOptions,
    /// How long transactions may wait to share a commit of the target.
    pub interval: Duration,
    /// Catch up and stop.
    pub once: bool,
    /// Catch up with everything, compare, and leave the target to its users.
    pub cut_over: bool,
    /// Compare only what was written since the last comparison, rather than the whole target.
    pub quick: bool,
    /// The longest wait before a failed attempt is repeated.
    pub retry_max_wait: Duration,
}

impl Default for MigrateOptions {
    fn default() -> Self {
        Self {
            backup: BackupOptions::default(),
            interval: Duration::from_secs(1),
            once: false,
            cut_over: false,
            quick: false,
            retry_max_wait: Duration::from_secs(60),
        }
    }
}

/// Where a database is moved to.
#[derive(Clone)]
pub struct Place {
    /// Where its blobs go.
    pub home: Arc<dyn Home>,
    /// The same place as [`crate::datahike::home::open`] takes it.
    pub location: String,
}

/// Something that happened while migrating.
#[derive(Debug)]
#[non_exhaustive]
pub enum MigrateEvent<'a> {
    /// Another run may be writing to the target: it is told to end, and given this long.
    TakingOver {
        /// Which.
        run: &'a str,
        /// How long.
        wait: Duration,
    },
    /// The target is written whole.
    Writing {
        /// What it is to hold.
        snapshot: &'a Snapshot,
        /// Why, where it held the database already.
        reason: Option<&'a str>,
    },
    /// The target holds what a snapshot does.
    CaughtUp {
        /// The snapshot.
        snapshot: &'a Snapshot,
        /// Datoms put and removed for that; nothing where the target was written whole.
        changes: Option<(u64, u64)>,
    },
    /// Datoms that the source does not have are taken out of the target.
    Undoing {
        /// What the target was before.
        snapshot: &'a Snapshot,
        /// How many.
        datoms: u64,
    },
    /// From here on transactions are taken over as they come.
    Following,
    /// Transactions are in the target.
    Applied {
        /// The greatest transaction id.
        t: i64,
        /// How many.
        transactions: u64,
        /// Datoms that came and went.
        datoms: u64,
        /// Bytes written to the target.
        bytes: u64,
        /// From when the first of them was noticed to when all were durable.
        lag: Duration,
    },
    /// Differences cannot be told: source and target are compared.
    Lost {
        /// Why.
        reason: &'a str,
    },
    /// The target is read back and compared with the source.
    Comparing,
    /// An attempt failed and is repeated.
    Retrying {
        /// Why.
        error: &'a Error,
        /// After this long.
        wait: Duration,
    },
}

/// Receives what happens; must return quickly.
pub trait MigrateObserver: Send + Sync {
    /// Something happened.
    fn event(&self, event: MigrateEvent<'_>);
}

impl<F: Fn(MigrateEvent<'_>) + Send + Sync> MigrateObserver for F {
    fn event(&self, event: MigrateEvent<'_>) {
        self(event);
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrateEnd {
    /// It was asked to, or was to run once: the same command goes on.
    Stopped,
    /// Another run has taken over.
    TakenOver,
    /// The target holds all that the source did, and belongs to its users.
    CutOver,
}

/// What a run did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MigrateSummary {
    /// Why it ended.
    pub end: MigrateEnd,
    /// The snapshot of the source that the target was equal to last; at a cut-over it is equal to it now.
    pub snapshot: Option<SnapshotId>,
    /// The greatest transaction id in the target.
    pub t: Option<i64>,
    /// Transactions taken over.
    pub transactions: u64,
    /// Commits of the target.
    pub commits: u64,
    /// How often the target was written whole.
    pub rewrites: u64,
    /// How often it had to begin anew.
    pub restarts: u64,
}

/// Moves a database to `place`, which must be empty or hold what an earlier run left, until it is asked to stop.
///
/// # Errors
/// [`crate::ErrorKind::AlreadyExists`] when `place` holds another database or was cut over, [`crate::ErrorKind::Busy`] when
/// another run of this machine writes to it, when something else does, or when at a cut-over the source does not come to
/// rest, [`crate::ErrorKind::Damaged`] when at a cut-over the target is not what the source is. What may pass is no error
/// while following: it is tried again.
pub async fn migrate(
    repository: &Repository,
    followed: Box<dyn Followed>,
    place: Place,
    options: MigrateOptions,
    stop: Stop,
    observer: Arc<dyn MigrateObserver>,
    progress: Arc<dyn Observer>,
) -> Result<MigrateSummary> {
    let repository = repository.clone();
    super::blocking(move || run::Run::new(&repository, followed, place, options, stop, observer, progress).run()).await
}
