//! Fressian to values.

use std::borrow::Cow;

use num_bigint::BigInt;

use super::text::wtf8;
use crate::error::DecodeError;
use crate::record::datom::cbor;
use crate::record::datom::{BigDecimal, Value};

/// How deep values may nest.
const DEPTH_LIMIT: u32 = 64;
/// How much memory the values of a document may take, so that a small one cannot grow without bound: a byte is enough for a
/// number, and for all of a value that occurred before.
const WEIGHT_LIMIT: usize = 128 << 20;

/// Reads one document.
pub struct Reader<'b> {
    bytes: &'b [u8],
    position: usize,
    /// Where the bytes begin that the next footer counts.
    footer_start: usize,
    /// `None` while the value of a slot is being read.
    priority: Vec<Option<Value<'b>>>,
    structs: Vec<(String, usize)>,
    /// Roughly the bytes that the values take which were handed out, and those that are being read.
    weight: usize,
    /// The same for those that may be referred to again.
    cached_weight: usize,
}

const fn invalid(what: &'static str) -> DecodeError {
    DecodeError::Invalid(what)
}

impl<'b> Reader<'b> {
    /// A reader of the document in `bytes`.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self {
            bytes,
            position: 0,
            footer_start: 0,
            priority: Vec::new(),
            structs: Vec::new(),
            weight: 0,
            cached_weight: 0,
        }
    }

    /// Where the next value begins.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Reads the next value.
    pub fn value(&mut self) -> Result<Value<'b>, DecodeError> {
        self.read(1)
    }

    /// Whether all bytes are read.
    pub fn at_end(&self) -> bool {
        self.position == self.bytes.len()
    }

    /// Reads a map, handing out the elements of the list under its keyword key `name` one by one; the rest is returned.
    pub fn map_with_list<E: From<DecodeError>>(
        &mut self,
        name: &str,
        on_element: &mut dyn FnMut(Value<'b>) -> Result<(), E>,
    ) -> Result<Vec<(Value<'b>, Value<'b>)>, E> {
        if self.byte()? != 0xc0 {
            return Err(invalid("chunk: not a map").into());
        }
        let mut rest = Vec::new();
        let mut seen = false;
        let mut entries = self.list_start()?;
        while self.list_more(&mut entries)? {
            let key = self.read(2)?;
            if !self.list_more(&mut entries)? {
                return Err(invalid("map: a key without a value").into());
            }
            if !matches!(&key, Value::Keyword(key) if key == name) {
                rest.push((key, self.read(2)?));
                continue;
            }
            if std::mem::replace(&mut seen, true) {
                return Err(invalid("map: a key occurs twice").into());
            }
            let mut elements = self.list_start()?;
            while self.list_more(&mut elements)? {
                // What is handed out is no longer held here.
                let before = self.weight;
                on_element(self.read(3)?)?;
                self.weight = before;
            }
        }
        Ok(rest)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.position).ok_or(DecodeError::Truncated)?;
        self.position += 1;
        Ok(byte)
    }

    fn take(&mut self, len: usize) -> Result<&'b [u8], DecodeError> {
        let end = self.position.checked_add(len).ok_or(DecodeError::Truncated)?;
        let bytes = self.bytes.get(self.position..end).ok_or(DecodeError::Truncated)?;
        self.position = end;
        Ok(bytes)
    }

    fn unsigned(&mut self, len: usize) -> Result<i64, DecodeError> {
        Ok(self.take(len)?.iter().fold(0i64, |value, &b| value << 8 | i64::from(b)))
    }

    fn int(&mut self, depth: u32) -> Result<i64, DecodeError> {
        match self.read(depth)? {
            Value::Long(int) => Ok(int),
            _ => Err(invalid("integer")),
        }
    }

    fn count(&mut self, depth: u32) -> Result<usize, DecodeError> {
        usize::try_from(self.int(depth)?).map_err(|_| invalid("count"))
    }

    fn read(&mut self, depth: u32) -> Result<Value<'b>, DecodeError> {
        let code = self.byte()?;
        self.coded(code, depth)
    }

    fn coded(&mut self, code: u8, depth: u32) -> Result<Value<'b>, DecodeError> {
        if depth > DEPTH_LIMIT {
            return Err(DecodeError::TooLarge("nesting"));
        }
        let deeper = depth + 1;
        let before = self.weight;
        let signed = |base: u8| i64::from(code) - i64::from(base);
        let value = match code {
            0x00..=0x3f => Value::Long(i64::from(code)),
            0x40..=0x5f => Value::Long(signed(0x50) << 8 | self.unsigned(1)?),
            0x60..=0x6f => Value::Long(signed(0x68) << 16 | self.unsigned(2)?),
            0x70..=0x73 => Value::Long(signed(0x72) << 24 | self.unsigned(3)?),
            0x74..=0x77 => Value::Long(signed(0x76) << 32 | self.unsigned(4)?),
            0x78..=0x7b => Value::Long(signed(0x7a) << 40 | self.unsigned(5)?),
            0x7c..=0x7f => Value::Long(signed(0x7e) << 48 | self.unsigned(6)?),
            0x80..=0x9f => return self.cached(usize::from(code - 0x80)),
            0xa0..=0xaf => self.cached_struct(usize::from(code - 0xa0), depth)?,
            0xb0 | 0xb3 | 0xb2 | 0xb5 => {
                let len = self.count(deeper)?;
                Value::List(self.elements(len, deeper)?)
            }
            0xb1 => {
                let len = self.count(deeper)?;
                let doubles = self.elements(len, deeper)?.into_iter().map(|x| match x {
                    Value::Double(x) => Ok(x),
                    _ => Err(invalid("double array")),
                });
                Value::Doubles(doubles.collect::<Result<_, _>>()?)
            }
            0xb4 => {
                let len = self.count(deeper)?;
                let floats = self.elements(len, deeper)?.into_iter().map(|x| match x {
                    Value::Float(x) => Ok(x),
                    _ => Err(invalid("float array")),
                });
                Value::Floats(floats.collect::<Result<_, _>>()?)
            }
            0xc0 => Value::Map(self.map(deeper)?),
            0xc1 => {
                let mut elements = self.list(deeper)?;
                cbor::order_set(&mut elements)?;
                Value::Set(elements)
            }
            0xc3 => {
                let bytes = self.blob(deeper)?;
                Value::Uuid(bytes.as_ref().try_into().map_err(|_| invalid("UUID"))?)
            }
            0xc4 => Value::Regex(self.text(deeper)?),
            0xc5 => Value::Uri(self.text(deeper)?),
            0xc6 => Value::BigInt(self.big(deeper)?),
            0xc7 => {
                let unscaled = self.big(deeper)?;
                let scale = i32::try_from(self.int(deeper)?).map_err(|_| invalid("decimal scale"))?;
                Value::BigDecimal(BigDecimal { unscaled, scale })
            }
            0xc8 => Value::Instant(self.int(deeper)?),
            0xc9 => Value::Symbol(self.name(deeper)?),
            0xca => Value::Keyword(self.name(deeper)?),
            0xcc => {
                let index = self.count(deeper)?;
                return self.cached(index);
            }
            0xcd => {
                let slot = self.priority.len();
                self.priority.push(None);
                let value = self.read(deeper)?;
                // A reset inside the value has emptied the cache: then there is no slot left to fill.
                if let Some(slot) = self.priority.get_mut(slot) {
                    let weight = weight(&value);
                    *slot = Some(value.clone());
                    self.cache(weight)?;
                }
                return Ok(value);
            }
            0xcf => {
                self.footer()?;
                return self.read(deeper);
            }
            0xd0..=0xd7 => Value::Bytes(Cow::Borrowed(self.take(usize::from(code - 0xd0))?)),
            0xd8 | 0xd9 => Value::Bytes(self.chunks(code, 0xd8, 0xd9, None, deeper)?),
            0xda..=0xe3 => Value::String(wtf8(self.chunks(code, 0xe2, 0xe3, Some(0xda), deeper)?)?),
            0xe4..=0xee => {
                self.position -= 1;
                Value::List(self.list(depth)?)
            }
            0xef => {
                let Value::String(tag) = self.read(deeper)? else { return Err(invalid("struct tag")) };
                let tag = String::from_utf8(tag.into_owned()).map_err(|_| invalid("struct tag"))?;
                let components = self.count(deeper)?;
                self.cache(size_of::<(String, usize)>() + tag.len())?;
                self.structs.push((tag, components));
                self.cached_struct(self.structs.len() - 1, depth)?
            }
            0xf0 => {
                let index = self.count(deeper)?;
                self.cached_struct(index, depth)?
            }
            0xf5 => Value::Boolean(true),
            0xf6 => Value::Boolean(false),
            0xf7 => Value::Nil,
            0xf8 => Value::Long(self.unsigned(8)?),
            0xf9 => {
                let float = f32::from_bits(self.unsigned(4)? as u32);
                Value::Float(cbor::canonical_float(float))
            }
            0xfa => {
                let double = f64::from_bits(self.unsigned(8)? as u64);
                Value::Double(cbor::canonical_double(double))
            }
            0xfb => Value::Double(0.0),
            0xfc => Value::Double(1.0),
            0xfe => {
                self.reset();
                return self.read(deeper);
            }
            0xff => Value::Long(-1),
            0xb6..=0xbf | 0xc2 | 0xcb | 0xce | 0xf1..=0xf4 | 0xfd => return Err(invalid("Fressian code")),
        };
        if !is_collection(&value) {
            // What it was made of is gone.
            self.weight = before;
        }
        self.add(own_weight(&value))?;
        Ok(value)
    }

    /// Counts memory that a value takes.
    fn add(&mut self, weight: usize) -> Result<(), DecodeError> {
        self.weight = self.weight.saturating_add(weight);
        self.limit()
    }

    /// Counts memory that the cache takes.
    fn cache(&mut self, weight: usize) -> Result<(), DecodeError> {
        self.cached_weight = self.cached_weight.saturating_add(weight);
        self.limit()
    }

    fn limit(&self) -> Result<(), DecodeError> {
        match self.weight.saturating_add(self.cached_weight) > WEIGHT_LIMIT {
            true => Err(DecodeError::TooLarge("values of one document")),
            false => Ok(()),
        }
    }

    fn reset(&mut self) {
        self.priority.clear();
        self.structs.clear();
        self.cached_weight = 0;
    }

    fn cached(&mut self, index: usize) -> Result<Value<'b>, DecodeError> {
        let slot = self.priority.get(index).ok_or(invalid("cache index"))?;
        let weight = weight(slot.as_ref().ok_or(invalid("cache slot that refers to itself"))?);
        // Before it is copied.
        self.add(weight)?;
        self.priority.get(index).cloned().flatten().ok_or(invalid("cache index"))
    }

    fn elements(&mut self, len: usize, depth: u32) -> Result<Vec<Value<'b>>, DecodeError> {
        let mut elements = Vec::with_capacity(len.min(16));
        for _ in 0..len {
            elements.push(self.read(depth)?);
        }
        Ok(elements)
    }

    /// A list from its code on.
    fn list(&mut self, depth: u32) -> Result<Vec<Value<'b>>, DecodeError> {
        if depth > DEPTH_LIMIT {
            return Err(DecodeError::TooLarge("nesting"));
        }
        let mut left = match self.bytes.get(self.position) {
            Some(0xcd | 0x80..=0x9f | 0xcc) => {
                return match self.read(depth)? {
                    Value::List(elements) => Ok(elements),
                    _ => Err(invalid("list")),
                };
            }
            _ => self.list_start()?,
        };
        let mut elements = Vec::new();
        while self.list_more(&mut left)? {
            elements.push(self.read(depth + 1)?);
        }
        Ok(elements)
    }

    fn list_start(&mut self) -> Result<Left, DecodeError> {
        Ok(match self.byte()? {
            code @ 0xe4..=0xeb => Left::Count(usize::from(code - 0xe4)),
            0xec => Left::Count(self.count(2)?),
            0xed => Left::Closed,
            0xee => Left::Open,
            _ => return Err(invalid("list")),
        })
    }

    /// Whether another element follows; takes the end mark if there is one.
    fn list_more(&mut self, left: &mut Left) -> Result<bool, DecodeError> {
        match left {
            Left::Count(0) => return Ok(false),
            Left::Count(count) => *count -= 1,
            Left::Open if self.at_end() => return Ok(false),
            Left::Open | Left::Closed => {
                if *self.bytes.get(self.position).ok_or(DecodeError::Truncated)? == 0xfd {
                    self.position += 1;
                    *left = Left::Count(0);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn map(&mut self, depth: u32) -> Result<Vec<(Value<'b>, Value<'b>)>, DecodeError> {
        let mut flat = self.list(depth)?.into_iter();
        let mut entries = Vec::new();
        while let Some(key) = flat.next() {
            entries.push((key, flat.next().ok_or(invalid("map: a key without a value"))?));
        }
        cbor::order_map(&mut entries)?;
        Ok(entries)
    }

    fn blob(&mut self, depth: u32) -> Result<Cow<'b, [u8]>, DecodeError> {
        match self.read(depth)? {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(invalid("bytes")),
        }
    }

    fn text(&mut self, depth: u32) -> Result<Cow<'b, [u8]>, DecodeError> {
        match self.read(depth)? {
            Value::String(text) => Ok(text),
            _ => Err(invalid("string")),
        }
    }

    fn big(&mut self, depth: u32) -> Result<BigInt, DecodeError> {
        Ok(BigInt::from_signed_bytes_be(&self.blob(depth)?))
    }

    /// Namespace and name of a keyword or symbol.
    fn name(&mut self, depth: u32) -> Result<Cow<'b, str>, DecodeError> {
        let namespace = match self.read(depth)? {
            Value::Nil => None,
            Value::String(text) => Some(text),
            _ => return Err(invalid("namespace")),
        };
        let name = self.text(depth)?;
        match (namespace, name) {
            (None, Cow::Borrowed(name)) => std::str::from_utf8(name).map(Cow::Borrowed).map_err(|_| invalid("name")),
            (namespace, name) => {
                let mut whole = Vec::new();
                if let Some(namespace) = namespace {
                    whole.extend_from_slice(&namespace);
                    whole.push(b'/');
                }
                whole.extend_from_slice(&name);
                String::from_utf8(whole).map(Cow::Owned).map_err(|_| invalid("name"))
            }
        }
    }

    /// Bytes or text in pieces: `more` before each but the last, which begins with `last` or a short code.
    fn chunks(
        &mut self,
        code: u8,
        more: u8,
        last: u8,
        short: Option<u8>,
        depth: u32,
    ) -> Result<Cow<'b, [u8]>, DecodeError> {
        let mut code = code;
        let mut whole: Option<Vec<u8>> = None;
        loop {
            let piece = match short {
                Some(short) if (short..short + 8).contains(&code) => self.take(usize::from(code - short))?,
                _ if code == more || code == last => {
                    let len = self.count(depth)?;
                    self.take(len)?
                }
                _ => return Err(invalid("piece of a string or of bytes")),
            };
            if code != more {
                return Ok(match whole {
                    None => Cow::Borrowed(piece),
                    Some(mut whole) => {
                        whole.extend_from_slice(piece);
                        Cow::Owned(whole)
                    }
                });
            }
            whole.get_or_insert_default().extend_from_slice(piece);
            code = self.byte()?;
        }
    }

    /// Three more marks, the length of the bytes before them and their Adler-32 including the eight bytes before it.
    fn footer(&mut self) -> Result<(), DecodeError> {
        let start = self.footer_start;
        let len = i64::try_from(self.position - 1 - start).map_err(|_| invalid("footer"))?;
        if self.take(3)? != [0xcf; 3] || self.unsigned(4)? != len {
            return Err(invalid("footer"));
        }
        let sum = adler32(&self.bytes[start..self.position]);
        if self.unsigned(4)? != i64::from(sum) {
            return Err(invalid("footer checksum"));
        }
        self.footer_start = self.position;
        self.reset();
        Ok(())
    }

    fn cached_struct(&mut self, index: usize, depth: u32) -> Result<Value<'b>, DecodeError> {
        let tag_len = self.structs.get(index).map_or(0, |(tag, _)| tag.len());
        self.add(tag_len)?;
        let (tag, components) = self.structs.get(index).ok_or(invalid("struct cache index"))?;
        let (tag, components) = (tag.clone(), *components);
        let deeper = depth + 1;
        Ok(match tag.as_str() {
            "pvec" => {
                let len = self.count(deeper)?;
                Value::Tuple(self.elements(len, deeper)?)
            }
            "plist" => {
                let len = self.count(deeper)?;
                Value::List(self.elements(len, deeper)?)
            }
            "irecord" => {
                let len = self.count(deeper)?;
                let Value::Symbol(name) = self.read(deeper)? else { return Err(invalid("record name")) };
                let entries = self.elements(len, deeper)?;
                Value::Tagged(name, Box::new(Value::List(entries)))
            }
            "char" => Value::Char(u16::try_from(self.int(deeper)?).map_err(|_| invalid("character"))?),
            "byte" => Value::Long(self.int(deeper)?),
            "ratio" => match (self.read(deeper)?, self.read(deeper)?) {
                (Value::BigInt(numerator), Value::BigInt(denominator)) => Value::Ratio(numerator, denominator),
                _ => return Err(invalid("ratio")),
            },
            _ => match components {
                1 => Value::Tagged(Cow::Owned(tag), Box::new(self.read(deeper)?)),
                _ => Value::Tagged(Cow::Owned(tag), Box::new(Value::List(self.elements(components, deeper)?))),
            },
        })
    }
}

/// What is left of a list.
enum Left {
    Count(usize),
    Closed,
    Open,
}

fn is_collection(value: &Value<'_>) -> bool {
    matches!(value, Value::Tuple(_) | Value::List(_) | Value::Set(_) | Value::Map(_) | Value::Tagged(..))
}

/// Roughly the bytes a value takes, without those inside it.
fn own_weight(value: &Value<'_>) -> usize {
    let one = size_of::<Value<'_>>();
    let big = |number: &BigInt| usize::try_from(number.bits() / 8).unwrap_or(usize::MAX);
    let more = match value {
        Value::Tuple(elements) | Value::List(elements) | Value::Set(elements) => {
            (elements.capacity() - elements.len()) * one
        }
        Value::Map(entries) => (entries.capacity() - entries.len()) * 2 * one,
        Value::Keyword(Cow::Owned(text)) | Value::Symbol(Cow::Owned(text)) => text.len(),
        Value::String(Cow::Owned(bytes))
        | Value::Bytes(Cow::Owned(bytes))
        | Value::Uri(Cow::Owned(bytes))
        | Value::Regex(Cow::Owned(bytes)) => bytes.len(),
        Value::Floats(floats) => floats.len() * 4,
        Value::Doubles(doubles) => doubles.len() * 8,
        Value::BigInt(number) => big(number),
        Value::BigDecimal(number) => big(&number.unscaled),
        Value::Ratio(numerator, denominator) => big(numerator).saturating_add(big(denominator)),
        _ => 0,
    };
    one.saturating_add(more)
}

/// Roughly the bytes a copy of the value takes, with all that is inside it. Borrowed text counts: whoever keeps the value or
/// sorts by it copies that too.
fn weight(value: &Value<'_>) -> usize {
    let more = match value {
        Value::Tuple(elements) | Value::List(elements) | Value::Set(elements) => elements.iter().map(weight).sum(),
        Value::Map(entries) => entries.iter().map(|(key, value)| weight(key) + weight(value)).sum(),
        Value::Tagged(tag, value) => tag.len() + weight(value),
        Value::Keyword(Cow::Borrowed(text)) | Value::Symbol(Cow::Borrowed(text)) => text.len(),
        Value::String(Cow::Borrowed(bytes))
        | Value::Bytes(Cow::Borrowed(bytes))
        | Value::Uri(Cow::Borrowed(bytes))
        | Value::Regex(Cow::Borrowed(bytes)) => bytes.len(),
        _ => 0,
    };
    own_weight(value).saturating_add(more)
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    // 5,552 is how many bytes can be summed before 32 bits overflow.
    for block in bytes.chunks(5_552) {
        for &byte in block {
            a += u32::from(byte);
            b += a;
        }
        a %= 65_521;
        b %= 65_521;
    }
    b << 16 | a
}
