//! The golden file written by Clojure's own encoder, and hostile input.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::borrow::Cow;

use num_bigint::BigInt;
use proptest::prelude::*;

use super::{Reader, Writer};
use crate::error::DecodeError;
use crate::id::{hex, unhex};
use crate::record::datom::edn::generated;
use crate::record::datom::{BigDecimal, Value};

fn read(hex: &str) -> Result<Value<'static>, DecodeError> {
    let bytes = Vec::leak(unhex(hex).unwrap());
    let mut reader = Reader::new(bytes);
    let value = reader.value()?;
    if reader.at_end() { Ok(value) } else { Err(DecodeError::TrailingBytes) }
}

fn keyword(name: &str) -> Value<'_> {
    Value::Keyword(Cow::Borrowed(name))
}

fn text(text: &str) -> Value<'_> {
    Value::String(Cow::Borrowed(text.as_bytes()))
}

#[test]
fn golden_numbers_are_read() {
    let golden = include_str!("../../../../tests/fixtures/fressian-golden.txt");
    let (mut longs, mut doubles) = (0, 0);
    for line in golden.lines() {
        let Some((printed, rest)) = line.split_once(" class java.lang.") else { continue };
        let Some((class, hex)) = rest.split_once(' ') else { continue };
        match class {
            "Long" => {
                assert_eq!(read(hex).unwrap(), Value::Long(printed.parse().unwrap()), "{line}");
                longs += 1;
            }
            "Double" | "Float" => {
                let number = match printed {
                    "##NaN" => f64::NAN,
                    "##Inf" => f64::INFINITY,
                    "##-Inf" => f64::NEG_INFINITY,
                    // Fressian has one code for both zeros of a double.
                    "-0.0" if class == "Double" => 0.0,
                    printed => printed.parse().unwrap(),
                };
                let expected = match class {
                    "Double" => Value::Double(number),
                    _ => Value::Float(number as f32),
                };
                assert_eq!(format!("{:?}", read(hex).unwrap()), format!("{expected:?}"), "{line}");
                doubles += 1;
            }
            _ => {}
        }
    }
    assert!(longs > 30 && doubles > 10, "{longs} {doubles}");
}

#[test]
fn every_golden_line_with_a_whole_value_is_read() {
    let golden = include_str!("../../../../tests/fixtures/fressian-golden.txt");
    let mut read_count = 0;
    for line in golden.lines().filter(|line| !line.starts_with("STR") && !line.starts_with("BYTES")) {
        let hex = line.rsplit(' ').next().unwrap();
        if hex.len() % 2 == 0 && !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            assert!(read(hex).is_ok() || ["RESET", "FOOTER"].iter().any(|word| line.starts_with(word)), "{line}");
            read_count += 1;
        }
    }
    assert!(read_count > 80, "{read_count}");
}

#[test]
fn values_of_every_kind_are_read() {
    let big = |n: i64| BigInt::from(n);
    for (hex, value) in [
        ("e0eda0bdedb880", text("😀")),
        ("ddeda080", Value::String(Cow::Borrowed(b"\xed\xa0\x80"))),
        ("db00", text("\0")),
        ("dcc3a9", text("é")),
        ("e203eda0bdddedb880", text("😀")),
        ("cacddb61cddb62", keyword("a/b")),
        ("c9f7cddb61", Value::Symbol(Cow::Borrowed("a"))),
        ("c6d1ff", Value::BigInt(big(-1))),
        ("c7d16e02", Value::BigDecimal(BigDecimal { unscaled: big(110), scale: 2 })),
        ("efdf726174696f02c6d101c6d103", Value::Ratio(big(1), big(3))),
        ("c8ff", Value::Instant(-1)),
        (
            "c3d9100123456789abcdef0123456789abcdef",
            Value::Uuid([1, 35, 69, 103, 137, 171, 205, 239].repeat(2).try_into().unwrap()),
        ),
        ("e7010203", Value::List(vec![Value::Long(1), Value::Long(2), Value::Long(3)])),
        ("c1e501", Value::Set(vec![Value::Long(1)])),
        ("c0e6caf7cddb6101", Value::Map(vec![(keyword("a"), Value::Long(1))])),
        ("efde63686172015061", Value::Char(97)),
        ("d3010203", Value::Bytes(Cow::Borrowed(&[1, 2, 3]))),
        ("b402f93f800000f980000000", Value::Floats(vec![1.0, -0.0])),
        ("b103fbfcfa4000000000000000", Value::Doubles(vec![0.0, 1.0, 2.0])),
        ("c4de72652e2a", Value::Regex(Cow::Borrowed(b"re.*"))),
        ("efde70766563020205f7", Value::Tuple(vec![Value::Long(5), Value::Nil])),
        ("e601caf7cddb61cfcfcfcf000000074d4007f5", Value::Nil),
    ] {
        if hex.contains("cfcfcfcf") {
            // A list, and behind it a footer over it.
            let bytes = unhex(hex).unwrap();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.value().unwrap(), Value::List(vec![Value::Long(1), keyword("a")]));
            assert_eq!(reader.value(), Err(DecodeError::Truncated));
            assert!(reader.at_end());
            continue;
        }
        assert_eq!(read(hex), Ok(value), "{hex}");
    }
    let cached = read("ebcaf7cddb61ca80cddb62caf780ca8081c9f780db61db61").unwrap();
    let a = || keyword("a");
    let expected =
        vec![a(), keyword("a/b"), a(), keyword("a/b"), Value::Symbol(Cow::Borrowed("a")), text("a"), text("a")];
    assert_eq!(cached, Value::List(expected));
}

#[test]
fn hostile_documents_are_refused() {
    let refused = |hex: &str| read(hex).unwrap_err();
    assert_eq!(refused("80"), DecodeError::Invalid("cache index"));
    assert_eq!(refused("cde580"), DecodeError::Invalid("cache slot that refers to itself"));
    assert_eq!(refused("a0"), DecodeError::Invalid("struct cache index"));
    assert_eq!(refused("ec7a7fffffffff"), DecodeError::Truncated);
    assert_eq!(refused("e37a7fffffffff"), DecodeError::Truncated);
    assert_eq!(refused("c0e80102"), DecodeError::Truncated);
    assert_eq!(refused("c0e801020103"), DecodeError::Invalid("map: a key occurs twice"));
    for code in ["e5", "cd", "c1e5", "ee", "c0e6", "fe"] {
        assert_eq!(refused(&code.repeat(10_000)), DecodeError::TooLarge("nesting"), "{code}");
    }
    // Every slot holds two copies of the one before it.
    let doubling: String = (0u8..30).map(|i| format!("cde6{0:02x}{0:02x}", 0x80 + i)).collect();
    assert_eq!(refused(&format!("ec1fcddb61{doubling}")), DecodeError::TooLarge("values of one document"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let mut reader = Reader::new(&bytes);
        while reader.value().is_ok() && !reader.at_end() {}
        let _ = Reader::new(&bytes).map_with_list::<DecodeError>("datoms", &mut |_| Ok(()));
    }
}

fn written(value: &Value<'_>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.value(value).unwrap();
    writer.finish()
}

#[test]
fn golden_values_are_written_as_clojure_writes_them() {
    let golden = include_str!("../../../../tests/fixtures/fressian-golden.txt");
    let mut count = 0;
    for line in golden.lines() {
        let hex_text = line.rsplit(' ').next().unwrap();
        let is_hex = hex_text.len() % 2 == 0 && !hex_text.is_empty() && hex_text.bytes().all(|b| b.is_ascii_hexdigit());
        let whole = is_hex && !["STR", "BYTES", "KW40", "RESET", "FOOTER"].iter().any(|word| line.starts_with(word));
        // Plain Fressian writes vectors and lists alike, and arrays of other kinds than bytes, floats and doubles.
        let other = ["[J", "[I", "[Z", "Object;", "Vector", "PersistentList", "xxxx"];
        if !whole || other.iter().any(|word| line.contains(word)) {
            continue;
        }
        assert_eq!(hex(&written(&read(hex_text).unwrap())), hex_text, "{line}");
        count += 1;
    }
    assert!(count > 70, "{count}");
}

#[test]
fn long_texts_and_bytes_are_cut_as_java_cuts_them() {
    let bytes = written(&Value::Bytes(Cow::Owned(vec![0; 140_000])));
    assert_eq!((bytes.len(), &bytes[..4]), (140_012, &[0xd8, 0x68, 0xff, 0xff][..]));
    let letters = written(&Value::String(Cow::Owned(vec![b'x'; 70_000])));
    assert_eq!((letters.len(), hex(&letters[..4])), (70_008, "e2690000".to_owned()));
    let accents = written(&text(&"é".repeat(30_000)));
    assert_eq!((accents.len(), hex(&accents[..4])), (60_004, "e368ea60".to_owned()));
    // 65,536 is no multiple of three: Java does not cut inside a unit, but it does cut between surrogates.
    let faces = "😀".repeat(20_000);
    let faces_written = written(&text(&faces));
    assert_eq!(hex(&faces_written[..4]), "e268ffff");
    assert_eq!(Reader::new(&faces_written).value().unwrap(), text(&faces));
}

#[test]
fn names_are_said_once() {
    let list = Value::List((0..40).chain(0..40).map(|n| Value::Keyword(Cow::Owned(format!("ns/k{n}")))).collect());
    let bytes = written(&list);
    assert_eq!(read(&hex(&bytes)).unwrap(), list);
    // The second mention of the 33rd name takes three bytes: its index no longer fits in a code.
    assert!(bytes.ends_with(&[0xca, 0x80, 0xcc, 40]), "{}", hex(&bytes[bytes.len() - 8..]));
    let tuples = Value::Tuple(vec![Value::Tuple(vec![Value::Long(1)]), Value::Tuple(Vec::new())]);
    assert_eq!(hex(&written(&tuples)), "efde707665630202a00101a000");
}

/// What a writer makes of a value: zeros of doubles lose their sign, tags become what stands on them.
fn as_kept(value: Value<'static>) -> Value<'static> {
    match value {
        Value::Double(0.0) => Value::Double(0.0),
        Value::Doubles(all) => Value::Doubles(all.into_iter().map(|x| if x == 0.0 { 0.0 } else { x }).collect()),
        Value::Tuple(all) => Value::Tuple(all.into_iter().map(as_kept).collect()),
        Value::List(all) => Value::List(all.into_iter().map(as_kept).collect()),
        Value::Set(all) => Value::Set(all.into_iter().map(as_kept).collect()),
        Value::Map(all) => Value::Map(all.into_iter().map(|(k, v)| (as_kept(k), as_kept(v))).collect()),
        Value::Tagged(tag, inner) => Value::Tagged(tag, Box::new(as_kept(*inner))),
        other => other,
    }
}

/// Tags that the reader takes for something else.
fn has_known_tag(value: &Value<'_>) -> bool {
    match value {
        Value::Tagged(tag, inner) => {
            ["pvec", "plist", "irecord", "char", "byte", "ratio"].contains(&tag.as_ref()) || has_known_tag(inner)
        }
        Value::Tuple(all) | Value::List(all) | Value::Set(all) => all.iter().any(has_known_tag),
        Value::Map(all) => all.iter().any(|(k, v)| has_known_tag(k) || has_known_tag(v)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn every_value_is_read_as_it_was_written(value in generated::value()) {
        prop_assume!(!has_known_tag(&value));
        let bytes = written(&value);
        let mut reader = Reader::new(&bytes);
        let read = reader.value().unwrap();
        prop_assert!(reader.at_end());
        prop_assert_eq!(read, as_kept(value));
    }

    #[test]
    fn texts_of_java_sort_by_utf_16_units(a: String, b: String) {
        let units = |text: &str| { let mut out = Vec::new(); super::put_units(text.as_bytes(), &mut out); out };
        let order = a.encode_utf16().cmp(b.encode_utf16());
        prop_assert_eq!(units(&a).cmp(&units(&b)), order);
    }
}

/// A list that is closed, of this value, cached, and so many references to it.
fn repeated(value: &[u8], times: usize) -> Vec<u8> {
    let mut bytes = vec![0xed, 0xcd];
    bytes.extend_from_slice(value);
    // What is read inside the value takes no slot: it is slot 0.
    bytes.extend(std::iter::repeat_n(0x80, times));
    bytes.push(0xfd);
    bytes
}

#[test]
fn every_byte_of_what_is_repeated_counts() {
    const LEN: u32 = 400_000;
    let long = |code: &[u8], last: u8| {
        let mut bytes = code.to_vec();
        bytes.push(last);
        bytes.push(0xf8);
        bytes.extend_from_slice(&u64::from(LEN).to_be_bytes());
        bytes.extend(std::iter::repeat_n(b'1', LEN as usize));
        bytes
    };
    let decimal = [long(&[0xc7], 0xd9), vec![0]].concat();
    let mut ratio = b"\xef\xdfratio\x02".to_vec();
    ratio.extend(long(&[0xc6], 0xd9));
    ratio.extend(b"\xc6\xd1\x03");
    for (what, value) in [
        ("keyword", long(&[0xca, 0xf7], 0xe3)),
        ("keyword with a namespace", long(&[0xca, 0xdb, b'n'], 0xe3)),
        ("symbol", long(&[0xc9, 0xdb, b'n'], 0xe3)),
        ("URI", long(&[0xc5], 0xe3)),
        ("regex", long(&[0xc4], 0xe3)),
        ("text", long(&[], 0xe3)),
        ("bytes", long(&[], 0xd9)),
        ("integer", long(&[0xc6], 0xd9)),
        ("decimal", decimal),
        ("ratio", ratio),
    ] {
        let once = repeated(&value, 1);
        assert!(matches!(Reader::new(&once).value(), Ok(Value::List(two)) if two.len() == 2), "{what}");
        let often = repeated(&value, 1000);
        let refused = Reader::new(&often).value().unwrap_err();
        assert_eq!(refused, DecodeError::TooLarge("values of one document"), "{what}");
    }
}

#[test]
fn a_small_document_of_many_values_is_refused_and_a_stream_of_as_many_is_not() {
    let numbers = |count: usize| [vec![0xed], vec![7; count], vec![0xfd]].concat();
    assert!(Reader::new(&numbers(500_000)).value().is_ok());
    let many = numbers(5_000_000);
    assert_eq!(Reader::new(&many).value().unwrap_err(), DecodeError::TooLarge("values of one document"));
    // Lists of one element each take more than their element.
    let lists = [vec![0xed], [0xe5, 7].repeat(1_000_000), vec![0xfd]].concat();
    assert_eq!(Reader::new(&lists).value().unwrap_err(), DecodeError::TooLarge("values of one document"));
    let map = [b"\xc0\xe6\xca\xf7\xdbd".as_slice(), &many].concat();
    let mut count = 0;
    let mut reader = Reader::new(&map);
    let rest = reader.map_with_list::<DecodeError>("d", &mut |_| {
        count += 1;
        Ok(())
    });
    assert_eq!((rest.unwrap().len(), count, reader.at_end()), (0, 5_000_000, true));
}
