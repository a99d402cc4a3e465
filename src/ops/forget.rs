//! Forgetting snapshots by rules.

use std::sync::Arc;

use crate::error::Result;
use crate::format::Snapshot;
use crate::progress::Observer;
use crate::repository::Repository;
use crate::retention::KeepPolicy;

/// Which snapshots to forget.
#[derive(Clone, Debug, Default)]
pub struct ForgetOptions {
    /// These, whatever the rules say. Without any, the rules decide.
    pub ids: Vec<crate::id::SnapshotId>,
    /// The rules, applied to each group of (host, label) on its own.
    pub policy: KeepPolicy,
    /// Only snapshots of these hosts; all when empty.
    pub hosts: Vec<String>,
    /// Only snapshots with these labels; all when empty.
    pub labels: Vec<String>,
    /// Only snapshots with all tags of one of these lists; all when empty.
    pub tags: Vec<Vec<String>>,
    /// Say what would happen, do nothing.
    pub dry_run: bool,
}

/// A group of snapshots and what becomes of each.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForgetGroup {
    /// The host of all its snapshots.
    pub host: String,
    /// The label of all its snapshots.
    pub label: String,
    /// Those that stay, with the reasons, newest first.
    pub keep: Vec<(Snapshot, Vec<String>)>,
    /// Those that go, newest first.
    pub remove: Vec<Snapshot>,
}

/// What `forget` did, or would do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ForgetReport {
    /// The groups.
    pub groups: Vec<ForgetGroup>,
}

/// Replaces snapshots by tombstones. What only they reached is freed by the next prune.
pub async fn forget(
    repository: &Repository,
    options: ForgetOptions,
    observer: Arc<dyn Observer>,
) -> Result<ForgetReport> {
    let _ = (repository, options, observer);
    unimplemented!()
}
