//! Sorted runs in unlinked temporary files: each row as what it does not share with the row before.
//!
//! A row is `varint(bytes shared with the row before) varint(length of the rest) rest`.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Size of write buffers and the largest read buffers.
pub const BUFFER_BYTES: usize = 1 << 20;

/// A finished run; the file vanishes when this is dropped.
pub struct Run {
    file: File,
    bytes: u64,
    rows: u64,
    /// Its smallest row.
    pub first: Vec<u8>,
    /// Its largest row.
    pub last: Vec<u8>,
    /// How many merges its rows went through.
    pub level: u32,
}

/// Appends ascending rows to a run.
pub struct RunWriter<'a> {
    run: Run,
    buffer: &'a mut Vec<u8>,
    directory: &'a Path,
}

impl<'a> RunWriter<'a> {
    /// A new run in `directory`.
    pub fn create(directory: &'a Path, level: u32, buffer: &'a mut Vec<u8>) -> Result<Self> {
        let file = tempfile::tempfile_in(directory).map_err(|error| Error::io(directory.display(), error))?;
        let run = Run { file, bytes: 0, rows: 0, first: Vec::new(), last: Vec::new(), level };
        Ok(Self::append(directory, run, buffer))
    }

    /// Goes on with a run whose last row is not above the next one.
    pub fn append(directory: &'a Path, run: Run, buffer: &'a mut Vec<u8>) -> Self {
        buffer.clear();
        Self { run, buffer, directory }
    }

    /// Takes the next row; it must not be below the one before.
    pub fn push(&mut self, row: &[u8]) -> Result<()> {
        if self.run.rows == 0 {
            self.run.first.extend_from_slice(row);
        }
        let shared = shared_bytes(&self.run.last, row);
        put_varint(self.buffer, shared);
        put_varint(self.buffer, row.len() - shared);
        self.buffer.extend_from_slice(&row[shared..]);
        self.run.last.truncate(shared);
        self.run.last.extend_from_slice(&row[shared..]);
        self.run.rows += 1;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// The run, readable.
    pub fn finish(mut self) -> Result<Run> {
        self.flush()?;
        Ok(self.run)
    }

    fn flush(&mut self) -> Result<()> {
        self.run.file.write_all(self.buffer).map_err(|error| Error::io(self.directory.display(), error))?;
        self.run.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Reads a run from its start.
pub struct RunReader {
    file: File,
    position: u64,
    bytes: u64,
    rows: u64,
    buffer: Vec<u8>,
    used: usize,
    buffer_bytes: usize,
}

impl RunReader {
    /// Allocates its buffer with the first read.
    pub fn open(run: Run, buffer_bytes: usize) -> Self {
        let Run { file, bytes, rows, .. } = run;
        Self { file, position: 0, bytes, rows, buffer: Vec::new(), used: 0, buffer_bytes }
    }

    /// Turns `row`, the row before, into the next one; `false` after the last.
    pub fn read(&mut self, row: &mut Vec<u8>, directory: &Path) -> Result<bool> {
        if self.rows == 0 {
            return Ok(false);
        }
        self.rows -= 1;
        let shared = self.varint(directory)?;
        let mut rest = self.varint(directory)?;
        row.truncate(shared);
        loop {
            let at_hand = &self.buffer[self.used..];
            let taken = rest.min(at_hand.len());
            row.extend_from_slice(&at_hand[..taken]);
            self.used += taken;
            rest -= taken;
            if rest == 0 {
                return Ok(true);
            }
            self.fill(directory)?;
        }
    }

    fn varint(&mut self, directory: &Path) -> Result<usize> {
        let mut value = 0;
        let mut shift = 0;
        loop {
            if self.used == self.buffer.len() {
                self.fill(directory)?;
            }
            let byte = self.buffer[self.used];
            self.used += 1;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
            if shift > 35 {
                return Err(changed(directory));
            }
        }
    }

    /// Replaces the buffer, all of it used, by the next bytes of the file: at least one.
    fn fill(&mut self, directory: &Path) -> Result<()> {
        let left = usize::try_from(self.bytes - self.position).unwrap_or(usize::MAX);
        if left == 0 {
            return Err(changed(directory));
        }
        self.buffer.resize(left.min(self.buffer_bytes), 0);
        self.file
            .read_exact_at(&mut self.buffer, self.position)
            .map_err(|error| Error::io(directory.display(), error))?;
        self.position += self.buffer.len() as u64;
        self.used = 0;
        Ok(())
    }
}

fn changed(directory: &Path) -> Error {
    Error::new(ErrorKind::Failed, directory.display(), "a temporary file is not what was written to it")
}

fn put_varint(buffer: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

fn shared_bytes(a: &[u8], b: &[u8]) -> usize {
    let mut shared = 0;
    for (x, y) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let differs = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differs != 0 {
            return shared + differs.trailing_zeros() as usize / 8;
        }
        shared += 8;
    }
    shared + a[shared..].iter().zip(&b[shared..]).take_while(|(x, y)| x == y).count()
}
