//! Which blobs only one of two trees refers to.

use std::collections::HashSet;
use std::sync::PoisonError;

use super::files::FileCounts;
use crate::error::{Error, ErrorKind, Result};
use crate::format::BlobKind;
use crate::id::BlobId;
use crate::ops::files::FileTree;
use crate::ops::mark::{self, Reached};
use crate::record::{self, RecordKind};
use crate::tree::{self, Next, Visit};

/// The blobs that what differs refers to: 32 bytes for each, and none for what is the same.
#[derive(Default)]
pub(super) struct BlobSets {
    before: Set,
    after: Set,
}

#[derive(Default)]
struct Set(HashSet<BlobId>);

impl Reached for Set {
    fn blob(&mut self, id: BlobId) -> Result<bool> {
        Ok(self.0.insert(id))
    }

    fn unreadable(&mut self, _: BlobId, error: Error) -> Result<()> {
        Err(error)
    }
}

impl BlobSets {
    pub(super) fn before(&mut self, tree: &FileTree, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.before.add(tree, key, value)
    }

    pub(super) fn after(&mut self, tree: &FileTree, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.after.add(tree, key, value)
    }

    /// Adds the nodes of both trees of entries; leaves are named by their parents and not read.
    pub(super) fn nodes(&mut self, a: &FileTree, b: &FileTree) -> Result<()> {
        let (in_a, in_b) = (nodes(a)?, nodes(b)?);
        self.before.0.extend(in_a.difference(&in_b));
        self.after.0.extend(in_b.difference(&in_a));
        Ok(())
    }

    /// Counts what only one of the two has.
    pub(super) fn count(&self, tree: &FileTree, removed: &mut FileCounts, added: &mut FileCounts) -> Result<()> {
        let index = tree.reader().repository().index().read().unwrap_or_else(PoisonError::into_inner);
        let count = |id: &BlobId, counts: &mut FileCounts| {
            let location = index.find_anywhere(id);
            let location =
                location.ok_or_else(|| Error::new(ErrorKind::Damaged, format!("blob {id}"), "not in the index"))?;
            match location.blob().kind {
                BlobKind::Chunk => counts.chunks += 1,
                BlobKind::Node => counts.nodes += 1,
            }
            counts.bytes += u64::from(location.blob().content_len);
            Ok(())
        };
        self.before.0.difference(&self.after.0).try_for_each(|id| count(id, removed))?;
        self.after.0.difference(&self.before.0).try_for_each(|id| count(id, added))
    }
}

impl Set {
    fn add(&mut self, tree: &FileTree, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let Some(value) = value else { return Ok(()) };
        let mut references = Vec::new();
        record::Entries
            .references(key, value, &mut references)
            .map_err(|why| Error::damaged(tree.place(&record::entry::path_of_key(key)), why))?;
        references.iter().try_for_each(|reference| mark::walk_reference(tree.reader(), reference, self))
    }
}

/// The nodes of a tree of entries.
fn nodes(tree: &FileTree) -> Result<HashSet<BlobId>> {
    let mut nodes = HashSet::new();
    tree::walk_nodes(tree.reader(), tree.parameters(), tree.root(), &mut |visit| match visit {
        Visit::Named { level, claim } => {
            let descend = nodes.insert(claim.id) && level > 0;
            Ok(if descend { Next::Descend } else { Next::Skip })
        }
        Visit::Read { .. } => Ok(Next::Descend),
        Visit::Unreadable { error, .. } => Err(error),
    })?;
    Ok(nodes)
}
