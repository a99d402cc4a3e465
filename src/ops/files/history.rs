//! Several snapshots one after the other, of which only differences are read.

use std::sync::Arc;

use super::FileTree;
use crate::error::{Error, ErrorKind, Result};
use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::progress::{Event, Observer};
use crate::repository::{Reader, Repository};
use crate::tree::{self, DiffItem, KeyRange};

/// What happens from one snapshot to the next.
pub(in crate::ops) enum Moment<'a> {
    /// A group begins: nothing is there.
    Begin,
    /// A row is no longer there; one that changed comes again as another.
    Gone {
        /// Its key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// A row is there from now on.
    There {
        /// The tree it is in.
        tree: &'a FileTree,
        /// Its key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// All rows of the snapshot were told.
    Complete {
        /// The snapshot.
        snapshot: &'a Snapshot,
        /// Its tree.
        tree: &'a FileTree,
    },
}

/// Goes through the trees of snapshots, by (host, label) and time. The first of a group is walked, within `range`; of each
/// later one what differs from the one before is read. How many snapshots have files.
pub(in crate::ops) fn follow(
    reader: &Reader,
    snapshots: &[Snapshot],
    range: &KeyRange,
    observer: &Arc<dyn Observer>,
    tell: &mut dyn FnMut(Moment<'_>) -> Result<()>,
) -> Result<u64> {
    let mut chosen: Vec<_> = snapshots.iter().filter(|snapshot| FileTree::is_in(snapshot)).collect();
    chosen.sort_by_key(|s| (&s.host, &s.label, s.time_ms, s.id));
    chosen.dedup_by_key(|snapshot| snapshot.id);
    observer.event(Event::Stage { name: "comparing snapshots", total: Some(chosen.len() as u64) });
    let mut before: Option<(&Snapshot, FileTree)> = None;
    for (done, snapshot) in (1..).zip(&chosen) {
        let tree = FileTree::of(reader, snapshot)?;
        match &before {
            Some((earlier, other)) if (&earlier.host, &earlier.label) == (&snapshot.host, &snapshot.label) => {
                tree::diff(reader, tree.parameters(), other.root(), tree.root(), &mut |item| match item {
                    DiffItem::Removed { key, value } => tell(Moment::Gone { key, value }),
                    DiffItem::Added { key, value } => tell(Moment::There { tree: &tree, key, value }),
                    DiffItem::Changed { key, before, after } => {
                        tell(Moment::Gone { key, value: before })?;
                        tell(Moment::There { tree: &tree, key, value: after })
                    }
                })?;
            }
            _ => {
                tell(Moment::Begin)?;
                let mut rows = tree.rows(range)?;
                while let Some((key, value)) = rows.next_record()? {
                    tell(Moment::There { tree: &tree, key, value })?;
                }
            }
        }
        tell(Moment::Complete { snapshot, tree: &tree })?;
        before = Some((snapshot, tree));
        observer.event(Event::Progress { done });
    }
    Ok(chosen.len() as u64)
}

/// The live snapshots with these ids, with the index loaded after they were listed.
pub(in crate::ops) fn live(repository: &Repository, ids: &[SnapshotId]) -> Result<Vec<Snapshot>> {
    let list = repository.snapshots()?;
    let live = list.live();
    let find = |id: &SnapshotId| {
        let found = live.iter().find(|snapshot| snapshot.id == *id);
        let absent = || Error::new(ErrorKind::NotFound, format!("snapshot {}", id.short()), "no such snapshot");
        found.map(|snapshot| (*snapshot).clone()).ok_or_else(absent)
    };
    let found = ids.iter().map(find).collect::<Result<Vec<_>>>()?;
    repository.load_index(&repository.gc_records()?)?;
    Ok(found)
}
