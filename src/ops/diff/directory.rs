//! What is different between a snapshot and a directory on disk.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::files::{Comparison, FileChange, FileDiffOptions, FileDiffSummary, Half, SnapshotPath, below};
use crate::error::{Error, Result};
use crate::ops::files::{self, FileTree};
use crate::ops::{self};
use crate::record::entry::{self, Body, Content, Entry, Xattr, XattrValue};
use crate::repository::Repository;
use crate::source::files::{Found, Kind, Metadata, Options, Step, Walk};

/// Bytes of a hole that are compared at a time.
const HOLE_BUFFER_BYTES: usize = 64 << 10;

/// Hands what differs between a snapshot and a directory, or file, on disk to `sink`, in the order of keys.
///
/// Without a path in the snapshot, the directory's own is meant. Files of the same size and time count as the same unless
/// [`FileDiffOptions::content`] is asked for; others are read and compared chunk by chunk with the ids in the snapshot, of
/// which no content is read.
pub async fn diff_directory(
    repository: &Repository,
    a: SnapshotPath,
    directory: PathBuf,
    options: FileDiffOptions,
    mut sink: impl FnMut(FileChange<'_>) -> Result<()> + Send + 'static,
) -> Result<FileDiffSummary> {
    let repository = repository.clone();
    ops::blocking(move || {
        let directory = absolute(&directory)?;
        let place = SnapshotPath { path: Some(a.path.unwrap_or_else(|| directory.clone())), ..a };
        let half = Half::open(&repository, &place)?;
        let top = entry::key_of_path(&directory).unwrap_or_default();
        let shown = if half.top == top { top.clone() } else { Vec::new() };
        let mut disk = Disk { walk: Walk::new(&[directory], &Options::default())?, top, problems: Vec::new() };
        let mut comparison = Comparison::new(options, &mut sink);
        let mut rows = half.rows()?;
        let mut found = disk.next();
        loop {
            let order = match (rows.key(), &found) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some((b, _))) => a.cmp(b),
            };
            let key = match (order, &found) {
                (Ordering::Greater, Some((key, _))) => whole(&shown, key),
                _ => whole(&shown, rows.key().unwrap_or_default()),
            };
            match (order, &found) {
                (Ordering::Less, _) => {
                    // Below what could not be read nothing is known to be gone.
                    if !disk.is_unknown(rows.key().unwrap_or_default()) {
                        comparison.removed(&key, &files::decode(&key, rows.value())?.body)?;
                    }
                }
                (Ordering::Greater, Some((_, there))) => {
                    comparison.summary.added.bytes += there.stat.size;
                    comparison.added(&key, &body(there.stat.kind, there.stat.size))?;
                }
                (Ordering::Equal, Some((_, there))) => {
                    let entry = files::decode(&key, rows.value())?;
                    match compare(&half.tree, &entry, there, options) {
                        Ok((content, metadata)) => {
                            let after = body(there.stat.kind, there.stat.size);
                            comparison.changed(&key, &entry.body, &after, content, metadata)?;
                        }
                        Err(Failed::Disk(error)) => {
                            disk.problems.push((there.path.clone(), Vec::new(), error.to_string()));
                        }
                        Err(Failed::Snapshot(error)) => return Err(error),
                    }
                }
                (_, None) => {}
            }
            if order.is_le() {
                rows.advance()?;
            }
            if order.is_ge() {
                found = disk.next();
            }
        }
        let mut summary = comparison.summary;
        summary.problems = disk.problems.into_iter().map(|(path, _, why)| (path, why)).collect();
        Ok(summary)
    })
    .await
}

/// Without `.` and `..`; what is at the end may be a link to a directory.
fn absolute(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?;
    let absolute: PathBuf = absolute.components().collect();
    let is_link = std::fs::symlink_metadata(&absolute).map_err(|e| Error::io(path.display(), e))?.is_symlink();
    match entry::key_of_path(&absolute) {
        Some(_) if !is_link => Ok(absolute),
        _ => std::fs::canonicalize(&absolute).map_err(|e| Error::io(path.display(), e)),
    }
}

/// A key below the paths that are compared as it is shown.
fn whole(shown: &[u8], key: &[u8]) -> Vec<u8> {
    match (shown, key) {
        ([], key) => key.to_vec(),
        (top, []) => top.to_vec(),
        (top, key) => entry::child_key(top, key),
    }
}

/// What is on disk, with keys from below the directory on.
struct Disk {
    walk: Walk,
    top: Vec<u8>,
    /// Path, key below the directory (empty where only this file is concerned) and why.
    problems: Vec<(PathBuf, Vec<u8>, String)>,
}

impl Disk {
    fn next(&mut self) -> Option<(Vec<u8>, Found)> {
        loop {
            match self.walk.next()? {
                Step::Found(found) => {
                    let (from, to) = entry::subtree(&self.top);
                    let is_in = found.key >= from && to.is_none_or(|to| found.key < to);
                    if is_in {
                        return Some((below(&found.key, self.top.len()).to_vec(), found));
                    }
                }
                Step::Problem { path, error } => {
                    let key = entry::key_of_path(&path).unwrap_or_default();
                    let key = below(&key, self.top.len()).to_vec();
                    self.problems.push((path, key, error.to_string()));
                }
            }
        }
    }

    fn is_unknown(&self, key: &[u8]) -> bool {
        self.problems.iter().any(|(_, unknown, _)| {
            let (from, to) = entry::subtree(unknown);
            !unknown.is_empty() && key >= from.as_slice() && to.is_none_or(|to| key < to.as_slice())
        })
    }
}

/// What an entry of what is there would be, without content.
fn body(kind: Kind, size: u64) -> Body {
    match kind {
        Kind::File => Body::File { size, content: Content::Extents(Vec::new()) },
        Kind::Directory => Body::Directory,
        Kind::Symlink => Body::Symlink { target: Vec::new() },
        Kind::Fifo => Body::Fifo,
        Kind::Socket => Body::Socket,
        Kind::CharacterDevice(device) => Body::CharacterDevice { device },
        Kind::BlockDevice(device) => Body::BlockDevice { device },
    }
}

/// Which side could not be read.
enum Failed {
    Disk(io::Error),
    Snapshot(Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Whether content, and whether something else, is different.
fn compare(tree: &FileTree, entry: &Entry, there: &Found, options: FileDiffOptions) -> Result<(bool, bool), Failed> {
    let stat = &there.stat;
    let after = body(stat.kind, stat.size);
    if std::mem::discriminant(&entry.body) != std::mem::discriminant(&after) {
        return Ok((false, false));
    }
    let needs_target = stat.kind == Kind::Symlink;
    let metadata = if options.metadata || needs_target { Metadata::read(there)? } else { Metadata::default() };
    let content = match &entry.body {
        Body::File { size, .. } if *size != stat.size => true,
        Body::File { .. } if entry.mtime == stat.mtime && !options.content => false,
        Body::File { .. } => !same_content(tree, entry, there)?,
        Body::Symlink { target } => *target != metadata.target,
        _ => false,
    };
    let same = entry.mode == stat.mode
        && (entry.owner.uid, entry.owner.gid) == (stat.uid, stat.gid)
        && entry.mtime == stat.mtime
        && (matches!(entry.body, Body::File { .. } | Body::Symlink { .. }) || entry.body == after)
        && same_xattrs(tree, &entry.xattrs, &metadata.xattrs);
    Ok((content, !same))
}

fn same_xattrs(tree: &FileTree, ours: &[Xattr], theirs: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let mut theirs: Vec<_> = theirs.iter().collect();
    theirs.sort_unstable();
    let same = |ours: &Xattr, value: &[u8]| match &ours.value {
        XattrValue::Inline(inline) => inline == value,
        XattrValue::Chunk(id) => tree.reader().repository().keys().blob_id_chunk(value) == *id,
    };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, (name, value))| ours.name == *name && same(ours, value))
}

/// Whether a file on disk has the bytes that an entry of the same size says.
fn same_content(tree: &FileTree, entry: &Entry, there: &Found) -> Result<bool, Failed> {
    let Body::File { size, content } = &entry.body else { return Ok(true) };
    let file = open(&there.path)?;
    if let Content::Inline(bytes) = content {
        let mut buffer = vec![0; bytes.len()];
        return Ok(read_whole(&file, &mut buffer, 0)? && buffer == *bytes);
    }
    let keys = tree.reader().repository().keys();
    let (mut buffer, mut position) = (Vec::new(), 0);
    for extent in tree.extents(content, 0).map_err(Failed::Snapshot)? {
        let extent = extent.map_err(Failed::Snapshot)?;
        if !is_hole(&file, position, extent.offset)? {
            return Ok(false);
        }
        buffer.resize(extent.length as usize, 0);
        if !read_whole(&file, &mut buffer, extent.offset)? || keys.blob_id_chunk(&buffer) != extent.id {
            return Ok(false);
        }
        position = extent.end();
    }
    Ok(is_hole(&file, position, *size)?)
}

/// Not through a link that took the file's place, and without waiting for what is no file any more.
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

/// Whether there are only zeros between the two offsets.
fn is_hole(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let mut buffer =
        vec![0; usize::try_from(to.saturating_sub(from)).map_or(HOLE_BUFFER_BYTES, |n| n.min(HOLE_BUFFER_BYTES))];
    let mut at = from;
    while at < to {
        let len = usize::try_from(to - at).map_or(buffer.len(), |n| n.min(buffer.len()));
        if !read_whole(file, &mut buffer[..len], at)? || buffer[..len].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}

/// Fills the buffer; `false` when the file ends before.
fn read_whole(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
