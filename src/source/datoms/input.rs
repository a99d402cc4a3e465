//! One input stream: a file or standard input, decompressed when it is gzip or zstd, read through a buffer that can be
//! looked into before anything is taken.

use std::fs::File;
use std::io::{self, BufRead, Read, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::error::{Error, ErrorKind, Result};

const BUFFER_BYTES: usize = 1 << 20;
/// The longest line that is read.
pub(super) const LINE_MAX_BYTES: usize = 256 << 20;

/// A stream of bytes with the name that errors give it.
pub(super) struct Input {
    name: String,
    stored_bytes: Arc<AtomicU64>,
    buffer: Buffer,
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path.display(), error))?;
        Self::new(path.display().to_string(), Box::new(file))
    }

    pub(super) fn stdin() -> Result<Self> {
        Self::new("standard input".to_owned(), Box::new(io::stdin()))
    }

    /// A stream of any origin.
    pub(super) fn new(name: String, source: Box<dyn Read + Send>) -> Result<Self> {
        let stored_bytes = Arc::new(AtomicU64::new(0));
        let mut stored = Buffer::new(Box::new(Counting { source, bytes: Arc::clone(&stored_bytes) }));
        let start = stored.peek(4).map_err(|error| Error::io(&name, error))?;
        let buffer = match start {
            [0x1f, 0x8b, ..] => Buffer::new(Box::new(MultiGzDecoder::new(stored))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let decoder = ZstdDecoder::with_buffer(stored).map_err(|error| Error::io(&name, error))?;
                Buffer::new(Box::new(decoder))
            }
            _ => stored,
        };
        Ok(Self { name, stored_bytes, buffer })
    }

    /// A stream that is not compressed.
    pub(super) fn plain(name: String, source: Box<dyn Read + Send>) -> Result<Self> {
        let stored_bytes = Arc::new(AtomicU64::new(0));
        let buffer = Buffer::new(Box::new(Counting { source, bytes: Arc::clone(&stored_bytes) }));
        Ok(Self { name, stored_bytes, buffer })
    }

    /// Takes everything that is left.
    pub(super) fn copy_to(&mut self, copy: &mut File) -> Result<()> {
        loop {
            let bytes = self.peek(1)?;
            if bytes.is_empty() {
                return Ok(());
            }
            copy.write_all(bytes).map_err(|error| Error::io("temporary file", error))?;
            let len = bytes.len();
            self.consume(len);
        }
    }

    /// What errors call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes taken from the file so far, before decompression.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored_bytes.load(Ordering::Relaxed)
    }

    /// The next bytes without taking them: at least `len` unless the stream ends before.
    pub(super) fn peek(&mut self, len: usize) -> Result<&[u8]> {
        match self.buffer.peek(len) {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(broken(&self.name, error)),
        }
    }

    /// The next line without its line feed; none at the end of the stream.
    pub(super) fn line(&mut self) -> Result<Option<&[u8]>> {
        match self.buffer.line() {
            Ok(line) => Ok(line),
            Err(error) => Err(broken(&self.name, error)),
        }
    }
}

fn broken(name: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::new(ErrorKind::Data, name, "ends in the middle: cut short").because(error)
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            Error::new(ErrorKind::Data, name, &error).because(error)
        }
        _ => Error::io(name, error),
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.buffer.read(into)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.buffer.peek(1)
    }

    fn consume(&mut self, len: usize) {
        self.buffer.consume(len);
    }
}

struct Counting {
    source: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(into)?;
        self.bytes.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

/// Bytes read ahead; grows for lines longer than it.
struct Buffer {
    source: Box<dyn Read + Send>,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
}

impl Buffer {
    fn new(source: Box<dyn Read + Send>) -> Self {
        Self { source, bytes: vec![0; BUFFER_BYTES], start: 0, end: 0, ended: false }
    }

    fn peek(&mut self, len: usize) -> io::Result<&[u8]> {
        while self.end - self.start < len && !self.ended {
            self.fill()?;
        }
        Ok(&self.bytes[self.start..self.end])
    }

    /// Reads more behind what is there, making room first.
    fn fill(&mut self) -> io::Result<()> {
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
        loop {
            match self.source.read(&mut self.bytes[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(len) => {
                    self.end += len;
                    self.ended = len == 0;
                    return Ok(());
                }
            }
        }
    }

    fn line(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = 0;
        loop {
            let here = &self.bytes[self.start + searched..self.end];
            if let Some(len) = here.iter().position(|&b| b == b'\n') {
                let start = self.start;
                self.start += searched + len + 1;
                return Ok(Some(&self.bytes[start..start + searched + len]));
            }
            searched = self.end - self.start;
            if searched > LINE_MAX_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of more than 256 MiB"));
            }
            if self.ended {
                let start = self.start;
                self.start = self.end;
                return Ok((searched > 0).then(|| &self.bytes[start..start + searched]));
            }
            self.fill()?;
        }
    }
}

impl Read for Buffer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.peek(1)?;
        let len = available.len().min(into.len());
        into[..len].copy_from_slice(&available[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for Buffer {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)
    }

    fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
    }
}
