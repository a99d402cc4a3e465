//! Records: keys that sort as datoms do, columns that give back the rows they were made of, and no panic on any bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use num_bigint::BigInt;
use packstone::id::BlobId;
use packstone::record::datom::{
    Attribute, BigDecimal, Datom, Datoms, EncodeError, Summary, Value, ValueReference, decode_key, decode_value,
    encode_key, encode_value, from_view_key, is_wtf8, long_value, number_bound, split_key, to_view_key, value_range,
    view_fact,
};
use packstone::record::{RecordKind, Rows, kind};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-c\u{0}\u{1}\u{2}é😀]{0,8}".prop_map(String::into_bytes),
        "[0-9a-f]{0,6}".prop_map(String::into_bytes),
        Just(b"\xed\xa0\xbd".to_vec()),
        Just(b"x\xed\xb8\x80".to_vec()),
        any::<String>().prop_map(String::into_bytes),
    ]
}

fn long() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -3_i64..3, Just(i64::MIN), Just(i64::MAX), (0_u32..63).prop_map(|n| 1 << n)]
}

fn big() -> impl Strategy<Value = BigInt> {
    let digits = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![digits.prop_map(|bytes| BigInt::from_signed_bytes_be(&bytes)), long().prop_map(BigInt::from)]
}

fn double() -> impl Strategy<Value = f64> {
    let special = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 5e-324, 0.1];
    prop_oneof![any::<f64>(), prop::sample::select(special.to_vec())]
}

fn float() -> impl Strategy<Value = f32> {
    prop_oneof![any::<f32>(), prop::sample::select(vec![0.0, -0.0, f32::NAN, f32::INFINITY, 1.1])]
}

fn scalar() -> BoxedStrategy<Value<'static>> {
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        long().prop_map(Value::Long),
        big().prop_map(Value::BigInt),
        double().prop_map(Value::Double),
        float().prop_map(Value::Float),
        (big(), any::<i32>()).prop_map(|(unscaled, scale)| Value::BigDecimal(BigDecimal { unscaled, scale })),
        (big(), big()).prop_map(|(n, d)| Value::Ratio(n, d)),
        any::<u16>().prop_map(Value::Char),
        text().prop_map(|t| Value::String(t.into())),
        "[a-c/\u{0}]{0,5}".prop_map(|n| Value::Keyword(n.into())),
        "[a-c/\u{1}]{0,5}".prop_map(|n| Value::Symbol(n.into())),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        long().prop_map(Value::Instant),
        prop::collection::vec(0_u8..4, 0..8).prop_map(|b| Value::Bytes(b.into())),
        any::<Vec<u8>>().prop_map(|b| Value::Bytes(b.into())),
        text().prop_map(|t| Value::Uri(t.into())),
        text().prop_map(|t| Value::Regex(t.into())),
        prop::collection::vec(float(), 0..5).prop_map(Value::Floats),
        prop::collection::vec(double(), 0..5).prop_map(Value::Doubles),
    ]
    .boxed()
}

fn canonical(value: &Value<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_value(value, &mut bytes).unwrap();
    bytes
}

fn nested() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![4 => scalar(), 1 => Just(Value::Nil)].prop_recursive(3, 24, 5, |inner| {
        let many = prop::collection::vec(inner.clone(), 0..5);
        let distinct = many.clone().prop_map(|mut elements| {
            elements.sort_by_key(canonical);
            elements.dedup();
            elements
        });
        prop_oneof![
            many.clone().prop_map(Value::Tuple),
            many.clone().prop_map(Value::List),
            distinct.clone().prop_map(Value::Set),
            (distinct, many)
                .prop_map(|(keys, values)| Value::Map(keys.into_iter().zip(values.into_iter().cycle()).collect())),
            ("[a-c/]{0,4}", inner).prop_map(|(tag, value)| Value::Tagged(tag.into(), Box::new(value))),
        ]
    })
}

fn stored() -> impl Strategy<Value = Value<'static>> {
    (any::<[u8; 32]>(), any::<bool>(), 65_u64.., 2_u8..0x19, any::<[u8; 32]>()).prop_map(
        |(id, listed, length, kind, bytes)| {
            let mut start = vec![kind; 32];
            start.extend_from_slice(&bytes);
            Value::Stored(ValueReference { start, id: BlobId::new(id), listed, length })
        },
    )
}

fn attribute() -> impl Strategy<Value = Attribute<'static>> {
    prop_oneof![
        8 => prop::sample::select(vec!["db/ident", "a/b", "a", "", "a\u{0}", "a\u{1}b", "ü"])
            .prop_map(|name| Attribute::Keyword(name.into())),
        1 => (-2_i64..3).prop_map(Attribute::Id),
        1 => "[ab\u{0}]{0,3}".prop_map(|name| Attribute::String(name.into())),
    ]
}

fn top() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        6 => nested().prop_filter("nil stands only inside others", |value| *value != Value::Nil),
        1 => stored(),
        2 => (0_i64..4).prop_map(Value::Long),
        2 => "[0-9a-f]{4}".prop_map(|t| Value::String(t.into_bytes().into())),
        1 => "pre[ab]{0,3}".prop_map(|t| Value::String(t.into_bytes().into())),
    ]
}

fn datom() -> impl Strategy<Value = Datom<'static>> {
    let t = prop_oneof![3 => 0_i64..4, 1 => long()];
    let e = prop_oneof![3 => 0_i64..6, 1 => long()];
    (e, attribute(), top(), t, any::<bool>()).prop_map(|(e, a, v, t, added)| Datom { e, a, v, t, added })
}

fn key(datom: &Datom<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    encode_key(datom, &mut key).unwrap();
    key
}

/// The order the format promises where it promises a natural one.
fn natural_order(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    Some(match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Long(a), Value::Long(b)) | (Value::Instant(a), Value::Instant(b)) => a.cmp(b),
        (Value::BigInt(a), Value::BigInt(b)) => a.cmp(b),
        (Value::Char(a), Value::Char(b)) => a.cmp(b),
        (Value::Double(a), Value::Double(b)) => quiet(*a).total_cmp(&quiet(*b)),
        (Value::Float(a), Value::Float(b)) => f64::from(*a)
            .abs()
            .partial_cmp(&f64::from(*b).abs())
            .and((!a.is_nan() && !b.is_nan()).then(|| a.total_cmp(b)))?,
        (Value::String(a), Value::String(b)) | (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Keyword(a), Value::Keyword(b)) | (Value::Symbol(a), Value::Symbol(b)) => a.cmp(b),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        (Value::Tuple(a), Value::Tuple(b)) | (Value::List(a), Value::List(b)) => {
            let mut pairs = a.iter().zip(b);
            match pairs.find(|(x, y)| x != y) {
                Some((x, y)) => natural_order(x, y)?,
                None => a.len().cmp(&b.len()),
            }
        }
        _ => return None,
    })
}

fn quiet(number: f64) -> f64 {
    if number.is_nan() { f64::NAN.copysign(1.0) } else { number }
}

/// Rows of a set of datoms.
fn rows(datoms: &[Datom<'_>]) -> Rows {
    let keys: BTreeSet<Vec<u8>> = datoms.iter().map(key).collect();
    let mut rows = Rows::new();
    keys.iter().for_each(|key| rows.push(key, &[]));
    rows
}

fn check_columns(rows: &Rows) {
    let columns = Datoms.encode(rows);
    assert_eq!(&Datoms.decode(&columns).unwrap(), rows);
    for end in 0..columns.len().min(40) {
        assert!(Datoms.decode(&columns[..end]).is_err() || rows.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_key_gives_back_its_datom(datom in datom()) {
        let key = key(&datom);
        let again = decode_key(&key).unwrap();
        prop_assert_eq!(&again, &datom);
        prop_assert_eq!(again.into_owned(), datom.clone());
        let parts = split_key(&key).unwrap();
        prop_assert_eq!((parts.t, parts.e, parts.added), (datom.t, datom.e, datom.added));
        prop_assert_eq!(parts.v, &canonical(&datom.v)[..]);
        prop_assert_eq!(&key[value_range(&key).unwrap()], parts.v);
        prop_assert_eq!(decode_value(parts.v).unwrap(), datom.v);
    }

    #[test]
    fn keys_sort_as_datoms_do(x in datom(), y in datom()) {
        let (kx, ky) = (key(&x), key(&y));
        let (vx, vy) = (canonical(&x.v), canonical(&y.v));
        prop_assert_eq!(kx == ky, x == y);
        if let Some(order) = natural_order(&x.v, &y.v) {
            prop_assert_eq!(vx.cmp(&vy), order, "{:?} {:?}", x.v, y.v);
        }
        let expected = x.t.cmp(&y.t).then(x.e.cmp(&y.e)).then_with(|| x.a.cmp(&y.a))
            .then_with(|| vx.cmp(&vy)).then(x.added.cmp(&y.added));
        prop_assert_eq!(kx.cmp(&ky), expected);
        prop_assert_eq!(kx[..] < number_bound(y.t)[..], x.t < y.t);
        prop_assert_eq!(vx.starts_with(&vy), vx == vy);
    }

    #[test]
    fn values_of_one_kind_sort_naturally(x in nested(), y in nested()) {
        if let Some(order) = natural_order(&x, &y) {
            prop_assert_eq!(canonical(&x).cmp(&canonical(&y)), order);
        }
        prop_assert_eq!(x == y, canonical(&x) == canonical(&y));
    }

    #[test]
    fn numbers_sort_naturally(a in big(), b in big(), x in double(), y in double()) {
        let (v, w) = (canonical(&Value::BigInt(a.clone())), canonical(&Value::BigInt(b.clone())));
        prop_assert_eq!(v.cmp(&w), a.cmp(&b));
        let (v, w) = (canonical(&Value::Double(x)), canonical(&Value::Double(y)));
        prop_assert_eq!(v.cmp(&w), quiet(x).total_cmp(&quiet(y)));
    }

    #[test]
    fn a_view_key_gives_back_its_key(x in datom(), y in datom()) {
        let view = |datom: &Datom<'_>| {
            let mut view = Vec::new();
            to_view_key(&key(datom), &mut view).unwrap();
            view
        };
        let mut again = Vec::new();
        from_view_key(&view(&x), &mut again).unwrap();
        prop_assert_eq!(again, key(&x));
        let expected = x.e.cmp(&y.e).then_with(|| x.a.cmp(&y.a)).then_with(|| canonical(&x.v).cmp(&canonical(&y.v)))
            .then(x.t.cmp(&y.t)).then(x.added.cmp(&y.added));
        prop_assert_eq!(view(&x).cmp(&view(&y)), expected);
        let same_fact = (x.e, &x.a, &x.v) == (y.e, &y.a, &y.v);
        prop_assert_eq!(view_fact(&view(&x)) == view_fact(&view(&y)), same_fact);
    }

    #[test]
    fn columns_give_back_their_rows(datoms in prop::collection::vec(datom(), 0..60)) {
        check_columns(&rows(&datoms));
    }

    #[test]
    fn columns_of_one_attribute_give_back_their_rows(
        values in prop::collection::vec(prop_oneof![
            "pre[ab]{0,4}".prop_map(|t| Value::String(t.into_bytes().into())),
            "[0-9a-f]{4}".prop_map(|t| Value::String(t.into_bytes().into())),
            (0_u8..3).prop_map(|n| Value::Keyword(format!("k/{n}").into())),
        ], 0..120),
        kinds in 0_u8..4,
    ) {
        let chosen = |value: &&Value<'_>| match value {
            Value::Keyword(_) => kinds == 2,
            Value::String(text) => kinds == 3 || text.starts_with(b"pre") == (kinds == 0),
            _ => true,
        };
        let datoms: Vec<Datom<'_>> = (0_i64..).zip(values.iter().filter(chosen)).map(|(i, v)| Datom {
            e: i / 2, a: Attribute::Keyword("a/b".into()), v: v.clone(), t: i / 16, added: i % 3 > 0,
        }).collect();
        check_columns(&rows(&datoms));
    }

    #[test]
    fn a_changed_byte_gives_an_error_or_valid_rows(
        datoms in prop::collection::vec(datom(), 1..20), at: prop::sample::Index, byte: u8,
    ) {
        let mut columns = Datoms.encode(&rows(&datoms));
        let at = at.index(columns.len());
        columns[at] = byte;
        if let Ok(rows) = Datoms.decode(&columns) {
            for (row, _) in rows.iter() {
                let datom = decode_key(row).unwrap();
                prop_assert_eq!(&key(&datom)[..], row);
            }
            check_columns(&rows);
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(prop_oneof![0_u8..28, any::<u8>()], 0..200)) {
        let _ = split_key(&bytes);
        let _ = Summary::decode(&bytes);
        let _ = is_wtf8(&bytes);
        let _ = value_range(&bytes);
        let _ = view_fact(&bytes);
        let _ = to_view_key(&bytes, &mut Vec::new());
        let _ = from_view_key(&bytes, &mut Vec::new());
        if let Ok(value) = decode_value(&bytes) {
            prop_assert_eq!(canonical(&value), &bytes[..]);
        }
        for code in [1, 2] {
            let _ = kind(code).unwrap().decode(&bytes);
            let _ = kind(code).unwrap().merge(&[&bytes]);
        }
        let _ = Datoms.references(&bytes, &[], &mut Vec::new());
    }

    #[test]
    fn every_type_refuses_or_understands_any_payload(tag in 0_u8..28, payload: Vec<u8>) {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&payload);
        if let Ok(value) = decode_value(&bytes) {
            prop_assert_eq!(canonical(&value), bytes);
        }
    }

    #[test]
    fn a_summary_covers_its_datoms(x in prop::collection::vec(datom(), 1..20), y in prop::collection::vec(datom(), 0..20)) {
        let (rx, ry) = (rows(&x), rows(&y));
        let merged = Datoms.merge(&[&Datoms.summarize(&rx), &Datoms.summarize(&ry)]).unwrap();
        prop_assert!(merged.len() <= 64);
        let summary = Summary::decode(&merged).unwrap();
        let mut retractions = 0;
        for (key, _) in rx.iter().chain(ry.iter()) {
            let parts = split_key(key).unwrap();
            prop_assert!(summary.may_contain_t(parts.t..=parts.t));
            prop_assert!(summary.may_contain_e(parts.e..=parts.e));
            prop_assert!(summary.may_contain_attribute(parts.a));
            retractions += u64::from(!parts.added);
        }
        prop_assert_eq!(summary.retractions, retractions);
        let t_min = x.iter().chain(&y).map(|datom| datom.t).min().unwrap();
        prop_assert_eq!(summary.t_min, t_min);
        prop_assert!(t_min == i64::MIN || !summary.may_contain_t(i64::MIN..=t_min - 1));
    }
}

#[test]
fn equality_is_that_of_canonical_bytes() {
    assert_eq!(Value::Double(f64::NAN), Value::Double(-f64::NAN));
    assert_ne!(Value::Double(0.0), Value::Double(-0.0));
    assert_ne!(Value::Long(1), Value::BigInt(1.into()));
    assert_ne!(Value::Double(1.5), Value::Float(1.5));
    assert_eq!(
        Value::Set(vec![Value::Long(1), Value::Nil, Value::Long(2)]),
        Value::Set(vec![Value::Long(2), Value::Long(1), Value::Nil])
    );
    let entry = |key, value| (Value::Long(key), Value::Long(value));
    assert_eq!(Value::Map(vec![entry(1, 5), entry(2, 6)]), Value::Map(vec![entry(2, 6), entry(1, 5)]));
    assert_ne!(Value::Map(vec![entry(1, 5), entry(2, 6)]), Value::Map(vec![entry(2, 5), entry(1, 6)]));
}

#[test]
fn sets_are_sorted_and_have_no_duplicates() {
    let set = |elements: &[i64]| Value::Set(elements.iter().map(|n| Value::Long(*n)).collect());
    assert_eq!(canonical(&set(&[3, -1, 2])), canonical(&set(&[-1, 2, 3])));
    assert_eq!(encode_value(&set(&[3, 1, 3]), &mut Vec::new()), Err(EncodeError::DuplicateElement));
    let twice = Value::Map(vec![(Value::Nil, Value::Long(1)), (Value::Nil, Value::Long(2))]);
    assert_eq!(encode_value(&twice, &mut Vec::new()), Err(EncodeError::DuplicateKey));
}

#[test]
fn what_has_no_key_is_refused() {
    let datom = |v| Datom { e: 1, a: Attribute::Id(1), v, t: 1, added: true };
    let refused = |v| encode_key(&datom(v), &mut Vec::new()).unwrap_err();
    assert_eq!(refused(Value::Nil), EncodeError::Nil);
    assert_eq!(refused(Value::String(Cow::Borrowed(b"\xff"))), EncodeError::Text);
    let reference = ValueReference { start: vec![0x0a; 63], id: BlobId::new([0; 32]), listed: false, length: 2000 };
    assert_eq!(refused(Value::Stored(reference.clone())), EncodeError::Stored);
    assert_eq!(refused(Value::Tuple(vec![Value::Stored(reference)])), EncodeError::Stored);
    let deep = |levels| (0..levels).fold(Value::Long(1), |inner, _| Value::Tuple(vec![inner]));
    assert_eq!(refused(deep(65)), EncodeError::TooDeep);
    let key = key(&datom(deep(64)));
    assert_eq!(decode_key(&key).unwrap(), datom(deep(64)));
}

#[test]
fn deep_nesting_is_refused_without_deep_recursion() {
    let bytes: Vec<u8> = [0x12, 1].into_iter().cycle().take(1 << 20).collect();
    assert!(decode_value(&bytes).is_err());
}

#[test]
fn long_values_are_those_over_the_limit() {
    let text = |len| Value::String(vec![b'x'; len].into());
    assert_eq!(long_value(&text(1022), 1024).unwrap(), None);
    assert_eq!(long_value(&text(1023), 1024).unwrap(), Some(canonical(&text(1023))));
    let zeros = Value::Bytes(vec![0; 600].into());
    assert_eq!(long_value(&zeros, 1024).unwrap().unwrap().len(), 1202);
}

#[test]
fn a_stored_value_is_a_reference() {
    let id = BlobId::new([7; 32]);
    let v = Value::Stored(ValueReference { start: vec![0x0a; 64], id, listed: true, length: 4000 });
    let key = key(&Datom { e: 1, a: Attribute::Id(1), v, t: 1, added: true });
    let mut ids = Vec::new();
    Datoms.references(&key, &[], &mut ids).unwrap();
    assert_eq!(ids, [packstone::record::Reference::List(id)]);
}

#[test]
fn few_bytes_do_not_become_many_rows() {
    // One group, one attribute, one run of 2^40 equal booleans.
    let mut numbers = vec![1, 1, 0, 0, 0, 0];
    numbers.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 1, 1, 2, 0]);
    let mut columns = vec![u8::try_from(numbers.len()).unwrap(), 3];
    columns.extend_from_slice(&numbers);
    columns.extend_from_slice(&[1, b'a', 0]);
    assert!(Datoms.decode(&columns).is_err());
}
