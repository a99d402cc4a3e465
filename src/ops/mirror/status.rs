//! How far behind mirrors are.

use super::listing::{Listing, expect_same};
use super::plan::{InMirror, Plan};
use super::survey::{Fate, Survey};
use super::{chosen, refuse_on_mirror};
use crate::backend::Mirror;
use crate::error::{Error, Result};
use crate::format::MirrorMode;
use crate::progress::{Event, Observer};
use crate::repository::Repository;

/// What is known of a mirror from its listings.
#[derive(Debug)]
#[non_exhaustive]
pub struct MirrorStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub location: String,
    /// When it is written.
    pub mode: MirrorMode,
    /// Why nothing more is known of it.
    pub error: Option<Error>,
    /// Objects that it lacks.
    pub objects_missing: u64,
    /// Bytes of them.
    pub bytes_missing: u64,
    /// Live snapshots that it lacks.
    pub snapshots_missing: u64,
    /// Objects that the primary has removed and it still has.
    pub objects_stale: u64,
    /// Bytes of the packs among them.
    pub bytes_stale: u64,
    /// Packs that the primary does not know and no gc record explains.
    pub extra_packs: u64,
    /// Time of its newest snapshot: milliseconds since 1970.
    pub newest_ms: Option<i64>,
    /// How much older that is than the primary's newest, in milliseconds.
    pub lag_ms: Option<i64>,
}

impl MirrorStatus {
    /// Whether it has everything and can be reached.
    pub fn is_current(&self) -> bool {
        self.error.is_none() && self.objects_missing == 0
    }
}

pub(super) fn status(repository: &Repository, names: &[String], observer: &dyn Observer) -> Result<Vec<MirrorStatus>> {
    let mirrored = repository.mirrored()?;
    mirrored.insist()?;
    refuse_on_mirror(repository)?;
    let primary = repository.place(mirrored.first().clone());
    let mirrors = chosen(repository, names)?;
    observer.event(Event::Stage { name: "listing", total: Some(mirrors.len() as u64 + 1) });
    let survey = Survey::take(repository, &primary)?;
    let mut all = Vec::new();
    for mirror in mirrors {
        let place = repository.place(mirror.backend.clone());
        let listing = expect_same(&primary, &place).and_then(|()| Listing::of(&place));
        all.push(compare(&survey, &mirror, listing));
        observer.event(Event::Progress { done: all.len() as u64 + 1 });
    }
    Ok(all)
}

fn compare(survey: &Survey, mirror: &Mirror, listing: Result<Listing>) -> MirrorStatus {
    let mut status = MirrorStatus {
        name: mirror.name.clone(),
        location: mirror.backend.location(),
        mode: mirror.mode,
        error: None,
        objects_missing: 0,
        bytes_missing: 0,
        snapshots_missing: 0,
        objects_stale: 0,
        bytes_stale: 0,
        extra_packs: 0,
        newest_ms: None,
        lag_ms: None,
    };
    let listing = match listing {
        Ok(listing) => listing,
        Err(error) => {
            status.error = Some(error);
            return status;
        }
    };
    let plan = Plan::new(survey, &listing);
    let snapshots = plan.snapshots.iter().filter(|decided| decided.state != InMirror::Maybe);
    let decided: Vec<_> = snapshots.map(|decided| (decided.path.clone(), decided.size_bytes)).collect();
    for (_, size) in [&plan.first, &plan.packs, &plan.index, &plan.gc, &decided].into_iter().flatten() {
        status.objects_missing += 1;
        status.bytes_missing += size;
    }
    let time = |path: &crate::format::ObjectPath| match survey.fates.get(path) {
        Some(Fate::Live(time)) => Some(*time),
        _ => None,
    };
    status.snapshots_missing = decided.iter().filter(|(path, _)| time(path).is_some()).count() as u64;
    let stale = [&plan.extra_keys, &plan.extra_index, &plan.extra_gc, &plan.extra_snapshots];
    status.objects_stale = stale.iter().map(|paths| paths.len() as u64).sum::<u64>() + plan.dead_packs.len() as u64;
    status.bytes_stale = plan.dead_packs.iter().map(|(_, size)| size).sum();
    status.extra_packs = plan.extra_packs.len() as u64;
    let newest = survey.listing.snapshots.keys().filter_map(time).max();
    status.newest_ms = listing.snapshots.keys().filter_map(time).max();
    status.lag_ms = newest.zip(status.newest_ms).map(|(newest, here)| newest - here);
    status
}
