//! Content into chunks: where it is cut, and what each chunk's id is.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::chunker::{Chunker, PageRuns, STRUCTURE_HEAD_BYTES, structure};
use crate::crypto::Keys;
use crate::id::BlobId;
use crate::record::Extent;

/// A shorter piece of a large file is copied: it may wait long for others to share a frame with, and would keep all of the
/// buffer it was read into.
const SHARED_MIN_BYTES: usize = 512 << 10;

/// How content is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cutting {
    /// By its own bytes.
    Content,
    /// Where its pages are.
    Pages(PageRuns),
}

impl Cutting {
    /// Of a file that begins like this; of `head` the first [`STRUCTURE_HEAD_BYTES`] count.
    pub(super) fn of(head: &[u8], size: u64) -> Self {
        structure(&head[..head.len().min(STRUCTURE_HEAD_BYTES)], size).map_or(Self::Content, Self::Pages)
    }
}

/// A chunk at its place in a file.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) id: BlobId,
    pub(super) bytes: Bytes,
}

impl Piece {
    /// Where it ends in the file.
    pub(super) fn end(&self) -> u64 {
        self.extent().end()
    }

    pub(super) fn extent(&self) -> Extent {
        let length = u32::try_from(self.bytes.len()).expect("chunks are limited to far less than 4 GiB");
        Extent { offset: self.offset, length, id: self.id }
    }
}

/// Why cutting ended before the content did.
#[derive(Debug)]
pub(super) enum Stop {
    /// The content could not be read.
    Io(io::Error),
    /// Nobody takes pieces any more.
    Gone,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Fills a buffer with what stands at an offset; fewer bytes only at the end.
pub(super) type ReadAt<'a> = &'a mut dyn FnMut(&mut [u8], u64) -> io::Result<usize>;

/// Cuts content and hashes the chunks.
#[derive(Clone)]
pub(super) struct Cutter {
    pub(super) chunker: Arc<Chunker>,
    pub(super) keys: Arc<Keys>,
}

impl Cutter {
    /// The pieces of content that is in memory.
    pub(super) fn whole(&self, content: &Bytes, cutting: Cutting) -> Vec<Piece> {
        let (mut pieces, mut start) = (Vec::with_capacity(1), 0);
        while let Some(len) = self.cut(cutting, start as u64, &content[start..], true) {
            let bytes = content.slice(start..start + len);
            pieces.push(Piece { offset: start as u64, id: self.keys.blob_id_chunk(&bytes), bytes });
            start += len;
        }
        pieces
    }

    /// Hands out the pieces of a range as they are read; returns where the content ended, if before the end of the range.
    /// Without `cutting` it is the range that tells how it is to be cut.
    pub(super) fn range(
        &self,
        mut cutting: Option<Cutting>,
        range: Range<u64>,
        read: ReadAt<'_>,
        take: &mut dyn FnMut(Piece) -> Result<(), Stop>,
    ) -> Result<u64, Stop> {
        let usual = self.chunker.sizes().max_bytes * 2;
        let mut rest = Bytes::new();
        let (mut offset, mut ended) = (range.start, false);
        while !ended {
            let left = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
            let mut buffer = vec![0; usual.min(left)];
            buffer[..rest.len()].copy_from_slice(&rest);
            let wanted = &mut buffer[rest.len()..];
            let wanted_len = wanted.len();
            let count = read(wanted, offset + rest.len() as u64)?;
            ended = count < wanted_len || left <= usual;
            buffer.truncate(rest.len() + count);
            rest = Bytes::from(buffer);
            let cutting = *cutting.get_or_insert_with(|| Cutting::of(&rest, 0));
            while let Some(len) = self.cut(cutting, offset, &rest, ended) {
                let bytes = rest.split_to(len);
                let id = self.keys.blob_id_chunk(&bytes);
                let bytes = if len < SHARED_MIN_BYTES { Bytes::copy_from_slice(&bytes) } else { bytes };
                take(Piece { offset, id, bytes })?;
                offset += len as u64;
            }
        }
        Ok(offset)
    }

    /// Length of the first chunk of `content`, which stands at `offset`; `None` where more must be read, or nothing is left.
    fn cut(&self, cutting: Cutting, offset: u64, content: &[u8], ended: bool) -> Option<usize> {
        match cutting {
            Cutting::Content => self.chunker.cut(content, ended),
            Cutting::Pages(runs) => {
                // After a hole the first run may be shorter, so that all end where they would without it.
                let run_bytes = runs.run_bytes();
                let past = usize::try_from(offset % run_bytes as u64).expect("a remainder of a usize is one");
                match content.len().min(run_bytes - past) {
                    0 => None,
                    len if len < run_bytes - past && !ended => None,
                    len => Some(len),
                }
            }
        }
    }
}
