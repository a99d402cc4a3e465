//! Datoms to CBOR items, byte for byte as clj-cbor and boring write them.

use std::borrow::Cow;
use std::fmt;

use num_bigint::{BigInt, Sign};

use super::{Dialect, HALF, canonical_double, canonical_float, instant, tag};
use crate::record::datom::{Attribute, BigDecimal, Datom, Value};

/// Why a value has no form in a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unrepresentable(pub &'static str);

impl fmt::Display for Unrepresentable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unrepresentable {}

/// Appends the item of a datom; on an error `out` is as it was.
pub fn encode_datom(dialect: Dialect, datom: &Datom<'_>, out: &mut Vec<u8>) -> Result<(), Unrepresentable> {
    let start = out.len();
    let written = Encoder { dialect, extended: false }.datom(datom, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Appends the item of a value alone; on an error `out` is as it was.
pub fn encode_value(dialect: Dialect, value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), Unrepresentable> {
    let start = out.len();
    let written = Encoder { dialect, extended: false }.value(value, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Appends the bytes that the semantic digest hashes: the archival item, extended to every value there is
/// (`format-spec/interchange.md`, "Digest").
pub fn digest_bytes(datom: &Datom<'_>, out: &mut Vec<u8>) {
    let encoder = Encoder { dialect: Dialect::Archival, extended: true };
    encoder.datom(datom, out).expect("the extended encoding holds every value");
}

/// Orders the elements of a set.
pub(super) fn sort_values(values: &mut [Value<'_>]) {
    values.sort_by_cached_key(extended_bytes);
}

/// Orders the entries of a map by their keys.
pub(super) fn sort_entries(entries: &mut [(Value<'_>, Value<'_>)]) {
    if entries.len() > 1 {
        entries.sort_by_cached_key(|(key, _)| extended_bytes(key));
    }
}

fn extended_bytes(value: &Value<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = Encoder { dialect: Dialect::Archival, extended: true };
    encoder.value(value, &mut bytes).expect("the extended encoding holds every value");
    bytes
}

/// Whether `name` may stand as a tag of its own for an object of tag 27: a symbol with a namespace or a dotted class
/// name, so that it cannot be taken for one of our own tags.
pub(super) fn is_object_name(name: &[u8]) -> bool {
    name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().all(|b| b.is_ascii_alphanumeric() || b".-_*+!?$/".contains(b))
        && name.iter().any(|b| b"./".contains(b))
        && name.iter().filter(|&&b| b == b'/').count() <= 1
        && name.last() != Some(&b'/')
        && !name.starts_with(b"cbor/")
        && name != b"clojure/char"
}

#[derive(Clone, Copy)]
struct Encoder {
    dialect: Dialect,
    /// Every value has a form.
    extended: bool,
}

type Written = Result<(), Unrepresentable>;

const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const ARRAY: u8 = 0x80;
const MAP: u8 = 0xa0;
const TAG: u8 = 0xc0;

fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    if argument < 24 {
        out.push(major | argument as u8);
    } else if let Ok(argument) = u8::try_from(argument) {
        out.extend_from_slice(&[major | 24, argument]);
    } else if let Ok(argument) = u16::try_from(argument) {
        out.push(major | 25);
        out.extend_from_slice(&argument.to_be_bytes());
    } else if let Ok(argument) = u32::try_from(argument) {
        out.push(major | 26);
        out.extend_from_slice(&argument.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend_from_slice(&argument.to_be_bytes());
    }
}

fn long(value: i64, out: &mut Vec<u8>) {
    if value >= 0 { head(0, value as u64, out) } else { head(0x20, !value as u64, out) }
}

fn string(major: u8, bytes: &[u8], out: &mut Vec<u8>) {
    head(major, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn identifier(prefix: &str, name: &str, out: &mut Vec<u8>) {
    head(TAG, tag::IDENTIFIER, out);
    head(TEXT, (prefix.len() + name.len()) as u64, out);
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(name.as_bytes());
}

/// Magnitude of a bignum: `n`, or `-1 - n` of a negative one.
fn magnitude(value: &BigInt) -> (u64, Vec<u8>) {
    if value.sign() == Sign::Minus {
        (tag::NEGATIVE_BIGNUM, (-value - BigInt::from(1)).to_bytes_be().1)
    } else {
        (tag::POSITIVE_BIGNUM, value.to_bytes_be().1)
    }
}

impl Encoder {
    fn datom(self, datom: &Datom<'_>, out: &mut Vec<u8>) -> Written {
        head(ARRAY, 5, out);
        long(datom.e, out);
        match &datom.a {
            Attribute::Keyword(name) => identifier(":", name, out),
            Attribute::Id(id) => long(*id, out),
            Attribute::String(text) => string(TEXT, text.as_bytes(), out),
        }
        self.value(&datom.v, out)?;
        long(datom.t, out);
        out.push(if datom.added { 0xf5 } else { 0xf4 });
        Ok(())
    }

    fn text(self, text: &[u8], out: &mut Vec<u8>) -> Written {
        if !self.extended && std::str::from_utf8(text).is_err() {
            return Err(Unrepresentable("text with a lone surrogate"));
        }
        string(TEXT, text, out);
        Ok(())
    }

    fn value(self, value: &Value<'_>, out: &mut Vec<u8>) -> Written {
        match value {
            Value::Nil => out.push(0xf6),
            Value::Boolean(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
            Value::Long(value) => long(*value, out),
            Value::BigInt(value) => self.big_integer(value, out),
            Value::Double(value) => self.double(*value, out),
            Value::Float(value) => self.float(*value, out),
            Value::BigDecimal(value) => self.decimal(value, out),
            Value::Ratio(numerator, denominator) => {
                head(TAG, tag::RATIONAL, out);
                head(ARRAY, 2, out);
                self.compact_integer(numerator, out);
                self.compact_integer(denominator, out);
            }
            Value::Char(unit) => return self.char(*unit, out),
            Value::String(text) => return self.text(text, out),
            Value::Keyword(name) => identifier(":", name, out),
            Value::Symbol(name) => identifier("", name, out),
            Value::Uuid(bytes) => {
                head(TAG, tag::UUID, out);
                string(BYTES, bytes, out);
            }
            Value::Instant(millis) => return self.instant(*millis, out),
            Value::Bytes(bytes) => string(BYTES, bytes, out),
            Value::Uri(text) => {
                head(TAG, tag::URI, out);
                return self.text(text, out);
            }
            Value::Regex(text) => {
                head(TAG, tag::REGEX, out);
                return self.text(text, out);
            }
            Value::Tuple(elements) | Value::List(elements) => {
                head(ARRAY, elements.len() as u64, out);
                for element in elements {
                    self.value(element, out)?;
                }
            }
            Value::Set(elements) => {
                head(TAG, tag::SET, out);
                head(ARRAY, elements.len() as u64, out);
                return self.sorted(elements.iter().map(|element| (element, None)), out);
            }
            Value::Map(entries) => {
                head(MAP, entries.len() as u64, out);
                return self.sorted(entries.iter().map(|(key, value)| (key, Some(value))), out);
            }
            Value::Floats(elements) => {
                head(TAG, tag::FLOATS, out);
                head(BYTES, elements.len() as u64 * 4, out);
                elements.iter().for_each(|x| out.extend_from_slice(&canonical_float(*x).to_le_bytes()));
            }
            Value::Doubles(elements) => {
                head(TAG, tag::DOUBLES, out);
                head(BYTES, elements.len() as u64 * 8, out);
                elements.iter().for_each(|x| out.extend_from_slice(&canonical_double(*x).to_le_bytes()));
            }
            Value::Tagged(name, value) => return self.tagged(name, value, out),
            Value::Stored(reference) => {
                if !self.extended {
                    return Err(Unrepresentable("a value kept as a blob of its own"));
                }
                let fields = Value::Tuple(vec![
                    Value::Bytes(Cow::Borrowed(&reference.start)),
                    Value::Bytes(Cow::Borrowed(reference.id.as_bytes())),
                    Value::Boolean(reference.listed),
                    Value::BigInt(BigInt::from(reference.length)),
                ]);
                return self.tagged("packstone/stored", &fields, out);
            }
        }
        Ok(())
    }

    /// Elements of a set or entries of a map, in the order of the encoded bytes of element or key.
    fn sorted<'v, 'a: 'v>(
        self,
        items: impl Iterator<Item = (&'v Value<'a>, Option<&'v Value<'a>>)>,
        out: &mut Vec<u8>,
    ) -> Written {
        let mut encoded = Vec::new();
        for (key, value) in items {
            let mut bytes = Vec::new();
            self.value(key, &mut bytes)?;
            encoded.push((bytes, value));
        }
        encoded.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, value) in encoded {
            out.extend_from_slice(&key);
            if let Some(value) = value {
                self.value(value, out)?;
            }
        }
        Ok(())
    }

    fn bignum(self, value: &BigInt, out: &mut Vec<u8>) {
        let (tag, mut bytes) = magnitude(value);
        // Java's two's complement bytes, which clj-cbor writes unchanged, need a leading zero for the sign.
        if self.dialect == Dialect::CljCbor && bytes.first().is_some_and(|b| b & 0x80 != 0) {
            bytes.insert(0, 0);
        }
        head(TAG, tag, out);
        string(BYTES, &bytes, out);
    }

    fn big_integer(self, value: &BigInt, out: &mut Vec<u8>) {
        match self.dialect {
            Dialect::Archival => self.bignum(value, out),
            Dialect::CljCbor => match u64::try_from(value) {
                Ok(plain) => head(0, plain, out),
                Err(_) => match u64::try_from(&(-value - BigInt::from(1))) {
                    Ok(plain) => head(0x20, plain, out),
                    Err(_) => self.bignum(value, out),
                },
            },
        }
    }

    /// Inside decimals and ratios integers are plain up to 63 bits.
    fn compact_integer(self, value: &BigInt, out: &mut Vec<u8>) {
        match i64::try_from(value) {
            // Java's bitLength() < 63: one bit less than fits, which only i64's outer halves show.
            Ok(plain) if plain.wrapping_add(1 << 62) >= 0 || self.dialect == Dialect::CljCbor => long(plain, out),
            _ if self.dialect == Dialect::CljCbor => self.big_integer(value, out),
            _ => self.bignum(value, out),
        }
    }

    fn decimal(self, value: &BigDecimal, out: &mut Vec<u8>) {
        head(TAG, tag::DECIMAL, out);
        head(ARRAY, 2, out);
        long(-i64::from(value.scale), out);
        self.compact_integer(&value.unscaled, out);
    }

    fn double(self, value: f64, out: &mut Vec<u8>) {
        if self.dialect == Dialect::CljCbor && self.half(value, out) {
            return;
        }
        out.push(0xfb);
        out.extend_from_slice(&canonical_double(value).to_be_bytes());
    }

    fn float(self, value: f32, out: &mut Vec<u8>) {
        if self.dialect == Dialect::CljCbor && self.half(f64::from(value), out) {
            return;
        }
        out.push(0xfa);
        out.extend_from_slice(&canonical_float(value).to_be_bytes());
    }

    /// clj-cbor writes zeros, infinities and NaN as half floats, and drops the zero's sign.
    fn half(self, value: f64, out: &mut Vec<u8>) -> bool {
        let half: [u8; 2] = if value == 0.0 {
            [0, 0]
        } else if value.is_nan() {
            [0x7e, 0]
        } else if value == f64::INFINITY {
            [0x7c, 0]
        } else if value == f64::NEG_INFINITY {
            [0xfc, 0]
        } else {
            return false;
        };
        out.push(0xf9);
        out.extend_from_slice(&half);
        true
    }

    fn char(self, unit: u16, out: &mut Vec<u8>) -> Written {
        let mut buffer = [0; 4];
        let surrogate;
        let text: &[u8] = match char::from_u32(u32::from(unit)) {
            Some(character) => character.encode_utf8(&mut buffer).as_bytes(),
            None => {
                surrogate = [0xed, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8];
                &surrogate
            }
        };
        if self.dialect == Dialect::Archival {
            head(TAG, tag::OBJECT, out);
            head(ARRAY, 2, out);
            string(TEXT, b"clojure/char", out);
        }
        self.text(text, out)
    }

    fn instant(self, millis: i64, out: &mut Vec<u8>) -> Written {
        match self.dialect {
            Dialect::Archival => {
                head(TAG, tag::DATE_TEXT, out);
                let mut text = Vec::with_capacity(32);
                instant::format(millis, &mut text);
                string(TEXT, &text, out);
            }
            Dialect::CljCbor if millis % 1000 == 0 => {
                head(TAG, tag::EPOCH, out);
                long(millis / 1000, out);
            }
            Dialect::CljCbor => {
                let seconds = millis as f64 / 1000.0;
                if (seconds * 1000.0).round() as i64 != millis {
                    return Err(Unrepresentable("an instant beyond the precision of a double in seconds"));
                }
                head(TAG, tag::EPOCH, out);
                out.push(0xfb);
                out.extend_from_slice(&seconds.to_be_bytes());
            }
        }
        Ok(())
    }

    fn tagged(self, name: &str, value: &Value<'_>, out: &mut Vec<u8>) -> Written {
        if name == HALF
            && let Value::Double(value) = value
        {
            if self.half(*value, out) {
                return Ok(());
            }
            return self.value(&Value::Double(*value), out);
        }
        if let Some(number) = name.strip_prefix("cbor/").and_then(|number| number.parse::<u64>().ok()) {
            head(TAG, number, out);
            return self.value(value, out);
        }
        if !self.extended && !is_object_name(name.as_bytes()) && name != "packstone/stored" {
            return Err(Unrepresentable("a tag that is no name for an object of CBOR tag 27"));
        }
        head(TAG, tag::OBJECT, out);
        head(ARRAY, 2, out);
        string(TEXT, name.as_bytes(), out);
        self.value(value, out)
    }
}
