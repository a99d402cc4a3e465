//! Keys: a datom as bytes that sort as (t, e, a, v, op), and the same bytes in the order of views, (e, a, v, t, op).

use std::ops::Range;

use crate::error::DecodeError;
use crate::record::cursor::Cursor;

use super::canonical::{EncodeError, decode_value, encode_value, flip, take_name, unflip};
use super::text::{escaped_len, put_escaped};
use super::value::{Attribute, Datom, Value};

const KEYWORD: u8 = 1;
const ID: u8 = 2;
const STRING: u8 = 3;

/// Bytes of an entity id, with which a fact begins.
const ENTITY_LEN: usize = 8;

/// A key taken apart; attribute and value are in their canonical bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyParts<'a> {
    /// Transaction id.
    pub t: i64,
    /// Entity id.
    pub e: i64,
    /// Attribute, with its type byte.
    pub a: &'a [u8],
    /// Value, with its type byte.
    pub v: &'a [u8],
    /// Asserted, as opposed to retracted.
    pub added: bool,
}

/// Appends the key of `datom`. After an error `out` ends with part of it.
pub fn encode_key(datom: &Datom<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if datom.v == Value::Nil {
        return Err(EncodeError::Nil);
    }
    out.extend_from_slice(&flip(datom.t));
    out.extend_from_slice(&flip(datom.e));
    match &datom.a {
        Attribute::Keyword(name) => {
            out.push(KEYWORD);
            put_escaped(name.as_bytes(), out);
        }
        Attribute::Id(id) => {
            out.push(ID);
            out.extend_from_slice(&flip(*id));
        }
        Attribute::String(name) => {
            out.push(STRING);
            put_escaped(name.as_bytes(), out);
        }
    }
    encode_value(&datom.v, out)?;
    out.push(u8::from(datom.added));
    Ok(())
}

/// The datom of a key; names and texts are borrowed unless they hold the characters U+0000 or U+0001.
pub fn decode_key(key: &[u8]) -> Result<Datom<'_>, DecodeError> {
    let parts = split_key(key)?;
    let a = decode_attribute(parts.a)?;
    let v = decode_value(parts.v)?;
    if v == Value::Nil {
        return Err(DecodeError::Invalid("nil value"));
    }
    Ok(Datom { e: parts.e, a, v, t: parts.t, added: parts.added })
}

fn decode_attribute(bytes: &[u8]) -> Result<Attribute<'_>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let a = match cursor.byte()? {
        KEYWORD => Attribute::Keyword(take_name(&mut cursor)?),
        STRING => Attribute::String(take_name(&mut cursor)?),
        ID => Attribute::Id(unflip(cursor.array()?)),
        _ => return Err(DecodeError::Invalid("attribute type")),
    };
    cursor.finish()?;
    Ok(a)
}

/// Refuses what is no attribute.
pub(super) fn check_attribute(bytes: &[u8]) -> Result<(), DecodeError> {
    decode_attribute(bytes).map(drop)
}

/// The parts of a key, without looking into the value or the attribute's characters.
#[inline]
pub fn split_key(key: &[u8]) -> Result<KeyParts<'_>, DecodeError> {
    let mut cursor = Cursor::new(key);
    let (t, e) = (unflip(cursor.array()?), unflip(cursor.array()?));
    let a = cursor.take(attribute_len(cursor.rest())?)?;
    let (op, v) = cursor.rest().split_last().ok_or(DecodeError::Truncated)?;
    let added = match op {
        0 => false,
        1 => true,
        _ => return Err(DecodeError::Invalid("op")),
    };
    Ok(KeyParts { t, e, a, v, added })
}

/// Where the value stands in a key.
pub fn value_range(key: &[u8]) -> Result<Range<usize>, DecodeError> {
    let v = split_key(key)?.v;
    let end = key.len() - 1;
    Ok(end - v.len()..end)
}

/// Length of the attribute at the start of `bytes`.
#[inline]
pub fn attribute_len(bytes: &[u8]) -> Result<usize, DecodeError> {
    match bytes.split_first().ok_or(DecodeError::Truncated)? {
        (&(KEYWORD | STRING), text) => Ok(1 + escaped_len(text)?),
        (&ID, _) => Ok(9),
        _ => Err(DecodeError::Invalid("attribute type")),
    }
}

/// The eight bytes with which the keys of this t begin (or the view keys of this e); a lower bound of a range of keys.
pub fn number_bound(number: i64) -> [u8; 8] {
    flip(number)
}

/// A key in three: what it is about, when, and what it says of it. No part is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactEvent<'a> {
    /// t as it stands in keys.
    pub t: [u8; 8],
    /// e, a and v.
    pub fact: &'a [u8],
    /// The last byte: 1 asserts.
    pub op: u8,
}

impl<'a> FactEvent<'a> {
    /// The parts of a key.
    #[inline]
    pub fn of_key(key: &'a [u8]) -> Result<Self, DecodeError> {
        let (t, rest) = key.split_first_chunk().ok_or(DecodeError::Truncated)?;
        let (op, fact) = rest.split_last().ok_or(DecodeError::Truncated)?;
        Self { t: *t, fact, op: *op }.with_entity()
    }

    /// The parts of a view key.
    #[inline]
    pub fn of_view_key(view: &'a [u8]) -> Result<Self, DecodeError> {
        let (op, rest) = view.split_last().ok_or(DecodeError::Truncated)?;
        let (fact, t) = rest.split_last_chunk().ok_or(DecodeError::Truncated)?;
        Self { t: *t, fact, op: *op }.with_entity()
    }

    fn with_entity(self) -> Result<Self, DecodeError> {
        if self.fact.len() < ENTITY_LEN { Err(DecodeError::Truncated) } else { Ok(self) }
    }

    /// Whether it asserts.
    pub fn asserts(self) -> bool {
        self.op == 1
    }
}

/// Appends the key in the order of views: e, a, v, t, op.
pub fn to_view_key(key: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let FactEvent { t, fact, op } = FactEvent::of_key(key)?;
    out.extend_from_slice(fact);
    out.extend_from_slice(&t);
    out.push(op);
    Ok(())
}

/// Appends the key of a view key: t, e, a, v, op.
pub fn from_view_key(view: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let FactEvent { t, fact, op } = FactEvent::of_view_key(view)?;
    out.extend_from_slice(&t);
    out.extend_from_slice(fact);
    out.push(op);
    Ok(())
}

/// What a view key says is so: e, a and v; empty for bytes that are no view key.
pub fn view_fact(view: &[u8]) -> &[u8] {
    FactEvent::of_view_key(view).map(|event| event.fact).unwrap_or_default()
}
