//! Datoms that differ between two snapshots.

use crate::error::Result;
use crate::id::SnapshotId;
use crate::ops::datoms::find_roots;
use crate::ops::{self, mark, values};
use crate::record::datom::{Datom, Datoms};
use crate::repository::Repository;
use crate::tree::{self, DiffItem};

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
/// different and little else. Of databases with branches it is the histories of one branch, by default of the main one.
pub async fn diff(
    repository: &Repository,
    a: SnapshotId,
    b: SnapshotId,
    branch: Option<String>,
    mut sink: impl FnMut(Difference, &Datom<'_>) -> Result<()> + Send + 'static,
) -> Result<DiffSummary> {
    let repository = repository.clone();
    ops::blocking(move || {
        let a = ops::open_snapshot(&repository, a)?;
        let b = ops::open_snapshot(&repository, b)?;
        let reader = repository.reader();
        let parameters = repository.tree_parameters(&Datoms);
        let mut summary = DiffSummary::default();
        let (a_roots, b_roots) = (find_roots(&a, branch.as_deref())?, find_roots(&b, branch.as_deref())?);
        let (old, new) = (mark::root(a_roots.0), mark::root(b_roots.0));
        tree::diff(&reader, &parameters, &old, &new, &mut |item| match difference(item) {
            Some((Difference::Added, key)) => {
                summary.added += 1;
                sink(Difference::Added, &values::datom(&reader, key)?)
            }
            Some((Difference::Removed, key)) => {
                summary.removed += 1;
                sink(Difference::Removed, &values::datom(&reader, key)?)
            }
            None => Ok(()),
        })?;
        let (old, new) = (mark::root(a_roots.1), mark::root(b_roots.1));
        tree::diff(&reader, &parameters, &old, &new, &mut |item| {
            match difference(item) {
                Some((Difference::Added, _)) => summary.exceptions_added += 1,
                Some((Difference::Removed, _)) => summary.exceptions_removed += 1,
                None => {}
            }
            Ok(())
        })?;
        Ok(summary)
    })
    .await
}

/// A datom is all key: the same key is the same datom.
fn difference(item: DiffItem<'_>) -> Option<(Difference, &[u8])> {
    match item {
        DiffItem::Added { key, .. } => Some((Difference::Added, key)),
        DiffItem::Removed { key, .. } => Some((Difference::Removed, key)),
        DiffItem::Changed { .. } => None,
    }
}
