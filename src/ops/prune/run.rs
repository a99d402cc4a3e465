//! The phases of a prune, in the order that keeps data safe.

use std::collections::HashMap;

use super::finish::{Rescan, close_sessions, finish};
use super::plan::{Plan, plan};
use super::survey::Survey;
use super::{PruneOptions, PruneReport};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{GcRecord, IndexedPack, RetentionClass};
use crate::id::PackId;
use crate::progress::{Event, Observer};
use crate::repository::{Repacker, Repository, machine, random};

/// How often a pruner starts over because another one was faster.
const ATTEMPTS: usize = 5;
/// Packs whose live frames are announced before they are copied.
const PACKS_AHEAD: usize = 3;

pub(super) fn run(repository: &Repository, options: &PruneOptions, observer: &dyn Observer) -> Result<PruneReport> {
    if options.dry_run {
        return side_by_side(repository, options, observer);
    }
    // Before anything is condemned, and before sessions are closed: what chains hold is in no snapshot yet.
    let folded_sessions = crate::ops::sync::settle(repository, options.idle_limit, options.leftovers)?;
    let report = if repository.can_fence() {
        side_by_side(repository, options, observer)?
    } else {
        let alone = repository.work_alone(options.leftovers)?;
        let pruned = side_by_side(repository, options, observer);
        let ended = alone.end();
        let report = pruned?;
        ended.map(|()| report)?
    };
    Ok(PruneReport { folded_sessions, ..report })
}

fn side_by_side(repository: &Repository, options: &PruneOptions, observer: &dyn Observer) -> Result<PruneReport> {
    for _ in 0..ATTEMPTS {
        if let Some(mut report) = attempt(repository, options, observer)? {
            if !options.dry_run {
                report.uploads_removed = clean_uploads(repository);
            }
            return Ok(report);
        }
    }
    Err(Error::new(ErrorKind::Busy, "gc", "other pruners were faster each time"))
}

/// A store that does not let its uploads be seen is no reason to fail.
fn clean_uploads(repository: &Repository) -> u64 {
    repository.store().clean_uploads().unwrap_or_else(|error| {
        tracing::warn!(%error, "unfinished uploads stay");
        0
    })
}

/// `None` when another pruner published a gc record in between.
fn attempt(repository: &Repository, options: &PruneOptions, observer: &dyn Observer) -> Result<Option<PruneReport>> {
    let mut report = PruneReport::default();
    if !options.dry_run {
        // What crashed sessions uploaded can then be told from what running ones have.
        close_sessions(repository, repository.newest_gc()?, options, &mut report)?;
    }
    let mut survey = Survey::take(repository, observer)?;
    let Plan { dead, repack } = plan(repository, &survey, options, &mut report)?;
    let objects = repository.list_index()?.len() as u64;
    report.index_objects = (objects, objects);
    if options.dry_run {
        return Ok(Some(report));
    }
    // Wholly dead packs go first: that needs no space, so a full disk can be freed.
    let mut newest = survey.gc.newest;
    if !dead.is_empty() {
        newest += 1;
        if !condemn(repository, newest, dead)? {
            return Ok(None);
        }
    }
    survey.gc.newest = newest;
    let survey = finish(repository, survey, Rescan::IfChanged, options, observer, &mut report)?;
    if !repack.is_empty() {
        // Decided before anything is added to the index, which would renumber it.
        let live: Vec<Vec<bool>> = repack.iter().map(|pack| survey.live_flags(repository, pack)).collect();
        observer.event(Event::Stage { name: "repacking", total: Some(repack.len() as u64) });
        let mut repackers: HashMap<u8, Repacker> = HashMap::new();
        let mut moved = Vec::new();
        for (done, (pack, flags)) in repack.iter().zip(&live).enumerate() {
            let class = pack.directory.class;
            let repacker = repackers.entry(class_number(class)).or_insert_with(|| repository.repacker(class));
            // This one, and the next ones while this one is copied.
            for (coming, flags) in repack.iter().zip(&live).skip(done).take(PACKS_AHEAD) {
                if coming.directory.class == class {
                    repacker.announce(coming, flags);
                }
            }
            match copy(repacker, pack, flags) {
                Ok(()) => moved.push(pack.id),
                // It stays until nothing of it is needed.
                Err(error) if error.kind() == ErrorKind::Cold => {
                    report.packs_cold += 1;
                    report.packs_repacked -= 1;
                    report.bytes_repacked -= pack.size_bytes;
                }
                Err(error) => return Err(error),
            }
            observer.event(Event::Progress { done: done as u64 + 1 });
        }
        for (_, repacker) in repackers {
            report.bytes_copied += repacker.finish()?.1;
        }
        if !moved.is_empty() {
            if !condemn(repository, newest + 1, moved)? {
                return Ok(None);
            }
            finish(repository, survey, Rescan::Always, options, observer, &mut report)?;
        }
    }
    report.index_objects.1 = repository.list_index()?.len() as u64;
    Ok(Some(report))
}

/// Copies what is live of a pack, one flag for each of its blobs. One that is cold has given nothing when that shows.
fn copy(repacker: &mut Repacker, pack: &IndexedPack, live: &[bool]) -> Result<()> {
    let mut live = live;
    for frame in &pack.directory.frames {
        let (flags, rest) = live.split_at(frame.blobs.len());
        repacker.copy(pack, frame, flags)?;
        live = rest;
    }
    Ok(())
}

/// Publishes a gc record; `false` when its number is taken.
fn condemn(repository: &Repository, n: u64, mut packs: Vec<PackId>) -> Result<bool> {
    packs.sort_unstable();
    packs.dedup();
    let by = machine::Machine::this().host;
    repository.put_gc_record(&GcRecord { n, time_ms: machine::now_ms(), condemned: packs, nonce: random(), by })
}

fn class_number(class: RetentionClass) -> u8 {
    match class {
        RetentionClass::Standard => 0,
        RetentionClass::Short => 1,
        RetentionClass::Long => 2,
    }
}
