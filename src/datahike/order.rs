//! The orders of Datahike's indices, as bytes that sort the same way.
//!
//! Keys compare as Datahike compares datoms: integers by size, names by namespace and then by name, values as Clojure
//! compares them, the transaction, and last retractions before assertions. Values of different classes sort by the
//! names of the classes on the JVM; numbers of all classes sort among each other by size.
//!
//! Clojure's order is not one in two places, where the bytes decide: it holds NaN to be equal to every number (here it
//! follows all numbers), and it rounds exact numbers when it compares them with doubles (here they are never rounded; of
//! ratios with the same 512 bits, or beyond 10^20000, the bytes decide which comes first). Maps, sets and regular expressions, which have no
//! order in Clojure, sort by their canonical bytes; URIs as text, their scheme in lower case.

use num_bigint::{BigInt, BigUint, Sign};

use crate::record::datom::fressian::put_units;
use crate::record::datom::{Attribute, Datom, EncodeError, Value, encode_value};

/// Bits that are looked at first: whatever has more is told apart by what comes behind them.
const FRACTION_BITS: u64 = 512;
/// Decimals beyond such a power of ten, or below its inverse, are compared by their digits alone.
const EXPONENT_LIMIT: i64 = 20_000;
/// Bits of ratios that are reduced: Clojure's are already.
const REDUCED_BITS: u64 = 4096;

/// An order of datoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IndexOrder {
    /// By entity, attribute, value.
    Eavt,
    /// By attribute, entity, value.
    Aevt,
    /// By attribute, value, entity.
    Avet,
}

impl IndexOrder {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Eavt, Self::Aevt, Self::Avet];

    /// Its name in Datahike.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eavt => "eavt",
            Self::Aevt => "aevt",
            Self::Avet => "avet",
        }
    }

    /// What the keys of all datoms of an attribute begin with, and no others: of the orders by attribute.
    pub fn attribute_prefix(attribute: &Attribute<'_>) -> Vec<u8> {
        let mut prefix = Vec::new();
        put_attribute(attribute, &mut prefix);
        prefix
    }

    /// What the keys of all datoms of an entity begin with, and no others: of the order by entity.
    pub fn entity_prefix(e: i64) -> Vec<u8> {
        let mut prefix = Vec::new();
        put_long(e, &mut prefix);
        prefix
    }

    /// Appends the key of a datom in this order. No key begins with another.
    pub fn put_key(self, datom: &Datom<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Eavt => {
                put_long(datom.e, out);
                put_attribute(&datom.a, out);
                put_value(&datom.v, out)?;
            }
            Self::Aevt => {
                put_attribute(&datom.a, out);
                put_long(datom.e, out);
                put_value(&datom.v, out)?;
            }
            Self::Avet => {
                put_attribute(&datom.a, out);
                put_value(&datom.v, out)?;
                put_long(datom.e, out);
            }
        }
        put_long(datom.t, out);
        out.push(u8::from(datom.added));
        Ok(())
    }

    /// The part of a key in front of the transaction: what is said, whenever and whether or not.
    pub fn without_time(key: &[u8]) -> &[u8] {
        &key[..key.len().saturating_sub(TIME_BYTES)]
    }
}

/// Bytes of a transaction and of whether it asserts.
const TIME_BYTES: usize = 9;

/// What a value begins with: its class among the names of Java's classes.
mod class {
    pub(super) const NIL: u8 = 0x01;
    pub(super) const BYTES: u8 = 0x02;
    pub(super) const DOUBLES: u8 = 0x03;
    pub(super) const FLOATS: u8 = 0x04;
    pub(super) const KEYWORD: u8 = 0x10;
    pub(super) const MAP: u8 = 0x11;
    pub(super) const SET: u8 = 0x12;
    pub(super) const SEQUENCE: u8 = 0x13;
    pub(super) const SYMBOL: u8 = 0x14;
    pub(super) const BOOLEAN: u8 = 0x20;
    pub(super) const CHARACTER: u8 = 0x21;
    pub(super) const NUMBER: u8 = 0x22;
    pub(super) const STRING: u8 = 0x23;
    pub(super) const URI: u8 = 0x24;
    pub(super) const DATE: u8 = 0x25;
    pub(super) const UUID: u8 = 0x26;
    pub(super) const REGEX: u8 = 0x27;
    pub(super) const RECORD: u8 = 0x28;
}

/// Signs and what has none.
mod sign {
    pub(super) const MINUS_INFINITY: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const ZERO: u8 = 2;
    pub(super) const POSITIVE: u8 = 3;
    pub(super) const INFINITY: u8 = 4;
    pub(super) const NAN: u8 = 5;
}

fn put_attribute(attribute: &Attribute<'_>, out: &mut Vec<u8>) {
    match attribute {
        Attribute::Id(id) => {
            out.push(0);
            put_long(*id, out);
        }
        Attribute::Keyword(name) => {
            out.push(1);
            put_name(name, out);
        }
        Attribute::String(name) => {
            out.push(2);
            put_text(name.as_bytes(), out);
        }
    }
}

/// Appends a value: first its class, then bytes that sort as the values of that class do.
pub fn put_value(value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match value {
        Value::Nil => out.push(class::NIL),
        Value::Boolean(truth) => out.extend_from_slice(&[class::BOOLEAN, u8::from(*truth)]),
        Value::Long(number) => {
            out.push(class::NUMBER);
            put_binary(*number < 0, number.unsigned_abs(), 0, out);
        }
        Value::BigInt(number) => {
            out.push(class::NUMBER);
            put_decimal(number, 0, out);
        }
        Value::Double(number) => {
            out.push(class::NUMBER);
            put_double(*number, out);
        }
        Value::Float(number) => {
            out.push(class::NUMBER);
            put_double(f64::from(*number), out);
        }
        Value::BigDecimal(decimal) => {
            out.push(class::NUMBER);
            put_decimal(&decimal.unscaled, decimal.scale, out);
        }
        Value::Ratio(numerator, denominator) => {
            out.push(class::NUMBER);
            let (sign, magnitude) = (denominator.sign(), denominator.magnitude());
            match sign {
                Sign::NoSign => out.push(sign::NAN),
                Sign::Plus => put_ratio(numerator, magnitude, out),
                Sign::Minus => put_ratio(&-numerator, magnitude, out),
            }
        }
        Value::Char(unit) => {
            out.push(class::CHARACTER);
            out.extend_from_slice(&unit.to_be_bytes());
        }
        Value::String(text) => {
            out.push(class::STRING);
            put_text(text, out);
        }
        Value::Keyword(name) => {
            out.push(class::KEYWORD);
            put_name(name, out);
        }
        Value::Symbol(name) => {
            out.push(class::SYMBOL);
            put_name(name, out);
        }
        // Java compares the halves with their signs.
        Value::Uuid(uuid) => {
            out.push(class::UUID);
            out.extend_from_slice(uuid);
            let start = out.len() - 16;
            out[start] ^= 0x80;
            out[start + 8] ^= 0x80;
        }
        Value::Instant(milliseconds) => {
            out.push(class::DATE);
            put_long(*milliseconds, out);
        }
        // Java's bytes have a sign.
        Value::Bytes(bytes) => {
            out.push(class::BYTES);
            put_escaped(bytes.iter().map(|byte| byte ^ 0x80), out);
        }
        Value::Uri(text) => {
            out.push(class::URI);
            let scheme = text.iter().position(|&byte| byte == b':').unwrap_or(0);
            let mut units = Vec::new();
            put_units(text, &mut units);
            units[..scheme].make_ascii_lowercase();
            put_escaped(units.iter().copied(), out);
        }
        Value::Tuple(elements) | Value::List(elements) => {
            out.push(class::SEQUENCE);
            // The shorter one first, whatever it holds.
            let len = u32::try_from(elements.len()).map_err(|_| EncodeError::TooLong)?;
            out.extend_from_slice(&len.to_be_bytes());
            elements.iter().try_for_each(|element| put_value(element, out))?;
        }
        Value::Doubles(numbers) => {
            out.push(class::DOUBLES);
            for number in numbers {
                let bits = number.to_bits();
                out.push(1);
                out.extend_from_slice(&(bits ^ ((bits.cast_signed() >> 63).cast_unsigned() | 1 << 63)).to_be_bytes());
            }
            out.push(0);
        }
        Value::Floats(numbers) => {
            out.push(class::FLOATS);
            for number in numbers {
                let bits = number.to_bits();
                out.push(1);
                out.extend_from_slice(&(bits ^ ((bits.cast_signed() >> 31).cast_unsigned() | 1 << 31)).to_be_bytes());
            }
            out.push(0);
        }
        Value::Map(_) => put_canonical(class::MAP, value, out)?,
        Value::Set(_) => put_canonical(class::SET, value, out)?,
        Value::Regex(_) => put_canonical(class::REGEX, value, out)?,
        Value::Tagged(..) => put_canonical(class::RECORD, value, out)?,
        Value::Stored(_) => return Err(EncodeError::Stored),
    }
    Ok(())
}

fn put_canonical(class: u8, value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut bytes = Vec::new();
    encode_value(value, &mut bytes)?;
    out.push(class);
    put_escaped(bytes.into_iter(), out);
    Ok(())
}

fn put_long(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(number.cast_unsigned() ^ 1 << 63).to_be_bytes());
}

/// A keyword or symbol: those without a namespace first.
fn put_name(whole: &str, out: &mut Vec<u8>) {
    match whole.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty()) {
        None => out.push(0),
        Some((namespace, name)) => {
            out.push(1);
            put_text(namespace.as_bytes(), out);
            return put_text(name.as_bytes(), out);
        }
    }
    put_text(whole.as_bytes(), out);
}

/// A text by its UTF-16 units.
fn put_text(text: &[u8], out: &mut Vec<u8>) {
    if text.iter().all(|&byte| byte < 0xf0) {
        return put_escaped(text.iter().copied(), out);
    }
    let mut units = Vec::with_capacity(text.len() + text.len() / 2);
    put_units(text, &mut units);
    put_escaped(units.into_iter(), out);
}

/// Bytes with an end that sorts before every continuation.
fn put_escaped(bytes: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(1);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn put_double(number: f64, out: &mut Vec<u8>) {
    if number.is_nan() {
        return out.push(sign::NAN);
    }
    if number.is_infinite() {
        return out.push(if number < 0.0 { sign::MINUS_INFINITY } else { sign::INFINITY });
    }
    let bits = number.to_bits();
    let (mantissa, exponent) = (bits & ((1 << 52) - 1), i32::from((bits >> 52 & 0x7ff) as u16));
    let (mantissa, exponent) = if exponent == 0 { (mantissa, -1074) } else { (mantissa | 1 << 52, exponent - 1075) };
    put_binary(number < 0.0, mantissa, exponent, out);
}

/// `magnitude * 2^exponent`, with a sign.
fn put_binary(negative: bool, magnitude: u64, exponent: i32, out: &mut Vec<u8>) {
    if magnitude == 0 {
        return out.push(sign::ZERO);
    }
    let leading = magnitude.leading_zeros();
    let top = exponent + 63 - leading.cast_signed();
    put_magnitude(negative, top, &(magnitude << leading).to_be_bytes(), None, out);
}

/// An integer or a decimal.
fn put_decimal(unscaled: &BigInt, scale: i32, out: &mut Vec<u8>) {
    let magnitude = unscaled.magnitude();
    if unscaled.sign() == Sign::NoSign {
        return out.push(sign::ZERO);
    }
    let negative = unscaled.sign() == Sign::Minus;
    let one = BigUint::from(1u8);
    if scale == 0 && magnitude.bits() <= FRACTION_BITS {
        return put_fraction(negative, magnitude, &one, Vec::new, out);
    }
    let digits = magnitude.to_string();
    let exponent = digits.len() as i64 - 1 - i64::from(scale);
    if exponent.abs() > EXPONENT_LIMIT {
        let top = if exponent > 0 { i32::MAX } else { i32::MIN };
        return put_magnitude(negative, top, &[], Some(decimal_tail(exponent, &digits)), out);
    }
    let power = BigUint::from(10u8).pow(scale.unsigned_abs());
    let tail = || decimal_tail(exponent, &digits);
    match scale > 0 {
        true => put_fraction(negative, magnitude, &power, tail, out),
        false => put_fraction(negative, &(magnitude * power), &one, tail, out),
    }
}

/// Sorts as decimals do: where the first digit is, and the digits.
fn decimal_tail(exponent: i64, digits: &str) -> Vec<u8> {
    let mut tail = vec![1];
    put_long(exponent, &mut tail);
    tail.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    tail.push(0);
    tail
}

fn put_ratio(numerator: &BigInt, denominator: &BigUint, out: &mut Vec<u8>) {
    let magnitude = numerator.magnitude();
    if numerator.sign() == Sign::NoSign {
        return out.push(sign::ZERO);
    }
    let negative = numerator.sign() == Sign::Minus;
    if magnitude.bits().max(denominator.bits()) <= REDUCED_BITS {
        let divisor = common_divisor(magnitude.clone(), denominator.clone());
        let (magnitude, denominator) = (magnitude / &divisor, denominator / &divisor);
        if let Some((unscaled, scale)) = as_decimal(&magnitude, &denominator) {
            return put_decimal(&BigInt::from_biguint(numerator.sign(), unscaled), scale, out);
        }
        return put_fraction(negative, &magnitude, &denominator, || ratio_tail(&magnitude, &denominator), out);
    }
    put_fraction(negative, magnitude, denominator, || ratio_tail(magnitude, denominator), out);
}

fn common_divisor(mut a: BigUint, mut b: BigUint) -> BigUint {
    while b != BigUint::ZERO {
        (a, b) = (b.clone(), a % b);
    }
    a
}

/// A reduced ratio as a decimal, if it is one: then its denominator is made of twos and fives.
fn as_decimal(magnitude: &BigUint, denominator: &BigUint) -> Option<(BigUint, i32)> {
    let twos = denominator.trailing_zeros().unwrap_or(0);
    let mut rest = denominator >> twos;
    let mut fives = 0;
    while &rest % 5u8 == BigUint::ZERO {
        rest /= 5u8;
        fives += 1;
    }
    let scale = twos.max(fives);
    if rest != BigUint::from(1u8) {
        return None;
    }
    let power = |base: u8, times: u64| BigUint::from(base).pow(u32::try_from(times).unwrap_or(u32::MAX));
    let unscaled = magnitude * power(2, scale - twos) * power(5, scale - fives);
    Some((unscaled, i32::try_from(scale).ok()?))
}

/// Tells ratios apart, in no order that means anything.
fn ratio_tail(magnitude: &BigUint, denominator: &BigUint) -> Vec<u8> {
    let mut tail = vec![2];
    put_escaped(magnitude.to_bytes_be().into_iter(), &mut tail);
    put_escaped(denominator.to_bytes_be().into_iter(), &mut tail);
    tail
}

/// A ratio other than zero; `tail` tells it from others with the same first bits.
fn put_fraction(
    negative: bool,
    magnitude: &BigUint,
    denominator: &BigUint,
    tail: impl FnOnce() -> Vec<u8>,
    out: &mut Vec<u8>,
) {
    let one = BigUint::from(1u8);
    let bits = |number: &BigUint| i64::try_from(number.bits()).unwrap_or(i64::MAX / 4);
    // As many bits as are wanted, and all of an integer.
    let wanted = if *denominator == one { 0 } else { bits(denominator) - bits(magnitude) };
    let shift = if *denominator == one { 0 } else { wanted + FRACTION_BITS.cast_signed() };
    let (dividend, divisor) = match u64::try_from(shift) {
        Ok(left) => (magnitude << left, denominator.clone()),
        Err(_) => (magnitude.clone(), denominator << shift.unsigned_abs()),
    };
    let quotient = &dividend / &divisor;
    let is_exact = &quotient * &divisor == dividend;
    let top = bits(&quotient) - 1 - shift;
    let mut bytes = (&quotient << ((8 - quotient.bits() % 8) % 8)).to_bytes_be();
    // Cut to the same number of bits, so that equal numbers have equal bytes.
    let cut = bytes.split_off(bytes.len().min((FRACTION_BITS / 8) as usize));
    let tail = (!is_exact || cut.iter().any(|&byte| byte != 0)).then(tail);
    put_magnitude(negative, i32::try_from(top).unwrap_or(i32::MAX), &bytes, tail, out);
}

/// A number other than zero: where its highest bit is, its bits from there on, and what follows when there are more bits.
fn put_magnitude(negative: bool, top: i32, bits: &[u8], tail: Option<Vec<u8>>, out: &mut Vec<u8>) {
    out.push(if negative { sign::NEGATIVE } else { sign::POSITIVE });
    let start = out.len();
    out.extend_from_slice(&(top.cast_unsigned() ^ 1 << 31).to_be_bytes());
    match tail {
        None => {
            let used = bits.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            put_escaped(bits[..used].iter().copied(), out);
        }
        Some(tail) => {
            put_escaped(bits.iter().copied(), out);
            // Behind the number that has these bits and no others.
            out.pop();
            out.push(2);
            out.extend_from_slice(&tail);
        }
    }
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;
    use crate::record::datom::edn;

    fn key(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put_value(&edn::parse_value(text.as_bytes()).unwrap(), &mut out).unwrap();
        out
    }

    #[test]
    fn values_ascend_as_clojure_compares_them() {
        let ascending: &[&[&str]] = &[
            &[
                "##-Inf",
                "-9223372036854775809N",
                "-9223372036854775808",
                "-1000",
                "-255",
                "-2.5",
                "-1.1M",
                "-1",
                "-0.5",
                "-5e-324",
                "0",
                "5e-324",
                "1/3",
                "0.5",
                "1",
                "1.09M",
                "1.1M",
                "2",
                "255",
                "256",
                "9223372036854775807",
                "9223372036854775808N",
                "1e300",
                "##Inf",
            ],
            &["\"\"", "\"A\"", "\"a\"", "\"a\\u0000\"", "\"aa\"", "\"é\"", "\"😀\"", "\"\u{e000}\"", "\"\u{ffff}\""],
            &[":b", ":z", ":a/a", ":a/b", ":a-b/a", ":b/a"],
            &[
                "#uuid \"80000000-0000-0000-0000-000000000000\"",
                "#uuid \"ffffffff-0000-0000-0000-000000000000\"",
                "#uuid \"00000000-0000-0000-8000-000000000000\"",
                "#uuid \"00000000-0000-0000-0000-000000000000\"",
                "#uuid \"7fffffff-0000-0000-0000-000000000000\"",
            ],
            &["#bytes \"80\"", "#bytes \"ff\"", "#bytes \"ff00\"", "#bytes \"00\"", "#bytes \"7f\""],
            &["[]", "[9]", "[nil nil]", "[nil 1]", "[1 nil]", "[1 2]", "(1 3)", "[\"a\" 1]"],
            &["#inst \"1969-12-31T23:59:59.999Z\"", "#inst \"1970-01-01T00:00:00Z\""],
            &[
                ":a",
                "a",
                "false",
                "true",
                "1",
                "\"a\"",
                "#inst \"1970-01-01T00:00:00Z\"",
                "#uuid \"00000000-0000-0000-0000-000000000000\"",
            ],
        ];
        for values in ascending {
            for pair in values.windows(2) {
                assert!(key(pair[0]) < key(pair[1]), "{} {}", pair[0], pair[1]);
            }
        }
        for equal in [
            ["1", "1N"],
            ["1", "1.0"],
            ["1.10M", "1.1M"],
            ["0.0", "-0.0"],
            ["0.5", "1/2"],
            ["[1 2]", "(1 2)"],
            ["100", "1E+2M"],
            ["0.125", "0.125M"],
        ] {
            assert_eq!(key(equal[0]), key(equal[1]), "{equal:?}");
        }
    }

    #[test]
    fn numbers_are_told_apart_however_long_or_far_they_are() {
        let third = |last: &str| format!("1.{}{last}M", "3".repeat(171));
        let long = |last: &str| format!("{}{last}", "7".repeat(300));
        let (a, b) = (third("1"), third("2"));
        let ascending = [
            "-1E+30000M",
            "-1E+25000M",
            "-1E+300M",
            "-1E-20001M",
            "-1E-2000000000M",
            "1E-2000000000M",
            "1E-30000M",
            "1.5E-30000M",
            "1E-20001M",
            "1E-20000M",
            "1E-300M",
            &a,
            &b,
            "1.4M",
            &long("1N"),
            &long("1.5M"),
            &long("2N"),
            &long("2.25M"),
            "1E+20000M",
            "1E+20001M",
            "1E+25000M",
            "1.25E+25000M",
            "1E+30000M",
            "1E+2000000000M",
            "##Inf",
        ];
        for pair in ascending.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{} {}", pair[0], pair[1]);
            assert!(!key(pair[1]).starts_with(&key(pair[0])), "{} {}", pair[0], pair[1]);
        }
        let zeros = |count: usize| format!("1{}N", "0".repeat(count));
        for [one, other] in [
            ["1E+25000M", zeros(25_000).as_str()],
            ["1E+300M", &zeros(300)],
            ["1.0E+30000M", "10E+29999M"],
            ["0.10M", "0.1M"],
            ["1/10", "0.1M"],
            ["-3/30", "-0.1M"],
            ["1/3", "2/6"],
            ["1.5E+300M", "15E+299M"],
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        assert_ne!(key("1/3"), key(&format!("0.{}M", "3".repeat(400))));
        assert!(key("0.1") > key("0.1M"), "the double is a little more");
    }

    #[test]
    fn huge_scales_are_taken_in_stride() {
        assert!(key("1E+2000000000M") > key("1e300"));
        assert!(key("1E-2000000000M") > key("0"));
    }

    proptest! {
        #[test]
        fn decimals_sort_by_size(a in any::<i64>(), b in any::<i64>(), scale in 0_u32..200, lift in 0_u32..20) {
            // Far more digits than 512 bits hold, which differ in the last ones.
            let long = |last: i64| BigInt::from(7u8).pow(400) + last;
            let decimal = |n: &BigInt, scale: i32| {
                let mut out = Vec::new();
                put_decimal(n, scale, &mut out);
                out
            };
            let (small, scale) = (|n: i64| BigInt::from(n), scale.cast_signed());
            prop_assert_eq!(decimal(&long(a), scale).cmp(&decimal(&long(b), scale)), a.cmp(&b));
            prop_assert_eq!(decimal(&small(a), scale).cmp(&decimal(&small(b), scale)), a.cmp(&b));
            prop_assert_eq!(decimal(&-long(a), scale).cmp(&decimal(&-long(b), scale)), b.cmp(&a));
            let lifted = long(a) * BigInt::from(10u8).pow(lift);
            prop_assert_eq!(decimal(&lifted, scale + lift.cast_signed()), decimal(&long(a), scale));
        }

        #[test]
        fn longs_and_doubles_sort_by_size(a: i64, b: i64, x: f64, y: f64) {
            let bytes = |value: Value<'_>| { let mut out = Vec::new(); put_value(&value, &mut out).unwrap(); out };
            prop_assert_eq!(bytes(Value::Long(a)).cmp(&bytes(Value::Long(b))), a.cmp(&b));
            if let Some(order) = x.partial_cmp(&y) {
                prop_assert_eq!(bytes(Value::Double(x)).cmp(&bytes(Value::Double(y))), order);
            }
            let small = a >> 12;
            let order = (small as f64).partial_cmp(&x).unwrap_or(Ordering::Less);
            prop_assert_eq!(bytes(Value::Long(small)).cmp(&bytes(Value::Double(x))), order);
        }
    }
}
