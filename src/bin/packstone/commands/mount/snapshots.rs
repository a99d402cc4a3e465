//! The trees of the snapshots that are shown: entries, and the bytes of files.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use packstone::format::Snapshot;
use packstone::id::BlobId;
use packstone::ops::FileTree;
use packstone::record::entry::{Body, Content, Entry, XattrValue};
use packstone::repository::Reader;
use packstone::{Error, ErrorKind, Result};

use super::attributes::plain_directory;
use super::inodes::Identity;

/// Entries that are kept.
const ENTRIES: usize = 4096;
/// Bytes of chunks that are kept: several readers of one file at a time, a chunk or two of each.
const CHUNK_BYTES: usize = 4 << 20;

/// The number of a snapshot, and a key in it.
type Path = (usize, Box<[u8]>);

/// The trees, opened as they are needed.
pub struct Snapshots {
    reader: Reader,
    snapshots: Vec<(Snapshot, OnceLock<FileTree>)>,
    /// Where snapshots are shown: the path, and the number of the snapshot.
    leaves: Vec<(String, usize)>,
    /// Who owns directories that no entry describes.
    owner: (u32, u32),
    /// By snapshot and key.
    entries: Mutex<HashMap<Path, Arc<Entry>>>,
    chunks: Mutex<VecDeque<(BlobId, Bytes)>>,
}

impl Snapshots {
    /// Shown at `leaves`.
    pub fn new(reader: Reader, snapshots: Vec<Snapshot>, leaves: Vec<(String, usize)>, owner: (u32, u32)) -> Self {
        let snapshots = snapshots.into_iter().map(|snapshot| (snapshot, OnceLock::new())).collect();
        Self { reader, snapshots, leaves, owner, entries: Mutex::default(), chunks: Mutex::default() }
    }

    /// The tree that a leaf shows.
    pub fn tree(&self, leaf: usize) -> Result<&FileTree> {
        let (_, number) = self.leaves.get(leaf).ok_or_else(nothing)?;
        let (snapshot, tree) = self.snapshots.get(*number).ok_or_else(nothing)?;
        if let Some(tree) = tree.get() {
            return Ok(tree);
        }
        let opened = FileTree::of(&self.reader, snapshot)?;
        Ok(tree.get_or_init(|| opened))
    }

    /// The entry of a key; a directory in which something is without an entry of its own has one made up.
    pub fn entry(&self, leaf: usize, key: &[u8]) -> Result<Option<Arc<Entry>>> {
        let (_, number) = self.leaves.get(leaf).ok_or_else(nothing)?;
        let name = (*number, Box::from(key));
        if let Some(entry) = self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(Some(Arc::clone(entry)));
        }
        let tree = self.tree(leaf)?;
        let found = match tree.find(key)? {
            Some(entry) => entry,
            None if key.is_empty() || tree.walk(key)?.next().transpose()?.is_some() => self.made_up(leaf),
            None => return Ok(None),
        };
        let entry = Arc::new(found);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES {
            entries.clear();
        }
        entries.insert(name, Arc::clone(&entry));
        Ok(Some(entry))
    }

    /// A directory that no entry describes.
    pub fn made_up(&self, leaf: usize) -> Entry {
        let snapshot = self.leaves.get(leaf).and_then(|(_, number)| self.snapshots.get(*number));
        plain_directory(snapshot.map_or(0, |(snapshot, _)| snapshot.time_ms), self.owner)
    }

    /// What an inode's number is made from. Names of one file have the same if all else about them is the same.
    pub fn identity(&self, leaf: usize, key: &[u8], entry: &Entry) -> Identity {
        let path = self.leaves.get(leaf).map_or("", |(path, _)| path).as_bytes();
        match entry.link {
            Some(link) if !entry.is_directory() => {
                Identity::of(&[b"file", path, &link.device.to_le_bytes(), &entry.inode.to_le_bytes(), &entry.encode()])
            }
            _ => Identity::of(&[b"path", path, key]),
        }
    }

    /// Bytes of a file; fewer than `length` only at its end.
    pub fn read(&self, leaf: usize, entry: &Entry, offset: u64, length: usize) -> Result<Vec<u8>> {
        let Body::File { size, content } = &entry.body else { return Ok(Vec::new()) };
        let end = size.saturating_sub(offset).min(length as u64).saturating_add(offset);
        let mut bytes = vec![0; within(end.saturating_sub(offset))];
        if let Content::Inline(all) = content {
            let rest = all.get(within(offset)..).unwrap_or_default();
            let length = rest.len().min(bytes.len());
            bytes[..length].copy_from_slice(&rest[..length]);
            return Ok(bytes);
        }
        if bytes.is_empty() {
            return Ok(bytes);
        }
        for extent in self.tree(leaf)?.extents(content, offset)? {
            let extent = extent?;
            if extent.offset >= end {
                break;
            }
            let chunk = self.chunk(extent.id)?;
            if chunk.len() as u64 != u64::from(extent.length) {
                return Err(Error::damaged(format_args!("blob {}", extent.id), "not as long as the file says"));
            }
            let (from, to) = (extent.offset.max(offset), extent.end().min(end));
            let part = within(from - extent.offset)..within(to - extent.offset);
            bytes[within(from - offset)..within(to - offset)].copy_from_slice(&chunk[part]);
        }
        Ok(bytes)
    }

    /// The value of an extended attribute, if there is one of this name.
    pub fn xattr(&self, entry: &Entry, name: &[u8]) -> Result<Option<Bytes>> {
        match entry.xattrs.iter().find(|xattr| xattr.name == name).map(|xattr| &xattr.value) {
            None => Ok(None),
            Some(XattrValue::Inline(value)) => Ok(Some(Bytes::copy_from_slice(value))),
            Some(XattrValue::Chunk(id)) => self.chunk(*id).map(Some),
        }
    }

    /// A chunk, verified once as long as it is kept.
    fn chunk(&self, id: BlobId) -> Result<Bytes> {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = chunks.iter().position(|(kept, _)| *kept == id)
            && let Some(kept) = chunks.remove(at)
        {
            let chunk = kept.1.clone();
            chunks.push_back(kept);
            return Ok(chunk);
        }
        drop(chunks);
        let chunk = self.reader.chunk(id)?;
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.push_back((id, chunk.clone()));
        let mut bytes: usize = chunks.iter().map(|(_, chunk)| chunk.len()).sum();
        while bytes > CHUNK_BYTES && chunks.len() > 1 {
            bytes -= chunks.pop_front().map_or(0, |(_, chunk)| chunk.len());
        }
        // A short chunk keeps all of its frame, so that their number counts too.
        while chunks.len() > CHUNK_BYTES >> 20 {
            chunks.pop_front();
        }
        Ok(chunk)
    }
}

fn within(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn nothing() -> Error {
    Error::new(ErrorKind::NotFound, "snapshot", "is not shown here")
}
