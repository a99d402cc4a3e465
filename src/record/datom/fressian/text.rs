//! The text of Java's strings: each UTF-16 unit by itself, in one to three bytes.

use std::borrow::Cow;

use crate::error::DecodeError;

/// Java's strings encode each UTF-16 unit by itself, in one to three bytes. Here pairs of surrogates become one
/// character again; lone ones stay.
pub(super) fn wtf8(units: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, DecodeError> {
    if units.is_ascii() {
        return Ok(units);
    }
    if let Ok(text) = std::str::from_utf8(&units) {
        // What is UTF-8 without four-byte characters is already right, and those Java never writes.
        return if text.chars().all(|c| u32::from(c) < 0x10000) {
            Ok(units)
        } else {
            Err(DecodeError::Invalid("string"))
        };
    }
    let mut out = Vec::with_capacity(units.len());
    let mut rest: &[u8] = &units;
    while let Some(&first) = rest.first() {
        let (unit, len) = match (first >> 4, rest) {
            (0..=7, _) => (u16::from(first), 1),
            (12 | 13, [a, b, ..]) => (u16::from(a & 0x1f) << 6 | continuation(*b)?, 2),
            (14, [a, b, c, ..]) => (u16::from(a & 0x0f) << 12 | continuation(*b)? << 6 | continuation(*c)?, 3),
            _ => return Err(DecodeError::Invalid("string")),
        };
        rest = &rest[len..];
        push_unit(unit, &mut out);
    }
    Ok(Cow::Owned(out))
}

fn continuation(byte: u8) -> Result<u16, DecodeError> {
    if byte & 0xc0 == 0x80 { Ok(u16::from(byte & 0x3f)) } else { Err(DecodeError::Invalid("string")) }
}

/// Appends a UTF-16 unit, joining it with a high surrogate before it.
fn push_unit(unit: u16, out: &mut Vec<u8>) {
    if (0xdc00..0xe000).contains(&unit)
        && let Some(&[0xed, b, c]) = out.last_chunk::<3>()
        && (0xa0..0xb0).contains(&b)
    {
        let high = u32::from(b & 0x0f) << 6 | u32::from(c & 0x3f);
        let point = 0x10000 + (high << 10 | u32::from(unit - 0xdc00));
        out.truncate(out.len() - 3);
        let mut buffer = [0; 4];
        let character = char::from_u32(point).expect("a surrogate pair is a character");
        out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        return;
    }
    match char::from_u32(u32::from(unit)) {
        Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend_from_slice(&[0xed, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]),
    }
}

/// Appends each UTF-16 unit of a WTF-8 text by itself; these bytes sort as Java's strings do.
pub fn put_units(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte >= 0xf0) {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        let Some((&[a, b, c, d], after)) = from.split_first_chunk() else {
            out.extend_from_slice(from);
            return;
        };
        let bits = |byte: u8, mask: u8| u32::from(byte & mask);
        let point = bits(a, 0x07) << 18 | bits(b, 0x3f) << 12 | bits(c, 0x3f) << 6 | bits(d, 0x3f);
        let point = point.wrapping_sub(0x10000);
        put_surrogate(0xd800 | (point >> 10 & 0x3ff), out);
        put_surrogate(0xdc00 | (point & 0x3ff), out);
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn put_surrogate(unit: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xed, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]);
}
