//! The Transit reader.

use std::borrow::Cow;

use num_bigint::BigInt;

use super::cache::Cache;
use crate::record::datom::edn::number::{parse_big, parse_decimal, parse_double, parse_long, parse_number};
use crate::record::datom::edn::{NESTING_MAX, TextError, has_duplicate, instant, parse_uuid};
use crate::record::datom::json::token::Cursor;
use crate::record::datom::json::{base64, single_unit};
use crate::record::datom::{Text, Value};

/// How many bytes of cached strings one part may repeat, so that a short text cannot grow without bound.
const REPEATED_LIMIT: usize = 64 << 20;
/// What begins a map that is written as an array.
const MAP: &[u8] = b"^ ";

type Read<T> = Result<T, TextError>;

/// Reads values, remembering what was cached.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    cache: Cache,
}

/// What the first element of an array says of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Head<'a> {
    /// Keys and values follow.
    Map,
    /// One value follows, which has this tag.
    Tag(Cow<'a, str>),
    /// It is an array, of which this is the first element.
    Value(Value<'a>),
}

impl Reader {
    /// A reader that has cached nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was cached: a new top-level value begins.
    pub fn reset(&mut self) {
        self.cache = Cache::default();
    }

    /// The one value in a text.
    pub fn value<'a>(&mut self, json: &'a [u8]) -> Read<Value<'a>> {
        self.whole(json, |walk| walk.value())
    }

    /// The key of a map in a text.
    pub fn key<'a>(&mut self, json: &'a [u8]) -> Read<Value<'a>> {
        self.whole(json, |walk| walk.key())
    }

    /// The first element of an array.
    pub fn head<'a>(&mut self, json: &'a [u8]) -> Read<Head<'a>> {
        self.whole(json, |walk| {
            if walk.cursor.peek() == Some(b'"') { walk.text(false) } else { walk.value().map(Head::Value) }
        })
    }

    /// Whether this string, which nothing is noted of, is a tag or the code of one.
    pub fn is_tag(&self, text: &[u8]) -> bool {
        let text = if text.starts_with(b"^") { self.cache.find(text).unwrap_or_default() } else { text };
        text.starts_with(b"~#")
    }

    fn whole<'a, T>(&mut self, json: &'a [u8], read: impl FnOnce(&mut Walk<'_, 'a>) -> Read<T>) -> Read<T> {
        let mut walk = Walk { cursor: Cursor::new(json)?, cache: &mut self.cache, depth: 0, repeated: 0 };
        let found = read(&mut walk)?;
        match walk.cursor.peek() {
            None => Ok(found),
            Some(_) => walk.cursor.fail("text after the value"),
        }
    }
}

struct Walk<'r, 'a> {
    cursor: Cursor<'a>,
    cache: &'r mut Cache,
    depth: u32,
    repeated: usize,
}

impl<'a> Walk<'_, 'a> {
    fn value(&mut self) -> Read<Value<'a>> {
        match self.cursor.peek() {
            Some(b'"') => match self.text(false)? {
                Head::Value(value) => Ok(value),
                Head::Map | Head::Tag(_) => self.cursor.fail("a tag that begins no array"),
            },
            Some(b'[') => self.nested(Self::array),
            Some(b'{') => self.nested(Self::object),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Ok(match self.cursor.word()? {
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                _ => Value::Nil,
            }),
        }
    }

    fn key(&mut self) -> Read<Value<'a>> {
        match self.text(true)? {
            Head::Value(key) => Ok(key),
            Head::Map | Head::Tag(_) => self.cursor.fail("a tag where a key is expected"),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Read<Value<'a>>) -> Read<Value<'a>> {
        if self.depth == NESTING_MAX {
            return self.cursor.fail("nested deeper than 64 levels");
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn number(&mut self) -> Read<Value<'a>> {
        let at = self.cursor.at();
        let (text, is_integer) = self.cursor.number()?;
        let read = if is_integer { integer(text) } else { parse_double(text).map(Value::Double) };
        read.map_err(|reason| TextError::new(at, reason))
    }

    fn array(&mut self) -> Read<Value<'a>> {
        self.cursor.expect(b'[', "an array is expected here")?;
        if self.cursor.take(b']') {
            return Ok(Value::Tuple(Vec::new()));
        }
        let first = if self.cursor.peek() == Some(b'"') { self.text(false)? } else { Head::Value(self.value()?) };
        match first {
            Head::Map => {
                let mut entries = Vec::new();
                while self.cursor.take(b',') {
                    let key = self.key()?;
                    self.cursor.expect(b',', "a key without a value")?;
                    entries.push((key, self.value()?));
                }
                self.close(b']')?;
                self.map(entries)
            }
            Head::Tag(tag) => {
                self.cursor.expect(b',', "a tag without a value")?;
                let value = self.tagged(tag)?;
                self.close(b']')?;
                Ok(value)
            }
            Head::Value(first) => self.rest(vec![first]).map(Value::Tuple),
        }
    }

    /// The elements behind the first, and the end of the array.
    fn rest(&mut self, mut values: Vec<Value<'a>>) -> Read<Vec<Value<'a>>> {
        while self.cursor.take(b',') {
            values.push(self.value()?);
        }
        self.close(b']')?;
        Ok(values)
    }

    fn elements(&mut self) -> Read<Vec<Value<'a>>> {
        self.cursor.expect(b'[', "an array is expected here")?;
        if self.cursor.take(b']') {
            return Ok(Vec::new());
        }
        let first = self.value()?;
        self.rest(vec![first])
    }

    fn close(&mut self, bracket: u8) -> Read<()> {
        self.cursor.expect(bracket, "a comma or closing bracket is expected here")
    }

    fn object(&mut self) -> Read<Value<'a>> {
        self.cursor.expect(b'{', "an object is expected here")?;
        let mut entries = Vec::new();
        if self.cursor.take(b'}') {
            return Ok(Value::Map(entries));
        }
        loop {
            let key = self.text(true)?;
            self.cursor.expect(b':', "a colon is expected here")?;
            match key {
                Head::Value(key) => entries.push((key, self.value()?)),
                Head::Tag(tag) if entries.is_empty() => {
                    let value = self.tagged(tag)?;
                    self.close(b'}')?;
                    return Ok(value);
                }
                Head::Tag(_) | Head::Map => return self.cursor.fail("a tag among keys"),
            }
            if !self.cursor.take(b',') {
                break;
            }
        }
        self.close(b'}')?;
        self.map(entries)
    }

    fn map(&self, entries: Vec<(Value<'a>, Value<'a>)>) -> Read<Value<'a>> {
        if has_duplicate(entries.iter().map(|(key, _)| key)) {
            return self.cursor.fail("a map with the same key twice");
        }
        Ok(Value::Map(entries))
    }

    /// What a tag is put on.
    fn tagged(&mut self, tag: Cow<'a, str>) -> Read<Value<'a>> {
        match tag.as_ref() {
            "'" => self.value(),
            "list" => self.elements().map(Value::List),
            "set" => {
                let elements = self.elements()?;
                if has_duplicate(elements.iter()) {
                    return self.cursor.fail("a set with the same element twice");
                }
                Ok(Value::Set(elements))
            }
            "cmap" => {
                let mut elements = self.elements()?.into_iter();
                let mut entries = Vec::with_capacity(elements.len() / 2);
                while let Some(key) = elements.next() {
                    let Some(value) = elements.next() else { return self.cursor.fail("a key without a value") };
                    entries.push((key, value));
                }
                self.map(entries)
            }
            "ratio" => match <[Value<'a>; 2]>::try_from(self.elements()?).map(|parts| parts.map(big)) {
                Ok([Some(numerator), Some(denominator)]) if denominator > BigInt::ZERO => {
                    Ok(Value::Ratio(numerator, denominator))
                }
                _ => self.cursor.fail("a ratio has an integer and one above zero"),
            },
            "u" if self.cursor.peek() == Some(b'[') => match self.elements()?.as_slice() {
                [Value::Long(high), Value::Long(low)] => {
                    let bytes = (u128::from(high.cast_unsigned()) << 64) | u128::from(low.cast_unsigned());
                    Ok(Value::Uuid(bytes.to_be_bytes()))
                }
                _ => self.cursor.fail("a UUID has two 64-bit integers"),
            },
            _ => {
                let at = self.cursor.at();
                match (tag.as_bytes(), self.value()?) {
                    ([kind], Value::String(text)) => {
                        self.scalar(*kind, text).map_err(|reason| TextError::new(at, reason))
                    }
                    (b"m", Value::Long(milliseconds)) => Ok(Value::Instant(milliseconds)),
                    (_, value) => Ok(Value::Tagged(tag, Box::new(value))),
                }
            }
        }
    }

    /// The string here: as it stands, or what its code was given to.
    fn text(&mut self, as_key: bool) -> Read<Head<'a>> {
        self.cursor.peek();
        let at = self.cursor.at();
        let text = self.cursor.string()?;
        if text.as_ref() == MAP {
            return Ok(Head::Map);
        }
        let text = if text.starts_with(b"^") {
            let Some(cached) = self.cache.find(&text) else {
                return Err(TextError::new(at, "a cache code that stands for nothing"));
            };
            self.repeated = self.repeated.saturating_add(cached.len());
            if self.repeated > REPEATED_LIMIT {
                return Err(TextError::new(at, "cached strings repeated beyond 64 MiB"));
            }
            Cow::Owned(cached.to_vec())
        } else {
            self.cache.note(&text, as_key);
            text
        };
        self.spelled(text).map_err(|reason| TextError::new(at, reason))
    }

    /// What a string says that is no code.
    fn spelled(&self, text: Text<'a>) -> Result<Head<'a>, &'static str> {
        let Some((b'~', rest)) = text.split_first() else { return Ok(Head::Value(Value::String(text))) };
        Ok(match rest.first() {
            Some(b'~' | b'^' | b'`') => Head::Value(Value::String(behind(text, 1))),
            Some(b'#') if rest.len() > 1 => Head::Tag(name(behind(text, 2))?),
            Some(kind) => {
                let kind = *kind;
                Head::Value(self.scalar(kind, behind(text, 2))?)
            }
            None => return Err("a tilde without anything behind it"),
        })
    }

    fn scalar(&self, kind: u8, text: Text<'a>) -> Result<Value<'a>, &'static str> {
        Ok(match kind {
            b':' if !text.is_empty() => Value::Keyword(name(text)?),
            b'$' if !text.is_empty() => Value::Symbol(name(text)?),
            b'u' => Value::Uuid(parse_uuid(&text).ok_or("not a UUID of 8-4-4-4-12 hexadecimal digits")?),
            b'm' => Value::Instant(parse_long(&text).ok_or("not milliseconds")?),
            b't' => Value::Instant(instant::parse(&text, instant::Calendar::Iso)?),
            b'i' => integer(&name(text)?)?,
            b'n' => Value::BigInt(parse_big(&name(text)?)?),
            b'f' => Value::BigDecimal(parse_decimal(&name(text)?)?),
            b'd' => Value::Double(parse_double(&name(text)?)?),
            b'z' => Value::Double(match text.as_ref() {
                b"NaN" => f64::NAN,
                b"INF" => f64::INFINITY,
                b"-INF" => f64::NEG_INFINITY,
                _ => return Err("a special number is NaN, INF or -INF"),
            }),
            b'b' => Value::Bytes(Cow::Owned(base64::decode(&text).ok_or("not Base64 with padding")?)),
            b'r' => Value::Uri(text),
            b'c' => Value::Char(single_unit(&text).ok_or("not one UTF-16 unit")?),
            b'?' => match text.as_ref() {
                b"t" => Value::Boolean(true),
                b"f" => Value::Boolean(false),
                _ => return Err("a boolean is t or f"),
            },
            b'_' if text.is_empty() => Value::Nil,
            kind if kind.is_ascii_alphabetic() => {
                Value::Tagged(Cow::Owned(char::from(kind).to_string()), Box::new(Value::String(text)))
            }
            _ => return Err("an unknown kind of string"),
        })
    }
}

fn integer(text: &str) -> Result<Value<'static>, &'static str> {
    match parse_long(text.as_bytes()) {
        Some(long) => Ok(Value::Long(long)),
        None => match parse_number(text)? {
            Value::BigInt(big) => Ok(Value::BigInt(big)),
            _ => Err("not an integer"),
        },
    }
}

fn big(value: Value<'_>) -> Option<BigInt> {
    match value {
        Value::Long(long) => Some(BigInt::from(long)),
        Value::BigInt(big) => Some(big),
        _ => None,
    }
}

/// The text without its first `len` bytes, which it has.
fn behind(text: Text<'_>, len: usize) -> Text<'_> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(len..).unwrap_or_default()),
        Cow::Owned(mut text) => {
            text.drain(..len.min(text.len()));
            Cow::Owned(text)
        }
    }
}

fn name(text: Text<'_>) -> Result<Cow<'_, str>, &'static str> {
    let name = match text {
        Cow::Borrowed(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        Cow::Owned(text) => String::from_utf8(text).ok().map(Cow::Owned),
    };
    name.ok_or("a name with a lone surrogate")
}
