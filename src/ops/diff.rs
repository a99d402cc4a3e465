//! What is different between two snapshots.

use crate::error::Result;
use crate::id::SnapshotId;
use crate::record::datom::Datom;
use crate::repository::Repository;

/// Whether a datom appeared or vanished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the second snapshot's history has it.
    Added,
    /// Only the first snapshot's history has it.
    Removed,
}

/// How much is different.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DiffSummary {
    /// Datoms that only the second has.
    pub added: u64,
    /// Datoms that only the first has.
    pub removed: u64,
    /// The same of the trees of exceptions.
    pub exceptions_added: u64,
    /// The same of the trees of exceptions.
    pub exceptions_removed: u64,
}

/// Hands the differences between the histories of two snapshots to `sink`, in order of (t, e, a, v). Reads what is
/// different and little else.
pub async fn diff(
    repository: &Repository,
    a: SnapshotId,
    b: SnapshotId,
    sink: impl FnMut(Difference, &Datom<'_>) -> Result<()> + Send + 'static,
) -> Result<DiffSummary> {
    let _ = (repository, a, b, sink);
    unimplemented!()
}
