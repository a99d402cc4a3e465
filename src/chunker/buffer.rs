//! A buffer between a reader and the chunker.

use super::Chunker;

/// Holds what was read and not yet cut. The reader fills [`ChunkBuffer::space`] itself and chunks are handed out in place;
/// only the tail behind the last cut moves, about once in three largest chunks.
pub struct ChunkBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
}

impl ChunkBuffer {
    /// A buffer of four times the largest chunk.
    pub fn new(chunker: &Chunker) -> Self {
        Self { bytes: vec![0; chunker.sizes().max_bytes * 4], start: 0, end: 0, ended: false }
    }

    /// Where to read to. Not empty after [`ChunkBuffer::next_chunk`] returned `None`.
    pub fn space(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() || self.start == self.end {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// The first `len` bytes of [`ChunkBuffer::space`] have been read; panics when it is shorter.
    pub fn filled(&mut self, len: usize) {
        assert!(len <= self.bytes.len() - self.end, "more was read than there is space");
        self.end += len;
    }

    /// The stream has ended: the last chunks may be short.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next chunk; `None` when more has to be read, or nothing is left.
    pub fn next_chunk(&mut self, chunker: &Chunker) -> Option<&[u8]> {
        let len = chunker.cut(&self.bytes[self.start..self.end], self.ended)?;
        let chunk = self.start..self.start + len;
        self.start = chunk.end;
        Some(&self.bytes[chunk])
    }

    /// Makes the buffer ready for another stream.
    pub fn restart(&mut self) {
        (self.start, self.end, self.ended) = (0, 0, false);
    }
}
