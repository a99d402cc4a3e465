//! Paths that match, in some snapshots: the first of a group is walked, of each later one only what is different is read.

mod blobs;
mod criteria;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

pub use blobs::{BlobStart, Wanted};
pub use criteria::{Case, Criteria, Pattern, SizeTest};

use super::files::{self, FileTree, Moment};
use super::seen::Seen;
use crate::error::Result;
use crate::format::Snapshot;
use crate::id::{BlobId, SnapshotId};
use crate::progress::Observer;
use crate::record::entry::Entry;
use crate::repository::{Reader, Repository};
use crate::tree::{self, Next, Visit};

use blobs::Blobs;

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct FindOptions {
    /// What a path must be.
    pub criteria: Criteria,
    /// Blobs, or all blobs of packs, of which a path must hold one; nothing for any path.
    pub wanted: Wanted,
}

/// What was found in a snapshot.
#[derive(Debug)]
#[non_exhaustive]
pub struct Found<'a> {
    /// The snapshot.
    pub snapshot: &'a Snapshot,
    /// Nodes of the tree of entries that are wanted blobs and that no earlier snapshot of the group has, with levels.
    pub nodes: &'a [(BlobId, u8)],
    matches: &'a Matches,
}

impl Found<'_> {
    /// How many paths.
    pub fn len(&self) -> usize {
        self.matches.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.matches.is_empty() && self.nodes.is_empty()
    }

    /// The paths, as keys, with their entries and which wanted blobs they hold, in the order of keys.
    pub fn paths(&self) -> impl Iterator<Item = Result<(&[u8], Entry, &[BlobId])>> {
        self.matches.iter().map(|(key, (value, blobs))| Ok((&key[..], files::decode(key, value)?, &blobs[..])))
    }
}

/// Values of rows and wanted blobs by key.
type Matches = BTreeMap<Vec<u8>, (Vec<u8>, Vec<BlobId>)>;

/// Hands to `sink` what matches in each of the snapshots; how many snapshots were looked at.
///
/// Snapshots of one (host, label) come in the order of time; those without files are passed over. What matches in one
/// snapshot is kept in memory.
pub async fn find(
    repository: &Repository,
    snapshots: Vec<SnapshotId>,
    options: FindOptions,
    observer: Arc<dyn Observer>,
    mut sink: impl FnMut(&Found<'_>) -> Result<()> + Send + 'static,
) -> Result<u64> {
    let repository = repository.clone();
    super::blocking(move || {
        let snapshots = files::live(&repository, &snapshots)?;
        let reader = repository.reader();
        let mut search = Search {
            criteria: &options.criteria,
            blobs: Blobs::resolve(&reader, &options.wanted)?,
            reader: &reader,
            matches: Matches::new(),
            seen: Seen::default(),
        };
        let range = options.criteria.range();
        files::follow(&reader, &snapshots, &range, &observer, &mut |moment| match moment {
            Moment::Begin => {
                search.matches.clear();
                search.seen = Seen::default();
                Ok(())
            }
            Moment::Gone { key, .. } => {
                search.matches.remove(key);
                Ok(())
            }
            Moment::There { tree, key, value } => search.consider(tree, key, value),
            Moment::Complete { snapshot, tree } => {
                let nodes = search.nodes(tree)?;
                let found = Found { snapshot, nodes: &nodes, matches: &search.matches };
                if found.is_empty() { Ok(()) } else { sink(&found) }
            }
        })
    })
    .await
}

struct Search<'a> {
    criteria: &'a Criteria,
    blobs: Option<Blobs>,
    reader: &'a Reader,
    /// Of the snapshot that was looked at last.
    matches: Matches,
    /// Nodes of the group's trees of entries that were looked at.
    seen: Seen,
}

impl Search<'_> {
    fn consider(&mut self, tree: &FileTree, key: &[u8], value: &[u8]) -> Result<()> {
        if !self.criteria.may_name(key) {
            return Ok(());
        }
        let entry = files::decode(key, value)?;
        if !self.criteria.match_entry(&entry) {
            return Ok(());
        }
        let blobs = match &self.blobs {
            None => Vec::new(),
            Some(blobs) => blobs.of_entry(self.reader, tree, key, value)?,
        };
        if self.blobs.is_none() || !blobs.is_empty() {
            self.matches.insert(key.to_vec(), (value.to_vec(), blobs));
        }
        Ok(())
    }

    /// Wanted nodes of a tree of entries that no earlier snapshot of the group has.
    fn nodes(&mut self, tree: &FileTree) -> Result<Vec<(BlobId, u8)>> {
        let mut nodes = Vec::new();
        let Some(blobs) = &self.blobs else { return Ok(nodes) };
        let (reader, seen) = (self.reader, &mut self.seen);
        tree::walk_nodes(reader, tree.parameters(), tree.root(), &mut |visit| match visit {
            Visit::Named { level, claim } => {
                let index = reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
                if !seen.insert(&index, claim.id) {
                    return Ok(Next::Skip);
                }
                if blobs.contains(&claim.id) {
                    nodes.push((claim.id, level));
                }
                Ok(if level == 0 { Next::Skip } else { Next::Descend })
            }
            Visit::Read { .. } => Ok(Next::Descend),
            Visit::Unreadable { error, .. } => Err(error),
        })?;
        Ok(nodes)
    }
}
