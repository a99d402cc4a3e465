//! What a mirror lacks and what it has too much, from the listings of both sides.

use std::collections::BTreeMap;

use super::listing::Listing;
use super::survey::{Fate, Survey};
use crate::format::ObjectPath;
use crate::id::PackId;

/// Objects to copy, and candidates for removal.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Key slots and lists of placements, with sizes.
    pub(super) first: Vec<(ObjectPath, u64)>,
    /// Packs that the mirror lacks or has in another length.
    pub(super) packs: Vec<(ObjectPath, u64)>,
    /// Packs that the primary lacks though its index lists them, and the mirror has.
    pub(super) packs_back: Vec<ObjectPath>,
    pub(super) index: Vec<(ObjectPath, u64)>,
    pub(super) gc: Vec<(ObjectPath, u64)>,
    /// Snapshots, tombstones and fences.
    pub(super) snapshots: Vec<Decided>,
    /// In the mirror alone: ...
    pub(super) extra_keys: Vec<ObjectPath>,
    pub(super) extra_index: Vec<ObjectPath>,
    pub(super) extra_gc: Vec<ObjectPath>,
    pub(super) extra_snapshots: Vec<ObjectPath>,
    /// ... packs that are condemned, with their sizes, ...
    pub(super) dead_packs: Vec<(ObjectPath, u64)>,
    /// ... and those that nobody explains.
    pub(super) extra_packs: Vec<(ObjectPath, u64)>,
}

/// An object under `snapshots/` that the mirror may lack.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) path: ObjectPath,
    pub(super) size_bytes: u64,
    pub(super) state: InMirror,
}

/// What the mirror has in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InMirror {
    Missing,
    /// Something of another length.
    Other,
    /// Something of the length of the tombstone that may be another object.
    Maybe,
}

impl Plan {
    pub(super) fn new(survey: &Survey, mirror: &Listing) -> Self {
        let primary = &survey.listing;
        let mut plan = Self {
            first: missing(&primary.keys, &mirror.keys),
            packs: missing(&primary.packs, &mirror.packs),
            index: missing(&primary.index, &mirror.index),
            gc: missing(&primary.gc, &mirror.gc),
            extra_index: extra(&mirror.index, &primary.index),
            extra_gc: extra(&mirror.gc, &primary.gc),
            extra_snapshots: extra(&mirror.snapshots, &primary.snapshots),
            ..Self::default()
        };
        plan.first.extend(missing(&primary.lists, &mirror.lists));
        // A listing without the slot that opened the repository is no proof that the others were revoked.
        if !primary.keys.is_empty() {
            plan.extra_keys = extra(&mirror.keys, &primary.keys);
        }
        for (path, size_bytes) in &primary.snapshots {
            let dead = survey.fates.get(path) == Some(&Fate::Dead);
            let state = match mirror.snapshots.get(path) {
                None => InMirror::Missing,
                Some(found) if found != size_bytes => InMirror::Other,
                Some(_) if dead => InMirror::Maybe,
                Some(_) => continue,
            };
            plan.snapshots.push(Decided { path: path.clone(), size_bytes: *size_bytes, state });
        }
        for (path, size_bytes) in mirror.packs.iter().filter(|(path, _)| !primary.packs.contains_key(path)) {
            let Ok(id) = path.name().parse::<PackId>() else { continue };
            if survey.indexed.contains(&id) {
                plan.packs_back.push(path.clone());
            } else if survey.condemned.contains(&id) {
                plan.dead_packs.push((path.clone(), *size_bytes));
            } else {
                plan.extra_packs.push((path.clone(), *size_bytes));
            }
        }
        plan
    }
}

/// What `to` lacks or has in another length.
fn missing(from: &BTreeMap<ObjectPath, u64>, to: &BTreeMap<ObjectPath, u64>) -> Vec<(ObjectPath, u64)> {
    let lacks = |(path, size): &(&ObjectPath, &u64)| to.get(path) != Some(*size);
    from.iter().filter(lacks).map(|(path, size)| (path.clone(), *size)).collect()
}

/// What only `of` has.
fn extra(of: &BTreeMap<ObjectPath, u64>, than: &BTreeMap<ObjectPath, u64>) -> Vec<ObjectPath> {
    of.keys().filter(|path| !than.contains_key(path)).cloned().collect()
}
