//! Chunks and files under another repository's ids.
//!
//! Files are cut anew, as the repository that is written to cuts them: so what is copied and what is backed up there share
//! chunks. Files of pages, which every repository cuts at the same places, keep their cuts.

use std::sync::Arc;

use bytes::Bytes;

use super::extents::{ExtentList, Extents, Same};
use super::memo::Memo;
use crate::chunker::Chunker;
use crate::error::{DecodeError, Error, Result};
use crate::id::BlobId;
use crate::ops::FileTree;
use crate::record::Extent;
use crate::record::entry::{Body, Content, Entry, XattrValue};
use crate::repository::{Reader, Writer};

/// Length of the runs that files of pages are cut into.
const PAGE_RUN_BYTES: u64 = 64 << 10;
/// Extents by which a file of pages is told from others.
const TELLING_EXTENTS: usize = 4;
/// Chunks whose id in the other repository is remembered, in each of two generations.
const CHUNKS_REMEMBERED: usize = 1 << 17;
/// Bytes of files' extents that are remembered, in each of two generations.
const FILES_REMEMBERED_BYTES: usize = 16 << 20;

/// Reads from one repository and writes to another, most things once.
pub(super) struct Contents {
    source: Reader,
    chunks: Memo<BlobId, BlobId>,
    files: Memo<[u8; 32], Content>,
    chunker: Arc<Chunker>,
    /// Bytes of chunks that were read.
    pub(super) bytes_read: u64,
}

/// An earlier state of a file in both repositories.
pub(super) struct Earlier<'a> {
    /// Where it was read from.
    pub(super) source: (&'a FileTree, Content),
    /// What became of it.
    pub(super) copy: (&'a FileTree, Content),
}

impl Contents {
    /// `chunker` cuts as the repository that is written to wants it.
    pub(super) fn new(source: Reader, chunker: Chunker) -> Self {
        let weigh = |content: &Content| match content {
            Content::Extents(extents) => 128 + extents.len() * size_of::<Extent>(),
            _ => 256,
        };
        Self {
            source,
            chunks: Memo::new(CHUNKS_REMEMBERED, |_| 1),
            files: Memo::new(FILES_REMEMBERED_BYTES, weigh),
            chunker: Arc::new(chunker),
            bytes_read: 0,
        }
    }

    /// What is read from.
    pub(super) fn source(&self) -> &Reader {
        &self.source
    }

    /// The chunk's id in the other repository, where it is stored whole; `like` is one there that it probably resembles.
    pub(super) fn chunk(&mut self, writer: &mut Writer, id: BlobId, like: Option<BlobId>) -> Result<BlobId> {
        if let Some(copy) = self.chunks.get(&id) {
            return Ok(copy);
        }
        let bytes = self.read(id)?;
        let copy = store(writer, bytes, like)?;
        self.chunks.insert(id, copy);
        Ok(copy)
    }

    /// The entry as the other repository has it. `earlier` gives its content as it was in the last snapshot that was copied.
    pub(super) fn entry<'a>(
        &mut self,
        writer: &mut Writer,
        tree: &FileTree,
        mut entry: Entry,
        earlier: impl FnOnce() -> Result<Option<Earlier<'a>>>,
    ) -> Result<Entry> {
        for xattr in &mut entry.xattrs {
            if let XattrValue::Chunk(id) = &mut xattr.value {
                *id = self.chunk(writer, *id, None)?;
            }
        }
        if let Body::File { content, .. } = &mut entry.body
            && let Some(name) = name_of(content)
        {
            *content = match self.files.get(&name) {
                Some(copy) => copy,
                None => {
                    let copy = self.file(writer, tree, content, earlier()?)?;
                    self.files.insert(name, copy.clone());
                    copy
                }
            };
        }
        Ok(entry)
    }

    fn file(
        &mut self,
        writer: &mut Writer,
        tree: &FileTree,
        content: &Content,
        earlier: Option<Earlier<'_>>,
    ) -> Result<Content> {
        if let Some(earlier) = &earlier
            && earlier.source.1 == *content
        {
            return Ok(earlier.copy.1.clone());
        }
        match is_of_pages(tree, content)? {
            true => self.pages(writer, tree, content, earlier),
            false => self.cut_anew(writer, tree, content, earlier),
        }
    }

    /// Chunk by chunk, cut where it is.
    fn pages(
        &mut self,
        writer: &mut Writer,
        tree: &FileTree,
        content: &Content,
        earlier: Option<Earlier<'_>>,
    ) -> Result<Content> {
        let mut list = ExtentList::default();
        let mut before = match &earlier {
            Some(Earlier { source: (tree, content), copy: (copy_tree, copy) }) => {
                Some((Extents::new(tree, content)?, Extents::new(copy_tree, copy)?))
            }
            None => None,
        };
        for extent in tree.extents(content, 0)? {
            let extent = extent?;
            let mut like = None;
            if let Some((source, copy)) = &mut before {
                let was = source.at(extent.offset)?;
                like = copy.at(extent.offset)?.filter(|copy| copy.offset == extent.offset);
                if let (true, Some(copy)) = (was == Some(extent), like)
                    && copy.length == extent.length
                {
                    list.push(writer, copy)?;
                    continue;
                }
            }
            let id = self.chunk(writer, extent.id, like.map(|copy| copy.id))?;
            list.push(writer, Extent { id, ..extent })?;
        }
        list.finish(writer)
    }

    /// As the other repository cuts it. Where the file is what it was before, the cuts are what they were, and nothing is
    /// read.
    fn cut_anew(
        &mut self,
        writer: &mut Writer,
        tree: &FileTree,
        content: &Content,
        earlier: Option<Earlier<'_>>,
    ) -> Result<Content> {
        let chunker = Arc::clone(&self.chunker);
        let (mut list, mut extents) = (ExtentList::default(), Extents::new(tree, content)?);
        let mut before = match &earlier {
            Some(Earlier { source: (old_tree, old), copy: (copy_tree, copy) }) => Some(Before {
                same: Same::new(Extents::new(tree, content)?, Extents::new(old_tree, old)?),
                copy: Extents::new(copy_tree, copy)?,
            }),
            None => None,
        };
        let mut buffer = Buffer::default();
        loop {
            if buffer.is_empty() {
                let Some(next) = extents.reaching(buffer.at)? else { break };
                buffer.at = buffer.at.max(next.offset);
            }
            let mut like = None;
            if let Some(before) = &mut before {
                if let Some(known) = before.reusable(tree, content, buffer.at)? {
                    list.push(writer, known)?;
                    buffer.skip(u64::from(known.length));
                    continue;
                }
                like = before.copy.reaching(buffer.at)?.filter(|c| c.offset <= buffer.at).map(|copy| copy.id);
            }
            let ended = self.fill(&mut buffer, &mut extents, &chunker)?;
            let length = chunker.cut(buffer.bytes(), ended).ok_or_else(|| unexpected("an empty stretch of a file"))?;
            let bytes = Bytes::copy_from_slice(&buffer.bytes()[..length]);
            let offset = buffer.at;
            let id = store(writer, bytes, like)?;
            let length = u32::try_from(length).map_err(|_| unexpected("a chunk over 4 GiB"))?;
            list.push(writer, Extent { offset, length, id })?;
            buffer.skip(u64::from(length));
        }
        list.finish(writer)
    }

    /// Reads until a largest chunk is in the buffer or a hole or the end follows; whether one of those does.
    fn fill(&mut self, buffer: &mut Buffer, extents: &mut Extents<'_>, chunker: &Chunker) -> Result<bool> {
        loop {
            let end = buffer.end();
            match extents.reaching(end)? {
                Some(extent) if extent.offset <= end => {
                    if buffer.bytes().len() >= chunker.sizes().max_bytes {
                        return Ok(false);
                    }
                    let chunk = self.read(extent.id)?;
                    if chunk.len() as u64 != u64::from(extent.length) {
                        let why = DecodeError::Invalid("length of a chunk");
                        return Err(Error::damaged(format_args!("blob {}", extent.id), why));
                    }
                    let from = usize::try_from(end - extent.offset).map_err(|_| unexpected("a chunk over 4 GiB"))?;
                    buffer.push(&chunk[from..]);
                }
                _ => return Ok(true),
            }
        }
    }

    fn read(&mut self, id: BlobId) -> Result<Bytes> {
        let bytes = self.source.chunk(id)?;
        self.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }
}

/// What is known of a file that was copied before.
struct Before<'a> {
    same: Same<'a>,
    copy: Extents<'a>,
}

impl Before<'_> {
    /// The chunk that the copy has at `at`, where cutting anew would give it again: all its bytes are what they were, and it
    /// did not end because the bytes did, unless they end there again.
    fn reusable(&mut self, tree: &FileTree, content: &Content, at: u64) -> Result<Option<Extent>> {
        let Some(copy) = self.copy.reaching(at)?.filter(|copy| copy.offset == at) else { return Ok(None) };
        if !self.same.covers(at, copy.end())? {
            return Ok(None);
        }
        let ended_by_rule = self.copy.following()?.is_some_and(|next| next.offset == copy.end());
        let goes_on = || -> Result<bool> {
            let next = tree.extents(content, copy.end())?.next().transpose()?;
            Ok(next.is_some_and(|next| next.offset <= copy.end()))
        };
        Ok((ended_by_rule || !goes_on()?).then_some(copy))
    }
}

/// Bytes of a file from `at` on.
#[derive(Default)]
struct Buffer {
    at: u64,
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    fn end(&self) -> u64 {
        self.at.saturating_add(self.bytes().len() as u64)
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Goes on so many bytes later, read or not.
    fn skip(&mut self, length: u64) {
        self.at = self.at.saturating_add(length);
        self.start = usize::try_from(length).map_or(self.bytes.len(), |l| (self.start + l).min(self.bytes.len()));
    }
}

/// Whether a file looks as if cut at fixed runs of pages.
fn is_of_pages(tree: &FileTree, content: &Content) -> Result<bool> {
    let (mut runs, mut last_end) = (0, None);
    for extent in tree.extents(content, 0)?.take(TELLING_EXTENTS) {
        let extent = extent?;
        let aligned_end = extent.end().is_multiple_of(PAGE_RUN_BYTES);
        let within_run = extent.offset / PAGE_RUN_BYTES == (extent.end() - 1) / PAGE_RUN_BYTES;
        if !within_run || last_end == Some(extent.offset) && !extent.offset.is_multiple_of(PAGE_RUN_BYTES) {
            return Ok(false);
        }
        runs += u32::from(aligned_end);
        last_end = Some(extent.end());
    }
    Ok(runs > 1)
}

/// A name for the bytes of a file in the repository that they are in; none for those that are not chunks.
fn name_of(content: &Content) -> Option<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    match content {
        Content::Inline(_) => return None,
        Content::Extents(extents) => {
            for extent in extents {
                hasher.update(&extent.key()).update(&extent.value());
            }
        }
        Content::Tree(tree) => {
            hasher.update(b"tree").update(tree.id.as_bytes());
        }
    }
    Some(*hasher.finalize().as_bytes())
}

fn store(writer: &mut Writer, bytes: Bytes, like: Option<BlobId>) -> Result<BlobId> {
    let id = writer.repository().keys().blob_id_chunk(&bytes);
    writer.write_hashed_chunk(id, bytes, like)?;
    Ok(id)
}

fn unexpected(what: &'static str) -> Error {
    Error::damaged("extents of a file", DecodeError::Invalid(what))
}
