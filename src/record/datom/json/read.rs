//! The JSON reader: from tokens straight to datoms.

use std::borrow::Cow;

use crate::record::datom::edn::number::{
    parse_big, parse_decimal, parse_double, parse_float, parse_long, parse_number,
};
use crate::record::datom::edn::{NESTING_MAX, TextError, has_duplicate, instant, parse_uuid, surrogate};
use crate::record::datom::json::base64;
use crate::record::datom::json::token::Cursor;
use crate::record::datom::{Attribute, Datom, Text, Value};

type Read<T> = Result<T, TextError>;

pub(super) fn datom_line(line: &[u8]) -> Read<Option<Datom<'_>>> {
    let mut reader = Reader { cursor: Cursor::new(line)?, depth: 0 };
    let datom = match reader.cursor.peek() {
        None => return Ok(None),
        Some(b'[') => reader.datom_array()?,
        Some(b'{') => reader.datom_object()?,
        Some(_) => return reader.cursor.fail("a datom is an array or an object"),
    };
    match reader.cursor.peek() {
        None => Ok(Some(datom)),
        Some(_) => reader.cursor.fail("text after the datom"),
    }
}

pub(super) fn whole_value(text: &[u8]) -> Read<Value<'_>> {
    let mut reader = Reader { cursor: Cursor::new(text)?, depth: 0 };
    let value = reader.value()?;
    match reader.cursor.peek() {
        None => Ok(value),
        Some(_) => reader.cursor.fail("text after the value"),
    }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    depth: u32,
}

impl<'a> Reader<'a> {
    fn datom_array(&mut self) -> Read<Datom<'a>> {
        const COMMA: &str = "a datom is [e, a, v, t, added] or [e, a, v, t]";
        self.cursor.expect(b'[', COMMA)?;
        let e = self.long()?;
        self.cursor.expect(b',', COMMA)?;
        let a = self.attribute()?;
        self.cursor.expect(b',', COMMA)?;
        let v = self.datom_value()?;
        self.cursor.expect(b',', COMMA)?;
        let t = self.long()?;
        let added = if self.cursor.take(b',') { self.boolean()? } else { true };
        self.cursor.expect(b']', COMMA)?;
        Ok(Datom { e, a, v, t, added })
    }

    fn datom_object(&mut self) -> Read<Datom<'a>> {
        let start = self.cursor.at();
        self.cursor.expect(b'{', "an object is expected here")?;
        let (mut e, mut a, mut v, mut t, mut added) = (None, None, None, None, None);
        loop {
            let at = self.cursor.at();
            let key = self.cursor.string()?;
            self.cursor.expect(b':', "a colon is expected here")?;
            let repeated = match key.as_ref() {
                b"e" => e.replace(self.long()?).is_some(),
                b"a" => a.replace(self.attribute()?).is_some(),
                b"v" => v.replace(self.datom_value()?).is_some(),
                b"t" => t.replace(self.long()?).is_some(),
                b"added" => added.replace(self.boolean()?).is_some(),
                _ => return Err(TextError::new(at, "a datom's keys are e, a, v, t and added")),
            };
            if repeated {
                return Err(TextError::new(at, "the same key twice"));
            }
            if !self.cursor.take(b',') {
                break;
            }
        }
        self.cursor.expect(b'}', "a comma or closing brace is expected here")?;
        match (e, a, v, t) {
            (Some(e), Some(a), Some(v), Some(t)) => Ok(Datom { e, a, v, t, added: added.unwrap_or(true) }),
            _ => Err(TextError::new(start, "a datom has e, a, v and t")),
        }
    }

    fn long(&mut self) -> Read<i64> {
        let at = self.cursor.at();
        let (number, _) = self.cursor.number()?;
        parse_long(number.as_bytes()).ok_or_else(|| TextError::new(at, "not a 64-bit integer"))
    }

    fn boolean(&mut self) -> Read<bool> {
        match self.cursor.word()? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => self.cursor.fail("added is true or false"),
        }
    }

    fn attribute(&mut self) -> Read<Attribute<'a>> {
        match self.cursor.peek() {
            Some(b'"') => {
                let text = self.name()?;
                if !text.starts_with(':') {
                    return Ok(Attribute::String(text));
                }
                self.keyword_name(text).map(Attribute::Keyword)
            }
            Some(b'{') => match self.object()? {
                Value::Keyword(name) => Ok(Attribute::Keyword(name)),
                Value::String(text) => self.utf8(text).map(Attribute::String),
                _ => self.cursor.fail("an attribute is a keyword, an entity id or a string"),
            },
            _ => self.long().map(Attribute::Id),
        }
    }

    fn datom_value(&mut self) -> Read<Value<'a>> {
        match self.value()? {
            Value::Nil => self.cursor.fail("null is not the value of a datom"),
            value => Ok(value),
        }
    }

    fn value(&mut self) -> Read<Value<'a>> {
        match self.cursor.peek() {
            Some(b'"') => self.cursor.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => self.object(),
            Some(b'[') => self.nested(|r| r.values().map(Value::Tuple)),
            _ => Ok(match self.cursor.word()? {
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                _ => Value::Nil,
            }),
        }
    }

    fn number(&mut self) -> Read<Value<'a>> {
        let at = self.cursor.at();
        let (text, is_integer) = self.cursor.number()?;
        if !is_integer {
            return parse_double(text).map(Value::Double).map_err(|reason| TextError::new(at, reason));
        }
        match parse_long(text.as_bytes()) {
            Some(n) => Ok(Value::Long(n)),
            None => Err(TextError::new(at, "an integer over 64 bits, which is written {\"$bigint\":\"...\"}")),
        }
    }

    /// One level deeper.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Read<Value<'a>>) -> Read<Value<'a>> {
        if self.depth == NESTING_MAX {
            return self.cursor.fail("nested deeper than 64 levels");
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array<T>(&mut self, item: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.cursor.expect(b'[', "an array is expected here")?;
        let mut items = Vec::new();
        if self.cursor.take(b']') {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if !self.cursor.take(b',') {
                break;
            }
        }
        self.cursor.expect(b']', "a comma or closing bracket is expected here")?;
        Ok(items)
    }

    fn values(&mut self) -> Read<Vec<Value<'a>>> {
        self.array(Self::value)
    }

    /// `{"$type": ...}`.
    fn object(&mut self) -> Read<Value<'a>> {
        self.cursor.expect(b'{', "an object is expected here")?;
        let at = self.cursor.at();
        let key = self.cursor.string()?;
        self.cursor.expect(b':', "a colon is expected here")?;
        self.cursor.peek();
        let value_at = self.cursor.at();
        let wrong = |reason| TextError::new(value_at, reason);
        let value = match key.as_ref() {
            b"$string" => Value::String(self.cursor.string()?),
            b"$keyword" => {
                let text = self.name()?;
                Value::Keyword(self.keyword_name(text)?)
            }
            b"$symbol" => Value::Symbol(self.name()?),
            b"$bigint" => Value::BigInt(parse_big(&self.name()?).map_err(wrong)?),
            b"$bigdec" => Value::BigDecimal(parse_decimal(&self.name()?).map_err(wrong)?),
            b"$ratio" => match parse_number(&self.name()?) {
                Ok(Value::Ratio(numerator, denominator)) => Value::Ratio(numerator, denominator),
                Ok(_) => return Err(wrong("not a ratio like \"1/3\"")),
                Err(reason) => return Err(wrong(reason)),
            },
            b"$double" => Value::Double(self.double()?),
            b"$float" => Value::Float(self.float()?),
            b"$inst" => Value::Instant(instant::parse(self.name()?.as_bytes(), instant::Calendar::Iso).map_err(wrong)?),
            b"$uuid" => Value::Uuid(
                parse_uuid(self.name()?.as_bytes())
                    .ok_or_else(|| wrong("not a UUID of 8-4-4-4-12 hexadecimal digits"))?,
            ),
            b"$bytes" => Value::Bytes(Cow::Owned(
                base64::decode(&self.cursor.string()?).ok_or_else(|| wrong("not Base64 with padding"))?,
            )),
            b"$char" => {
                let text = self.cursor.string()?;
                Value::Char(single_unit(&text).ok_or_else(|| wrong("not one UTF-16 unit"))?)
            }
            b"$uri" => Value::Uri(self.cursor.string()?),
            b"$regex" => Value::Regex(self.cursor.string()?),
            b"$tuple" => self.nested(|r| r.values().map(Value::Tuple))?,
            b"$list" => self.nested(|r| r.values().map(Value::List))?,
            b"$set" => {
                let set = self.nested(|r| r.values().map(Value::Set))?;
                match &set {
                    Value::Set(values) if has_duplicate(values.iter()) => {
                        return Err(wrong("a set with the same element twice"));
                    }
                    _ => set,
                }
            }
            b"$map" => {
                let map = self.nested(|r| r.array(Self::entry).map(Value::Map))?;
                match &map {
                    Value::Map(entries) if has_duplicate(entries.iter().map(|(key, _)| key)) => {
                        return Err(wrong("a map with the same key twice"));
                    }
                    _ => map,
                }
            }
            b"$floats" => Value::Floats(self.array(Self::float)?),
            b"$doubles" => Value::Doubles(self.array(Self::double)?),
            b"$tagged" => self.nested(Self::tagged)?,
            _ => return Err(TextError::new(at, "an object that is not a typed value like {\"$keyword\":\":a\"}")),
        };
        self.cursor.expect(b'}', "a typed value has one key")?;
        Ok(value)
    }

    fn entry(&mut self) -> Read<(Value<'a>, Value<'a>)> {
        self.cursor.expect(b'[', "a map's entry is [key, value]")?;
        let key = self.value()?;
        self.cursor.expect(b',', "a map's entry is [key, value]")?;
        let value = self.value()?;
        self.cursor.expect(b']', "a map's entry is [key, value]")?;
        Ok((key, value))
    }

    fn tagged(&mut self) -> Read<Value<'a>> {
        self.cursor.expect(b'[', "$tagged is [tag, value]")?;
        let tag = self.name()?;
        self.cursor.expect(b',', "$tagged is [tag, value]")?;
        let value = self.value()?;
        self.cursor.expect(b']', "$tagged is [tag, value]")?;
        Ok(Value::Tagged(tag, Box::new(value)))
    }

    fn double(&mut self) -> Read<f64> {
        if self.cursor.peek() == Some(b'"') {
            return match self.cursor.string()?.as_ref() {
                b"NaN" => Ok(f64::NAN),
                b"Infinity" => Ok(f64::INFINITY),
                b"-Infinity" => Ok(f64::NEG_INFINITY),
                b"-0.0" => Ok(-0.0),
                _ => self.cursor.fail("a number, \"NaN\", \"Infinity\" or \"-Infinity\" is expected here"),
            };
        }
        let at = self.cursor.at();
        parse_double(self.cursor.number()?.0).map_err(|reason| TextError::new(at, reason))
    }

    fn float(&mut self) -> Read<f32> {
        if self.cursor.peek() == Some(b'"') {
            return Ok(self.double()? as f32);
        }
        let at = self.cursor.at();
        parse_float(self.cursor.number()?.0).map_err(|reason| TextError::new(at, reason))
    }

    fn name(&mut self) -> Read<Cow<'a, str>> {
        let text = self.cursor.string()?;
        self.utf8(text)
    }

    fn utf8(&self, text: Text<'a>) -> Read<Cow<'a, str>> {
        let name = match text {
            Cow::Borrowed(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
            Cow::Owned(text) => String::from_utf8(text).ok().map(Cow::Owned),
        };
        name.map_or_else(|| self.cursor.fail("a name with a lone surrogate"), Ok)
    }

    fn keyword_name(&self, text: Cow<'a, str>) -> Read<Cow<'a, str>> {
        if !text.starts_with(':') {
            return self.cursor.fail("a keyword begins with a colon");
        }
        Ok(match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[1..]),
            Cow::Owned(mut text) => {
                text.remove(0);
                Cow::Owned(text)
            }
        })
    }
}

pub(in crate::record::datom) fn single_unit(text: &[u8]) -> Option<u16> {
    if let (3, Some(unit)) = (text.len(), surrogate(text)) {
        return Some(unit);
    }
    let mut chars = std::str::from_utf8(text).ok()?.chars();
    let unit = u16::try_from(u32::from(chars.next()?)).ok()?;
    chars.next().is_none().then_some(unit)
}
