//! Directory trees into the tree `files`.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;

use super::run::{Run, Stored, named};
use crate::error::{Error, Result};
use crate::format::SourceDescription;
use crate::progress::Event;
use crate::record::entry::{
    Body, Content, Entry, INLINE_CONTENT_MAX, INLINE_EXTENTS_MAX, INLINE_XATTR_MAX, Link, Owner, Xattr, XattrValue,
};
use crate::record::{Entries, Extent, Extents, Subtree};
use crate::repository::Writer;
use crate::source::files::{self as source, Found, Kind, Metadata, Step, Walk};
use crate::tree::{Builder, Pushed};

/// Name of the root.
pub(in crate::ops) const FILES: &str = "files";

/// Directory trees.
#[derive(Clone, Debug)]
pub struct FilesSource {
    /// Where they are: absolute paths.
    pub paths: Vec<PathBuf>,
    /// How to read them.
    pub options: source::Options,
}

impl FilesSource {
    /// These paths, everything else by default.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, options: source::Options::default() }
    }

    pub(super) fn location(&self) -> String {
        let paths: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        paths.join(", ")
    }
}

pub(super) fn store(run: &mut Run<'_>, source: &FilesSource) -> Result<Stored> {
    run.observer.event(Event::Stage { name: "backing up files", total: None });
    let parameters = run.writer.repository().tree_parameters(&Entries);
    let mut builder = Builder::new(&parameters);
    let (mut skipped, mut bytes_read) = (Vec::new(), 0);
    for step in Walk::new(&source.paths, &source.options)? {
        let found = match step {
            Step::Found(found) => found,
            Step::Problem { path, error } => {
                skipped.push((path.display().to_string(), error.to_string()));
                continue;
            }
        };
        let entry = entry(&mut run.writer, &found)?;
        bytes_read += entry.size();
        let _: Pushed = builder.push(&mut run.writer, &found.key, &entry.encode())?;
    }
    let root = builder.finish(&mut run.writer)?;
    let sources = source.paths.iter().map(|path| SourceDescription {
        location: path.display().to_string(),
        options: Vec::new(),
        consistency_point: String::new(),
        atomic: false,
    });
    Ok(Stored {
        sources: sources.collect(),
        properties: Vec::new(),
        skipped_count: skipped.len() as u64,
        skipped,
        notes: Vec::new(),
        bytes_read,
        records_new: root.records,
        records_removed: 0,
        records_unmodified: 0,
        duplicates: 0,
        figures: Vec::new(),
        roots: vec![named(FILES, root, Vec::new())],
    })
}

fn entry(writer: &mut Writer, found: &Found) -> Result<Entry> {
    let io = |e| Error::io(found.path.display(), e);
    let metadata = Metadata::read(found).map_err(io)?;
    let stat = &found.stat;
    let body = match stat.kind {
        Kind::File => {
            let mut file = File::open(&found.path).map_err(io)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(io)?;
            Body::File { size: bytes.len() as u64, content: content(writer, &bytes)? }
        }
        Kind::Directory => Body::Directory,
        Kind::Symlink => Body::Symlink { target: metadata.target },
        Kind::Fifo => Body::Fifo,
        Kind::Socket => Body::Socket,
        Kind::CharacterDevice(device) => Body::CharacterDevice { device },
        Kind::BlockDevice(device) => Body::BlockDevice { device },
    };
    let mut xattrs = Vec::new();
    for (name, value) in metadata.xattrs {
        let value = match value.len() {
            0..=INLINE_XATTR_MAX => XattrValue::Inline(value),
            _ => XattrValue::Chunk(writer.write_chunk(Bytes::from(value))?),
        };
        xattrs.push(Xattr { name, value });
    }
    let link =
        (stat.links > 1 && stat.kind != Kind::Directory).then_some(Link { device: stat.device, count: stat.links });
    Ok(Entry {
        body,
        mode: stat.mode,
        owner: Owner { uid: stat.uid, gid: stat.gid, ..Owner::default() },
        mtime: stat.mtime,
        ctime: stat.ctime,
        atime: None,
        inode: stat.inode,
        link,
        xattrs,
    })
}

fn content(writer: &mut Writer, bytes: &[u8]) -> Result<Content> {
    if bytes.len() <= INLINE_CONTENT_MAX {
        return Ok(Content::Inline(bytes.to_vec()));
    }
    let (mut extents, mut rest) = (Vec::new(), bytes);
    let mut offset = 0;
    while let Some(length) = writer.chunker().cut(rest, true) {
        let (chunk, tail) = rest.split_at(length);
        let id = writer.write_chunk(Bytes::copy_from_slice(chunk))?;
        let length = u32::try_from(length).expect("chunks are limited to far less than 4 GiB");
        extents.push(Extent { offset, length, id });
        offset += u64::from(length);
        rest = tail;
    }
    if extents.len() <= INLINE_EXTENTS_MAX {
        return Ok(Content::Extents(extents));
    }
    let parameters = writer.repository().tree_parameters(&Extents);
    let mut builder = Builder::new(&parameters);
    for extent in &extents {
        let _: Pushed = builder.push(writer, &extent.key(), &extent.value())?;
    }
    let root = builder.finish(writer)?;
    let id = root.id.expect("a tree with records has a top node");
    let (kind, level, records, row_bytes, summary) =
        (root.kind, root.level, root.records, root.row_bytes, root.summary);
    Ok(Content::Tree(Subtree { kind, id, level, records, row_bytes, summary }))
}
