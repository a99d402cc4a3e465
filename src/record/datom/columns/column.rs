//! A column: the values of one attribute and one type in order, in one of seven encodings.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::error::DecodeError;

use super::streams::{Reader, Writer};
use super::{numbers, texts};
use crate::record::datom::canonical::{payload_len, tag};

/// Values to be written, without their type byte.
pub(super) struct Column<'a> {
    /// The type byte of all of them.
    pub(super) kind: u8,
    pub(super) payloads: Vec<&'a [u8]>,
    /// Whether each is the first of its run.
    pub(super) starts: Vec<bool>,
}

/// Values that were read, in one buffer.
#[derive(Default)]
pub(super) struct Spans {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Spans {
    pub(super) fn push(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.ends.push(u32::try_from(self.bytes.len()).expect("the budget of a leaf is far less than 4 GiB"));
    }

    pub(super) fn get(&self, i: usize) -> Option<&[u8]> {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        Some(&self.bytes[start..*self.ends.get(i)? as usize])
    }
}

pub(super) const PLAIN: u8 = 0;
pub(super) const FRONT: u8 = 1;
pub(super) const DICTIONARY: u8 = 2;
pub(super) const HEXADECIMAL: u8 = 3;
pub(super) const DELTAS: u8 = 4;
pub(super) const INTEGERS: u8 = 5;
pub(super) const PLANES: u8 = 6;

/// Appends a column in the encoding that suits its contents.
pub(super) fn put(column: &Column<'_>, writer: &mut Writer) {
    if let Some((distinct, indexes)) = dictionary(column) {
        writer.numbers.push(DICTIONARY);
        writer.len(distinct.len());
        for index in indexes {
            writer.varint(u64::from(index));
        }
        put_values(&Column { kind: column.kind, starts: vec![true; distinct.len()], payloads: distinct }, writer);
    } else {
        put_values(column, writer);
    }
}

fn put_values(column: &Column<'_>, writer: &mut Writer) {
    match column.kind {
        tag::LONG | tag::INSTANT => numbers::put_integers(column, writer),
        tag::DOUBLE | tag::FLOAT => numbers::put_planes(column, writer),
        kind if is_text(kind) => texts::put(column, writer),
        _ => put_plain(column, writer),
    }
}

pub(super) fn put_plain(column: &Column<'_>, writer: &mut Writer) {
    writer.numbers.push(PLAIN);
    let stream = if column.kind == tag::UUID { &mut writer.raw } else { &mut writer.texts };
    column.payloads.iter().for_each(|payload| stream.extend_from_slice(payload));
}

/// Whether payloads of this type are escaped texts.
pub(super) fn is_text(kind: u8) -> bool {
    matches!(kind, tag::STRING | tag::KEYWORD | tag::SYMBOL | tag::BYTES | tag::URI | tag::REGEX)
}

/// The distinct values in order and which of them each value is, if there are few enough.
fn dictionary<'a>(column: &Column<'a>) -> Option<(Vec<&'a [u8]>, Vec<u32>)> {
    let count = column.payloads.len();
    if count < 4 || matches!(column.kind, tag::BOOLEAN | tag::LONG | tag::INSTANT | tag::DOUBLE | tag::FLOAT) {
        return None;
    }
    let mut numbers: HashMap<&[u8], u32, BuildHasherDefault<DefaultHasher>> = HashMap::default();
    let mut indexes = Vec::with_capacity(count);
    for (i, payload) in column.payloads.iter().enumerate() {
        let new = u32::try_from(numbers.len()).ok()?;
        indexes.push(*numbers.entry(payload).or_insert(new));
        // Given up early where most values are new.
        if numbers.len() > 16 + i / 2 || numbers.len() > count / 2 {
            return None;
        }
    }
    let mut order: Vec<(&[u8], u32)> = numbers.into_iter().collect();
    order.sort_unstable();
    let mut ranks = vec![0; order.len()];
    for (rank, (_, number)) in (0..).zip(&order) {
        ranks[*number as usize] = rank;
    }
    indexes.iter_mut().for_each(|index| *index = ranks[*index as usize]);
    Some((order.into_iter().map(|(payload, _)| payload).collect(), indexes))
}

/// Reads a column of `starts.len()` values.
pub(super) fn take(kind: u8, starts: &[bool], reader: &mut Reader<'_>) -> Result<Spans, DecodeError> {
    let encoding = reader.numbers.byte()?;
    if encoding != DICTIONARY {
        return take_values(kind, encoding, starts, reader);
    }
    let count = reader.numbers.count(starts.len(), "dictionary")?;
    let mut indexes = Vec::with_capacity(starts.len());
    for _ in starts {
        let index = usize::try_from(reader.numbers.varint()?).ok().filter(|index| *index < count);
        indexes.push(index.ok_or(DecodeError::Invalid("dictionary index"))?);
    }
    let encoding = reader.numbers.byte()?;
    let distinct = take_values(kind, encoding, &vec![true; count], reader)?;
    let mut spans = Spans::default();
    for index in indexes {
        let payload = distinct.get(index).ok_or(DecodeError::Invalid("dictionary index"))?;
        reader.spend(payload.len())?;
        spans.push(payload);
    }
    Ok(spans)
}

fn take_values(kind: u8, encoding: u8, starts: &[bool], reader: &mut Reader<'_>) -> Result<Spans, DecodeError> {
    match (encoding, kind) {
        (PLAIN, _) => take_plain(kind, starts.len(), reader),
        (FRONT, kind) if is_text(kind) => texts::take_front(kind, starts.len(), reader),
        (HEXADECIMAL, kind) if is_text(kind) => texts::take_hexadecimal(starts.len(), reader),
        (DELTAS | INTEGERS, tag::LONG | tag::INSTANT) => numbers::take_integers(encoding == DELTAS, starts, reader),
        (PLANES, tag::DOUBLE) => numbers::take_planes(kind, 8, starts.len(), reader),
        (PLANES, tag::FLOAT) => numbers::take_planes(kind, 4, starts.len(), reader),
        _ => Err(DecodeError::Invalid("column encoding")),
    }
}

fn take_plain(kind: u8, count: usize, reader: &mut Reader<'_>) -> Result<Spans, DecodeError> {
    let mut spans = Spans::default();
    for _ in 0..count {
        let stream = if kind == tag::UUID { &mut reader.raw } else { &mut reader.texts };
        let len = payload_len(kind, stream.rest())?;
        let payload = stream.take(len)?;
        reader.spend(len)?;
        spans.push(payload);
    }
    Ok(spans)
}
