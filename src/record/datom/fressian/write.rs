//! Values to Fressian, in the forms and through the caches that Datahike's own writer uses.

use std::collections::HashMap;

use num_bigint::BigInt;

use super::text::put_units;
use crate::record::datom::cbor::{canonical_double, canonical_float};
use crate::record::datom::{EncodeError, MAX_NESTING, Value};

/// Bytes of text that Java puts in one piece.
const TEXT_PIECE: usize = 65_536;
/// Bytes that Java puts in one piece.
const BYTES_PIECE: usize = 65_535;

/// Writes one document.
///
/// ```
/// use packstone::record::datom::Value;
/// use packstone::record::datom::fressian::Writer;
///
/// let mut writer = Writer::new();
/// writer.value(&Value::Tuple(vec![Value::Long(1), Value::Boolean(true)]))?;
/// assert_eq!(writer.finish(), b"\xef\xdepvec\x02\x02\x01\xf5");
/// # Ok::<(), packstone::record::datom::EncodeError>(())
/// ```
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    /// Names of keywords and symbols, and their places in the cache.
    names: HashMap<String, usize>,
    structs: HashMap<(&'static str, u8), usize>,
    /// Tags that are not known beforehand.
    tags: HashMap<String, usize>,
}

impl Writer {
    /// A writer of a new document.
    pub fn new() -> Self {
        Self::default()
    }

    /// The document.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends a value.
    ///
    /// # Errors
    /// [`EncodeError::TooDeep`], and [`EncodeError::Stored`] for a value that is only a reference.
    pub fn value(&mut self, value: &Value<'_>) -> Result<(), EncodeError> {
        self.nested(value, 0)
    }

    /// Appends the head of a record with this many components, which follow.
    pub fn record(&mut self, tag: &'static str, components: u8) {
        let next = self.structs.len() + self.tags.len();
        match self.structs.get(&(tag, components)) {
            Some(&index) => self.known_struct(index),
            None => {
                self.structs.insert((tag, components), next);
                self.new_struct(tag, components);
            }
        }
    }

    /// Appends the head of a vector of so many elements, which follow.
    pub fn vector(&mut self, len: usize) {
        self.record("pvec", 2);
        self.count(len);
    }

    /// Appends the head of a map of so many entries; keys and values follow in turn.
    pub fn map(&mut self, entries: usize) {
        self.bytes.push(0xc0);
        self.list(entries.saturating_mul(2));
    }

    /// Appends the head of a list of so many elements, which follow.
    pub fn list(&mut self, len: usize) {
        match u8::try_from(len) {
            Ok(short @ 0..=7) => self.bytes.push(0xe4 + short),
            _ => {
                self.bytes.push(0xec);
                self.count(len);
            }
        }
    }

    /// Appends an integer in its shortest form.
    pub fn long(&mut self, number: i64) {
        let bytes = number.to_be_bytes();
        // The code holds the highest bits: its base, how far they reach, and the bytes that follow.
        let forms = [(0x50_i64, 12, 1), (0x68, 19, 2), (0x72, 25, 3), (0x76, 33, 4), (0x7a, 41, 5), (0x7e, 49, 6)];
        match number {
            0..=63 => self.bytes.push(bytes[7]),
            -1 => self.bytes.push(0xff),
            _ => {
                let fits = |bits: u32| (-(1_i64 << bits)..1_i64 << bits).contains(&number);
                let Some((base, _, len)) = forms.into_iter().find(|&(_, bits, _)| fits(bits)) else {
                    self.bytes.push(0xf8);
                    self.bytes.extend_from_slice(&bytes);
                    return;
                };
                let code = base + (number >> (8 * len));
                self.bytes.push(code.to_be_bytes()[7]);
                self.bytes.extend_from_slice(&bytes[8 - len..]);
            }
        }
    }

    /// Appends a boolean.
    pub fn boolean(&mut self, truth: bool) {
        self.bytes.push(if truth { 0xf5 } else { 0xf6 });
    }

    /// Appends a keyword, written without its colon.
    pub fn keyword(&mut self, name: &str) {
        self.name(0xca, name);
    }

    /// Appends a UUID.
    pub fn uuid(&mut self, uuid: &[u8; 16]) {
        self.bytes.extend_from_slice(&[0xc3, 0xd9, 16]);
        self.bytes.extend_from_slice(uuid);
    }

    fn nested(&mut self, value: &Value<'_>, depth: usize) -> Result<(), EncodeError> {
        if depth > MAX_NESTING {
            return Err(EncodeError::TooDeep);
        }
        match value {
            Value::Nil => self.bytes.push(0xf7),
            Value::Boolean(truth) => self.boolean(*truth),
            Value::Long(number) => self.long(*number),
            Value::BigInt(number) => {
                self.bytes.push(0xc6);
                self.big(number);
            }
            Value::Double(number) => self.double(*number),
            Value::Float(number) => self.float(*number),
            Value::BigDecimal(decimal) => {
                self.bytes.push(0xc7);
                self.big(&decimal.unscaled);
                self.long(decimal.scale.into());
            }
            Value::Ratio(numerator, denominator) => {
                self.record("ratio", 2);
                for part in [numerator, denominator] {
                    self.bytes.push(0xc6);
                    self.big(part);
                }
            }
            Value::Char(unit) => {
                self.record("char", 1);
                self.long((*unit).into());
            }
            Value::String(text) => self.text(text),
            Value::Keyword(name) => self.keyword(name),
            Value::Symbol(name) => self.name(0xc9, name),
            Value::Uuid(bytes) => self.uuid(bytes),
            Value::Instant(milliseconds) => {
                self.bytes.push(0xc8);
                self.long(*milliseconds);
            }
            Value::Bytes(bytes) => self.blob(bytes),
            Value::Uri(text) => {
                self.bytes.push(0xc5);
                self.text(text);
            }
            Value::Regex(text) => {
                self.bytes.push(0xc4);
                self.text(text);
            }
            Value::Tuple(elements) => {
                self.vector(elements.len());
                self.all(elements, depth)?;
            }
            Value::List(elements) => {
                self.record("plist", 2);
                self.count(elements.len());
                self.all(elements, depth)?;
            }
            Value::Set(elements) => {
                self.bytes.push(0xc1);
                self.list(elements.len());
                self.all(elements, depth)?;
            }
            Value::Map(entries) => {
                self.map(entries.len());
                for (key, value) in entries {
                    self.nested(key, depth + 1)?;
                    self.nested(value, depth + 1)?;
                }
            }
            Value::Floats(numbers) => {
                self.bytes.push(0xb4);
                self.count(numbers.len());
                numbers.iter().for_each(|number| self.float(*number));
            }
            Value::Doubles(numbers) => {
                self.bytes.push(0xb1);
                self.count(numbers.len());
                numbers.iter().for_each(|number| self.double(*number));
            }
            Value::Tagged(tag, inner) => {
                match self.tags.get(tag.as_ref()) {
                    Some(&index) => self.known_struct(index),
                    None => {
                        let index = self.structs.len() + self.tags.len();
                        self.tags.insert(tag.clone().into_owned(), index);
                        self.new_struct(tag, 1);
                    }
                }
                self.nested(inner, depth + 1)?;
            }
            Value::Stored(_) => return Err(EncodeError::Stored),
        }
        Ok(())
    }

    fn all(&mut self, elements: &[Value<'_>], depth: usize) -> Result<(), EncodeError> {
        elements.iter().try_for_each(|element| self.nested(element, depth + 1))
    }

    fn count(&mut self, len: usize) {
        self.long(i64::try_from(len).expect("this cannot fail because what is counted is in memory"));
    }

    fn known_struct(&mut self, index: usize) {
        match u8::try_from(index) {
            Ok(short @ 0..=15) => self.bytes.push(0xa0 + short),
            _ => {
                self.bytes.push(0xf0);
                self.count(index);
            }
        }
    }

    fn new_struct(&mut self, tag: &str, components: u8) {
        self.bytes.push(0xef);
        self.text(tag.as_bytes());
        self.long(components.into());
    }

    /// A keyword or symbol: namespace and name, each said once in a document.
    fn name(&mut self, code: u8, whole: &str) {
        self.bytes.push(code);
        // The first slash divides, unless nothing stands before it.
        match whole.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty()) {
            Some((namespace, name)) => {
                self.cached(namespace);
                self.cached(name);
            }
            None => {
                self.bytes.push(0xf7);
                self.cached(whole);
            }
        }
    }

    fn cached(&mut self, text: &str) {
        if text.is_empty() {
            return self.text(b"");
        }
        match self.names.get(text) {
            Some(&index) => match u8::try_from(index) {
                Ok(short @ 0..=31) => self.bytes.push(0x80 + short),
                _ => {
                    self.bytes.push(0xcc);
                    self.count(index);
                }
            },
            None => {
                self.names.insert(text.to_owned(), self.names.len());
                self.bytes.push(0xcd);
                self.text(text.as_bytes());
            }
        }
    }

    fn double(&mut self, number: f64) {
        if number == 0.0 {
            self.bytes.push(0xfb);
        } else if number == 1.0 {
            self.bytes.push(0xfc);
        } else {
            self.bytes.push(0xfa);
            self.bytes.extend_from_slice(&canonical_double(number).to_be_bytes());
        }
    }

    fn float(&mut self, number: f32) {
        self.bytes.push(0xf9);
        self.bytes.extend_from_slice(&canonical_float(number).to_be_bytes());
    }

    fn big(&mut self, number: &BigInt) {
        self.blob(&number.to_signed_bytes_be());
    }

    fn blob(&mut self, bytes: &[u8]) {
        if let Ok(short @ 0..=7) = u8::try_from(bytes.len()) {
            self.bytes.push(0xd0 + short);
            return self.bytes.extend_from_slice(bytes);
        }
        let mut rest = bytes;
        while let Some((piece, after)) = rest.split_at_checked(BYTES_PIECE).filter(|(_, after)| !after.is_empty()) {
            self.bytes.push(0xd8);
            self.count(piece.len());
            self.bytes.extend_from_slice(piece);
            rest = after;
        }
        self.bytes.push(0xd9);
        self.count(rest.len());
        self.bytes.extend_from_slice(rest);
    }

    /// A text, in pieces that end between UTF-16 units.
    fn text(&mut self, text: &[u8]) {
        let mut units = Vec::new();
        put_units(text, &mut units);
        let mut rest: &[u8] = &units;
        loop {
            let mut end = rest.len().min(TEXT_PIECE);
            while end < rest.len() && rest[end] & 0xc0 == 0x80 {
                end -= 1;
            }
            let (piece, after) = rest.split_at(end);
            match u8::try_from(piece.len()) {
                Ok(short @ 0..=7) => self.bytes.push(0xda + short),
                _ => {
                    self.bytes.push(if after.is_empty() { 0xe3 } else { 0xe2 });
                    self.count(piece.len());
                }
            }
            self.bytes.extend_from_slice(piece);
            if after.is_empty() {
                return;
            }
            rest = after;
        }
    }
}
