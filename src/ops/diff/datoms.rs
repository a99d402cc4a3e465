//! Datoms that differ between two snapshots.

use crate::error::{Error, ErrorKind, Result};
use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::ops::datoms::{EXCEPTIONS, LOG};
use crate::ops::{self, mark, values};
use crate::record::datom::{Datom, Datoms};
use crate::repository::Repository;
use crate::tree::{self, DiffItem, Root};

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
    mut sink: impl FnMut(Difference, &Datom<'_>) -> Result<()> + Send + 'static,
) -> Result<DiffSummary> {
    let repository = repository.clone();
    ops::blocking(move || {
        let a = ops::open_snapshot(&repository, a)?;
        let b = ops::open_snapshot(&repository, b)?;
        let reader = repository.reader();
        let parameters = repository.tree_parameters(&Datoms);
        let mut summary = DiffSummary::default();
        tree::diff(&reader, &parameters, &find(&a, LOG)?, &find(&b, LOG)?, &mut |item| match difference(item) {
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
        tree::diff(&reader, &parameters, &find(&a, EXCEPTIONS)?, &find(&b, EXCEPTIONS)?, &mut |item| {
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

fn find(snapshot: &Snapshot, name: &str) -> Result<Root> {
    let root = snapshot.roots.iter().find(|root| root.name == name);
    let object = || format!("snapshot {}", snapshot.id.short());
    Ok(mark::root(root.ok_or_else(|| Error::new(ErrorKind::Usage, object(), "holds no datoms"))?))
}
