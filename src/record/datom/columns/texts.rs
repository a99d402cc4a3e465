//! Columns of texts: as they are, less what they share with the one before, or as the bytes that hexadecimal digits stand for.

use crate::error::DecodeError;
use crate::record::cursor::common_prefix;

use super::column::{Column, FRONT, HEXADECIMAL, Spans, put_plain};
use super::streams::{Reader, Writer};
use crate::record::datom::canonical::payload_len;
use crate::record::datom::text::escaped_len;

pub(super) fn put(column: &Column<'_>, writer: &mut Writer) {
    if let Some(len) = hexadecimal_len(&column.payloads) {
        put_hexadecimal(len, column, writer);
        return;
    }
    let (mut shared, mut total) = (0, 0);
    let mut previous: &[u8] = &[];
    for payload in &column.payloads {
        shared += shared_len(previous, payload).saturating_sub(1);
        total += payload.len();
        previous = payload;
    }
    if shared * 4 > total { put_front(column, writer) } else { put_plain(column, writer) }
}

/// What two texts share, their ends excepted, so that what follows always ends with one.
fn shared_len(previous: &[u8], payload: &[u8]) -> usize {
    common_prefix(previous, payload).min(payload.len() - 1)
}

fn put_front(column: &Column<'_>, writer: &mut Writer) {
    writer.numbers.push(FRONT);
    let mut previous: &[u8] = &[];
    for payload in &column.payloads {
        let shared = shared_len(previous, payload);
        writer.len(shared);
        writer.texts.extend_from_slice(&payload[shared..]);
        previous = payload;
    }
}

pub(super) fn take_front(kind: u8, count: usize, reader: &mut Reader<'_>) -> Result<Spans, DecodeError> {
    let mut spans = Spans::default();
    let mut text: Vec<u8> = Vec::new();
    for _ in 0..count {
        let shared = reader.numbers.count(text.len().saturating_sub(1), "shared length")?;
        let len = escaped_len(reader.texts.rest())?;
        text.truncate(shared);
        text.extend_from_slice(reader.texts.take(len)?);
        reader.spend(text.len())?;
        payload_len(kind, &text)?;
        spans.push(&text);
    }
    Ok(spans)
}

/// The length in digits, if all texts are lower-case hexadecimal of the same even length.
fn hexadecimal_len(payloads: &[&[u8]]) -> Option<usize> {
    let digits = payloads.first()?.len() - 1;
    let all = digits > 0
        && digits.is_multiple_of(2)
        && payloads.iter().all(|payload| payload.len() == digits + 1)
        && payloads.iter().all(|payload| payload[..digits].iter().all(|c| value(*c) < 16));
    all.then_some(digits)
}

const VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        values[DIGITS[digit as usize] as usize] = digit;
        digit += 1;
    }
    values
};

const DIGITS: [u8; 16] = *b"0123456789abcdef";

fn value(digit: u8) -> u8 {
    VALUES[usize::from(digit)]
}

fn put_hexadecimal(digits: usize, column: &Column<'_>, writer: &mut Writer) {
    writer.numbers.push(HEXADECIMAL);
    writer.len(digits / 2);
    for payload in &column.payloads {
        writer.raw.extend(payload[..digits].as_chunks::<2>().0.iter().map(|[a, b]| value(*a) << 4 | value(*b)));
    }
}

pub(super) fn take_hexadecimal(count: usize, reader: &mut Reader<'_>) -> Result<Spans, DecodeError> {
    let len = reader.numbers.count(reader.raw.rest().len(), "hexadecimal")?;
    if len == 0 {
        return Err(DecodeError::Invalid("hexadecimal"));
    }
    let mut spans = Spans::default();
    let mut text = Vec::new();
    for _ in 0..count {
        text.clear();
        for byte in reader.raw.take(len)? {
            text.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        text.push(0);
        reader.spend(text.len())?;
        spans.push(&text);
    }
    Ok(spans)
}
