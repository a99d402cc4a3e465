//! The bytes of a file.

use std::collections::VecDeque;
use std::io::{self, Read};

use bytes::Bytes;

use super::{FileExtents, FileTree};
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::record::Extent;
use crate::record::entry::{Body, Content, Entry};

/// Extents that a reader is told of before they are read.
const EXTENTS_AHEAD: usize = 16;

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Data(Bytes),
    /// So many bytes of zeros that were never written.
    Hole(u64),
}

/// A file, read chunk by chunk: at most one chunk of it is in memory.
pub struct FileContent<'a> {
    tree: &'a FileTree,
    content: Content,
    size: u64,
    position: u64,
    extents: Option<FileExtents<'a>>,
    /// Extents after it that were announced to the reader.
    ahead: VecDeque<Extent>,
    /// The extent at the position or the next after it, if it was looked for.
    extent: Option<Extent>,
    /// The chunk of that extent, if it was read.
    chunk: Option<Bytes>,
}

impl<'a> FileContent<'a> {
    pub(super) fn new(tree: &'a FileTree, entry: &Entry) -> Result<Self> {
        let Body::File { size, content } = &entry.body else {
            return Err(Error::new(ErrorKind::Usage, "entry", "not a regular file"));
        };
        if let Content::Inline(bytes) = content
            && bytes.len() as u64 != *size
        {
            return Err(damaged("size of a file"));
        }
        let content = content.clone();
        Ok(Self {
            tree,
            content,
            size: *size,
            position: 0,
            extents: None,
            ahead: VecDeque::new(),
            extent: None,
            chunk: None,
        })
    }

    /// Length of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Goes on at `offset`; cheap within the chunk that was read last.
    pub fn seek(&mut self, offset: u64) -> Result<()> {
        let kept = self.extent.is_some_and(|extent| (extent.offset..extent.end()).contains(&offset));
        if !kept && offset != self.position {
            (self.extents, self.extent, self.chunk) = (None, None, None);
            self.ahead.clear();
        }
        self.position = offset;
        Ok(())
    }

    /// The next stretch of at most `limit` bytes; `None` at the end.
    pub fn next_piece(&mut self, limit: u64) -> Result<Option<Piece>> {
        let left = self.size.saturating_sub(self.position).min(limit);
        if left == 0 {
            return Ok(None);
        }
        if let Content::Inline(bytes) = &self.content {
            let from = within(self.position, bytes.len());
            let len = within(left, bytes.len() - from);
            self.position += len as u64;
            return Ok(Some(Piece::Data(Bytes::copy_from_slice(&bytes[from..from + len]))));
        }
        let Some(extent) = self.extent(left)? else {
            self.position += left;
            return Ok(Some(Piece::Hole(left)));
        };
        if extent.offset > self.position {
            let len = left.min(extent.offset - self.position);
            self.position += len;
            return Ok(Some(Piece::Hole(len)));
        }
        let chunk = self.chunk(extent)?;
        let from = within(self.position - extent.offset, chunk.len());
        let len = within(left, chunk.len() - from);
        self.position += len as u64;
        Ok(Some(Piece::Data(chunk.slice(from..from + len))))
    }

    /// Like [`Read::read`], with the library's errors.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let limit = buffer.len() as u64;
        Ok(match self.next_piece(limit)? {
            None => 0,
            Some(Piece::Data(bytes)) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                bytes.len()
            }
            Some(Piece::Hole(len)) => {
                let len = within(len, buffer.len());
                buffer[..len].fill(0);
                len
            }
        })
    }

    /// The extent at the position or the next after it, where so many bytes are wanted from there on.
    fn extent(&mut self, wanted: u64) -> Result<Option<Extent>> {
        while self.extent.is_none_or(|extent| extent.end() <= self.position) {
            let extents = match &mut self.extents {
                Some(extents) => extents,
                None => self.extents.insert(self.tree.extents(&self.content, self.position)?),
            };
            self.chunk = None;
            self.extent = match self.ahead.pop_front() {
                Some(extent) => Some(extent),
                None => extents.next().transpose()?,
            };
            if self.tree.reader.is_far() && self.ahead.len() < EXTENTS_AHEAD / 2 {
                let end = self.position.saturating_add(wanted);
                while self.ahead.len() < EXTENTS_AHEAD && self.ahead.back().is_none_or(|last| last.end() < end) {
                    let Some(next) = extents.next().transpose()? else { break };
                    self.ahead.push_back(next);
                }
                let coming = self.extent.iter().chain(&self.ahead).filter(|extent| extent.offset < end);
                self.tree.reader.prefetch_chunks(coming.map(|extent| extent.id));
            }
            match self.extent {
                None => return Ok(None),
                Some(extent) if extent.end() > self.size => return Err(damaged("extent past the end of a file")),
                Some(_) => {}
            }
        }
        Ok(self.extent)
    }

    fn chunk(&mut self, extent: Extent) -> Result<Bytes> {
        if let Some(chunk) = &self.chunk {
            return Ok(chunk.clone());
        }
        let chunk = self.tree.reader.chunk(extent.id)?;
        if chunk.len() as u64 != u64::from(extent.length) {
            return Err(Error::damaged(format_args!("blob {}", extent.id), DecodeError::Invalid("length of a chunk")));
        }
        self.chunk = Some(chunk.clone());
        Ok(chunk)
    }
}

impl Read for FileContent<'_> {
    /// The library's [`Error`] is inside the [`io::Error`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(io::Error::other)
    }
}

/// `number` as a length, at most `limit`.
fn within(number: u64, limit: usize) -> usize {
    usize::try_from(number).map_or(limit, |number| number.min(limit))
}

fn damaged(what: &'static str) -> Error {
    Error::damaged("entry", DecodeError::Invalid(what))
}
