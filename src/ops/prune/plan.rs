//! What to remove and what to move.

use std::sync::{Arc, PoisonError};

use super::survey::{Survey, indexed_packs};
use super::{PruneOptions, PruneReport};
use crate::error::Result;
use crate::format::{BlobKind, IndexedPack, RetentionClass};
use crate::id::PackId;
use crate::repository::Repository;

/// Packs smaller than this are merged when there are many of them.
const SMALL_PACK_BYTES: u64 = 4 << 20;
/// How many small packs of one kind may stay.
const SMALL_PACKS: usize = 12;

/// Packs to condemn.
#[derive(Default)]
pub(super) struct Plan {
    /// Nothing in them is needed.
    pub(super) dead: Vec<PackId>,
    /// What is needed of them moves to new packs first.
    pub(super) repack: Vec<Arc<IndexedPack>>,
}

struct Usage {
    pack: Arc<IndexedPack>,
    live: u64,
    /// Of what is live, about as much is needed as base of deltas only.
    mere_bases: u64,
    unused: u64,
}

/// Decides, and writes into the report what the decision means.
pub(super) fn plan(
    repository: &Repository,
    survey: &Survey,
    options: &PruneOptions,
    report: &mut PruneReport,
) -> Result<Plan> {
    let mut plan = Plan::default();
    let mut partly = Vec::new();
    let (mut used, mut unused) = (0, 0);
    for pack in indexed_packs(repository)? {
        let usage = usage(repository, survey, pack);
        report.packs += 1;
        report.bytes += usage.pack.size_bytes;
        report.unused_bytes += usage.unused;
        report.base_bytes += usage.mere_bases;
        used += usage.live;
        if usage.live == 0 {
            report.packs_dead += 1;
            report.bytes_dead += usage.pack.size_bytes;
            plan.dead.push(usage.pack.id);
        } else {
            unused += usage.unused;
            partly.push(usage);
        }
    }
    for (pack, size) in &survey.orphans {
        report.packs += 1;
        report.bytes += size;
        report.unused_bytes += size;
        report.packs_dead += 1;
        report.bytes_dead += size;
        plan.dead.push(*pack);
    }
    let mut budget = options.max_repack_bytes.unwrap_or(u64::MAX);
    let tolerated = (used as f64 * options.max_unused_percent.max(0.0) / 100.0) as u64;
    let mut repack = |usage: &Usage, report: &mut PruneReport| {
        if usage.live > budget {
            return false;
        }
        budget -= usage.live;
        report.packs_repacked += 1;
        report.bytes_repacked += usage.pack.size_bytes;
        plan.repack.push(Arc::clone(&usage.pack));
        true
    };
    // The emptiest first: they free most for what they cost.
    partly
        .sort_by(|a, b| (u128::from(b.unused) * u128::from(a.live)).cmp(&(u128::from(a.unused) * u128::from(b.live))));
    let mut kept = Vec::new();
    for usage in partly {
        let worth = unused > tolerated && usage.unused > 0;
        if worth && repack(&usage, report) {
            unused -= usage.unused;
        } else {
            kept.push(usage);
        }
    }
    for kind in [BlobKind::Chunk, BlobKind::Node] {
        for class in [RetentionClass::Standard, RetentionClass::Short, RetentionClass::Long] {
            let small: Vec<&Usage> = kept.iter().filter(|usage| is_small(usage, kind, class)).collect();
            if small.len() > SMALL_PACKS {
                small.into_iter().for_each(|usage| {
                    repack(usage, report);
                });
            }
        }
    }
    Ok(plan)
}

fn is_small(usage: &Usage, kind: BlobKind, class: RetentionClass) -> bool {
    let directory = &usage.pack.directory;
    usage.pack.size_bytes < SMALL_PACK_BYTES
        && directory.class == class
        && directory.frames.first().and_then(|frame| frame.kind()) == Some(kind)
}

/// Bytes of a pack by whether they are needed; a frame's bytes are shared out among its blobs by their lengths.
fn usage(repository: &Repository, survey: &Survey, pack: Arc<IndexedPack>) -> Usage {
    let index = repository.index().read().unwrap_or_else(PoisonError::into_inner);
    let (mut live, mut mere_bases, mut total) = (0, 0, 0);
    for frame in &pack.directory.frames {
        total += u64::from(frame.sealed_len);
        let (mut stored, mut bases) = (0, 0);
        let mut any = false;
        for blob in &frame.blobs {
            if survey.marks.needs(&index, pack.id, blob) {
                any = true;
                stored += u64::from(blob.stored_len);
                if survey.marks.is_mere_base(&index, blob) {
                    bases += u64::from(blob.stored_len);
                }
            }
        }
        let share = |part: u64| u64::from(frame.sealed_len) * part / u64::from(frame.raw_len).max(1);
        mere_bases += share(bases);
        if any {
            live += share(stored).max(1);
        }
    }
    Usage { live, mere_bases, unused: total.saturating_sub(live), pack }
}
