//! hasch: the hash of a Clojure value, of which konserve makes the names of blobs and Datahike content addresses.
//!
//! Equal values have equal hashes whatever their encoding. A value becomes bytes (*coercion*), a type byte and a payload;
//! the UUID is made of the SHA-512 of these bytes.

use sha2::{Digest as _, Sha512};

use super::java;
use crate::error::DecodeError;
use crate::record::datom::{Attribute, Datom, Value};

/// Collections inside one another, at most.
const DEPTH_LIMIT: u32 = 64;
/// Texts and bytes from this length on are hashed instead of escaped.
const LONG_TEXT: usize = 1024;

mod magic {
    pub(super) const NIL: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const NUMBER: u8 = 2;
    pub(super) const STRING: u8 = 3;
    pub(super) const SYMBOL: u8 = 4;
    pub(super) const KEYWORD: u8 = 5;
    pub(super) const INSTANT: u8 = 6;
    pub(super) const UUID: u8 = 7;
    pub(super) const SEQUENCE: u8 = 8;
    pub(super) const VECTOR: u8 = 9;
    pub(super) const MAP: u8 = 10;
    pub(super) const SET: u8 = 11;
    pub(super) const BYTES: u8 = 13;
    pub(super) const FLOATS: u8 = 14;
    pub(super) const DOUBLES: u8 = 15;
}

/// The UUID of a value. Values that hasch has no form for are refused.
pub fn uuid(value: &Value<'_>) -> Result<[u8; 16], DecodeError> {
    Ok(uuid5(&Sha512::digest(coerce(value)?).into()))
}

/// The UUID of a keyword, given without its colon.
pub fn keyword(name: &str) -> [u8; 16] {
    let mut coerced = vec![magic::KEYWORD];
    put_escaped(&[b":", name.as_bytes()].concat(), &mut coerced);
    uuid5(&Sha512::digest(coerced).into())
}

/// The UUID of a UUID.
pub fn of_uuid(uuid: &[u8; 16]) -> [u8; 16] {
    let mut coerced = Vec::with_capacity(37);
    put_uuid(uuid, &mut coerced);
    uuid5(&Sha512::digest(coerced).into())
}

/// The UUID of a vector of datoms, each `[e a v tx added]`: the address of a leaf in databases with content addresses.
pub fn of_datoms(datoms: &[Datom<'_>]) -> Result<[u8; 16], DecodeError> {
    let mut all = Sequence::new(magic::VECTOR);
    for datom in datoms {
        let mut one = Sequence::new(magic::VECTOR);
        one.number(datom.e);
        match &datom.a {
            Attribute::Keyword(name) => one.add(&Value::Keyword(name.as_ref().into()), 2)?,
            Attribute::Id(id) => one.number(*id),
            Attribute::String(name) => one.add(&Value::String(name.as_bytes().into()), 2)?,
        }
        one.add(&datom.v, 2)?;
        one.number(datom.t);
        one.add(&Value::Boolean(datom.added), 2)?;
        all.bytes(&one.finish());
    }
    Ok(uuid5(&Sha512::digest(all.finish()).into()))
}

/// The UUID of a vector of UUIDs: the address of a branch in databases with content addresses.
pub fn of_addresses(addresses: &[[u8; 16]]) -> [u8; 16] {
    let mut all = Sequence::new(magic::VECTOR);
    let mut one = Vec::with_capacity(37);
    for address in addresses {
        one.clear();
        put_uuid(address, &mut one);
        all.bytes(&one);
    }
    uuid5(&Sha512::digest(all.finish()).into())
}

/// The bytes a value is hashed as.
pub fn coerce(value: &Value<'_>) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    put(value, 0, &mut out)?;
    Ok(out)
}

/// Elements of a vector or sequence, hashed one after the other.
pub(super) struct Sequence {
    magic: u8,
    hash: Sha512,
    empty: bool,
    buffer: Vec<u8>,
}

impl Sequence {
    pub(super) fn new(magic: u8) -> Self {
        Self { magic, hash: Sha512::new(), empty: true, buffer: Vec::new() }
    }

    /// A vector, for what is not a [`Value`].
    pub(super) fn vector() -> Self {
        Self::new(magic::VECTOR)
    }

    /// A sequence, for what is not a [`Value`].
    pub(super) fn list() -> Self {
        Self::new(magic::SEQUENCE)
    }

    /// Adds an element by its coercion.
    pub(super) fn bytes(&mut self, coerced: &[u8]) {
        self.empty = false;
        self.hash.update(coerced);
    }

    pub(super) fn number(&mut self, number: i64) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        put_number(&number.to_string(), &mut buffer);
        self.bytes(&buffer);
        self.buffer = buffer;
    }

    fn add(&mut self, value: &Value<'_>, depth: u32) -> Result<(), DecodeError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        put(value, depth, &mut buffer)?;
        self.bytes(&buffer);
        self.buffer = buffer;
        Ok(())
    }

    /// The coercion of the whole: an empty one hashes nil.
    pub(super) fn finish(mut self) -> [u8; 65] {
        if self.empty {
            self.hash.update([magic::NIL]);
        }
        let mut out = [self.magic; 65];
        out[1..].copy_from_slice(&self.hash.finalize());
        out
    }
}

fn put(value: &Value<'_>, depth: u32, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    if depth > DEPTH_LIMIT {
        return Err(DecodeError::TooLarge("nesting"));
    }
    match value {
        Value::Nil => out.push(magic::NIL),
        Value::Boolean(truth) => out.extend_from_slice(&[magic::BOOLEAN, if *truth { 41 } else { 40 }]),
        Value::Long(number) => put_number(&number.to_string(), out),
        Value::BigInt(number) => put_number(&number.to_string(), out),
        Value::Double(number) => put_number(&java::double(*number), out),
        Value::Float(number) => put_number(&java::float(*number), out),
        Value::BigDecimal(number) => put_number(&java::decimal(number), out),
        Value::String(text) => put_text(magic::STRING, text, out),
        Value::Symbol(name) => put_text(magic::SYMBOL, name.as_bytes(), out),
        Value::Keyword(name) => put_text(magic::KEYWORD, &[b":", name.as_bytes()].concat(), out),
        Value::Instant(milliseconds) => {
            out.push(magic::INSTANT);
            out.extend_from_slice(milliseconds.to_string().as_bytes());
        }
        Value::Uuid(uuid) => put_uuid(uuid, out),
        // JavaScript has no characters: they are one-letter strings.
        Value::Char(unit) => {
            let character = char::from_u32(u32::from(*unit)).unwrap_or('?');
            put_text(magic::STRING, character.encode_utf8(&mut [0; 4]).as_bytes(), out);
        }
        Value::Bytes(bytes) => put_text(magic::BYTES, bytes, out),
        Value::Tuple(elements) => put_sequence(magic::VECTOR, elements, depth, out)?,
        Value::List(elements) => put_sequence(magic::SEQUENCE, elements, depth, out)?,
        Value::Set(elements) => {
            let mut sum = Xor::default();
            for element in elements {
                let mut coerced = Vec::new();
                put(element, depth + 1, &mut coerced)?;
                sum.add(&Sha512::digest(&coerced));
            }
            out.push(magic::SET);
            out.extend_from_slice(sum.bytes());
        }
        Value::Map(entries) => {
            let mut sum = Xor::default();
            for (key, value) in entries {
                let mut entry = Sequence::new(magic::VECTOR);
                entry.add(key, depth + 1)?;
                entry.add(value, depth + 1)?;
                sum.add(&entry.finish());
            }
            out.push(magic::MAP);
            out.extend_from_slice(sum.bytes());
        }
        Value::Floats(numbers) => {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
            put_text(magic::FLOATS, &bytes, out);
        }
        Value::Doubles(numbers) => {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
            put_text(magic::DOUBLES, &bytes, out);
        }
        Value::Ratio(..) | Value::Uri(_) | Value::Regex(_) => {
            return Err(DecodeError::Invalid("value, of a type that hasch has no form for"));
        }
        Value::Tagged(..) | Value::Stored(_) => {
            return Err(DecodeError::Invalid("value, a record: hasch has no form for it"));
        }
    }
    Ok(())
}

/// The sum of hashes that is the same in any order.
#[derive(Default)]
struct Xor {
    sum: [u8; 32],
    any: bool,
}

impl Xor {
    fn add(&mut self, hash: &[u8]) {
        self.any = true;
        self.sum.iter_mut().zip(hash).for_each(|(sum, byte)| *sum ^= byte);
    }

    fn bytes(&self) -> &[u8] {
        if self.any { &self.sum } else { &[] }
    }
}

fn put_sequence(magic: u8, elements: &[Value<'_>], depth: u32, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut sequence = Sequence::new(magic);
    for element in elements {
        sequence.add(element, depth + 1)?;
    }
    out.extend_from_slice(&sequence.finish());
    Ok(())
}

fn put_number(text: &str, out: &mut Vec<u8>) {
    out.push(magic::NUMBER);
    out.extend_from_slice(text.as_bytes());
}

fn put_uuid(uuid: &[u8; 16], out: &mut Vec<u8>) {
    out.push(magic::UUID);
    out.extend_from_slice(spell(uuid).as_bytes());
}

/// Text or bytes; of text Java encodes lone surrogates as a question mark.
fn put_text(magic: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(magic);
    let is_text = matches!(magic, magic::STRING | magic::SYMBOL | magic::KEYWORD);
    match std::str::from_utf8(text) {
        Err(_) if is_text => put_escaped(&without_surrogates(text), out),
        _ => put_escaped(text, out),
    }
}

fn without_surrogates(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, invalid) = rest.split_at(error.valid_up_to());
        out.extend_from_slice(valid);
        out.push(b'?');
        rest = invalid.get(3..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// The bytes and which of them could be mistaken for type bytes; long ones are hashed.
fn put_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.len() < LONG_TEXT {
        out.extend_from_slice(bytes);
        out.extend(bytes.iter().map(|byte| u8::from((1..30).contains(byte))));
    } else {
        out.extend_from_slice(&Sha512::digest(bytes));
    }
}

/// A UUID of version 5 of a hash; its first two bits are zero.
fn uuid5(hash: &[u8; 64]) -> [u8; 16] {
    let mut uuid = *hash.first_chunk::<16>().expect("64 bytes are more than 16");
    uuid[0] &= 0x3f;
    uuid[6] = uuid[6] & 0x5f | 0x50;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// A UUID in lower case with dashes.
pub fn spell(uuid: &[u8; 16]) -> String {
    let hex = crate::id::hex(uuid);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::record::datom::edn;

    fn of(text: &str) -> String {
        spell(&uuid(&edn::parse_value(text.as_bytes()).unwrap()).unwrap())
    }

    #[test]
    fn the_names_of_well_known_blobs() {
        assert_eq!(of(":db"), "0594e3b6-9635-5c99-8142-412accf3023b");
        assert_eq!(of(":branches"), "1643fed1-9f2d-514e-b007-53bbb8682214");
        assert_eq!(spell(&keyword("db")), of(":db"));
        let address = [7; 16];
        assert_eq!(of_uuid(&address), uuid(&Value::Uuid(address)).unwrap());
        assert_eq!(of_addresses(&[address]), uuid(&Value::Tuple(vec![Value::Uuid(address)])).unwrap());
    }

    #[test]
    fn hashes_are_those_of_hasch_itself() {
        // The first eight bytes of the hashes in hasch's own tests.
        let cases: [(&str, [u8; 8]); 16] = [
            ("nil", [184, 36, 77, 2, 137, 129, 214, 147]),
            ("true", [221, 223, 252, 44, 103, 48, 51, 199]),
            ("false", [54, 0, 110, 63, 158, 137, 176, 89]),
            ("\\f", [211, 133, 203, 224, 194, 174, 136, 44]),
            ("\\ä", [51, 232, 113, 238, 243, 104, 216, 10]),
            ("\"hello\"", [178, 114, 9, 243, 3, 150, 0, 132]),
            ("1234567890", [65, 199, 158, 164, 193, 95, 213, 144]),
            ("1234567890N", [65, 199, 158, 164, 193, 95, 213, 144]),
            ("123.1", [155, 181, 33, 252, 126, 113, 188, 20]),
            ("123.1M", [155, 181, 33, 252, 126, 113, 188, 20]),
            (":core/test", [62, 51, 214, 78, 41, 84, 37, 205]),
            ("core/+", [164, 63, 64, 77, 190, 144, 72, 80]),
            ("(1 2 3)", [244, 105, 186, 110, 183, 117, 195, 78]),
            ("[1 2 3 4]", [172, 52, 37, 123, 179, 106, 243, 207]),
            ("{:a \"hello\" :balloon \"world\"}", [135, 204, 255, 206, 109, 55, 248, 198]),
            ("#{1 2 3 4}", [42, 216, 217, 238, 97, 125, 210, 112]),
        ];
        let hash = |value: &Value<'_>| Sha512::digest(coerce(value).unwrap())[..8].to_vec();
        for (text, expected) in cases {
            assert_eq!(hash(&edn::parse_value(text.as_bytes()).unwrap()), expected, "{text}");
        }
        let others = [
            (Value::Float(123.1), [155, 181, 33, 252, 126, 113, 188, 20]),
            (Value::Instant(1_000_000_000_000), [177, 226, 212, 235, 221, 67, 176, 34]),
            (Value::Bytes(vec![1, 2, 3, 42, 149].into()), [135, 209, 248, 171, 162, 90, 41, 221]),
        ];
        for (value, expected) in others {
            assert_eq!(hash(&value), expected, "{value:?}");
        }
        let uuid = edn::parse_value(b"#uuid \"242525f1-8ed7-5979-9232-6992dd1e11e4\"").unwrap();
        assert_eq!(hash(&uuid), [42, 243, 183, 237, 233, 94, 246, 1]);
    }

    #[test]
    fn datoms_hash_as_vectors() {
        let datom = edn::parse_datom_line(b"[1 :a/b 1.5 536870913 true]").unwrap();
        let vector = edn::parse_value(b"[[1 :a/b 1.5 536870913 true]]").unwrap();
        assert_eq!(of_datoms(&[datom]).unwrap(), uuid(&vector).unwrap());
        assert_eq!(of_datoms(&[]).unwrap(), uuid(&Value::Tuple(Vec::new())).unwrap());
    }

    #[test]
    fn order_does_not_matter_in_maps_and_sets_but_does_in_vectors() {
        assert_eq!(of("{:a 1 :b 2}"), of("{:b 2 :a 1}"));
        assert_eq!(of("#{1 2 3}"), of("#{3 1 2}"));
        assert_ne!(of("[1 2]"), of("[2 1]"));
        assert_ne!(of("[1 2]"), of("(1 2)"));
        assert_ne!(of("[]"), of("{}"));
        assert_ne!(of("\":a\""), of(":a"));
    }

    #[test]
    fn what_has_no_form_is_refused() {
        assert!(uuid(&Value::Uri(b"x".as_slice().into())).is_err());
        assert!(uuid(&Value::Tagged("x".into(), Box::new(Value::Nil))).is_err());
        let deep = (0..80).fold(Value::Nil, |inner, _| Value::Tuple(vec![inner]));
        assert_eq!(uuid(&deep), Err(DecodeError::TooLarge("nesting")));
    }
}
