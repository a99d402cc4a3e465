//! Columns of numbers: integers as differences, floating-point numbers with like bytes together.

use crate::error::DecodeError;

use super::column::{Column, DELTAS, INTEGERS, PLANES, Spans};
use super::streams::{Reader, Writer};
use crate::record::datom::canonical::{flip, payload_len, unflip};

/// The first value of each run, as it is or less the first of the run before; then the others, less the value before.
pub(super) fn put_integers(column: &Column<'_>, writer: &mut Writer) {
    let number = |payload: &[u8]| unflip(*payload.first_chunk().expect("rows hold keys of datoms"));
    let firsts = || column.payloads.iter().zip(&column.starts).filter(|(_, start)| **start).map(|(v, _)| number(v));
    let (mut plain_len, mut deltas_len, mut previous) = (0, 0, 0_i64);
    for first in firsts() {
        plain_len += varint_len(first);
        deltas_len += varint_len(first.wrapping_sub(previous));
        previous = first;
    }
    // As they are, equal numbers look equal to the compressor; so differences must win clearly.
    let deltas = deltas_len * 10 < plain_len * 7;
    writer.numbers.push(if deltas { DELTAS } else { INTEGERS });
    previous = 0;
    for first in firsts() {
        writer.zigzag(if deltas { first.wrapping_sub(previous) } else { first });
        previous = first;
    }
    for (payload, start) in column.payloads.iter().zip(&column.starts) {
        let value = number(payload);
        if !start {
            writer.varint(value.wrapping_sub(previous).cast_unsigned());
        }
        previous = value;
    }
}

/// Bytes of a signed number.
fn varint_len(number: i64) -> u32 {
    (64 - ((number << 1) ^ (number >> 63) | 1).leading_zeros()).div_ceil(7)
}

pub(super) fn take_integers(deltas: bool, starts: &[bool], reader: &mut Reader<'_>) -> Result<Spans, DecodeError> {
    reader.spend(starts.len() * 8)?;
    let mut firsts = Vec::new();
    let mut previous = 0_i64;
    for _ in starts.iter().filter(|start| **start) {
        let number = reader.numbers.zigzag()?;
        previous = if deltas { previous.wrapping_add(number) } else { number };
        firsts.push(previous);
    }
    let mut firsts = firsts.into_iter();
    let mut spans = Spans::default();
    for start in starts {
        previous = if *start {
            firsts.next().expect("one was read for every start")
        } else {
            previous.wrapping_add(reader.numbers.varint()?.cast_signed())
        };
        spans.push(&flip(previous));
    }
    Ok(spans)
}

/// First bytes of all numbers, then second bytes, and so on.
pub(super) fn put_planes(column: &Column<'_>, writer: &mut Writer) {
    writer.numbers.push(PLANES);
    let width = column.payloads.first().map_or(0, |payload| payload.len());
    for plane in 0..width {
        writer.raw.extend(column.payloads.iter().map(|payload| payload[plane]));
    }
}

pub(super) fn take_planes(kind: u8, width: usize, count: usize, reader: &mut Reader<'_>) -> Result<Spans, DecodeError> {
    reader.spend(count * width)?;
    let planes = reader.raw.take(count * width)?;
    let mut spans = Spans::default();
    let mut payload = [0; 8];
    for i in 0..count {
        for (plane, byte) in payload[..width].iter_mut().enumerate() {
            *byte = planes[plane * count + i];
        }
        payload_len(kind, &payload[..width])?;
        spans.push(&payload[..width]);
    }
    Ok(spans)
}
