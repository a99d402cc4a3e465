//! From condemned to gone: sessions end, what came to be needed is rescued, then packs leave the index and the backend.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use super::survey::{Marks, Survey, list_packs};
use super::{PruneOptions, PruneReport};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{IndexContent, ObjectPath, Outcome, RetentionClass};
use crate::id::PackId;
use crate::progress::{Event, Observer};
use crate::repository::{Repository, machine};

/// Tombstones, fences and gc records are kept this long: a delayed request of a long-gone client must still meet them.
const TOMBSTONE_MS: i64 = 90 * 24 * 3600 * 1000;
/// More index objects than this are merged.
const INDEX_OBJECTS: usize = 16;

/// When what snapshots reach is marked again before anything is removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rescan {
    /// When there are other snapshots or gc records than before.
    IfChanged,
    /// Always: live blobs were moved.
    Always,
}

/// Finishes what all gc records condemn, this run's and those of runs that could not wait. Returns the newer survey.
pub(super) fn finish(
    repository: &Repository,
    survey: Survey,
    rescan: Rescan,
    options: &PruneOptions,
    observer: &dyn Observer,
    report: &mut PruneReport,
) -> Result<Survey> {
    let published = repository.gc_records()?.newest;
    // The order is load-bearing: the record is out, now sessions are listed; whoever registers later sees the record.
    let acknowledged = close_sessions(repository, published, options, report)?;
    let snapshots = repository.snapshots()?;
    let tombstones = old_tombstones(&snapshots);
    let live = snapshots.into_live()?;
    let gc = repository.gc_records()?;
    repository.load_index(&gc)?;
    let ids: HashSet<_> = live.iter().map(|snapshot| snapshot.id).collect();
    let same = ids == survey.snapshots && gc.newest == survey.gc.newest && survey.marks.all_at_home();
    let marks =
        if same && rescan == Rescan::IfChanged { survey.marks } else { Marks::of(repository, &live, observer)? };
    let packs = list_packs(repository)?;
    // Only what was condemned before sessions were listed may go: a session that is not in that list may count on packs
    // that another pruner has condemned since.
    let settled: HashSet<PackId> = gc
        .records
        .iter()
        .filter(|record| record.n <= acknowledged)
        .flat_map(|record| record.condemned.iter().copied())
        .collect();
    let condemned: HashMap<PackId, u64> =
        packs.iter().filter(|(id, _)| settled.contains(id)).map(|(id, stat)| (*id, stat.size_bytes)).collect();
    let is_waiting = |id: &PackId| gc.condemned.contains(id) && !settled.contains(id);
    let waiting: Vec<u64> = packs.iter().filter(|(id, _)| is_waiting(id)).map(|(_, stat)| stat.size_bytes).collect();
    report.packs_waiting = waiting.len() as u64;
    report.bytes_waiting = waiting.iter().sum();
    if acknowledged < published && condemned.is_empty() {
        return Ok(Survey { gc, snapshots: ids, marks, orphans: Vec::new() });
    }
    let rescued = rescue(repository, &marks, report)?;
    let renumbered = unindex(repository, &settled)?;
    observer.event(Event::Stage { name: "removing packs", total: Some(condemned.len() as u64) });
    for (done, (id, size)) in condemned.iter().enumerate() {
        repository.store().delete(&ObjectPath::pack(*id))?;
        report.packs_removed += 1;
        report.bytes_removed += size;
        observer.event(Event::Progress { done: done as u64 + 1 });
    }
    for path in tombstones {
        repository.store().delete(&path)?;
        report.tombstones_removed += 1;
    }
    let old = machine::now_ms() - TOMBSTONE_MS;
    let is_done = |n: u64| n < published && n <= acknowledged;
    for record in gc.records.iter().filter(|record| is_done(record.n) && record.time_ms < old) {
        repository.store().delete(&ObjectPath::gc(record.n))?;
    }
    for (path, stat) in repository.store().list("ledger/")? {
        if stat.modified_ms < old {
            repository.store().delete(&path)?;
        }
    }
    let marks = if rescued || renumbered { Marks::of(repository, &live, observer)? } else { marks };
    Ok(Survey { gc, snapshots: ids, marks, orphans: Vec::new() })
}

/// Closes sessions that are dead or idle for too long, and cleans up after those that have ended. Returns the newest gc record
/// up to which no session is left that might count on a pack it condemns; `published` where there is none at all.
pub(super) fn close_sessions(
    repository: &Repository,
    published: u64,
    options: &PruneOptions,
    report: &mut PruneReport,
) -> Result<u64> {
    report.open_sessions.clear();
    let (mut acknowledged, mut open) = (published, HashSet::new());
    let idle = i64::try_from(options.idle_limit.as_millis()).unwrap_or(i64::MAX);
    for session in repository.open_sessions()? {
        let decided = match repository.outcome(session.id)? {
            Some(outcome) => Some(outcome),
            // It was registered after this pruner became alone, and waits: it has not read anything yet.
            None if !repository.can_fence() => continue,
            None if session.is_dead() || machine::now_ms().saturating_sub(session.last_alive_ms) > idle => {
                let outcome = repository.fence(session.id)?;
                if matches!(outcome, Outcome::Fenced { .. }) {
                    report.fenced_sessions.push(session.id);
                }
                Some(outcome)
            }
            None => None,
        };
        if decided.is_some() {
            for path in session.objects.iter().rev() {
                repository.store().delete(path)?;
            }
        } else {
            open.insert(session.id);
            acknowledged = acknowledged.min(session.acknowledged_gc);
            if session.acknowledged_gc < published {
                report.open_sessions.push(session.id);
            }
        }
    }
    // The order is load-bearing: chains after sessions. Whoever closed a session of a chain may be about to fold it, in a
    // session that this pruner has not seen.
    for session in crate::ops::sync::unsettled(repository)? {
        if !open.contains(&session) {
            report.open_sessions.push(session);
            acknowledged = 0;
        }
    }
    Ok(acknowledged)
}

/// Copies what a live snapshot needs and only condemned packs hold. Condemned packs themselves stay dead.
fn rescue(repository: &Repository, marks: &Marks, report: &mut PruneReport) -> Result<bool> {
    if marks.all_at_home() {
        return Ok(false);
    }
    let mut frames = HashSet::new();
    let mut repacker = repository.repacker(RetentionClass::Standard);
    let blobs = marks.homeless.iter().map(|id| (id, false));
    for (id, whole) in blobs.chain(marks.homeless_bases.iter().map(|id| (id, true))) {
        let index = repository.index().read().unwrap_or_else(PoisonError::into_inner);
        let location = if whole { index.find_whole(id) } else { index.find_anywhere(id) };
        drop(index);
        let lost = || Error::new(ErrorKind::Damaged, format!("blob {id}"), "is needed by a snapshot and in no pack");
        let location = location.ok_or_else(lost)?;
        report.blobs_rescued += 1;
        if frames.insert((location.pack(), location.frame().offset)) {
            let frame = location.frame();
            let needed = |id| marks.homeless.contains(id) || marks.homeless_bases.contains(id);
            let flags: Vec<bool> = frame.blobs.iter().map(|blob| needed(&blob.id)).collect();
            repacker.copy(location.indexed_pack(), frame, &flags)?;
        }
    }
    repacker.finish()?;
    Ok(true)
}

/// Replaces index objects that list condemned packs, and merges them when there are many. New ones are written before old
/// ones are removed. Whether anything was replaced.
fn unindex(repository: &Repository, condemned: &HashSet<PackId>) -> Result<bool> {
    let listed = repository.list_index()?;
    let merge = listed.len() > INDEX_OBJECTS;
    let mut content = IndexContent { packs: Vec::new(), replaces: Vec::new() };
    let mut replaced = Vec::new();
    let mut seen = HashSet::new();
    for (path, id) in listed {
        let old = repository.read_index(&path, id)?;
        if !merge && !old.packs.iter().any(|pack| condemned.contains(&pack.id)) {
            continue;
        }
        content
            .packs
            .extend(old.packs.into_iter().filter(|pack| !condemned.contains(&pack.id) && seen.insert(pack.id)));
        content.replaces.push(id);
        replaced.push(path);
    }
    if replaced.is_empty() {
        return Ok(false);
    }
    if !content.packs.is_empty() {
        repository.put_index(content)?;
    }
    for path in &replaced {
        repository.store().delete(path)?;
    }
    repository.load_index(&repository.gc_records()?)?;
    Ok(true)
}

/// Tombstones and fences that have outlived any delayed request.
fn old_tombstones(snapshots: &crate::repository::SnapshotList) -> Vec<ObjectPath> {
    let old = machine::now_ms() - TOMBSTONE_MS;
    let outlived = |outcome: &Outcome| match outcome {
        Outcome::Forgotten { time_ms, .. } | Outcome::Fenced { time_ms, .. } => *time_ms < old,
        Outcome::Committed(_) => false,
    };
    let listed = snapshots.all.iter().filter(|listed| listed.outcome.as_ref().is_ok_and(outlived));
    listed.map(|listed| ObjectPath::snapshot(listed.id)).collect()
}
