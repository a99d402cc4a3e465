//! Following a database: every transaction durable within moments, as a segment; snapshots made of segments now and then.
//!
//! A *stream* is what is followed, named by host and label. A session of the repository writes a *chain* of segments on top of
//! a snapshot, its base. Folding commits a snapshot of base and chain, and the chain goes. Whatever ends the process, the
//! chain is read as if it were a snapshot, and made one by whoever comes next: the next run, or a pruner.

mod chain;
mod changes;
mod datahike;
mod fold;
mod follow;
mod net;
mod retry;
mod stream;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(super) use chain::{Fate, fate, settle, unsettled};
pub(super) use changes::keys;
pub use changes::{Changed, Changes, Followed, Step};
pub use datahike::FollowedDatahike;
pub(super) use retry::{Backoff, TICK, may_pass};
pub(super) use view::materialise;
pub use view::{Unfolded, unfolded, unfolded_or_damaged};

use crate::error::{Error, Result};
use crate::format::Snapshot;
use crate::ops::BackupOptions;
use crate::repository::Repository;

/// How to follow.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// How snapshots are made; host and label name the stream.
    pub backup: BackupOptions,
    /// At most about this many transactions wait for a segment ...
    pub batch_transactions: u64,
    /// ... and none for longer than this.
    pub interval: Duration,
    /// Segments are folded into a snapshot this often ...
    pub fold_every: Duration,
    /// ... and when what they change takes this much memory.
    pub fold_bytes: usize,
    /// A session that nothing was written in is replaced by a new one this often, so that pruners need not wait for it.
    pub renew_every: Duration,
    /// Catch up and stop.
    pub once: bool,
    /// The longest wait before a failed attempt is repeated.
    pub retry_max_wait: Duration,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            backup: BackupOptions::default(),
            batch_transactions: 1000,
            interval: Duration::ZERO,
            fold_every: Duration::from_secs(15 * 60),
            fold_bytes: 64 << 20,
            // Before the first heartbeat.
            renew_every: Duration::from_secs(590),
            once: false,
            retry_max_wait: Duration::from_secs(60),
        }
    }
}

/// Asks a run to stop; clones ask the same run.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Folds what there is and ends.
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Something that happened while following.
#[derive(Debug)]
#[non_exhaustive]
pub enum SyncEvent<'a> {
    /// What an earlier run left behind is a snapshot now.
    Recovered {
        /// The snapshot.
        snapshot: &'a Snapshot,
    },
    /// From here on differences count.
    Following {
        /// The state that they are added to.
        snapshot: &'a Snapshot,
    },
    /// Transactions are durable.
    Durable {
        /// The greatest transaction id.
        t: i64,
        /// How many.
        transactions: u64,
        /// Keys put into trees.
        put: u64,
        /// Keys removed from trees.
        removed: u64,
        /// Segments they are in.
        segments: u64,
        /// Bytes of those.
        bytes: u64,
        /// From when the first of them was noticed to when all were durable.
        lag: Duration,
    },
    /// Segments were folded.
    Folded {
        /// The snapshot.
        snapshot: &'a Snapshot,
        /// How many segments it contains.
        segments: u64,
    },
    /// The database has to be read whole, or nearly so.
    Lost {
        /// Why.
        reason: &'a str,
    },
    /// An attempt failed and is repeated.
    Retrying {
        /// Why.
        error: &'a Error,
        /// After this long.
        wait: Duration,
    },
}

/// Receives what happens; must return quickly.
pub trait SyncObserver: Send + Sync {
    /// Something happened.
    fn event(&self, event: SyncEvent<'_>);
}

impl<F: Fn(SyncEvent<'_>) + Send + Sync> SyncObserver for F {
    fn event(&self, event: SyncEvent<'_>) {
        self(event);
    }
}

/// What a run did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SyncSummary {
    /// The snapshot that holds everything; the one it began with if nothing came.
    pub snapshot: Option<Snapshot>,
    /// The greatest transaction id that is durable.
    pub t: Option<i64>,
    /// Transactions made durable.
    pub transactions: u64,
    /// Segments written.
    pub segments: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Snapshots made of segments.
    pub folds: u64,
    /// How often it had to begin anew.
    pub restarts: u64,
}

/// Follows a database until it is asked to stop. What was told as [`SyncEvent::Durable`] restores, whatever happens to this
/// process or its machine.
///
/// # Errors
/// [`crate::ErrorKind::Busy`] when somebody else follows the same database under the same host and label. What may pass
/// is no error: it is tried again, once the database has been reached a first time.
pub async fn sync(
    repository: &Repository,
    mut followed: Box<dyn Followed>,
    options: SyncOptions,
    stop: Stop,
    observer: Arc<dyn SyncObserver>,
) -> Result<SyncSummary> {
    let repository = repository.clone();
    super::blocking(move || follow::follow(&repository, &mut *followed, &options, &stop, &*observer)).await
}
