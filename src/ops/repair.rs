//! Making what is left usable.

use std::sync::Arc;

use crate::error::Result;
use crate::progress::Observer;
use crate::repository::Repository;

/// What repairing the index did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// Packs whose directories were read.
    pub packs: u64,
    /// Blobs in the new index.
    pub blobs: u64,
    /// Old index objects removed.
    pub removed: u64,
    /// Packs that could not be read: object and why.
    pub damaged: Vec<(String, String)>,
}

/// Rebuilds the index from the directories of all packs but the condemned ones.
pub async fn repair_index(repository: &Repository, dry_run: bool, observer: Arc<dyn Observer>) -> Result<RepairReport> {
    let _ = (repository, dry_run, observer);
    unimplemented!()
}
