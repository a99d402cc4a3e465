//! Any datom and any value, for the property tests of both text forms.

use std::borrow::Cow;

use num_bigint::BigInt;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::record::datom::{Attribute, BigDecimal, Datom, Value, edn};

/// WTF-8 from UTF-16 units, so that there are lone surrogates.
fn text() -> impl Strategy<Value = Cow<'static, [u8]>> {
    let unit = prop_oneof![Just(0), 0_u16..128, any::<u16>(), 0xd7f0_u16..0xe010];
    let units = vec(unit, 0..12).prop_map(|units| {
        let mut text = Vec::new();
        units.into_iter().for_each(|unit| edn::push_unit(unit, &mut text));
        Cow::Owned(text)
    });
    let words = "[a-z\\\\\"\n\t ]{0,12}".prop_map(|text| Cow::Owned(text.into_bytes()));
    prop_oneof![units, words]
}

fn name() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![
        4 => "[a-z.]{1,8}(/[a-z?!*-]{1,8})?".prop_map(Cow::Owned),
        1 => "\\PC{0,6}".prop_map(Cow::Owned),
        1 => "[ :#0-9'@a\\[\"\n-]{0,4}".prop_map(Cow::Owned),
        1 => prop::sample::select(vec!["nil", "true", "inst", "tagged", "object", "+", "-1", "_"]).prop_map(Cow::Borrowed),
    ]
}

fn double() -> impl Strategy<Value = f64> {
    let special = vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 5e-324];
    prop_oneof![any::<u64>().prop_map(canonical_double), any::<f64>(), prop::sample::select(special), -1e4..1e4]
}

fn canonical_double(bits: u64) -> f64 {
    let x = f64::from_bits(bits);
    if x.is_nan() { f64::NAN } else { x }
}

fn float() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(|bits| if f32::from_bits(bits).is_nan() { f32::NAN } else { f32::from_bits(bits) })
}

fn big() -> impl Strategy<Value = BigInt> {
    prop_oneof![
        any::<i64>().prop_map(BigInt::from),
        vec(any::<u8>(), 0..40).prop_map(|b| BigInt::from_signed_bytes_be(&b))
    ]
}

fn scalar() -> impl Strategy<Value = Value<'static>> {
    let decimal = (big(), prop_oneof![-20..20, any::<i32>()]);
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Long),
        big().prop_map(Value::BigInt),
        double().prop_map(Value::Double),
        float().prop_map(Value::Float),
        decimal.prop_map(|(unscaled, scale)| Value::BigDecimal(BigDecimal { unscaled, scale })),
        (big(), 1_u64..).prop_map(|(n, d)| Value::Ratio(n, BigInt::from(d))),
        any::<u16>().prop_map(Value::Char),
        (0_u16..128).prop_map(Value::Char),
        text().prop_map(Value::String),
        name().prop_map(Value::Keyword),
        name().prop_map(Value::Symbol),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        any::<i64>().prop_map(Value::Instant),
        (-100_000_000_000_000_i64..300_000_000_000_000).prop_map(Value::Instant),
        vec(any::<u8>(), 0..20).prop_map(|b| Value::Bytes(Cow::Owned(b))),
        text().prop_map(Value::Uri),
        text().prop_map(Value::Regex),
        vec(float(), 0..4).prop_map(Value::Floats),
        vec(double(), 0..4).prop_map(Value::Doubles),
    ]
}

/// Collections hold no duplicates, by numbering their elements.
pub(crate) fn value() -> impl Strategy<Value = Value<'static>> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        let numbered = |values: Vec<Value<'static>>| -> Vec<Value<'static>> {
            (0..).map(Value::Long).zip(values).map(|(n, v)| Value::Tuple(vec![n, v])).collect()
        };
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Tuple),
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec(inner.clone(), 0..4).prop_map(move |values| Value::Set(numbered(values))),
            vec((inner.clone(), inner.clone()), 0..4).prop_map(move |entries| {
                let (keys, values): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
                Value::Map(numbered(keys).into_iter().zip(values).collect())
            }),
            (name(), inner).prop_map(|(tag, value)| Value::Tagged(tag, Box::new(value))),
        ]
    })
}

pub(crate) fn datom() -> impl Strategy<Value = Datom<'static>> {
    let attribute = prop_oneof![
        name().prop_map(Attribute::Keyword),
        (0..i64::MAX).prop_map(Attribute::Id),
        name().prop_map(Attribute::String),
    ];
    let value = value().prop_filter("not nil", |v| !matches!(v, Value::Nil));
    (any::<i64>(), attribute, value, any::<i64>(), any::<bool>()).prop_map(|(e, a, v, t, added)| Datom {
        e,
        a,
        v,
        t,
        added,
    })
}

/// A text in which equal values are equal: NaN is itself and -0.0 is not 0.0.
pub(crate) fn shown(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}
