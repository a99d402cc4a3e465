//! Extents: where in a file each chunk of it stands, as records of a tree or in a row.

use super::cursor::{Cursor, put_len, put_varint};
use super::{RecordKind, Reference, Rows};
use crate::error::DecodeError;
use crate::id::BlobId;

/// A chunk at its place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length, at least 1.
    pub length: u32,
    /// The chunk.
    pub id: BlobId,
}

/// The extents of a file: the key is the offset, big-endian; the value the length as varint and the chunk's id.
pub struct Extents;

impl Extent {
    /// Where it ends in the file.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }

    /// Key of its row.
    pub fn key(&self) -> [u8; 8] {
        self.offset.to_be_bytes()
    }

    /// Value of its row.
    pub fn value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(5 + BlobId::LEN);
        self.put_value(&mut value);
        value
    }

    fn put_value(&self, out: &mut Vec<u8>) {
        put_varint(u64::from(self.length), out);
        out.extend_from_slice(self.id.as_bytes());
    }

    /// The extent of a row.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        let offset = u64::from_be_bytes(key.try_into().map_err(|_| DecodeError::Invalid("key of an extent"))?);
        let mut cursor = Cursor::new(value);
        let length = take_length(&mut cursor)?;
        let id = BlobId::new(cursor.array()?);
        cursor.finish()?;
        offset.checked_add(u64::from(length)).ok_or(DecodeError::TooLarge("extent"))?;
        Ok(Self { offset, length, id })
    }
}

impl RecordKind for Extents {
    fn code(&self) -> u8 {
        4
    }

    fn name(&self) -> &'static str {
        "extent"
    }

    fn leaf_target_bytes(&self) -> u32 {
        16 << 10
    }

    fn encode(&self, rows: &Rows) -> Vec<u8> {
        let extents = rows.iter().map(|(key, value)| Extent::decode(key, value));
        let extents: Vec<_> = extents.collect::<Result<_, _>>().expect("rows come from this kind's encoder");
        let mut out = Vec::with_capacity(rows.size_bytes());
        put_extents(&extents, &mut out);
        out
    }

    fn decode(&self, columns: &[u8]) -> Result<Rows, DecodeError> {
        let mut cursor = Cursor::new(columns);
        let extents = ExtentsView::take(&mut cursor, columns.len() / (BlobId::LEN + 2), u64::MAX)?;
        cursor.finish()?;
        let (mut rows, mut value) = (Rows::new(), Vec::with_capacity(5 + BlobId::LEN));
        for extent in extents.iter() {
            value.clear();
            extent.put_value(&mut value);
            rows.push(&extent.key(), &value);
        }
        Ok(rows)
    }

    fn summarize(&self, _rows: &Rows) -> Vec<u8> {
        Vec::new()
    }

    fn merge(&self, summaries: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
        match summaries.iter().all(|summary| summary.is_empty()) {
            true => Ok(Vec::new()),
            false => Err(DecodeError::Invalid("summary")),
        }
    }

    fn references(&self, key: &[u8], value: &[u8], references: &mut Vec<Reference>) -> Result<(), DecodeError> {
        references.push(Reference::Chunk(Extent::decode(key, value)?.id));
        Ok(())
    }
}

/// Appends extents: their number, then the gap before each and its length, then all ids.
pub(super) fn put_extents(extents: &[Extent], out: &mut Vec<u8>) {
    put_len(extents.len(), out);
    let mut end = 0;
    for extent in extents {
        put_varint(extent.offset.checked_sub(end).expect("extents of a file ascend and do not overlap"), out);
        put_varint(u64::from(extent.length), out);
        end = extent.end();
    }
    for extent in extents {
        out.extend_from_slice(extent.id.as_bytes());
    }
}

/// Extents where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExtentsView<'a> {
    /// Gap and length of each.
    spans: &'a [u8],
    ids: &'a [[u8; BlobId::LEN]],
}

impl<'a> ExtentsView<'a> {
    /// At most `limit` extents, none past `size`.
    pub(super) fn take(cursor: &mut Cursor<'a>, limit: usize, size: u64) -> Result<Self, DecodeError> {
        let count = cursor.count(limit, "extents")?;
        let spans = take_spans(cursor, count, size)?;
        let len = count.checked_mul(BlobId::LEN).ok_or(DecodeError::TooLarge("extents"))?;
        let (ids, _) = cursor.take(len)?.as_chunks();
        Ok(Self { spans, ids })
    }

    /// Their chunks, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = BlobId> + 'a {
        self.ids.iter().map(|id| BlobId::new(*id))
    }

    /// Each of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Extent> + 'a {
        let (mut spans, mut end) = (Cursor::new(self.spans), 0);
        self.ids().map_while(move |id| {
            let (offset, length) = take_span(&mut spans, end).ok()?;
            let extent = Extent { offset, length, id };
            end = extent.end();
            Some(extent)
        })
    }

    /// Gap and length of each, as they lie, and the ids.
    pub(super) fn parts(&self) -> (&'a [u8], &'a [[u8; BlobId::LEN]]) {
        (self.spans, self.ids)
    }
}

/// Gap and length of so many extents, none past `size`, as they lie.
pub(super) fn take_spans<'a>(cursor: &mut Cursor<'a>, count: usize, size: u64) -> Result<&'a [u8], DecodeError> {
    let (start, mut end) = (cursor.rest(), 0);
    for _ in 0..count {
        let (offset, length) = take_span(cursor, end)?;
        end = offset + u64::from(length);
    }
    if end > size {
        return Err(DecodeError::Invalid("extent past the end of a file"));
    }
    Ok(start.get(..start.len().saturating_sub(cursor.rest().len())).unwrap_or_default())
}

/// Offset and length of an extent after one that ends at `end`; the sum of the two is below 2^64.
fn take_span(cursor: &mut Cursor<'_>, end: u64) -> Result<(u64, u32), DecodeError> {
    let offset = end.checked_add(cursor.varint()?).ok_or(DecodeError::TooLarge("extent"))?;
    let length = take_length(cursor)?;
    offset.checked_add(u64::from(length)).ok_or(DecodeError::TooLarge("extent"))?;
    Ok((offset, length))
}

fn take_length(cursor: &mut Cursor<'_>) -> Result<u32, DecodeError> {
    match u32::try_from(cursor.varint()?) {
        Ok(0) => Err(DecodeError::Invalid("length of an extent")),
        Ok(length) => Ok(length),
        Err(_) => Err(DecodeError::TooLarge("extent")),
    }
}
