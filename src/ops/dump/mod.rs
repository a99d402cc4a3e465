//! A file's bytes, or a directory as an archive, as one stream.

mod tar;
mod zip;

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use self::tar::TarStream;
use self::zip::ZipStream;
use super::SnapshotPath;
use super::files::{FileContent, FileTree, Piece};
use crate::error::{Error, ErrorKind, Result};
use crate::id::BlobId;
use crate::record::entry::{self, Body, Entry, Link, Xattr, XattrValue};
use crate::repository::{Reader, Repository};

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 256 << 10;
/// Zeros that are written at a time.
const ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// How directories are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Archive {
    /// POSIX tar with extended headers: all that a snapshot knows of paths, except of sockets.
    #[default]
    Tar,
    /// ZIP: files, directories and symbolic links, with permissions and times to the second.
    Zip,
}

/// How to write.
#[derive(Clone, Debug, Default)]
pub struct DumpOptions {
    /// How a directory is written.
    pub archive: Archive,
    /// The directory below which names in the archive begin; the root directory without one.
    pub below: Option<PathBuf>,
}

/// What was written.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DumpSummary {
    /// Regular files, hard links to them too.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Everything else.
    pub others: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// What the archive cannot hold, and why.
    pub left_out: Vec<(PathBuf, String)>,
}

/// Writes what is at a path of a snapshot to `out`: a file's bytes as they are, a directory as an archive.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the path is not there, [`ErrorKind::Usage`] when it is neither file nor directory. What was
/// written before an error has no end: no archive looks complete that is not.
pub async fn dump_files(
    repository: &Repository,
    place: SnapshotPath,
    options: DumpOptions,
    out: impl Write + Send + 'static,
) -> Result<DumpSummary> {
    let repository = repository.clone();
    super::blocking(move || {
        let tree = FileTree::open(&repository, place.snapshot)?;
        let path = place.path.unwrap_or_else(|| PathBuf::from("/"));
        let key = tree.key(&path)?;
        let top = if key.is_empty() { tree.find(&key)? } else { Some(tree.entry(&key)?) };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        let mut summary = DumpSummary::default();
        match top.as_ref().map(|entry| &entry.body) {
            Some(Body::File { .. }) => {
                let entry = top.as_ref().expect("its body was just looked at");
                copy(&mut tree.content(entry)?, &mut out)?;
                summary.files = 1;
                summary.bytes = entry.size();
            }
            Some(Body::Directory) | None => {
                let below = options.below.map_or(Ok(Vec::new()), |below| tree.key(&below))?;
                let walk = Tree { tree: &tree, top: key, below };
                match options.archive {
                    Archive::Tar => walk.write(&mut TarStream::new(&mut out), &mut summary)?,
                    Archive::Zip => walk.write(&mut ZipStream::new(&mut out), &mut summary)?,
                }
            }
            Some(_) => {
                let why = "neither a file nor a directory: it has no bytes";
                return Err(Error::new(ErrorKind::Usage, tree.place(&path), why));
            }
        }
        out.flush().map_err(output)?;
        Ok(summary)
    })
    .await
}

/// A kind of archive.
trait Stream {
    /// Appends an entry; `Err` inside `Ok` says why the archive cannot hold it.
    fn put(&mut self, item: &Item<'_>) -> Result<Result<(), String>>;

    /// Appends what ends the archive.
    fn finish(&mut self) -> Result<()>;
}

/// An entry on its way into an archive.
struct Item<'a> {
    tree: &'a FileTree,
    /// Its name in the archive without a slash at the end; empty for the directory that the names are below.
    name: &'a [u8],
    entry: &'a Entry,
    /// The name in the archive of the first of its hard links, if this is not the first.
    same_as: Option<&'a [u8]>,
}

struct Tree<'a> {
    tree: &'a FileTree,
    top: Vec<u8>,
    below: Vec<u8>,
}

impl Tree<'_> {
    fn write(&self, stream: &mut dyn Stream, summary: &mut DumpSummary) -> Result<()> {
        let mut links = Links::default();
        for found in self.tree.walk_with_content(&self.top)? {
            let (key, entry) = found?;
            let name = name(&key, &self.below);
            let same_as = entry.link.and_then(|link| links.first(link, entry.inode, &name));
            let item = Item { tree: self.tree, name: &name, entry: &entry, same_as: same_as.as_deref() };
            if let Err(why) = stream.put(&item)? {
                summary.left_out.push((entry::path_of_key(&key), why));
                continue;
            }
            match entry.body {
                Body::File { size, .. } => {
                    summary.files += 1;
                    summary.bytes = summary.bytes.saturating_add(size);
                }
                Body::Directory => summary.directories += 1,
                _ => summary.others += 1,
            }
        }
        stream.finish()
    }
}

/// A key as a name below a directory; what is not below it keeps its whole path.
fn name(key: &[u8], below: &[u8]) -> Vec<u8> {
    let rest = match key.strip_prefix(below) {
        Some(rest) if below.is_empty() => rest,
        Some([0, rest @ ..]) => rest,
        Some([]) => &[],
        _ => key,
    };
    rest.iter().map(|&byte| if byte == 0 { b'/' } else { byte }).collect()
}

/// Names of which others are hard links, until all of them were met.
#[derive(Default)]
struct Links(HashMap<(u64, u64), (Vec<u8>, u64)>);

impl Links {
    /// The name that was met first, unless that is this one.
    fn first(&mut self, link: Link, inode: u64, name: &[u8]) -> Option<Vec<u8>> {
        let at = (link.device, inode);
        let Some((first, met)) = self.0.get_mut(&at) else {
            self.0.insert(at, (name.to_vec(), 1));
            return None;
        };
        *met += 1;
        let first = first.clone();
        if *met >= link.count {
            self.0.remove(&at);
        }
        Some(first)
    }
}

/// Writes all that is left of a file.
fn copy(content: &mut FileContent<'_>, out: &mut dyn Write) -> Result<()> {
    while let Some(piece) = content.next_piece(u64::MAX)? {
        match piece {
            Piece::Data(bytes) => out.write_all(&bytes).map_err(output)?,
            Piece::Hole(len) => zeros(len, out)?,
        }
    }
    Ok(())
}

fn zeros(mut len: u64, out: &mut dyn Write) -> Result<()> {
    while len > 0 {
        let part = usize::try_from(len).map_or(ZEROS.len(), |len| len.min(ZEROS.len()));
        out.write_all(&ZEROS[..part]).map_err(output)?;
        len -= part as u64;
    }
    Ok(())
}

fn output(error: io::Error) -> Error {
    Error::io("output", error)
}

/// The value of an extended attribute.
fn xattr(reader: &Reader, xattr: &Xattr) -> Result<Vec<u8>> {
    match &xattr.value {
        XattrValue::Inline(value) => Ok(value.clone()),
        XattrValue::Chunk(id) => chunk(reader, *id),
    }
}

fn chunk(reader: &Reader, id: BlobId) -> Result<Vec<u8>> {
    Ok(reader.chunk(id)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_below_a_directory() {
        for (key, below, expected) in [
            (&b"a\0b"[..], &b""[..], &b"a/b"[..]),
            (b"a\0b", b"a", b"b"),
            (b"a", b"a", b""),
            (b"ab", b"a", b"ab"),
            (b"", b"", b""),
        ] {
            assert_eq!(name(key, below), expected);
        }
    }
}
