//! The paths of a snapshot.

use std::path::PathBuf;

use super::files::{self, FileTree};
use crate::error::Result;
use crate::id::SnapshotId;
use crate::record::entry::{self, Body, Entry};
use crate::repository::Repository;
use crate::sorter::{Sorter, SorterOptions};

/// What to list, and in which order.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// These paths, which must be there; of a directory also what is in it. Everything when there are none.
    pub paths: Vec<PathBuf>,
    /// What is in directories below the paths, too.
    pub recursive: bool,
    /// The order.
    pub order: ListOrder,
    /// The other way round.
    pub reverse: bool,
    /// Memory for sorting, where the order is not that of paths.
    pub memory_bytes: usize,
    /// Folder for temporary files.
    pub temporary: Option<PathBuf>,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            recursive: false,
            order: ListOrder::Path,
            reverse: false,
            memory_bytes: 128 << 20,
            temporary: None,
        }
    }
}

/// In which order paths are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// By path: a directory, everything in it, then its next sibling.
    #[default]
    Path,
    /// By size, the largest first.
    Size,
    /// By the time of the last change of the content, the newest first.
    Time,
}

/// What was listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListSummary {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Everything else.
    pub others: u64,
    /// Bytes of the files, each name counted.
    pub bytes: u64,
}

/// Hands the paths of a snapshot to `sink`, as keys and entries.
///
/// # Errors
/// [`crate::ErrorKind::NotFound`] when a path is not there, [`crate::ErrorKind::Usage`] when the snapshot holds no files.
pub async fn ls(
    repository: &Repository,
    snapshot: SnapshotId,
    options: ListOptions,
    mut sink: impl FnMut(&[u8], &Entry) -> Result<()> + Send + 'static,
) -> Result<ListSummary> {
    let repository = repository.clone();
    super::blocking(move || {
        let tree = FileTree::open(&repository, snapshot)?;
        let mut summary = ListSummary::default();
        let mut sink = |key: &[u8], entry: &Entry| {
            summary.add(entry);
            sink(key, entry)
        };
        if options.order == ListOrder::Path && !options.reverse {
            list(&tree, &options, &mut sink)?;
        } else {
            list_sorted(&tree, &options, &mut sink)?;
        }
        Ok(summary)
    })
    .await
}

impl ListSummary {
    pub(super) fn add(&mut self, entry: &Entry) {
        match entry.body {
            Body::File { size, .. } => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(size);
            }
            Body::Directory => self.directories += 1,
            _ => self.others += 1,
        }
    }
}

type Sink<'a> = &'a mut dyn FnMut(&[u8], &Entry) -> Result<()>;

fn list(tree: &FileTree, options: &ListOptions, sink: Sink<'_>) -> Result<()> {
    if options.paths.is_empty() {
        return tree.walk(&[])?.try_for_each(|found| found.and_then(|(key, entry)| sink(&key, &entry)));
    }
    let mut keys = options.paths.iter().map(|path| tree.key(path)).collect::<Result<Vec<_>>>()?;
    keys.sort_unstable();
    keys.dedup();
    let entries = keys.iter().map(|key| top(tree, key)).collect::<Result<Vec<_>>>()?;
    let mut within: Option<&[u8]> = None;
    for (key, entry) in keys.iter().zip(&entries) {
        if options.recursive {
            if within.is_some_and(|within| is_below(key, within)) {
                continue;
            }
            within = Some(key);
            tree.walk(key)?.try_for_each(|found| found.and_then(|(key, entry)| sink(&key, &entry)))?;
            continue;
        }
        let listed = entry::parent_of(key).is_some_and(|parent| keys.iter().any(|key| key == parent));
        if let Some(entry) = entry.as_ref().filter(|_| !listed) {
            sink(key, entry)?;
        }
        if entry.as_ref().is_none_or(Entry::is_directory) {
            tree.children(key)?.try_for_each(|found| found.and_then(|(key, entry)| sink(&key, &entry)))?;
        }
    }
    Ok(())
}

/// The entry of a path that was asked for. The root directory is there whether it has an entry or not.
fn top(tree: &FileTree, key: &[u8]) -> Result<Option<Entry>> {
    if key.is_empty() { tree.find(key) } else { tree.entry(key).map(Some) }
}

fn is_below(key: &[u8], directory: &[u8]) -> bool {
    let (from, to) = entry::subtree(directory);
    key >= from.as_slice() && to.is_none_or(|to| key < to.as_slice())
}

/// Sorted outside memory: the rows are the order's bytes, the length of the key, the key and the entry.
fn list_sorted(tree: &FileTree, options: &ListOptions, sink: Sink<'_>) -> Result<()> {
    let memory = SorterOptions { memory_bytes: options.memory_bytes, directory: options.temporary.clone() };
    let mut sorter = Sorter::new(memory);
    let mut row = Vec::new();
    list(tree, options, &mut |key, entry| {
        row.clear();
        put_rank(options.order, key, entry, &mut row);
        if options.reverse {
            row.iter_mut().for_each(|byte| *byte = !*byte);
        }
        let rank_len = row.len();
        row.extend_from_slice(key);
        entry.encode_to(&mut row);
        row.extend_from_slice(&offset(rank_len));
        row.extend_from_slice(&offset(rank_len + key.len()));
        sorter.push(&row)
    })?;
    sorter.finish()?.for_each(|row| {
        let (rest, key_end) = row.split_last_chunk().expect("two offsets end each row");
        let (rest, key_start) = rest.split_last_chunk().expect("two offsets end each row");
        let (start, end) = (u32::from_le_bytes(*key_start) as usize, u32::from_le_bytes(*key_end) as usize);
        let key = &rest[start..end];
        sink(key, &files::decode(key, &rest[end..])?)
    })
}

fn offset(at: usize) -> [u8; 4] {
    u32::try_from(at).expect("keys are part of nodes, which are far smaller than 4 GiB").to_le_bytes()
}

/// Bytes that sort as the order wants; no two paths have the same, and none's are the start of another's.
fn put_rank(order: ListOrder, key: &[u8], entry: &Entry, out: &mut Vec<u8>) {
    match order {
        ListOrder::Path => {}
        ListOrder::Size => out.extend_from_slice(&(!entry.size()).to_be_bytes()),
        ListOrder::Time => {
            let seconds = entry.mtime.seconds.cast_unsigned() ^ (1 << 63);
            out.extend_from_slice(&(!seconds).to_be_bytes());
            out.extend_from_slice(&(!entry.mtime.nanos).to_be_bytes());
        }
    }
    // Bytes are one higher, so that the end comes before any of them; the two highest take a second byte.
    for &byte in key {
        match byte {
            0..254 => out.push(byte + 1),
            254.. => out.extend_from_slice(&[255, byte - 253]),
        }
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::entry::{Owner, Time};

    fn entry(size: u64, seconds: i64, nanos: u32) -> Entry {
        Entry {
            body: Body::File { size, content: entry::Content::Extents(Vec::new()) },
            mode: 0,
            owner: Owner::default(),
            mtime: Time { seconds, nanos },
            ctime: Time::default(),
            atime: None,
            inode: 0,
            link: None,
            xattrs: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn ranks_sort_like_what_they_stand_for(
            a: (Vec<u8>, u64, i64, u32),
            b: (Vec<u8>, u64, i64, u32),
        ) {
            let rank = |order, (key, size, seconds, nanos): &(Vec<u8>, u64, i64, u32)| {
                let mut out = Vec::new();
                put_rank(order, key, &entry(*size, *seconds, *nanos), &mut out);
                out
            };
            let compared = |order| rank(order, &a).cmp(&rank(order, &b));
            prop_assert_eq!(compared(ListOrder::Path), a.0.cmp(&b.0));
            prop_assert_eq!(compared(ListOrder::Size), b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            prop_assert_eq!(compared(ListOrder::Time), (b.2, b.3).cmp(&(a.2, a.3)).then(a.0.cmp(&b.0)));
        }
    }
}
