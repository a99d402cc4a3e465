//! Auditing a whole repository.

use std::sync::Arc;

use crate::error::Result;
use crate::id::SnapshotId;
use crate::progress::Observer;
use crate::repository::Repository;

/// How much of the packs is read, beyond their directories.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ReadData {
    /// Nothing: structure only.
    #[default]
    None,
    /// All of it.
    All,
    /// The n-th of t parts, counted from 1; which pack belongs to which part depends on its id alone.
    Part {
        /// Which part.
        n: u64,
        /// Of how many.
        of: u64,
    },
    /// Packs chosen at random, this share of their number (0 to 100).
    Percent(f64),
    /// Packs chosen at random, about this many bytes.
    Bytes(u64),
}

/// How to check.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// How much of the packs is read.
    pub read_data: ReadData,
}

/// Something that is wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The object, e.g. `packs/3f/3fa1...`, or the blob.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
    /// Whether data is lost, as opposed to waste or an interrupted operation.
    pub is_damage: bool,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Everything that is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// Snapshots of which something is missing or damaged, with the number of blobs harmed.
    pub harmed: Vec<(SnapshotId, u64)>,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Packs looked at.
    pub packs: u64,
    /// Blobs reached from snapshots.
    pub blobs: u64,
    /// Bytes of packs read whole.
    pub bytes_read: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// The index must be rebuilt: `repair index` does.
    pub suggest_repair_index: bool,
    /// There are packs that nothing needs: `prune` frees them.
    pub suggest_prune: bool,
}

impl CheckReport {
    /// Whether no data is lost.
    pub fn is_sound(&self) -> bool {
        !self.findings.iter().any(|finding| finding.is_damage)
    }
}

/// Audits every object: structure always, content as far as the options say.
pub async fn check(repository: &Repository, options: CheckOptions, observer: Arc<dyn Observer>) -> Result<CheckReport> {
    let _ = (repository, options, observer);
    unimplemented!()
}
