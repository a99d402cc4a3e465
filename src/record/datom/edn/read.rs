//! The EDN reader: one pass over the text, text without escapes borrowed.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::record::datom::edn::number::{parse_double, parse_float, parse_long, parse_number};
use crate::record::datom::edn::{NESTING_MAX, TextError, instant, print_value};
use crate::record::datom::{Attribute, Datom, Text, Value};

/// What ends a token: whitespace, control characters and delimiters. Clojure ends one at `@^~` and backslash too, but
/// prints names that contain them.
pub(super) const fn ends_token(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | b',' | b'"' | b';' | b'(' | b')' | b'[' | b']' | b'{' | b'}')
}

const ENDS_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = ends_token(byte as u8);
        byte += 1;
    }
    table
};

type Read<T> = Result<T, TextError>;

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Read<Self> {
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Self { text, at: 0, depth: 0 }),
            Err(error) => Err(TextError::new(error.valid_up_to(), "not UTF-8")),
        }
    }

    pub(super) fn whole_value(mut self) -> Read<Value<'a>> {
        let value = self.value()?;
        self.end("text after the value")?;
        Ok(value)
    }

    pub(super) fn whole_elements(mut self) -> Read<Vec<Value<'a>>> {
        self.skip()?;
        if self.peek() != Some(b'[') {
            return self.fail(self.at, "a vector is expected here");
        }
        let values = self.sequence(b']')?;
        self.end("text after the vector")?;
        Ok(values)
    }

    pub(super) fn datom_line(mut self) -> Read<Option<Datom<'a>>> {
        self.skip()?;
        let Some(mut first) = self.peek() else { return Ok(None) };
        if first == b'#' {
            self.at += 1;
            if !matches!(self.token(), "datahike/Datom" | "datascript/Datom") {
                return self.fail(0, "a datom begins with [ or #datahike/Datom [");
            }
            self.skip()?;
            first = self.peek().unwrap_or(b' ');
        }
        if first != b'[' {
            return self.fail(self.at, "a datom begins with [ or #datahike/Datom [");
        }
        self.at += 1;
        let e = self.long("an entity id")?;
        let a = self.attribute()?;
        self.skip()?;
        let value_at = self.at;
        let v = self.value()?;
        if matches!(v, Value::Nil) {
            return self.fail(value_at, "nil is not the value of a datom");
        }
        let t = self.long("a transaction id")?;
        let added = self.added()?;
        self.skip()?;
        if self.peek() != Some(b']') {
            return self.fail(self.at, "a datom is [e a v t op] or [e a v t]");
        }
        self.at += 1;
        self.end("text after the datom")?;
        Ok(Some(Datom { e, a, v, t, added }))
    }

    fn attribute(&mut self) -> Read<Attribute<'a>> {
        self.skip()?;
        let at = self.at;
        match self.peek() {
            Some(b':') => Ok(Attribute::Keyword(Cow::Borrowed(self.keyword()?))),
            Some(b'"') => match self.string()? {
                Cow::Borrowed(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
                Cow::Owned(text) => String::from_utf8(text).ok().map(Cow::Owned),
            }
            .map(Attribute::String)
            .ok_or_else(|| TextError::new(at, "an attribute with a lone surrogate")),
            Some(b'#') => match self.value()? {
                Value::Keyword(name) => Ok(Attribute::Keyword(name)),
                _ => self.fail(at, "an attribute is a keyword, an entity id or a string"),
            },
            Some(b'0'..=b'9') => Ok(Attribute::Id(self.long("an attribute")?)),
            _ => self.fail(at, "an attribute is a keyword, an entity id or a string"),
        }
    }

    fn long(&mut self, what: &'static str) -> Read<i64> {
        self.skip()?;
        let at = self.at;
        match parse_long(self.token().as_bytes()) {
            Some(n) => Ok(n),
            None => self.fail(at, format!("{what} is a 64-bit integer")),
        }
    }

    fn added(&mut self) -> Read<bool> {
        self.skip()?;
        let at = self.at;
        if self.peek() == Some(b']') {
            return Ok(true);
        }
        match self.token() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => self.fail(at, "the fifth part of a datom is true or false"),
        }
    }

    fn value(&mut self) -> Read<Value<'a>> {
        self.skip()?;
        let at = self.at;
        match self.peek() {
            None => self.fail(at, "the text ends where a value is expected"),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b':') => Ok(Value::Keyword(Cow::Borrowed(self.keyword()?))),
            Some(b'[') => self.nested(|r| Ok(Value::Tuple(r.sequence(b']')?))),
            Some(b'(') => self.nested(|r| Ok(Value::List(r.sequence(b')')?))),
            Some(b'{') => self.nested(|r| Ok(Value::Map(r.entries(None)?))),
            Some(b'#') => self.dispatch(),
            Some(b'\\') => self.character(),
            Some(b']' | b')' | b'}') => self.fail(at, "a closing bracket where a value is expected"),
            Some(b'^' | b'`' | b'~' | b'@' | b'\'') => self.fail(at, "a reader macro, which is not data"),
            Some(_) => self.word(),
        }
    }

    /// A number, `nil`, `true`, `false` or a symbol.
    fn word(&mut self) -> Read<Value<'a>> {
        let at = self.at;
        let token = self.token();
        match token.as_bytes() {
            [b'0'..=b'9', ..] | [b'+' | b'-', b'0'..=b'9', ..] => {
                parse_number(token).map_err(|reason| TextError::new(at, reason))
            }
            b"nil" => Ok(Value::Nil),
            b"true" => Ok(Value::Boolean(true)),
            b"false" => Ok(Value::Boolean(false)),
            [] => self.fail(at, "a control character"),
            _ => Ok(Value::Symbol(Cow::Borrowed(token))),
        }
    }

    fn keyword(&mut self) -> Read<&'a str> {
        let at = self.at;
        self.at += 1;
        match self.token() {
            "" => self.fail(at, "a keyword without a name"),
            name => Ok(name),
        }
    }

    /// Runs `read` one level deeper; its caller has seen the first byte, which is left for it.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Read<Value<'a>>) -> Read<Value<'a>> {
        if self.depth == NESTING_MAX {
            return self.fail(self.at, "nested deeper than 64 levels");
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Values up to the closing bracket of the bracket here.
    fn sequence(&mut self, close: u8) -> Read<Vec<Value<'a>>> {
        let start = self.at;
        self.at += 1;
        let mut values = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                None => return self.fail(start, "a bracket that is never closed"),
                Some(byte) if byte == close => break,
                Some(_) => values.push(self.value()?),
            }
        }
        self.at += 1;
        Ok(values)
    }

    /// Entries of the map whose `{` is here; `namespace` is of its `#:namespace`.
    fn entries(&mut self, namespace: Option<&str>) -> Read<Vec<(Value<'a>, Value<'a>)>> {
        let start = self.at;
        let values = self.sequence(b'}')?;
        if !values.len().is_multiple_of(2) {
            return self.fail(start, "a map with a key without a value");
        }
        let mut entries = Vec::with_capacity(values.len() / 2);
        let mut values = values.into_iter();
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            let key = match namespace {
                Some(namespace) => qualify(key, namespace),
                None => key,
            };
            entries.push((key, value));
        }
        if has_duplicate(entries.iter().map(|(key, _)| key)) {
            return self.fail(start, "a map with the same key twice");
        }
        Ok(entries)
    }

    /// What follows a `#` other than `#_`.
    fn dispatch(&mut self) -> Read<Value<'a>> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'{') => self.nested(|r| {
                let values = r.sequence(b'}')?;
                if has_duplicate(values.iter()) {
                    return r.fail(start, "a set with the same element twice");
                }
                Ok(Value::Set(values))
            }),
            Some(b'"') => self.regex_literal(),
            Some(b'#') => {
                self.at += 1;
                match self.token() {
                    "Inf" => Ok(Value::Double(f64::INFINITY)),
                    "-Inf" => Ok(Value::Double(f64::NEG_INFINITY)),
                    "NaN" => Ok(Value::Double(f64::NAN)),
                    _ => self.fail(start, "only ##Inf, ##-Inf and ##NaN begin with ##"),
                }
            }
            Some(b':') => {
                let namespace = self.keyword()?;
                self.skip()?;
                if self.peek() != Some(b'{') || namespace.starts_with(':') {
                    return self.fail(start, "#:namespace without a map");
                }
                self.nested(|r| Ok(Value::Map(r.entries(Some(namespace))?)))
            }
            _ => self.tagged(start),
        }
    }

    fn tagged(&mut self, start: usize) -> Read<Value<'a>> {
        let tag = self.token();
        if !is_tag(tag) {
            return self.fail(start, "# without a tag");
        }
        self.skip()?;
        let at = self.at;
        let wrong = |reason| TextError::new(at, reason);
        Ok(match tag {
            "inst" => {
                let text = self.string_argument()?;
                Value::Instant(instant::parse(&text, instant::Calendar::Java).map_err(wrong)?)
            }
            "uuid" => {
                let text = self.string_argument()?;
                Value::Uuid(uuid(&text).ok_or_else(|| wrong("not a UUID of 8-4-4-4-12 hexadecimal digits"))?)
            }
            "bytes" => {
                let text = self.string_argument()?;
                Value::Bytes(Cow::Owned(unhex(&text).ok_or_else(|| wrong("not pairs of hexadecimal digits"))?))
            }
            "float" => Value::Float(float(&self.string_argument()?).map_err(wrong)?),
            "uri" => Value::Uri(self.string_argument()?),
            "regex" => Value::Regex(self.string_argument()?),
            "keyword" => Value::Keyword(name(self.string_argument()?).ok_or_else(|| wrong(LONE_SURROGATE))?),
            "symbol" => Value::Symbol(name(self.string_argument()?).ok_or_else(|| wrong(LONE_SURROGATE))?),
            "floats" => Value::Floats(self.floats()?),
            "doubles" => Value::Doubles(self.doubles()?),
            "object" if self.peek() == Some(b'[') => {
                let parts = self.nested(|r| Ok(Value::Tuple(r.object()?)))?;
                Value::Tagged(Cow::Borrowed(tag), Box::new(parts))
            }
            "tagged" => match self.value()? {
                Value::Tuple(parts) => match <[Value<'a>; 2]>::try_from(parts) {
                    Ok([Value::String(tag), value]) => {
                        Value::Tagged(name(tag).ok_or_else(|| wrong(LONE_SURROGATE))?, Box::new(value))
                    }
                    _ => return self.fail(at, "#tagged has a string and a value"),
                },
                _ => return self.fail(at, "#tagged has a string and a value"),
            },
            _ => Value::Tagged(Cow::Borrowed(tag), Box::new(self.nested(Self::value)?)),
        })
    }

    fn string_argument(&mut self) -> Read<Text<'a>> {
        match self.peek() {
            Some(b'"') => self.string(),
            _ => self.fail(self.at, "this tag stands before a string"),
        }
    }

    /// Tokens of a vector, read by `number` from digits or the three names of numbers that have none.
    fn floats(&mut self) -> Read<Vec<f32>> {
        self.numbers(|token| match token {
            "##Inf" => Ok(f32::INFINITY),
            "##-Inf" => Ok(f32::NEG_INFINITY),
            "##NaN" => Ok(f32::NAN),
            _ => parse_float(token),
        })
    }

    fn doubles(&mut self) -> Read<Vec<f64>> {
        self.numbers(|token| match token {
            "##Inf" => Ok(f64::INFINITY),
            "##-Inf" => Ok(f64::NEG_INFINITY),
            "##NaN" => Ok(f64::NAN),
            _ => parse_double(token),
        })
    }

    fn numbers<T>(&mut self, number: impl Fn(&str) -> Result<T, &'static str>) -> Read<Vec<T>> {
        if self.peek() != Some(b'[') {
            return self.fail(self.at, "this tag stands before a vector of numbers");
        }
        self.at += 1;
        let mut numbers = Vec::new();
        loop {
            self.skip()?;
            let at = self.at;
            match self.token() {
                "" if self.peek() == Some(b']') => break,
                token => numbers.push(number(token).map_err(|reason| TextError::new(at, reason))?),
            }
        }
        self.at += 1;
        Ok(numbers)
    }

    /// What `pr-str` prints for objects without a text form: `["[B" 0x7e1b1315 "[B@7e1b1315"]`; tokens that begin
    /// with a digit are kept as they are, as symbols.
    fn object(&mut self) -> Read<Vec<Value<'a>>> {
        let start = self.at;
        self.at += 1;
        let mut parts = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                None => return self.fail(start, "a bracket that is never closed"),
                Some(b']') => break,
                Some(b'0'..=b'9') => parts.push(Value::Symbol(Cow::Borrowed(self.token()))),
                Some(_) => parts.push(self.value()?),
            }
        }
        self.at += 1;
        Ok(parts)
    }

    /// `"a\"b"`: everything up to the next quote that no backslash stands before, backslashes kept.
    fn regex_literal(&mut self) -> Read<Value<'a>> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => return self.fail(start, "a string that is never closed"),
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        Ok(Value::Regex(Cow::Borrowed(&self.text.as_bytes()[start + 1..self.at - 1])))
    }

    /// The string whose opening quote is here.
    fn string(&mut self) -> Read<Text<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let plain = bytes[start..].iter().position(|b| matches!(b, b'"' | b'\\'));
        match plain {
            None => self.fail(self.at, "a string that is never closed"),
            Some(len) if bytes[start + len] == b'"' => {
                self.at = start + len + 1;
                Ok(Cow::Borrowed(&bytes[start..start + len]))
            }
            Some(len) => self.escaped_string(start, len).map(Cow::Owned),
        }
    }

    fn escaped_string(&mut self, start: usize, mut plain: usize) -> Read<Vec<u8>> {
        let bytes = self.text.as_bytes();
        let mut text = Vec::with_capacity(plain + 16);
        let quote = start - 1;
        self.at = start;
        loop {
            text.extend_from_slice(&bytes[self.at..self.at + plain]);
            self.at += plain;
            if bytes[self.at] == b'"' {
                self.at += 1;
                return Ok(text);
            }
            self.escape(&mut text)?;
            match bytes[self.at..].iter().position(|b| matches!(b, b'"' | b'\\')) {
                Some(len) => plain = len,
                None => return self.fail(quote, "a string that is never closed"),
            }
        }
    }

    /// The escape whose backslash is here.
    fn escape(&mut self, text: &mut Vec<u8>) -> Read<()> {
        let at = self.at;
        let rest = &self.text.as_bytes()[at + 1..];
        self.at += 2;
        text.push(match rest.first() {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'f') => 0x0c,
            Some(b'b') => 0x08,
            Some(byte @ (b'"' | b'\\')) => *byte,
            Some(b'0'..=b'7') => {
                let digits = rest.iter().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
                let code = rest[..digits].iter().fold(0_u16, |n, digit| n * 8 + u16::from(digit - b'0'));
                if code > 0o377 {
                    return self.fail(at, "an octal escape over 377");
                }
                self.at = at + 1 + digits;
                push_unit(code, text);
                return Ok(());
            }
            Some(b'u') => {
                let Some(unit) = hex4(&rest[1..]) else {
                    return self.fail(at, "\\u without four hexadecimal digits");
                };
                self.at = at + 6;
                push_unit(unit, text);
                return Ok(());
            }
            _ => return self.fail(at, "an unknown escape"),
        });
        Ok(())
    }

    fn character(&mut self) -> Read<Value<'a>> {
        let at = self.at;
        self.at += 1;
        let Some(first) = self.text[self.at..].chars().next() else {
            return self.fail(at, "a backslash without a character");
        };
        self.at += first.len_utf8();
        let start = self.at - first.len_utf8();
        self.token();
        let token = &self.text[start..self.at];
        let unit = match token {
            "newline" => Some(u16::from(b'\n')),
            "space" => Some(u16::from(b' ')),
            "tab" => Some(u16::from(b'\t')),
            "backspace" => Some(8),
            "formfeed" => Some(12),
            "return" => Some(u16::from(b'\r')),
            _ if token.len() == first.len_utf8() => u16::try_from(u32::from(first)).ok(),
            _ => match token.as_bytes() {
                [b'u', digits @ ..] if digits.len() == 4 => hex4(digits),
                [b'o', digits @ ..] if (1..=3).contains(&digits.len()) => {
                    let octal = digits.iter().all(|b| matches!(b, b'0'..=b'7'));
                    octal.then(|| digits.iter().fold(0, |n, digit| n * 8 + u16::from(digit - b'0')))
                }
                _ => None,
            },
        };
        match unit {
            Some(unit) => Ok(Value::Char(unit)),
            None => self.fail(at, "an unknown character name"),
        }
    }

    /// Passes over whitespace, commas, comments and discarded forms.
    #[inline]
    fn skip(&mut self) -> Read<()> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t'..=b'\r' | 0x1c..=0x1f | b',') => self.at += 1,
                Some(b';') => {
                    let rest = &self.text.as_bytes()[self.at..];
                    self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                }
                Some(b'#') if self.text.as_bytes().get(self.at + 1) == Some(&b'_') => {
                    self.nested(|r| {
                        r.at += 2;
                        r.value()
                    })?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// The bytes up to the end of the token here, none when a delimiter is.
    #[inline]
    fn token(&mut self) -> &'a str {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        self.at += rest.iter().position(|&b| ENDS_TOKEN[usize::from(b)]).unwrap_or(rest.len());
        &self.text[start..self.at]
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn end(&mut self, reason: &'static str) -> Read<()> {
        self.skip()?;
        if self.at < self.text.len() { self.fail(self.at, reason) } else { Ok(()) }
    }

    #[cold]
    fn fail<T>(&self, at: usize, reason: impl Into<Cow<'static, str>>) -> Read<T> {
        Err(TextError::new(at, reason))
    }
}

const LONE_SURROGATE: &str = "a name with a lone surrogate";

/// Whether `#` and this is a tag.
pub(super) fn is_tag(token: &str) -> bool {
    token.chars().next().is_some_and(char::is_alphabetic) && token.bytes().all(|b| !ends_token(b))
}

/// Whether `:` and this name reads back as that keyword.
pub(super) fn is_keyword(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| !ENDS_TOKEN[usize::from(b)])
}

/// Whether this name reads back as that symbol.
pub(super) fn is_symbol(name: &str) -> bool {
    let number = matches!(name.as_bytes(), [b'0'..=b'9', ..] | [b'+' | b'-', b'0'..=b'9', ..]);
    let special = name.starts_with([':', '#', '\\', '^', '`', '~', '@', '\'']);
    !number && !special && !matches!(name, "nil" | "true" | "false") && is_keyword(name)
}

fn qualify<'a>(key: Value<'a>, namespace: &str) -> Value<'a> {
    let full = |name: Cow<'a, str>| match name.strip_prefix("_/") {
        Some(bare) => Cow::Owned(bare.to_owned()),
        None if name.len() > 1 && name.contains('/') => name,
        None => Cow::Owned(format!("{namespace}/{name}")),
    };
    match key {
        Value::Keyword(name) => Value::Keyword(full(name)),
        Value::Symbol(name) => Value::Symbol(full(name)),
        other => other,
    }
}

/// Whether two of the values print alike.
pub(crate) fn has_duplicate<'v, 'a: 'v>(values: impl ExactSizeIterator<Item = &'v Value<'a>>) -> bool {
    let mut seen = HashSet::with_capacity(if values.len() > 1 { values.len() } else { return false });
    for value in values {
        let mut text = Vec::new();
        print_value(value, &mut text);
        if !seen.insert(text) {
            return true;
        }
    }
    false
}

fn name(text: Text<'_>) -> Option<Cow<'_, str>> {
    match text {
        Cow::Borrowed(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        Cow::Owned(text) => String::from_utf8(text).ok().map(Cow::Owned),
    }
}

fn float(text: &[u8]) -> Result<f32, &'static str> {
    match text {
        b"NaN" => Ok(f32::NAN),
        b"Infinity" => Ok(f32::INFINITY),
        b"-Infinity" => Ok(f32::NEG_INFINITY),
        _ => parse_float(std::str::from_utf8(text).map_err(|_| "not a number")?),
    }
}

fn hex4(digits: &[u8]) -> Option<u16> {
    let digits = digits.get(..4)?;
    digits.iter().try_fold(0, |n, &digit| Some(n << 4 | u16::from(hex_digit(digit)?)))
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The bytes of hexadecimal digits of either case.
fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?)).collect()
}

/// The bytes of `01234567-89ab-cdef-0123-456789abcdef`.
pub(crate) fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
    let mut bytes = [0; 16];
    let mut at = 0;
    for (i, byte) in bytes.iter_mut().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            if text[at] != b'-' {
                return None;
            }
            at += 1;
        }
        *byte = hex_digit(text[at])? << 4 | hex_digit(text[at + 1])?;
        at += 2;
    }
    Some(bytes)
}

/// Appends a UTF-16 unit as WTF-8, joining it with a high surrogate right before it.
pub(crate) fn push_unit(unit: u16, text: &mut Vec<u8>) {
    if let (0xdc00..=0xdfff, [.., 0xed, second @ 0xa0..=0xaf, third]) = (unit, text.as_slice()) {
        let high = u32::from(second & 0x0f) << 6 | u32::from(third & 0x3f);
        let code = 0x1_0000 + (high << 10 | u32::from(unit & 0x3ff));
        text.truncate(text.len() - 3);
        let pair = char::from_u32(code).expect("ten bits above and ten below 0x10000 are a character");
        text.extend_from_slice(pair.encode_utf8(&mut [0; 4]).as_bytes());
        return;
    }
    match char::from_u32(u32::from(unit)) {
        Some(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => text.extend_from_slice(&[0xed, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]),
    }
}
