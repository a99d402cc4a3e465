//! Files that differ between two snapshots.

use std::cmp::Ordering;
use std::path::PathBuf;

use super::blobs::BlobSets;
use crate::error::Result;
use crate::id::SnapshotId;
use crate::ops::files::{self, FileTree};
use crate::ops::{self};
use crate::record::entry::{self, Body, Entry};
use crate::repository::Repository;
use crate::tree::{self, DiffItem, KeyRange, Walker};

/// A snapshot, or what is at a path in it.
#[derive(Clone, Debug)]
pub struct SnapshotPath {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The path; everything without one.
    pub path: Option<PathBuf>,
}

/// How to compare.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDiffOptions {
    /// Also tell of paths of which only permissions, owner, time, links or extended attributes differ.
    pub metadata: bool,
    /// Compare the content of files on disk even where size and time agree.
    pub content: bool,
}

/// What is different about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Both have it; at least one of these holds.
    Changed {
        /// It is another kind of thing.
        kind: bool,
        /// A file has other bytes, a symbolic link another target.
        content: bool,
        /// Something else differs.
        metadata: bool,
    },
}

/// A path that is different.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FileChange<'a> {
    /// The path as key: whole where both sides are about the same path, else below the two.
    pub key: &'a [u8],
    /// What is different.
    pub what: What,
    /// Whether the second side, or the first if that has nothing, has a directory there.
    pub is_directory: bool,
}

/// How many paths and blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileCounts {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Everything else.
    pub others: u64,
    /// Chunks.
    pub chunks: u64,
    /// Nodes.
    pub nodes: u64,
    /// Bytes of chunks and nodes; of a directory, of the files.
    pub bytes: u64,
}

impl FileCounts {
    fn add(&mut self, body: &Body) {
        match body {
            Body::File { .. } => self.files += 1,
            Body::Directory => self.directories += 1,
            _ => self.others += 1,
        }
    }
}

/// How much is different.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct FileDiffSummary {
    /// Files with other bytes.
    pub changed_files: u64,
    /// Paths of which only something else than the content differs, counted if that was asked for.
    pub changed_metadata: u64,
    /// What only the second has. Blobs are those that what differs refers to, and nodes where whole trees were compared.
    pub added: FileCounts,
    /// The same for the first.
    pub removed: FileCounts,
    /// What could not be compared, and why.
    pub problems: Vec<(PathBuf, String)>,
}

/// Hands what differs between two snapshots to `sink`, in the order of keys.
///
/// Reads what is different and little else; where the two paths are not the same, both trees below them.
pub async fn diff_files(
    repository: &Repository,
    a: SnapshotPath,
    b: SnapshotPath,
    options: FileDiffOptions,
    mut sink: impl FnMut(FileChange<'_>) -> Result<()> + Send + 'static,
) -> Result<FileDiffSummary> {
    let repository = repository.clone();
    ops::blocking(move || {
        let (a, b) = (Half::open(&repository, &a)?, Half::open(&repository, &b)?);
        let mut blobs = BlobSets::default();
        let mut comparison = Comparison::new(options, &mut sink);
        if a.top == b.top {
            a.diff(&b, &mut |key, before, after| {
                blobs.before(&a.tree, key, before)?;
                blobs.after(&b.tree, key, after)?;
                comparison.rows(key, before, after)
            })?;
        } else {
            a.merge(&b, &mut |key, before, after| {
                blobs.before(&a.tree, key, before)?;
                blobs.after(&b.tree, key, after)?;
                comparison.rows(key, before, after)
            })?;
        }
        let mut summary = comparison.summary;
        if a.top.is_empty() && b.top.is_empty() {
            blobs.nodes(&a.tree, &b.tree)?;
        }
        blobs.count(&a.tree, &mut summary.removed, &mut summary.added)?;
        Ok(summary)
    })
    .await
}

/// One of the two.
pub(super) struct Half {
    pub(super) tree: FileTree,
    /// Key of the path that is compared.
    pub(super) top: Vec<u8>,
}

/// Takes a key and the values that the two have there.
type Differences<'a> = &'a mut dyn FnMut(&[u8], Option<&[u8]>, Option<&[u8]>) -> Result<()>;

impl Half {
    pub(super) fn open(repository: &Repository, place: &SnapshotPath) -> Result<Self> {
        let tree = FileTree::open(repository, place.snapshot)?;
        let top = match &place.path {
            Some(path) => tree.key(path)?,
            None => Vec::new(),
        };
        if !top.is_empty() {
            tree.entry(&top)?;
        }
        Ok(Self { tree, top })
    }

    /// Everything below the path.
    pub(super) fn rows(&self) -> Result<Rows<'_>> {
        let (from, to) = entry::subtree(&self.top);
        Rows::new(self.tree.rows(&KeyRange { from, to })?, self.top.len())
    }

    /// Differences where both are about the same path.
    fn diff(&self, other: &Self, differ: Differences<'_>) -> Result<()> {
        let (from, to) = entry::subtree(&self.top);
        let is_in = |key: &[u8]| key >= from.as_slice() && to.as_ref().is_none_or(|to| key < to.as_slice());
        let (reader, parameters) = (self.tree.reader(), self.tree.parameters());
        tree::diff(reader, parameters, self.tree.root(), other.tree.root(), &mut |item| match item {
            DiffItem::Removed { key, value } if is_in(key) => differ(key, Some(value), None),
            DiffItem::Added { key, value } if is_in(key) => differ(key, None, Some(value)),
            DiffItem::Changed { key, before, after } if is_in(key) => differ(key, Some(before), Some(after)),
            _ => Ok(()),
        })
    }

    /// Differences where keys are compared from below the two paths on.
    fn merge(&self, other: &Self, differ: Differences<'_>) -> Result<()> {
        let (mut ours, mut theirs) = (self.rows()?, other.rows()?);
        loop {
            let order = match (ours.key(), theirs.key()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.cmp(b),
            };
            match order {
                Ordering::Less => differ(ours.key().unwrap_or_default(), Some(ours.value()), None)?,
                Ordering::Greater => differ(theirs.key().unwrap_or_default(), None, Some(theirs.value()))?,
                Ordering::Equal if ours.value() != theirs.value() => {
                    differ(ours.key().unwrap_or_default(), Some(ours.value()), Some(theirs.value()))?;
                }
                Ordering::Equal => {}
            }
            if order.is_le() {
                ours.advance()?;
            }
            if order.is_ge() {
                theirs.advance()?;
            }
        }
    }
}

/// Rows with keys that begin below a path.
pub(super) struct Rows<'a> {
    walker: Walker<'a>,
    cut: usize,
    row: Option<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Rows<'a> {
    fn new(walker: Walker<'a>, cut: usize) -> Result<Self> {
        let mut rows = Self { walker, cut, row: None };
        rows.advance()?;
        Ok(rows)
    }

    /// The key of the row at which it is.
    pub(super) fn key(&self) -> Option<&[u8]> {
        self.row.as_ref().map(|(key, _)| key.as_slice())
    }

    /// Its value.
    pub(super) fn value(&self) -> &[u8] {
        self.row.as_ref().map_or(&[], |(_, value)| value.as_slice())
    }

    /// Goes to the next.
    pub(super) fn advance(&mut self) -> Result<()> {
        let (mut key, mut value) = self.row.take().unwrap_or_default();
        if let Some((next, bytes)) = self.walker.next_record()? {
            key.clear();
            key.extend_from_slice(below(next, self.cut));
            value.clear();
            value.extend_from_slice(bytes);
            self.row = Some((key, value));
        }
        Ok(())
    }
}

/// What a key has below a path whose key is of this length.
pub(super) fn below(key: &[u8], top_len: usize) -> &[u8] {
    let rest = key.get(top_len..).unwrap_or_default();
    rest.strip_prefix(&[0]).unwrap_or(rest)
}

/// Counts and tells.
pub(super) struct Comparison<'a> {
    options: FileDiffOptions,
    sink: &'a mut dyn FnMut(FileChange<'_>) -> Result<()>,
    pub(super) summary: FileDiffSummary,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(options: FileDiffOptions, sink: &'a mut dyn FnMut(FileChange<'_>) -> Result<()>) -> Self {
        Self { options, sink, summary: FileDiffSummary::default() }
    }

    fn rows(&mut self, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) -> Result<()> {
        let decode = |value: Option<&[u8]>| value.map(|value| files::decode(key, value)).transpose();
        match (decode(before)?, decode(after)?) {
            (Some(before), Some(after)) => {
                let kind = std::mem::discriminant(&before.body) != std::mem::discriminant(&after.body);
                let content = !kind && has_content(&before.body) && before.body != after.body;
                self.changed(key, &before.body, &after.body, content, !same_metadata(&before, &after))
            }
            (Some(before), None) => self.removed(key, &before.body),
            (None, Some(after)) => self.added(key, &after.body),
            (None, None) => Ok(()),
        }
    }

    pub(super) fn added(&mut self, key: &[u8], body: &Body) -> Result<()> {
        self.summary.added.add(body);
        self.tell(key, What::Added, body)
    }

    pub(super) fn removed(&mut self, key: &[u8], body: &Body) -> Result<()> {
        self.summary.removed.add(body);
        self.tell(key, What::Removed, body)
    }

    /// What both have: whether bytes or target differ, and whether anything else does.
    pub(super) fn changed(
        &mut self,
        key: &[u8],
        before: &Body,
        after: &Body,
        content: bool,
        metadata: bool,
    ) -> Result<()> {
        let kind = std::mem::discriminant(before) != std::mem::discriminant(after);
        let metadata = metadata && self.options.metadata;
        if kind {
            self.summary.removed.add(before);
            self.summary.added.add(after);
        } else if content && matches!(after, Body::File { .. }) {
            self.summary.changed_files += 1;
        } else if metadata {
            self.summary.changed_metadata += 1;
        }
        match kind || content || metadata {
            true => self.tell(key, What::Changed { kind, content, metadata }, after),
            false => Ok(()),
        }
    }

    fn tell(&mut self, key: &[u8], what: What, body: &Body) -> Result<()> {
        (self.sink)(FileChange { key, what, is_directory: matches!(body, Body::Directory) })
    }
}

/// Whether there are bytes, or a target, of which it can be said that they are others.
fn has_content(body: &Body) -> bool {
    matches!(body, Body::File { .. } | Body::Symlink { .. })
}

/// Whether all that could be restored is the same, apart from the content. Inodes, and times that no one can set, are not.
fn same_metadata(a: &Entry, b: &Entry) -> bool {
    let same_device = has_content(&a.body) || a.body == b.body;
    let links = |entry: &Entry| entry.link.map(|link| link.count);
    same_device
        && a.mode == b.mode
        && a.owner == b.owner
        && a.mtime == b.mtime
        && a.xattrs == b.xattrs
        && links(a) == links(b)
}
