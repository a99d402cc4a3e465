//! Golden bytes of both dialects, the inverse, and hostile input.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::borrow::Cow;

use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;
use crate::error::DecodeError;
use crate::id::unhex;
use crate::record::datom::{Attribute, BigDecimal, Datom, Value};

fn with_value(value: Value<'_>) -> Datom<'_> {
    Datom { e: 1, a: Attribute::Keyword(Cow::Borrowed("a")), v: value, t: 2, added: true }
}

/// The item of `[1 :a v 2 true]` from the hex of `v`.
fn record(value: &str) -> Vec<u8> {
    unhex(&format!("8501d827623a61{value}02f5")).unwrap()
}

fn check(dialect: Dialect, hex: &str, value: Value<'_>) {
    let bytes = record(hex);
    let (datom, len) = decode_datom(dialect, &bytes).unwrap();
    // As text, in which NaN equals itself.
    assert_eq!(format!("{:?} {len}", datom.v), format!("{value:?} {}", bytes.len()), "{hex}");
    let mut again = Vec::new();
    encode_datom(dialect, &with_value(value), &mut again).unwrap();
    assert_eq!(again, bytes, "{hex}");
}

fn text(text: &str) -> Value<'_> {
    Value::String(Cow::Borrowed(text.as_bytes()))
}

#[test]
fn archival_items_are_those_of_real_dumps() {
    let check = |hex, value| check(Dialect::Archival, hex, value);
    check("c24107", Value::BigInt(BigInt::from(7)));
    check("c24100", Value::BigInt(BigInt::from(0)));
    check("c34a152d02c7e14af67ffffe", Value::BigInt("-99999999999999999999999".parse().unwrap()));
    check("c482211864", Value::BigDecimal(BigDecimal { unscaled: BigInt::from(100), scale: 2 }));
    check("fb8000000000000000", Value::Double(-0.0));
    check("fa00000000", Value::Float(0.0));
    check("c074313937302d30312d30315430303a30303a30305a", Value::Instant(0));
    check("c07818313930312d31322d31335432303a34353a35312e3030315a", Value::Instant(-2_147_483_648_999));
    check("82d827626173f6", Value::Tuple(vec![Value::Symbol(Cow::Borrowed("as")), Value::Nil]));
    check("d81b826c636c6f6a7572652f636861726161", Value::Char(97));
    check("d855480000c03f00000080", Value::Floats(vec![1.5, -0.0]));
    check("d9010282016162", Value::Set(vec![Value::Long(1), text("b")]));
    check("d83e01", Value::Tagged(Cow::Borrowed("cbor/62"), Box::new(Value::Long(1))));
    check(
        "d81b82781c6461746168696b652e6d6967726174652e63626f722e537973526566a1d827663a6964656e74d827623a78",
        Value::Tagged(
            Cow::Borrowed(SYSTEM_REFERENCE),
            Box::new(Value::Map(vec![(Value::Keyword(Cow::Borrowed("ident")), Value::Keyword(Cow::Borrowed("x")))])),
        ),
    );
}

#[test]
fn clj_cbor_items_are_those_of_real_exports() {
    let check = |hex, value| check(Dialect::CljCbor, hex, value);
    let half = |value| Value::Tagged(Cow::Borrowed(HALF), Box::new(Value::Double(value)));
    check("f90000", half(0.0));
    check("f97e00", half(f64::from_bits(0x7ff8_0000_0000_0000)));
    check("f9fc00", half(f64::NEG_INFINITY));
    check("fa3fc00000", Value::Float(1.5));
    check("c100", Value::Instant(0));
    check("c11a65e1abee", Value::Instant(1_709_288_430_000));
    check("c1fb41d964ff596b645a", Value::Instant(1_704_197_477_678));
    check("d82363612e2b", Value::Regex(Cow::Borrowed(b"a.+")));
    check("d81e820103", Value::Ratio(BigInt::from(1), BigInt::from(3)));
    check("c249010000000000000000", Value::BigInt(BigInt::from(1u128 << 64)));
    check("1bffffffffffffffff", Value::BigInt(BigInt::from(u64::MAX)));
}

#[test]
fn every_millisecond_survives_the_epoch_float() {
    for millis in 1_704_164_645_000i64..1_704_164_647_000 {
        let mut bytes = Vec::new();
        encode_datom(Dialect::CljCbor, &with_value(Value::Instant(millis)), &mut bytes).unwrap();
        assert_eq!(decode_datom(Dialect::CljCbor, &bytes).unwrap().0.v, Value::Instant(millis));
    }
}

#[test]
fn indefinite_lengths_are_read() {
    let datom = |hex| decode_datom(Dialect::CljCbor, &record(hex)).map(|(datom, _)| format!("{:?}", datom.v));
    assert_eq!(datom("9f0102ff"), datom("820102"));
    assert_eq!(datom("7f61616162ff"), datom("626162"));
    assert_eq!(datom("5f41014102ff"), datom("420102"));
    assert_eq!(datom("bf0102ff"), datom("a10102"));
}

#[test]
fn bad_items_are_refused() {
    let refused = |hex: &str| decode_datom(Dialect::Archival, &record(hex)).map(|_| ()).unwrap_err();
    assert_eq!(refused("a201010102"), DecodeError::Invalid("map: a key occurs twice"));
    assert_eq!(refused("d90102820101"), DecodeError::Invalid("set: an element occurs twice"));
    assert_eq!(refused("f6"), DecodeError::Invalid("datom: value is nil"));
    assert_eq!(refused("d8254101"), DecodeError::Invalid("UUID"));
    assert_eq!(refused("c06161"), DecodeError::Invalid("instant"));
    // A hostile length allocates nothing and asks for more bytes.
    assert_eq!(
        decode_datom(Dialect::Archival, &record("9bffffffffffffffff")[..18]).unwrap_err(),
        DecodeError::Truncated
    );
    assert_eq!(refused(&"81".repeat(10_000)), DecodeError::TooLarge("nesting"));
    assert_eq!(refused(&"c1".repeat(10_000)), DecodeError::TooLarge("nesting"));
}

#[test]
fn an_item_cut_anywhere_asks_for_more() {
    let bytes = record("d81b826c636c6f6a7572652f636861726161");
    for len in 0..bytes.len() {
        assert_eq!(decode_datom(Dialect::Archival, &bytes[..len]).unwrap_err(), DecodeError::Truncated, "{len}");
    }
}

#[test]
fn a_lone_surrogate_is_refused() {
    let mut out = vec![7];
    let value = Value::String(Cow::Borrowed(b"\xed\xa0\x80"));
    assert!(encode_datom(Dialect::Archival, &with_value(value), &mut out).is_err());
    assert_eq!(out, [7]);
}

fn values() -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Long),
        any::<i128>().prop_map(|n| Value::BigInt(BigInt::from(n) * BigInt::from(n))),
        any::<f64>().prop_filter("canonical", |x| !x.is_nan()).prop_map(Value::Double),
        any::<f32>().prop_filter("canonical", |x| !x.is_nan()).prop_map(Value::Float),
        (any::<i128>(), any::<i32>())
            .prop_map(|(n, scale)| Value::BigDecimal(BigDecimal { unscaled: BigInt::from(n), scale })),
        ".*".prop_map(|s| Value::String(Cow::Owned(s.into_bytes()))),
        "[a-z]+(/[a-z]+)?".prop_map(|s| Value::Keyword(Cow::Owned(s))),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        any::<i64>().prop_map(Value::Instant),
        any::<Vec<u8>>().prop_map(|b| Value::Bytes(Cow::Owned(b))),
        (32u16..0xd800).prop_map(Value::Char),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Tuple),
            inner.prop_map(|v| Value::Tagged(Cow::Borrowed("my.ns/Thing"), Box::new(v))),
        ]
    })
}

proptest! {
    #[test]
    fn archival_encoding_has_an_inverse(v in values(), e: i64, t: i64, added: bool) {
        let datom = Datom { e, t, added, ..with_value(v) };
        let mut bytes = Vec::new();
        encode_datom(Dialect::Archival, &datom, &mut bytes).unwrap();
        let (again, len) = decode_datom(Dialect::Archival, &bytes).unwrap();
        prop_assert_eq!(len, bytes.len());
        prop_assert_eq!(again, datom);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>) {
        let _ = decode_datom(Dialect::CljCbor, &bytes);
        let _ = skip(&bytes);
        let _ = decode_chunk::<DecodeError>(Dialect::CljCbor, &bytes, &mut |_| Ok(()));
        bytes.splice(0..0, [0x85, 0x01, 0x02]);
        let _ = decode_datom(Dialect::Archival, &bytes);
        bytes.splice(3..3, [0xc0, 0x74]);
        let _ = decode_datom(Dialect::Archival, &bytes);
    }
}
