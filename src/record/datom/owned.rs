//! Values that borrow nothing, and when two values are equal.

use std::borrow::Cow;

use super::canonical::{double_bits, encode_value, float_bits};
use super::value::{Attribute, Datom, Value};

fn owned<T: ToOwned + ?Sized>(text: Cow<'_, T>) -> Cow<'static, T> {
    Cow::Owned(text.into_owned())
}

fn all_owned(values: Vec<Value<'_>>) -> Vec<Value<'static>> {
    values.into_iter().map(Value::into_owned).collect()
}

impl Datom<'_> {
    /// The same datom without anything borrowed.
    pub fn into_owned(self) -> Datom<'static> {
        Datom { e: self.e, a: self.a.into_owned(), v: self.v.into_owned(), t: self.t, added: self.added }
    }
}

impl Attribute<'_> {
    /// The same attribute without anything borrowed.
    pub fn into_owned(self) -> Attribute<'static> {
        match self {
            Self::Keyword(name) => Attribute::Keyword(owned(name)),
            Self::Id(id) => Attribute::Id(id),
            Self::String(name) => Attribute::String(owned(name)),
        }
    }
}

impl Value<'_> {
    /// The same value without anything borrowed.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Nil => Value::Nil,
            Self::Boolean(truth) => Value::Boolean(truth),
            Self::Long(number) => Value::Long(number),
            Self::BigInt(number) => Value::BigInt(number),
            Self::Double(number) => Value::Double(number),
            Self::Float(number) => Value::Float(number),
            Self::BigDecimal(decimal) => Value::BigDecimal(decimal),
            Self::Ratio(numerator, denominator) => Value::Ratio(numerator, denominator),
            Self::Char(unit) => Value::Char(unit),
            Self::String(text) => Value::String(owned(text)),
            Self::Keyword(name) => Value::Keyword(owned(name)),
            Self::Symbol(name) => Value::Symbol(owned(name)),
            Self::Uuid(bytes) => Value::Uuid(bytes),
            Self::Instant(milliseconds) => Value::Instant(milliseconds),
            Self::Bytes(bytes) => Value::Bytes(owned(bytes)),
            Self::Uri(text) => Value::Uri(owned(text)),
            Self::Regex(text) => Value::Regex(owned(text)),
            Self::Tuple(elements) => Value::Tuple(all_owned(elements)),
            Self::List(elements) => Value::List(all_owned(elements)),
            Self::Set(elements) => Value::Set(all_owned(elements)),
            Self::Map(entries) => {
                Value::Map(entries.into_iter().map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
            }
            Self::Floats(numbers) => Value::Floats(numbers),
            Self::Doubles(numbers) => Value::Doubles(numbers),
            Self::Tagged(name, value) => Value::Tagged(owned(name), Box::new(value.into_owned())),
            Self::Stored(reference) => Value::Stored(reference),
        }
    }
}

impl Eq for Value<'_> {}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nil, Self::Nil) => true,
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Long(a), Self::Long(b)) | (Self::Instant(a), Self::Instant(b)) => a == b,
            (Self::BigInt(a), Self::BigInt(b)) => a == b,
            (Self::Double(a), Self::Double(b)) => double_bits(*a) == double_bits(*b),
            (Self::Float(a), Self::Float(b)) => float_bits(*a) == float_bits(*b),
            (Self::BigDecimal(a), Self::BigDecimal(b)) => a == b,
            (Self::Ratio(a, b), Self::Ratio(c, d)) => a == c && b == d,
            (Self::Char(a), Self::Char(b)) => a == b,
            (Self::String(a), Self::String(b))
            | (Self::Uri(a), Self::Uri(b))
            | (Self::Regex(a), Self::Regex(b))
            | (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Keyword(a), Self::Keyword(b)) | (Self::Symbol(a), Self::Symbol(b)) => a == b,
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::Tuple(a), Self::Tuple(b)) | (Self::List(a), Self::List(b)) => a == b,
            (Self::Set(a), Self::Set(b)) => a == b || a.len() == b.len() && same_set(a, b, |element| (element, None)),
            (Self::Map(a), Self::Map(b)) => {
                a == b || a.len() == b.len() && same_set(a, b, |(key, value)| (key, Some(value)))
            }
            (Self::Floats(a), Self::Floats(b)) => a.iter().map(|x| float_bits(*x)).eq(b.iter().map(|x| float_bits(*x))),
            (Self::Doubles(a), Self::Doubles(b)) => {
                a.iter().map(|x| double_bits(*x)).eq(b.iter().map(|x| double_bits(*x)))
            }
            (Self::Tagged(a, x), Self::Tagged(b, y)) => a == b && x == y,
            (Self::Stored(a), Self::Stored(b)) => a == b,
            _ => false,
        }
    }
}

/// Whether the canonical bytes of the elements are the same in any order; elements without such bytes are never so.
fn same_set<'a, T>(a: &'a [T], b: &'a [T], parts: fn(&'a T) -> (&'a Value<'a>, Option<&'a Value<'a>>)) -> bool {
    let sorted = |elements: &'a [T]| -> Option<Vec<Vec<u8>>> {
        let mut all = Vec::with_capacity(elements.len());
        for (key, value) in elements.iter().map(parts) {
            let mut bytes = Vec::new();
            encode_value(key, &mut bytes).ok()?;
            value.map_or(Ok(()), |value| encode_value(value, &mut bytes)).ok()?;
            all.push(bytes);
        }
        all.sort_unstable();
        Some(all)
    };
    sorted(a).is_some_and(|a| sorted(b).is_some_and(|b| a == b))
}
