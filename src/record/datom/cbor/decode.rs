//! CBOR items to datoms, borrowing text and bytes from the buffer.

use std::borrow::Cow;

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error as CborError};
use num_bigint::{BigInt, Sign};

use super::{DEPTH_LIMIT, Dialect, HALF, canonical_double, canonical_float, instant, order_map, order_set, tag};
use crate::error::DecodeError;
use crate::record::datom::{Attribute, BigDecimal, Datom, Value};

/// The datom at the start of `bytes` and how many bytes it takes. [`DecodeError::Truncated`] asks for more bytes.
pub fn decode_datom(dialect: Dialect, bytes: &[u8]) -> Result<(Datom<'_>, usize), DecodeError> {
    let mut items = Items { decoder: Decoder::new(bytes), dialect };
    let datom = items.datom()?;
    Ok((datom, items.decoder.position()))
}

/// The length of the item at the start of `bytes`, whatever it is.
pub fn skip(bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    decoder.skip().map_err(refuse)?;
    Ok(decoder.position())
}

/// What a datacamp chunk says beside its datoms.
pub type Chunk<'b> = Vec<(Value<'b>, Value<'b>)>;

/// Reads a map item, handing out the datoms under its keyword key `datoms` one by one; the rest is returned.
pub fn decode_chunk<'b, E: From<DecodeError>>(
    dialect: Dialect,
    bytes: &'b [u8],
    on_datom: &mut dyn FnMut(Datom<'b>) -> Result<(), E>,
) -> Result<Chunk<'b>, E> {
    let mut items = Items { decoder: Decoder::new(bytes), dialect };
    let Some(len) = items.decoder.map().map_err(refuse)? else {
        return Err(DecodeError::Invalid("chunk map").into());
    };
    let mut rest = Chunk::new();
    let mut seen = false;
    for _ in 0..len {
        let key = items.value(1)?;
        if key != Value::Keyword(Cow::Borrowed("datoms")) {
            rest.push((key, items.value(1)?));
            continue;
        }
        if std::mem::replace(&mut seen, true) {
            return Err(DecodeError::Invalid("chunk: a key occurs twice").into());
        }
        let datoms = items.decoder.array().map_err(refuse)?;
        let mut left = datoms.unwrap_or(u64::MAX);
        while left > 0 {
            if datoms.is_none() && items.at_break()? {
                break;
            }
            on_datom(items.datom()?)?;
            left -= 1;
        }
    }
    if items.decoder.position() != bytes.len() {
        return Err(DecodeError::TrailingBytes.into());
    }
    Ok(rest)
}

struct Items<'b> {
    decoder: Decoder<'b>,
    dialect: Dialect,
}

fn refuse(error: CborError) -> DecodeError {
    if error.is_end_of_input() { DecodeError::Truncated } else { DecodeError::Invalid("CBOR item") }
}

impl<'b> Items<'b> {
    fn datom(&mut self) -> Result<Datom<'b>, DecodeError> {
        if self.decoder.datatype().map_err(refuse)? != Type::Array {
            return Err(DecodeError::Invalid("datom: not an array of five"));
        }
        if self.decoder.array().map_err(refuse)? != Some(5) {
            return Err(DecodeError::Invalid("datom: not an array of five"));
        }
        let e = self.long("datom: entity is not an integer")?;
        let a = self.attribute()?;
        let v = self.value(1)?;
        if v == Value::Nil {
            return Err(DecodeError::Invalid("datom: value is nil"));
        }
        let t = self.long("datom: transaction is not an integer")?;
        let added = match self.decoder.datatype().map_err(refuse)? {
            Type::Bool => self.decoder.bool().map_err(refuse)?,
            _ => return Err(DecodeError::Invalid("datom: operation is not a boolean")),
        };
        Ok(Datom { e, a, v, t, added })
    }

    fn long(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.decoder
            .i64()
            .map_err(|e| if e.is_end_of_input() { DecodeError::Truncated } else { DecodeError::Invalid(what) })
    }

    fn attribute(&mut self) -> Result<Attribute<'b>, DecodeError> {
        match self.value(1)? {
            Value::Keyword(name) => Ok(Attribute::Keyword(name)),
            Value::Long(id) => Ok(Attribute::Id(id)),
            Value::String(Cow::Borrowed(text)) => {
                let text = std::str::from_utf8(text).map_err(|_| DecodeError::Invalid("datom: attribute"))?;
                Ok(Attribute::String(Cow::Borrowed(text)))
            }
            _ => Err(DecodeError::Invalid("datom: attribute is neither keyword, id nor string")),
        }
    }

    fn value(&mut self, depth: u32) -> Result<Value<'b>, DecodeError> {
        if depth > DEPTH_LIMIT {
            return Err(DecodeError::TooLarge("nesting"));
        }
        Ok(match self.decoder.datatype().map_err(refuse)? {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
                let int = i128::from(self.decoder.int().map_err(refuse)?);
                match i64::try_from(int) {
                    Ok(long) => Value::Long(long),
                    Err(_) => Value::BigInt(BigInt::from(int)),
                }
            }
            Type::String => Value::String(Cow::Borrowed(self.decoder.str().map_err(refuse)?.as_bytes())),
            Type::StringIndef => {
                let mut text = Vec::new();
                for part in self.decoder.str_iter().map_err(refuse)? {
                    text.extend_from_slice(part.map_err(refuse)?.as_bytes());
                }
                Value::String(Cow::Owned(text))
            }
            Type::Bytes => Value::Bytes(Cow::Borrowed(self.decoder.bytes().map_err(refuse)?)),
            Type::BytesIndef => {
                let mut bytes = Vec::new();
                for part in self.decoder.bytes_iter().map_err(refuse)? {
                    bytes.extend_from_slice(part.map_err(refuse)?);
                }
                Value::Bytes(Cow::Owned(bytes))
            }
            Type::Bool => Value::Boolean(self.decoder.bool().map_err(refuse)?),
            Type::Null => {
                self.decoder.null().map_err(refuse)?;
                Value::Nil
            }
            Type::F16 => {
                let half = self.decoder.f16().map_err(refuse)?;
                match self.dialect {
                    Dialect::CljCbor => {
                        Value::Tagged(Cow::Borrowed(HALF), Box::new(Value::Double(canonical_double(f64::from(half)))))
                    }
                    Dialect::Archival => Value::Float(canonical_float(half)),
                }
            }
            Type::F32 => Value::Float(canonical_float(self.decoder.f32().map_err(refuse)?)),
            Type::F64 => Value::Double(canonical_double(self.decoder.f64().map_err(refuse)?)),
            Type::Array | Type::ArrayIndef => Value::Tuple(self.array(depth)?),
            Type::Map | Type::MapIndef => Value::Map(self.map(depth)?),
            Type::Tag => {
                let tag = self.decoder.tag().map_err(refuse)?.as_u64();
                self.tagged(tag, depth)?
            }
            Type::Undefined | Type::Simple | Type::Break | Type::Unknown(_) => {
                return Err(DecodeError::Invalid("CBOR item: undefined, simple value or break"));
            }
        })
    }

    fn at_break(&mut self) -> Result<bool, DecodeError> {
        let found = self.decoder.datatype().map_err(refuse)? == Type::Break;
        if found {
            self.decoder.set_position(self.decoder.position() + 1);
        }
        Ok(found)
    }

    fn array(&mut self, depth: u32) -> Result<Vec<Value<'b>>, DecodeError> {
        let len = self.decoder.array().map_err(refuse)?;
        // No capacity from a length field: elements take at least a byte each, so growth is bounded by the input.
        let mut elements = Vec::with_capacity(len.map_or(0, |n| usize::try_from(n.min(16)).unwrap_or(16)));
        match len {
            Some(len) => {
                for _ in 0..len {
                    elements.push(self.value(depth + 1)?);
                }
            }
            None => {
                while !self.at_break()? {
                    elements.push(self.value(depth + 1)?);
                }
            }
        }
        Ok(elements)
    }

    fn map(&mut self, depth: u32) -> Result<Vec<(Value<'b>, Value<'b>)>, DecodeError> {
        let len = self.decoder.map().map_err(refuse)?;
        let mut entries = Vec::new();
        let mut left = len.unwrap_or(u64::MAX);
        while left > 0 {
            if len.is_none() && self.at_break()? {
                break;
            }
            let key = self.value(depth + 1)?;
            entries.push((key, self.value(depth + 1)?));
            left -= 1;
        }
        order_map(&mut entries)?;
        Ok(entries)
    }

    fn tagged(&mut self, tag: u64, depth: u32) -> Result<Value<'b>, DecodeError> {
        let content = self.value(depth + 1)?;
        match tag {
            tag::DATE_TEXT => Ok(Value::Instant(instant::parse(&text(content, "date text")?)?)),
            tag::EPOCH => epoch(content),
            tag::POSITIVE_BIGNUM => match content {
                Value::Bytes(magnitude) => Ok(Value::BigInt(BigInt::from_bytes_be(Sign::Plus, &magnitude))),
                _ => Err(DecodeError::Invalid("big integer")),
            },
            tag::NEGATIVE_BIGNUM => match content {
                Value::Bytes(magnitude) => {
                    Ok(Value::BigInt(-BigInt::from_bytes_be(Sign::Plus, &magnitude) - BigInt::from(1)))
                }
                _ => Err(DecodeError::Invalid("big integer")),
            },
            tag::DECIMAL => {
                let (exponent, unscaled) = pair(content, "decimal")?;
                let Value::Long(exponent) = exponent else { return Err(DecodeError::Invalid("decimal exponent")) };
                let scale = exponent.checked_neg().and_then(|scale| i32::try_from(scale).ok());
                let scale = scale.ok_or(DecodeError::TooLarge("decimal exponent"))?;
                Ok(Value::BigDecimal(BigDecimal { unscaled: integer(unscaled, "decimal")?, scale }))
            }
            tag::RATIONAL => {
                let (numerator, denominator) = pair(content, "ratio")?;
                Ok(Value::Ratio(integer(numerator, "ratio")?, integer(denominator, "ratio")?))
            }
            tag::URI => Ok(Value::Uri(owned_text(content, "URI")?)),
            tag::REGEX => Ok(Value::Regex(owned_text(content, "regex")?)),
            tag::UUID => match content {
                Value::Bytes(bytes) => {
                    Ok(Value::Uuid(bytes.as_ref().try_into().map_err(|_| DecodeError::Invalid("UUID"))?))
                }
                _ => Err(DecodeError::Invalid("UUID")),
            },
            tag::IDENTIFIER => Ok(match text(content, "keyword or symbol")? {
                Cow::Borrowed(name) => match name.strip_prefix(':') {
                    Some(name) => Value::Keyword(Cow::Borrowed(name)),
                    None => Value::Symbol(Cow::Borrowed(name)),
                },
                Cow::Owned(name) => match name.strip_prefix(':') {
                    Some(name) => Value::Keyword(Cow::Owned(name.to_owned())),
                    None => Value::Symbol(Cow::Owned(name)),
                },
            }),
            tag::SET => match content {
                Value::Tuple(mut elements) => {
                    order_set(&mut elements)?;
                    Ok(Value::Set(elements))
                }
                _ => Err(DecodeError::Invalid("set")),
            },
            tag::FLOATS => floats::<4, _>(content, |b| canonical_float(f32::from_le_bytes(b))).map(Value::Floats),
            tag::DOUBLES => floats::<8, _>(content, |b| canonical_double(f64::from_le_bytes(b))).map(Value::Doubles),
            tag::OBJECT => Ok(object(content)),
            unknown => Ok(Value::Tagged(Cow::Owned(format!("cbor/{unknown}")), Box::new(content))),
        }
    }
}

/// Tag 27: `[name argument]`.
fn object(content: Value<'_>) -> Value<'_> {
    let Value::Tuple(mut parts) = content else {
        return Value::Tagged(Cow::Borrowed("cbor/27"), Box::new(content));
    };
    match parts.as_slice() {
        [Value::String(name), Value::String(text)] if name.as_ref() == b"clojure/char" => {
            let mut units = std::str::from_utf8(text).unwrap_or_default().encode_utf16();
            if let (Some(unit), None) = (units.next(), units.next()) {
                return Value::Char(unit);
            }
        }
        [Value::String(name), _] if super::encode::is_object_name(name) => {
            let argument = parts.pop().expect("matched two parts");
            let Some(Value::String(name)) = parts.pop() else { unreachable!("matched a string") };
            let name = match name {
                Cow::Borrowed(name) => String::from_utf8_lossy(name),
                Cow::Owned(name) => Cow::Owned(String::from_utf8_lossy(&name).into_owned()),
            };
            return Value::Tagged(name, Box::new(argument));
        }
        _ => {}
    }
    Value::Tagged(Cow::Borrowed("cbor/27"), Box::new(Value::Tuple(parts)))
}

fn text<'b>(value: Value<'b>, what: &'static str) -> Result<Cow<'b, str>, DecodeError> {
    match value {
        Value::String(Cow::Borrowed(text)) => {
            std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| DecodeError::Invalid(what))
        }
        Value::String(Cow::Owned(text)) => {
            String::from_utf8(text).map(Cow::Owned).map_err(|_| DecodeError::Invalid(what))
        }
        _ => Err(DecodeError::Invalid(what)),
    }
}

fn owned_text<'b>(value: Value<'b>, what: &'static str) -> Result<Cow<'b, [u8]>, DecodeError> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(DecodeError::Invalid(what)),
    }
}

fn pair<'b>(value: Value<'b>, what: &'static str) -> Result<(Value<'b>, Value<'b>), DecodeError> {
    let Value::Tuple(parts) = value else { return Err(DecodeError::Invalid(what)) };
    let [first, second] = <[Value<'b>; 2]>::try_from(parts).map_err(|_| DecodeError::Invalid(what))?;
    Ok((first, second))
}

fn integer(value: Value<'_>, what: &'static str) -> Result<BigInt, DecodeError> {
    match value {
        Value::Long(long) => Ok(BigInt::from(long)),
        Value::BigInt(big) => Ok(big),
        _ => Err(DecodeError::Invalid(what)),
    }
}

/// Tag 1: seconds, as an integer or a float. The float of a time in milliseconds is the nearest one, so it is rounded:
/// cutting off would give a millisecond less for every second time.
fn epoch(content: Value<'_>) -> Result<Value<'_>, DecodeError> {
    let bad = DecodeError::Invalid("epoch time");
    let seconds = match content {
        Value::Long(seconds) => return seconds.checked_mul(1000).map(Value::Instant).ok_or(bad),
        Value::Double(seconds) => seconds,
        Value::Float(seconds) => f64::from(seconds),
        Value::Tagged(_, inner) => match *inner {
            Value::Double(seconds) => seconds,
            _ => return Err(bad),
        },
        _ => return Err(bad),
    };
    let millis = (seconds * 1000.0).round();
    // The limits of i64 as doubles; the upper one is 2^63 itself and so excluded.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&millis) {
        Ok(Value::Instant(millis as i64))
    } else {
        Err(bad)
    }
}

fn floats<const N: usize, T>(content: Value<'_>, convert: impl Fn([u8; N]) -> T) -> Result<Vec<T>, DecodeError> {
    let Value::Bytes(bytes) = content else { return Err(DecodeError::Invalid("typed array")) };
    let (elements, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(DecodeError::Invalid("typed array"));
    }
    Ok(elements.iter().map(|&b| convert(b)).collect())
}
