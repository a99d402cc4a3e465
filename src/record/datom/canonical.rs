//! The canonical bytes of a value: a type byte and a payload that sorts as the value does and ends itself.
//!
//! Equal values have equal bytes and no encoding is the start of another, so encodings can be compared, concatenated and
//! hashed. What a payload looks like is the table in `format-spec/records.md`.

use std::borrow::Cow;
use std::fmt;

use num_bigint::{BigInt, Sign};

use crate::error::DecodeError;
use crate::id::BlobId;
use crate::record::Reference;
use crate::record::cursor::Cursor;

use super::text::{escaped_len, is_wtf8, put_escaped, unescape};
use super::value::{BigDecimal, Text, Value, ValueReference};

/// A value whose canonical bytes are more than this is stored as a blob of its own.
pub const INLINE_VALUE_MAX: usize = 1024;

/// Collections and tags inside one another: at most this many.
pub const MAX_NESTING: usize = 64;

/// Bytes of a long value that stand in the key.
pub const STORED_START_LEN: usize = 64;

/// The type bytes of values; they order values of different types.
pub(super) mod tag {
    pub(crate) const NIL: u8 = 0x01;
    pub(crate) const BOOLEAN: u8 = 0x02;
    pub(crate) const LONG: u8 = 0x03;
    pub(crate) const BIG_INT: u8 = 0x04;
    pub(crate) const DOUBLE: u8 = 0x05;
    pub(crate) const FLOAT: u8 = 0x06;
    pub(crate) const BIG_DECIMAL: u8 = 0x07;
    pub(crate) const RATIO: u8 = 0x08;
    pub(crate) const CHAR: u8 = 0x09;
    pub(crate) const STRING: u8 = 0x0a;
    pub(crate) const KEYWORD: u8 = 0x0b;
    pub(crate) const SYMBOL: u8 = 0x0c;
    pub(crate) const UUID: u8 = 0x0d;
    pub(crate) const INSTANT: u8 = 0x0e;
    pub(crate) const BYTES: u8 = 0x0f;
    pub(crate) const URI: u8 = 0x10;
    pub(crate) const REGEX: u8 = 0x11;
    pub(crate) const TUPLE: u8 = 0x12;
    pub(crate) const LIST: u8 = 0x13;
    pub(crate) const SET: u8 = 0x14;
    pub(crate) const MAP: u8 = 0x15;
    pub(crate) const FLOATS: u8 = 0x16;
    pub(crate) const DOUBLES: u8 = 0x17;
    pub(crate) const TAGGED: u8 = 0x18;
    pub(crate) const STORED: u8 = 0x19;
}

/// Why a value has no canonical bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// A set holds an element twice.
    DuplicateElement,
    /// A map holds a key twice.
    DuplicateKey,
    /// More than [`MAX_NESTING`] collections inside one another.
    TooDeep,
    /// Text that is not WTF-8.
    Text,
    /// A number or array over 4 GiB.
    TooLong,
    /// Nil as the value of a datom.
    Nil,
    /// A stored value inside a collection, or one whose start is not 64 bytes of a longer value.
    Stored,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuplicateElement => "a set holds an element twice",
            Self::DuplicateKey => "a map holds a key twice",
            Self::TooDeep => "collections are nested over 64 deep",
            Self::Text => "text is not WTF-8",
            Self::TooLong => "a number or array is over 4 GiB",
            Self::Nil => "the value is nil",
            Self::Stored => "a stored value is malformed or inside a collection",
        })
    }
}

impl std::error::Error for EncodeError {}

/// Appends the canonical bytes of `value`. Nil is allowed here, as elements of collections are encoded alike.
///
/// After an error `out` ends with part of the value.
pub fn encode_value(value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Value::Stored(reference) = value {
        return put_stored(reference, out);
    }
    put_value(value, 0, out)
}

/// The value with these canonical bytes.
pub fn decode_value(bytes: &[u8]) -> Result<Value<'_>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let value = if bytes.first() == Some(&tag::STORED) {
        cursor.take(1)?;
        Value::Stored(take_stored(&mut cursor)?)
    } else {
        take_value(&mut cursor, 0)?
    };
    cursor.finish()?;
    Ok(value)
}

/// The canonical bytes of a value when they are more than `limit`, for [`Value::Stored`] to stand in its place.
pub fn long_value(value: &Value<'_>, limit: usize) -> Result<Option<Vec<u8>>, EncodeError> {
    let short = match value {
        Value::String(text) | Value::Uri(text) | Value::Regex(text) | Value::Bytes(text) => text.len() < limit / 2,
        Value::BigInt(_) | Value::BigDecimal(_) | Value::Ratio(..) => false,
        Value::Tuple(_) | Value::List(_) | Value::Set(_) | Value::Map(_) => false,
        Value::Floats(_) | Value::Doubles(_) | Value::Tagged(..) => false,
        Value::Keyword(text) | Value::Symbol(text) => text.len() < limit / 2,
        _ => true,
    };
    if short && limit >= 128 {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    encode_value(value, &mut bytes)?;
    Ok((bytes.len() > limit && !matches!(value, Value::Stored(_))).then_some(bytes))
}

/// The eight bytes that sort as the number does.
#[inline]
pub(super) fn flip(number: i64) -> [u8; 8] {
    (number ^ i64::MIN).to_be_bytes()
}

/// The number of eight bytes that sort as it does.
#[inline]
pub(super) fn unflip(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}

fn flip_double(number: f64) -> [u8; 8] {
    let bits = double_bits(number);
    if bits >> 63 == 1 { (!bits).to_be_bytes() } else { (bits ^ 1 << 63).to_be_bytes() }
}

fn unflip_double(bytes: [u8; 8]) -> Result<f64, DecodeError> {
    let bits = u64::from_be_bytes(bytes);
    let number = f64::from_bits(if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits });
    if flip_double(number) == bytes { Ok(number) } else { Err(DecodeError::Invalid("NaN")) }
}

fn flip_float(number: f32) -> [u8; 4] {
    let bits = float_bits(number);
    if bits >> 31 == 1 { (!bits).to_be_bytes() } else { (bits ^ 1 << 31).to_be_bytes() }
}

fn unflip_float(bytes: [u8; 4]) -> Result<f32, DecodeError> {
    let bits = u32::from_be_bytes(bytes);
    let number = f32::from_bits(if bits >> 31 == 1 { bits ^ 1 << 31 } else { !bits });
    if flip_float(number) == bytes { Ok(number) } else { Err(DecodeError::Invalid("NaN")) }
}

/// The bits of a number, one form for NaN.
pub(super) fn double_bits(number: f64) -> u64 {
    if number.is_nan() { 0x7ff8 << 48 } else { number.to_bits() }
}

/// The bits of a number, one form for NaN.
pub(super) fn float_bits(number: f32) -> u32 {
    if number.is_nan() { 0x7fc0 << 16 } else { number.to_bits() }
}

fn put_value(value: &Value<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if depth > MAX_NESTING {
        return Err(EncodeError::TooDeep);
    }
    match value {
        Value::Nil => out.push(tag::NIL),
        Value::Boolean(truth) => out.extend_from_slice(&[tag::BOOLEAN, u8::from(*truth)]),
        Value::Long(number) => put(tag::LONG, &flip(*number), out),
        Value::BigInt(number) => {
            out.push(tag::BIG_INT);
            put_big(number, out)?;
        }
        Value::Double(number) => put(tag::DOUBLE, &flip_double(*number), out),
        Value::Float(number) => put(tag::FLOAT, &flip_float(*number), out),
        Value::BigDecimal(decimal) => {
            put(tag::BIG_DECIMAL, &(decimal.scale ^ i32::MIN).to_be_bytes(), out);
            put_big(&decimal.unscaled, out)?;
        }
        Value::Ratio(numerator, denominator) => {
            out.push(tag::RATIO);
            put_big(numerator, out)?;
            put_big(denominator, out)?;
        }
        Value::Char(unit) => put(tag::CHAR, &unit.to_be_bytes(), out),
        Value::String(text) => put_text(tag::STRING, text, out)?,
        Value::Keyword(name) => put_name(tag::KEYWORD, name, out),
        Value::Symbol(name) => put_name(tag::SYMBOL, name, out),
        Value::Uuid(bytes) => put(tag::UUID, bytes, out),
        Value::Instant(milliseconds) => put(tag::INSTANT, &flip(*milliseconds), out),
        Value::Bytes(bytes) => {
            out.push(tag::BYTES);
            put_escaped(bytes, out);
        }
        Value::Uri(text) => put_text(tag::URI, text, out)?,
        Value::Regex(text) => put_text(tag::REGEX, text, out)?,
        Value::Tuple(elements) => put_elements(tag::TUPLE, elements, depth, out)?,
        Value::List(elements) => put_elements(tag::LIST, elements, depth, out)?,
        Value::Set(elements) => put_sorted(tag::SET, elements, out, EncodeError::DuplicateElement, |element, out| {
            put_value(element, depth + 1, out)?;
            Ok(out.len())
        })?,
        Value::Map(entries) => put_sorted(tag::MAP, entries, out, EncodeError::DuplicateKey, |(key, value), out| {
            put_value(key, depth + 1, out)?;
            let key_end = out.len();
            put_value(value, depth + 1, out)?;
            Ok(key_end)
        })?,
        Value::Floats(numbers) => {
            put(tag::FLOATS, &short_len(numbers.len())?, out);
            numbers.iter().for_each(|number| out.extend_from_slice(&flip_float(*number)));
        }
        Value::Doubles(numbers) => {
            put(tag::DOUBLES, &short_len(numbers.len())?, out);
            numbers.iter().for_each(|number| out.extend_from_slice(&flip_double(*number)));
        }
        Value::Tagged(name, value) => {
            put_name(tag::TAGGED, name, out);
            put_value(value, depth + 1, out)?;
        }
        Value::Stored(_) => return Err(EncodeError::Stored),
    }
    Ok(())
}

fn put(tag: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(payload);
}

fn put_name(tag: u8, name: &str, out: &mut Vec<u8>) {
    out.push(tag);
    put_escaped(name.as_bytes(), out);
}

fn put_text(tag: u8, text: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if !is_wtf8(text) {
        return Err(EncodeError::Text);
    }
    out.push(tag);
    put_escaped(text, out);
    Ok(())
}

fn short_len(len: usize) -> Result<[u8; 4], EncodeError> {
    u32::try_from(len).map(u32::to_be_bytes).map_err(|_| EncodeError::TooLong)
}

// Sign, length and magnitude; a negative number has the last two inverted, so that longer ones come first.
fn put_big(number: &BigInt, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let (sign, magnitude) = number.to_bytes_be();
    match sign {
        Sign::NoSign => out.push(1),
        Sign::Plus => {
            put(2, &short_len(magnitude.len())?, out);
            out.extend_from_slice(&magnitude);
        }
        Sign::Minus => {
            put(0, &short_len(magnitude.len())?.map(|byte| !byte), out);
            out.extend(magnitude.iter().map(|byte| !byte));
        }
    }
    Ok(())
}

fn put_elements(tag: u8, elements: &[Value<'_>], depth: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.push(tag);
    for element in elements {
        out.push(1);
        put_value(element, depth + 1, out)?;
    }
    out.push(0);
    Ok(())
}

/// Elements in the order of their bytes; `put_one` appends one and says where its key ends.
fn put_sorted<T>(
    tag: u8,
    elements: &[T],
    out: &mut Vec<u8>,
    duplicate: EncodeError,
    put_one: impl Fn(&T, &mut Vec<u8>) -> Result<usize, EncodeError>,
) -> Result<(), EncodeError> {
    out.push(tag);
    let first = out.len();
    let mut spans = Vec::with_capacity(elements.len());
    for element in elements {
        out.push(1);
        let start = out.len();
        let key_end = put_one(element, out)?;
        spans.push((start, key_end, out.len()));
    }
    if !spans.windows(2).all(|pair| out[pair[0].0..pair[0].1] < out[pair[1].0..pair[1].1]) {
        spans.sort_by(|a, b| out[a.0..a.1].cmp(&out[b.0..b.1]));
        if spans.windows(2).any(|pair| out[pair[0].0..pair[0].1] == out[pair[1].0..pair[1].1]) {
            return Err(duplicate);
        }
        let unsorted = out.split_off(first);
        for (start, _, end) in spans {
            out.push(1);
            out.extend_from_slice(&unsorted[start - first..end - first]);
        }
    }
    out.push(0);
    Ok(())
}

fn put_stored(reference: &ValueReference, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    put(tag::STORED, &reference.start, out);
    out.extend_from_slice(reference.id.as_bytes());
    out.push(u8::from(reference.listed));
    out.extend_from_slice(&reference.length.to_be_bytes());
    match take_stored(&mut Cursor::new(&out[start + 1..])) {
        Ok(again) if again == *reference => Ok(()),
        _ => Err(EncodeError::Stored),
    }
}

fn take_stored(cursor: &mut Cursor<'_>) -> Result<ValueReference, DecodeError> {
    let start = cursor.take(STORED_START_LEN)?.to_vec();
    let id = BlobId::new(cursor.array()?);
    let listed = take_bool(cursor)?;
    let length = u64::from_be_bytes(cursor.array()?);
    let inline = length <= STORED_START_LEN as u64;
    if inline || !matches!(start.first(), Some(tag::BOOLEAN..=tag::TAGGED)) {
        return Err(DecodeError::Invalid("stored value"));
    }
    Ok(ValueReference { start, id, listed, length })
}

/// What the canonical bytes of a value refer to, if they stand for a stored one.
pub(super) fn stored_reference(value: &[u8]) -> Result<Option<Reference>, DecodeError> {
    if value.first() != Some(&tag::STORED) {
        return Ok(None);
    }
    let mut cursor = Cursor::new(value);
    cursor.take(1)?;
    let reference = take_stored(&mut cursor)?;
    cursor.finish()?;
    Ok(Some(if reference.listed { Reference::List(reference.id) } else { Reference::Chunk(reference.id) }))
}

fn take_bool(cursor: &mut Cursor<'_>) -> Result<bool, DecodeError> {
    match cursor.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("boolean")),
    }
}

fn take_escaped<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, DecodeError> {
    let len = escaped_len(cursor.rest())?;
    unescape(&cursor.take(len)?[..len - 1])
}

fn take_text<'a>(cursor: &mut Cursor<'a>) -> Result<Text<'a>, DecodeError> {
    let text = take_escaped(cursor)?;
    if is_wtf8(&text) { Ok(text) } else { Err(DecodeError::Invalid("text")) }
}

pub(super) fn take_name<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, str>, DecodeError> {
    let invalid = || DecodeError::Invalid("name");
    Ok(match take_escaped(cursor)? {
        Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| invalid())?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| invalid())?),
    })
}

fn take_big(cursor: &mut Cursor<'_>) -> Result<BigInt, DecodeError> {
    let sign = cursor.byte()?;
    if sign == 1 {
        return Ok(BigInt::ZERO);
    }
    let invert = |bytes: &[u8]| -> Vec<u8> { bytes.iter().map(|byte| !byte).collect() };
    let len: [u8; 4] = cursor.array()?;
    let (sign, magnitude) = match sign {
        0 => (Sign::Minus, Cow::Owned(invert(cursor.take(u32::from_be_bytes(len.map(|byte| !byte)) as usize)?))),
        2 => (Sign::Plus, Cow::Borrowed(cursor.take(u32::from_be_bytes(len) as usize)?)),
        _ => return Err(DecodeError::Invalid("sign")),
    };
    if matches!(magnitude.first(), None | Some(0)) {
        return Err(DecodeError::Invalid("integer"));
    }
    Ok(BigInt::from_bytes_be(sign, &magnitude))
}

/// Whether another element follows.
fn take_more(cursor: &mut Cursor<'_>) -> Result<bool, DecodeError> {
    take_bool(cursor).map_err(|error| match error {
        DecodeError::Invalid(_) => DecodeError::Invalid("collection"),
        other => other,
    })
}

fn take_value<'a>(cursor: &mut Cursor<'a>, depth: usize) -> Result<Value<'a>, DecodeError> {
    if depth > MAX_NESTING {
        return Err(DecodeError::TooLarge("nesting"));
    }
    let kind = cursor.byte()?;
    take_payload(kind, cursor, depth)
}

fn take_payload<'a>(kind: u8, cursor: &mut Cursor<'a>, depth: usize) -> Result<Value<'a>, DecodeError> {
    Ok(match kind {
        tag::NIL => Value::Nil,
        tag::BOOLEAN => Value::Boolean(take_bool(cursor)?),
        tag::LONG => Value::Long(unflip(cursor.array()?)),
        tag::BIG_INT => Value::BigInt(take_big(cursor)?),
        tag::DOUBLE => Value::Double(unflip_double(cursor.array()?)?),
        tag::FLOAT => Value::Float(unflip_float(cursor.array()?)?),
        tag::BIG_DECIMAL => {
            let scale = i32::from_be_bytes(cursor.array()?) ^ i32::MIN;
            Value::BigDecimal(BigDecimal { unscaled: take_big(cursor)?, scale })
        }
        tag::RATIO => Value::Ratio(take_big(cursor)?, take_big(cursor)?),
        tag::CHAR => Value::Char(u16::from_be_bytes(cursor.array()?)),
        tag::STRING => Value::String(take_text(cursor)?),
        tag::KEYWORD => Value::Keyword(take_name(cursor)?),
        tag::SYMBOL => Value::Symbol(take_name(cursor)?),
        tag::UUID => Value::Uuid(cursor.array()?),
        tag::INSTANT => Value::Instant(unflip(cursor.array()?)),
        tag::BYTES => Value::Bytes(take_escaped(cursor)?),
        tag::URI => Value::Uri(take_text(cursor)?),
        tag::REGEX => Value::Regex(take_text(cursor)?),
        tag::TUPLE => Value::Tuple(take_elements(cursor, depth)?),
        tag::LIST => Value::List(take_elements(cursor, depth)?),
        tag::SET => Value::Set(
            take_sorted(cursor, |cursor| take_value(cursor, depth + 1), |_| Ok(()))?
                .into_iter()
                .map(|(element, ())| element)
                .collect(),
        ),
        tag::MAP => Value::Map(take_sorted(
            cursor,
            |cursor| take_value(cursor, depth + 1),
            |cursor| take_value(cursor, depth + 1),
        )?),
        tag::FLOATS => {
            let count = u32::from_be_bytes(cursor.array()?) as usize;
            let bytes = cursor.take(count.checked_mul(4).ok_or(DecodeError::Truncated)?)?;
            Value::Floats(bytes.as_chunks().0.iter().map(|number| unflip_float(*number)).collect::<Result<_, _>>()?)
        }
        tag::DOUBLES => {
            let count = u32::from_be_bytes(cursor.array()?) as usize;
            let bytes = cursor.take(count.checked_mul(8).ok_or(DecodeError::Truncated)?)?;
            Value::Doubles(bytes.as_chunks().0.iter().map(|number| unflip_double(*number)).collect::<Result<_, _>>()?)
        }
        tag::TAGGED => Value::Tagged(take_name(cursor)?, Box::new(take_value(cursor, depth + 1)?)),
        _ => return Err(DecodeError::Invalid("value type")),
    })
}

/// Length of the payload of a value of type `kind` at the start of `bytes`; refuses what [`decode_value`] would.
pub(super) fn payload_len(kind: u8, bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    match kind {
        tag::STRING | tag::URI | tag::REGEX => {
            let len = escaped_len(bytes)?;
            let text = &bytes[..len - 1];
            if std::str::from_utf8(text).is_err() || text.contains(&1) {
                take_text(&mut cursor)?;
            }
            return Ok(len);
        }
        tag::LONG | tag::INSTANT => drop(cursor.take(8)?),
        tag::UUID => drop(cursor.take(16)?),
        tag::STORED => drop(take_stored(&mut cursor)?),
        tag::NIL => return Err(DecodeError::Invalid("nil value")),
        _ => drop(take_payload(kind, &mut cursor, 0)?),
    }
    Ok(bytes.len() - cursor.rest().len())
}

fn take_elements<'a>(cursor: &mut Cursor<'a>, depth: usize) -> Result<Vec<Value<'a>>, DecodeError> {
    let mut elements = Vec::new();
    while take_more(cursor)? {
        elements.push(take_value(cursor, depth + 1)?);
    }
    Ok(elements)
}

/// Elements whose keys' bytes strictly ascend.
fn take_sorted<'a, K, V>(
    cursor: &mut Cursor<'a>,
    take_key: impl Fn(&mut Cursor<'a>) -> Result<K, DecodeError>,
    take_rest: impl Fn(&mut Cursor<'a>) -> Result<V, DecodeError>,
) -> Result<Vec<(K, V)>, DecodeError> {
    let mut elements = Vec::new();
    let mut previous: &[u8] = &[];
    while take_more(cursor)? {
        let before = cursor.rest();
        let key = take_key(cursor)?;
        let bytes = &before[..before.len() - cursor.rest().len()];
        if bytes <= previous {
            return Err(DecodeError::Invalid("order of elements"));
        }
        previous = bytes;
        elements.push((key, take_rest(cursor)?));
    }
    Ok(elements)
}
