//! How big things are.

use std::sync::Arc;

use crate::error::Result;
use crate::id::SnapshotId;
use crate::progress::Observer;
use crate::repository::Repository;

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
    /// Different blobs that they reach together.
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

/// Adds up what these snapshots reach.
pub async fn stats(repository: &Repository, snapshots: Vec<SnapshotId>, observer: Arc<dyn Observer>) -> Result<Stats> {
    let _ = (repository, snapshots, observer);
    unimplemented!()
}
