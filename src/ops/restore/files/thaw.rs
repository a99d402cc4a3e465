//! What of a restore lies in a class that cannot be read yet: planning to thaw it, and asking for it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use super::select::{Selection, Step};
use super::{FILES, RestoreFilesOptions};
use crate::backend::{Thaw, ThawOrder, ThawTier};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ObjectPath;
use crate::id::{BlobId, PackId, SnapshotId};
use crate::ops::mark;
use crate::progress::{Event, Observer};
use crate::record::entry::{Body, Content, Entry, XattrValue, path_of_key};
use crate::record::{Entries, Extent, Extents};
use crate::repository::{Reader, Repository};
use crate::tree::{KeyRange, Root, Walker};

/// What a restore needs that cannot be read yet.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ThawPlan {
    /// Packs that the restore reads.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packs that cannot be read and had not been asked for.
    pub frozen_packs: u64,
    /// Their bytes.
    pub frozen_bytes: u64,
    /// Packs that were asked for before and cannot be read yet.
    pub underway_packs: u64,
    /// The classes that packs are in which cannot be read.
    pub classes: BTreeSet<String>,
    /// About what asking costs, in US dollars, with the copies that the store keeps readable meanwhile.
    pub cost_dollars: f64,
    /// When all of it can be read, at the latest as stores promise it: hours from now.
    pub wait_hours: u32,
}

impl ThawPlan {
    /// Whether all of it can be read now.
    pub fn is_readable(&self) -> bool {
        self.frozen_packs == 0 && self.underway_packs == 0
    }
}

/// Looks which packs a restore into `target` needs and cannot read yet, and asks for them unless `dry_run`. Files that stand
/// in the target with the right size and time need none.
pub async fn thaw_for_restore(
    repository: &Repository,
    snapshot: SnapshotId,
    target: PathBuf,
    options: RestoreFilesOptions,
    order: ThawOrder,
    observer: Arc<dyn Observer>,
) -> Result<ThawPlan> {
    let repository = repository.clone();
    crate::ops::blocking(move || thaw(&repository, snapshot, &target, &options, order, &*observer)).await
}

fn thaw(
    repository: &Repository,
    snapshot: SnapshotId,
    target: &Path,
    options: &RestoreFilesOptions,
    order: ThawOrder,
    observer: &dyn Observer,
) -> Result<ThawPlan> {
    let packs = needed(repository, snapshot, target, options)?;
    observer.event(Event::Stage { name: "looking what is cold", total: Some(packs.len() as u64) });
    let mut plan = ThawPlan { packs: packs.len() as u64, bytes: packs.values().sum(), ..ThawPlan::default() };
    let paths: Vec<ObjectPath> = packs.keys().map(|id| ObjectPath::pack(*id)).collect();
    let mut frozen = Vec::new();
    let asked = repository.store().thaw(&paths, None)?;
    for ((path, bytes), state) in paths.into_iter().zip(packs.values()).zip(asked) {
        match state {
            Thaw::Readable => {}
            Thaw::Underway { class } => {
                plan.underway_packs += 1;
                plan.wait_hours = plan.wait_hours.max(price(&class, order.tier).hours);
                plan.classes.insert(class);
            }
            Thaw::Frozen { class } => {
                let price = price(&class, order.tier);
                plan.frozen_packs += 1;
                plan.frozen_bytes += bytes;
                plan.cost_dollars += price.of(*bytes, order.days);
                plan.wait_hours = plan.wait_hours.max(price.hours);
                plan.classes.insert(class);
                frozen.push(path);
            }
        }
    }
    if !options.dry_run {
        observer.event(Event::Stage { name: "asking for what is cold", total: Some(plan.frozen_packs) });
        repository.store().thaw(&frozen, Some(order))?;
    }
    Ok(plan)
}

/// The packs that hold the content of what is to be restored, with their lengths.
fn needed(
    repository: &Repository,
    snapshot: SnapshotId,
    target: &Path,
    options: &RestoreFilesOptions,
) -> Result<BTreeMap<PackId, u64>> {
    let snapshot = crate::ops::open_snapshot(repository, snapshot)?;
    let named = snapshot.roots.iter().find(|root| root.name == FILES);
    let object = || format!("snapshot {}", snapshot.id.short());
    let top = mark::root(named.ok_or_else(|| Error::new(ErrorKind::Usage, object(), "holds no directory trees"))?);
    let parameters = repository.tree_parameters(&Entries);
    let reader = repository.reader();
    let path = options.path.as_deref();
    let selection = Selection::new(&reader, &parameters, &top, path, &options.include, &options.exclude)?;
    let mut packs = BTreeMap::new();
    selection.of_shard(options.shard).each(&reader, &parameters, &top, &mut |step| {
        // What is damaged is told by the restore.
        let Step::Chosen(chosen) = step else { return Ok(()) };
        for xattr in &chosen.entry.xattrs {
            if let XattrValue::Chunk(id) = &xattr.value {
                add(repository, *id, &mut packs)?;
            }
        }
        match &chosen.entry.body {
            Body::File { size, content } if !is_there(target, chosen.key, *size, &chosen.entry) => {
                each_chunk(&reader, content, &mut |id| add(repository, id, &mut packs))
            }
            _ => Ok(()),
        }
    })?;
    Ok(packs)
}

fn each_chunk(reader: &Reader, content: &Content, take: &mut dyn FnMut(BlobId) -> Result<()>) -> Result<()> {
    match content {
        Content::Inline(_) => Ok(()),
        Content::Extents(extents) => extents.iter().try_for_each(|extent| take(extent.id)),
        Content::Tree(tree) => {
            let parameters = reader.repository().tree_parameters(&Extents);
            let mut walker = Walker::new(reader, &parameters, &Root::from(tree.clone()), KeyRange::all())?;
            while let Some((key, value)) = walker.next_record()? {
                take(Extent::decode(key, value).map_err(|why| Error::damaged("list of chunks", why))?.id)?;
            }
            Ok(())
        }
    }
}

/// The pack of a chunk, and that of its base.
fn add(repository: &Repository, id: BlobId, packs: &mut BTreeMap<PackId, u64>) -> Result<()> {
    let index = repository.index().read().unwrap_or_else(PoisonError::into_inner);
    let Some(found) = index.find_anywhere(&id) else { return Ok(()) };
    let base = found.frame().base.and_then(|base| index.find_whole(&base));
    for location in [Some(found), base].into_iter().flatten() {
        packs.entry(location.pack()).or_insert(location.indexed_pack().size_bytes);
    }
    Ok(())
}

/// Whether a file stands there already, by its size and time: what restored it sets the time last.
fn is_there(target: &Path, key: &[u8], size: u64, entry: &Entry) -> bool {
    let below = path_of_key(key);
    let Ok(relative) = below.strip_prefix("/") else { return false };
    let Ok(found) = std::fs::symlink_metadata(target.join(relative)) else { return false };
    let time = (entry.mtime.seconds, i64::from(entry.mtime.nanos));
    found.is_file() && found.len() == size && (found.mtime(), found.mtime_nsec()) == time
}

/// What thawing costs and how long it takes.
struct Price {
    /// Dollars for a GB (10^9 bytes).
    per_gb: f64,
    /// Dollars for an object.
    per_object: f64,
    /// At the latest.
    hours: u32,
}

/// Dollars a GB and month for the readable copy.
const COPY_PER_GB_MONTH: f64 = 0.023;

impl Price {
    fn of(&self, bytes: u64, days: u32) -> f64 {
        let gb = bytes as f64 / 1e9;
        self.per_object + gb * (self.per_gb + COPY_PER_GB_MONTH * f64::from(days) / 30.0)
    }
}

/// List prices of Amazon S3 in us-east-1 as of 2025: an estimate for everybody else.
fn price(class: &str, tier: ThawTier) -> Price {
    let price = |per_gb, per_thousand: f64, hours| Price { per_gb, per_object: per_thousand / 1000.0, hours };
    match (class, tier) {
        ("DEEP_ARCHIVE", ThawTier::Bulk) => price(0.0025, 0.025, 48),
        ("DEEP_ARCHIVE", _) => price(0.02, 0.10, 12),
        (_, ThawTier::Bulk) => price(0.0, 0.0, 12),
        (_, ThawTier::Standard) => price(0.01, 0.05, 5),
        (_, ThawTier::Expedited) => price(0.03, 10.0, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haste_costs() {
        let of = |class, tier| price(class, tier).of(1_000_000_000, 30);
        assert!((of("GLACIER", ThawTier::Bulk) - 0.023).abs() < 1e-9, "only the readable copy");
        for class in ["GLACIER", "DEEP_ARCHIVE"] {
            assert!(of(class, ThawTier::Bulk) < of(class, ThawTier::Standard));
            assert!(price(class, ThawTier::Bulk).hours > price(class, ThawTier::Standard).hours);
        }
    }
}
