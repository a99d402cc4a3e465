//! The directory tree of a snapshot: looking up paths, listing directories, reading files.
//!
//! Everything here blocks on the backend, like [`crate::repository::Reader`]: use it where blocking is allowed.

mod children;
mod content;
mod extents;
mod history;
mod walk;

pub use children::Children;
pub use content::{FileContent, Piece};
pub use extents::FileExtents;
pub(in crate::ops) use history::{Moment, Part, follow, live};
pub use walk::Entries;

use std::fmt;
use std::path::Path;

use super::backup::files::FILES;
use super::mark;
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::Snapshot;
use crate::id::{BlobId, SnapshotId};
use crate::record::entry::{self, Content, Entry, Head};
use crate::record::{self, Extents as ExtentRecords};
use crate::repository::{Reader, Repository};
use crate::tree::{self, KeyRange, Node, ReadNode, Root, TreeParameters, Walker};

/// The directory tree of a snapshot. Clones share caches.
#[derive(Clone)]
pub struct FileTree {
    snapshot: SnapshotId,
    reader: Reader,
    once: Once,
    entries: TreeParameters,
    extents: TreeParameters,
    root: Root,
}

impl FileTree {
    /// Of a live snapshot; loads the index.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the snapshot holds something else.
    pub fn open(repository: &Repository, snapshot: SnapshotId) -> Result<Self> {
        let snapshot = super::open_snapshot(repository, snapshot)?;
        Self::of(&repository.reader(), &snapshot)
    }

    /// Of a snapshot, read by a reader whose repository has loaded its index after the snapshot was listed.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the snapshot holds something else.
    pub fn of(reader: &Reader, snapshot: &Snapshot) -> Result<Self> {
        let root = snapshot.roots.iter().find(|root| root.name == FILES);
        let object = || format!("snapshot {}", snapshot.id.short());
        let root = root.ok_or_else(|| Error::new(ErrorKind::Usage, object(), "holds no files"))?;
        Ok(Self {
            snapshot: snapshot.id,
            reader: reader.clone(),
            once: Once(reader.clone()),
            entries: reader.repository().tree_parameters(&record::Entries),
            extents: reader.repository().tree_parameters(&ExtentRecords),
            root: mark::root(root),
        })
    }

    /// Whether a snapshot has a directory tree.
    pub fn is_in(snapshot: &Snapshot) -> bool {
        snapshot.roots.iter().any(|root| root.name == FILES)
    }

    /// The snapshot.
    pub fn snapshot(&self) -> SnapshotId {
        self.snapshot
    }

    /// What it reads with.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The top of the tree.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What shapes the tree.
    pub fn parameters(&self) -> &TreeParameters {
        &self.entries
    }

    /// The entry of a key, if there is one; reads one node for each level.
    pub fn find(&self, key: &[u8]) -> Result<Option<Entry>> {
        let value = tree::get(&self.reader, &self.entries, &self.root, key)?;
        value.map(|value| decode(key, &value)).transpose()
    }

    /// The entry of a key.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], naming the nearest directory above that there is.
    pub fn entry(&self, key: &[u8]) -> Result<Entry> {
        match self.find(key)? {
            Some(entry) => Ok(entry),
            None => Err(self.no_such_path(key)?),
        }
    }

    /// The key of a path as users write it, which may lack the first slash.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it has `.` or `..` in it.
    pub fn key(&self, path: &Path) -> Result<Vec<u8>> {
        let absolute = Path::new("/").join(path);
        entry::key_of_path(&absolute)
            .ok_or_else(|| Error::new(ErrorKind::Usage, self.place(path), "a path has no `.` and `..` in it"))
    }

    /// A path and everything below it, in the order of keys; just what is below if the path itself has no entry.
    pub fn walk(&self, key: &[u8]) -> Result<Entries<'_>> {
        Entries::new(self, entry::subtree(key))
    }

    /// The same for who reads the content of every file as it comes.
    pub fn walk_with_content(&self, key: &[u8]) -> Result<impl Iterator<Item = Result<(Vec<u8>, Entry)>> + '_> {
        Ok(walk::Announcing::new(&self.reader, self.walk(key)?))
    }

    /// Rows as they are, in a range of keys.
    pub fn rows(&self, range: &KeyRange) -> Result<Walker<'_>> {
        Walker::new(&self.reader, &self.entries, &self.root, range.clone())
    }

    /// What is in a directory, without what is below that.
    ///
    /// Reads about the height of the tree in nodes for each directory in it that has much below, and little else.
    pub fn children(&self, key: &[u8]) -> Result<Children<'_>> {
        Children::new(self, key)
    }

    /// What is in a directory behind one of its children, which need not be there any more.
    pub fn children_behind(&self, key: &[u8], last: &[u8]) -> Result<Children<'_>> {
        Children::behind(self, key, last)
    }

    /// The bytes of a file, from its beginning.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the entry is not a regular file.
    pub fn content(&self, entry: &Entry) -> Result<FileContent<'_>> {
        FileContent::new(self, entry)
    }

    /// Where the chunks of a file are, from `offset` on: the first may begin before it. What none covers is a hole, or
    /// [`Content::Inline`].
    pub fn extents<'a>(&'a self, content: &Content, offset: u64) -> Result<FileExtents<'a>> {
        FileExtents::new(self, content, offset)
    }

    /// Fills `buffer` with the bytes from `offset` on; how many there were.
    pub fn read_at(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut content = self.content(entry)?;
        content.seek(offset)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match content.read_some(&mut buffer[filled..])? {
                0 => break,
                len => filled += len,
            }
        }
        Ok(filled)
    }

    /// `snapshot 1a2b3c4d:/path`.
    pub(in crate::ops) fn place(&self, path: &Path) -> String {
        format!("snapshot {}:{}", self.snapshot.short(), path.display())
    }

    fn no_such_path(&self, key: &[u8]) -> Result<Error> {
        let place = self.place(&entry::path_of_key(key));
        let mut above = key;
        while let Some(parent) = entry::parent_of(above) {
            above = parent;
            if self.find(above)?.is_some() {
                let there = entry::path_of_key(above);
                let why = format!("no such path; the nearest that there is: {}", there.display());
                return Ok(Error::new(ErrorKind::NotFound, place, why));
            }
        }
        Ok(Error::new(ErrorKind::NotFound, place, "no such path"))
    }
}

/// The entry of a row.
pub(in crate::ops) fn decode(key: &[u8], value: &[u8]) -> Result<Entry> {
    Entry::decode(value).map_err(|why| damaged(key, why))
}

/// What does not vary in length of the entry of a row.
pub(in crate::ops) fn head<'a>(key: &[u8], value: &'a [u8]) -> Result<Head<'a>> {
    Head::parse(value).map_err(|why| damaged(key, why))
}

fn damaged(key: &[u8], why: DecodeError) -> Error {
    Error::damaged(format_args!("entry {}", entry::path_of_key(key).display()), why)
}

/// Reads nodes without fetching those that a walk announces: for walks that end soon.
#[derive(Clone)]
struct Once(Reader);

impl ReadNode for Once {
    fn read_node(&self, id: BlobId) -> Result<std::sync::Arc<Node>> {
        self.0.read_node(id)
    }
}

impl fmt::Debug for FileTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileTree").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}
