//! The three streams of a leaf: numbers, texts and raw bytes.

use crate::error::DecodeError;
use crate::record::cursor::{Cursor, put_len, put_varint, put_zigzag};

/// Streams being written.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) numbers: Vec<u8>,
    pub(super) texts: Vec<u8>,
    pub(super) raw: Vec<u8>,
}

impl Writer {
    pub(super) fn varint(&mut self, number: u64) {
        put_varint(number, &mut self.numbers);
    }

    pub(super) fn zigzag(&mut self, number: i64) {
        put_zigzag(number, &mut self.numbers);
    }

    pub(super) fn len(&mut self, len: usize) {
        put_len(len, &mut self.numbers);
    }

    /// Lengths of the first two, then all three.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.numbers.len() + self.texts.len() + self.raw.len() + 20);
        put_len(self.numbers.len(), &mut out);
        put_len(self.texts.len(), &mut out);
        out.extend_from_slice(&self.numbers);
        out.extend_from_slice(&self.texts);
        out.extend_from_slice(&self.raw);
        out
    }
}

/// Streams being read, and how many bytes of rows may still come of them.
pub(super) struct Reader<'a> {
    pub(super) numbers: Cursor<'a>,
    pub(super) texts: Cursor<'a>,
    pub(super) raw: Cursor<'a>,
    budget: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], budget: usize) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let numbers = cursor.count(bytes.len(), "stream")?;
        let texts = cursor.count(bytes.len(), "stream")?;
        let (numbers, texts) = (Cursor::new(cursor.take(numbers)?), Cursor::new(cursor.take(texts)?));
        Ok(Self { numbers, texts, raw: cursor, budget })
    }

    /// Counts bytes of rows that are about to be kept.
    pub(super) fn spend(&mut self, len: usize) -> Result<(), DecodeError> {
        self.budget = self.budget.checked_sub(len).ok_or(DecodeError::TooLarge("rows"))?;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), DecodeError> {
        self.numbers.finish()?;
        self.texts.finish()?;
        self.raw.finish()
    }
}
