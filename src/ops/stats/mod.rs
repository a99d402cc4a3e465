//! How big things are.

mod restored;
mod shares;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

pub use restored::{RestoreSize, different_files, restore_sizes};
pub use shares::{SnapshotSize, snapshot_sizes};

use super::mark::{self, Reached};
use super::seen::Seen;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{BlobId, SnapshotId};
use crate::index::BlobLocation;
use crate::progress::{Event, Observer};
use crate::repository::{Reader, Repository};

/// Sizes of a repository and of some of its snapshots.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Records of all of them, each snapshot counted for itself.
    pub records: u64,
    /// Bytes of rows of all of them, each snapshot counted for itself.
    pub row_bytes: u64,
    /// Different blobs that they reach together, with the bases of deltas.
    pub blobs: u64,
    /// Canonical bytes of those blobs.
    pub blob_bytes: u64,
    /// Bytes that those blobs take in packs, each with its share of its frame.
    pub stored_bytes: u64,
    /// Packs in the repository.
    pub packs: u64,
    /// Bytes of all objects of the repository.
    pub repository_bytes: u64,
    /// Objects of the repository by folder, with count and bytes.
    pub objects: Vec<(String, u64, u64)>,
}

/// Adds up what these snapshots reach, and what the repository holds.
pub async fn stats(repository: &Repository, snapshots: Vec<SnapshotId>, observer: Arc<dyn Observer>) -> Result<Stats> {
    let repository = repository.clone();
    super::blocking(move || {
        let mut opened = Vec::with_capacity(snapshots.len());
        for id in snapshots {
            opened.push(super::open_snapshot(&repository, id)?);
        }
        let reader = repository.reader();
        let mut sum =
            Sum { reader: &reader, entered: Seen::default(), counted: Seen::default(), stats: Stats::default() };
        observer.event(Event::Stage { name: "adding up snapshots", total: Some(opened.len() as u64) });
        for (done, snapshot) in (1..).zip(&opened) {
            sum.stats.snapshots += 1;
            sum.stats.records += snapshot.roots.iter().map(|root| root.records).sum::<u64>();
            sum.stats.row_bytes += snapshot.roots.iter().map(|root| root.row_bytes).sum::<u64>();
            mark::walk_snapshot(&reader, snapshot, &mut sum)?;
            observer.event(Event::Progress { done });
        }
        let mut stats = sum.stats;
        add_objects(&repository, &mut stats)?;
        Ok(stats)
    })
    .await
}

fn add_objects(repository: &Repository, stats: &mut Stats) -> Result<()> {
    let mut folders: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (path, stat) in repository.store().list("")? {
        let folder = path.as_str().split('/').next().unwrap_or_default();
        let (count, bytes) = folders.entry(folder.to_owned()).or_default();
        *count += 1;
        *bytes += stat.size_bytes;
    }
    stats.packs = folders.get("packs").map_or(0, |(count, _)| *count);
    stats.repository_bytes = folders.values().map(|(_, bytes)| bytes).sum();
    stats.objects = folders.into_iter().map(|(folder, (count, bytes))| (folder, count, bytes)).collect();
    Ok(())
}

struct Sum<'a> {
    reader: &'a Reader,
    /// Blobs that were looked into, and those that were counted, be it as the base of a delta.
    entered: Seen,
    counted: Seen,
    stats: Stats,
}

impl Reached for Sum<'_> {
    fn blob(&mut self, id: BlobId) -> Result<bool> {
        let index = self.reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
        if !self.entered.insert(&index, id) {
            return Ok(false);
        }
        let mut next = Some(id);
        while let Some(id) = next.filter(|id| self.counted.insert(&index, *id)) {
            let location = index.find_anywhere(&id);
            let location =
                location.ok_or_else(|| Error::new(ErrorKind::Damaged, format!("blob {id}"), "not in the index"))?;
            self.stats.blobs += 1;
            self.stats.blob_bytes += u64::from(location.blob().content_len);
            self.stats.stored_bytes += stored_bytes(&location);
            next = location.frame().base;
        }
        Ok(true)
    }

    fn unreadable(&mut self, _: BlobId, error: Error) -> Result<()> {
        Err(error)
    }
}

/// The blob's share of the frame that holds it.
fn stored_bytes(location: &BlobLocation) -> u64 {
    let frame = location.frame();
    let sealed_len = u64::from(frame.sealed_len);
    (sealed_len * u64::from(location.blob().stored_len)).checked_div(u64::from(frame.raw_len)).unwrap_or(sealed_len)
}
