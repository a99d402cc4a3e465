//! Forgetting snapshots by rules.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{Filter, Summary};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Snapshot, Status};
use crate::id::SnapshotId;
use crate::progress::{Event, Observer};
use crate::repository::{Repository, machine};
use crate::retention::{self, Candidate, KeepPolicy};

/// Which snapshots to forget.
#[derive(Clone, Debug, Default)]
pub struct ForgetOptions {
    /// These, whatever the rules say. Without any, the rules decide.
    pub ids: Vec<SnapshotId>,
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
///
/// # Errors
/// [`ErrorKind::Usage`] when there is neither an id nor a rule, [`ErrorKind::Damaged`] when any snapshot object does not
/// open: the rules cannot be applied to what is not known. Nothing is forgotten in either case.
pub async fn forget(
    repository: &Repository,
    options: ForgetOptions,
    observer: Arc<dyn Observer>,
) -> Result<ForgetReport> {
    let repository = repository.clone();
    super::blocking(move || {
        if options.ids.is_empty() && options.policy.is_empty() {
            let message = "say which: ids of snapshots, or rules for what to keep";
            return Err(Error::new(ErrorKind::Usage, "forget", message));
        }
        let live = repository.snapshots()?.into_live()?;
        let groups = if options.ids.is_empty() { by_rules(&options, live) } else { by_ids(&options.ids, live)? };
        if !options.dry_run {
            carry_out(&repository, &groups, &*observer)?;
        }
        Ok(ForgetReport { groups })
    })
    .await
}

fn carry_out(repository: &Repository, groups: &[ForgetGroup], observer: &dyn Observer) -> Result<()> {
    let doomed: Vec<&Snapshot> = groups.iter().flat_map(|group| &group.remove).collect();
    observer.event(Event::Stage { name: "forgetting snapshots", total: Some(doomed.len() as u64) });
    for (done, snapshot) in (1..).zip(&doomed) {
        repository.forget(snapshot.id)?;
        observer.event(Event::Progress { done });
    }
    Ok(())
}

/// Snapshots by host and label, newest first.
fn grouped(live: Vec<Snapshot>) -> BTreeMap<(String, String), Vec<Snapshot>> {
    let mut groups: BTreeMap<_, Vec<Snapshot>> = BTreeMap::new();
    for snapshot in live.into_iter().rev() {
        groups.entry((snapshot.host.clone(), snapshot.label.clone())).or_default().push(snapshot);
    }
    groups
}

fn by_rules(options: &ForgetOptions, live: Vec<Snapshot>) -> Vec<ForgetGroup> {
    let filter = Filter { hosts: options.hosts.clone(), labels: options.labels.clone(), tags: options.tags.clone() };
    let allowed = live.into_iter().filter(|snapshot| filter.allows(&Summary::from(snapshot))).collect();
    let (now_ms, zone) = (machine::now_ms(), TimeZone::system());
    let judge = |((host, label), snapshots): ((String, String), Vec<Snapshot>)| {
        let candidates: Vec<Candidate> = snapshots.iter().map(candidate).collect();
        let decisions = retention::apply(&options.policy, &candidates, now_ms, &zone);
        let mut group = ForgetGroup { host, label, keep: Vec::new(), remove: Vec::new() };
        for (snapshot, decision) in snapshots.into_iter().zip(decisions) {
            if decision.keep {
                group.keep.push((snapshot, decision.reasons));
            } else {
                group.remove.push(snapshot);
            }
        }
        group
    };
    grouped(allowed).into_iter().map(judge).collect()
}

/// The groups that have one of these; the others of a group stay for no reason but not being named.
fn by_ids(ids: &[SnapshotId], live: Vec<Snapshot>) -> Result<Vec<ForgetGroup>> {
    let present: HashSet<SnapshotId> = live.iter().map(|snapshot| snapshot.id).collect();
    if let Some(id) = ids.iter().find(|id| !present.contains(id)) {
        return Err(Error::new(ErrorKind::NotFound, format!("snapshot {}", id.short()), "no such snapshot"));
    }
    let mut groups = Vec::new();
    for ((host, label), snapshots) in grouped(live) {
        let (remove, keep): (Vec<_>, Vec<_>) = snapshots.into_iter().partition(|s| ids.contains(&s.id));
        if !remove.is_empty() {
            let keep = keep.into_iter().map(|snapshot| (snapshot, Vec::new())).collect();
            groups.push(ForgetGroup { host, label, keep, remove });
        }
    }
    Ok(groups)
}

fn candidate(snapshot: &Snapshot) -> Candidate {
    Candidate {
        id: snapshot.id,
        time_ms: snapshot.time_ms,
        tags: snapshot.tags.clone(),
        complete: snapshot.status == Status::Complete,
    }
}
