//! EDN text against what Clojure prints.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use crate::record::datom::edn::generated::{datom, shown};
use crate::record::datom::edn::{instant, number, parse_datom_line, parse_line, parse_value, print_datom, print_value};
use crate::record::datom::{Attribute, Value};

/// The text reads as a value that shows as `expected`.
fn reads(text: &str, expected: &str) {
    let value = parse_value(text.as_bytes()).map_or_else(|why| why.to_string(), |value| shown(&value));
    assert_eq!(value, expected, "{text}");
}

/// The text reads and prints the same.
fn canonical(text: &str) {
    prints(text, text);
}

fn prints(text: &str, expected: &str) {
    let value = parse_value(text.as_bytes()).unwrap_or_else(|why| panic!("{text}: {why}"));
    let mut printed = Vec::new();
    print_value(&value, &mut printed);
    assert_eq!(String::from_utf8(printed).unwrap(), expected);
}

fn refused(text: &str, expected: &str) {
    match parse_value(text.as_bytes()) {
        Ok(value) => panic!("{text} reads as {value:?}"),
        Err(why) => assert!(why.to_string().contains(expected), "{text}: {why}"),
    }
}

#[test]
fn canonical_spellings_print_as_they_are() {
    for text in [
        "nil",
        "true",
        "false",
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "7N",
        "0N",
        "-99999999999999999999999N",
        "1/3",
        "-1/3",
        "4/2",
        "0.0",
        "-0.0",
        "1.5",
        "##Inf",
        "##-Inf",
        "##NaN",
        "1.00M",
        "0M",
        "0.00M",
        "1E+400M",
        "-1E-19M",
        "1E+30M",
        "123456789.987654321M",
        "0.000001M",
        "1E-7M",
        "1.2345E+7M",
        "0E+3M",
        "0E-10M",
        "-1.25E-9M",
        "\"\"",
        "\"a\\\"b\\\\c\\n\\t\\r\\f\\b\\u0000é😀\"",
        "\"\\ud800\"",
        "\"\\udfff x \\ud83d\"",
        "\\a",
        "\\newline",
        "\\space",
        "\\tab",
        "\\backspace",
        "\\formfeed",
        "\\return",
        "\\u0000",
        "\\ud800",
        "\\(",
        "\\\\",
        "\\,",
        "\\é",
        ":a",
        ":a/b",
        ":a.b/c-d?",
        ":1",
        ":a:b",
        ":@",
        "a",
        "a/b",
        "+",
        "-",
        "/",
        "-a",
        ".5",
        "#inst \"2024-01-02T03:04:05.678-00:00\"",
        "#uuid \"01234567-89ab-cdef-0123-456789abcdef\"",
        "#bytes \"\"",
        "#bytes \"00ff\"",
        "#float \"1.5\"",
        "#float \"3.4028235E38\"",
        "#float \"NaN\"",
        "#float \"-Infinity\"",
        "#float \"-0.0\"",
        "#uri \"http://x/\"",
        "#\"a\\\"b\\d\"",
        "#regex \"a\\\"b\"",
        "#regex \"a\\nb\"",
        "[]",
        "[1 \"x\" nil]",
        "()",
        "(1 (2))",
        "#{}",
        "#{1 2}",
        "{}",
        "{:a 1, :b {2 3}}",
        "#floats [1.5 -0.0 ##NaN 1.4E-45]",
        "#doubles [1.5 ##-Inf]",
        "#a/b [1 2]",
        "#biginteger \"5\"",
        "#x #y 1",
        "#tagged [\"inst\" 5]",
        "#tagged [\"odd tag\" 5]",
        "#keyword \"a b\"",
        "#keyword \"\"",
        "#symbol \"nil\"",
        "#symbol \"a b\"",
        "#symbol \"1a\"",
        "#symbol \"@a\"",
        "#object[\"[B\" 0x7e1b1315 \"[B@7e1b1315\"]",
        "[\\a \\( \\]]",
    ] {
        canonical(text);
    }
}

#[test]
fn other_spellings_are_understood() {
    for (text, expected) in [
        ("+5", "5"),
        ("9223372036854775808", "9223372036854775808N"),
        ("-9223372036854775809", "-9223372036854775809N"),
        ("0x1F", "31"),
        ("1e3", "1000.0"),
        ("1.", "1.0"),
        ("1e5M", "1E+5M"),
        ("-0.0M", "0.0M"),
        (" , 5 ; c", "5"),
        ("#_ 1 #_ #_ 2 3 4", "4"),
        ("[1 #_2]", "[1]"),
        ("\"\\ud83d\\ude00\"", "\"😀\""),
        ("\"\\101\\0\"", "\"A\\u0000\""),
        ("\\u0041", "\\A"),
        ("\\o101", "\\A"),
        ("#:ns{:a 1 :_/b 2 :c/d 3 x 4}", "{:ns/a 1, :b 2, :c/d 3, ns/x 4}"),
        ("#:db {:a 1}", "{:db/a 1}"),
        ("#uuid \"01234567-89AB-CDEF-0123-456789ABCDEF\"", "#uuid \"01234567-89ab-cdef-0123-456789abcdef\""),
        ("#regex \"abc\"", "#\"abc\""),
        ("#keyword \"a\"", ":a"),
        ("[1,2,\n3]", "[1 2 3]"),
        ("#bytes\"FF\"", "#bytes \"ff\""),
        ("#object [1]", "#object[1]"),
    ] {
        prints(text, expected);
    }
    reads("\"a\\u0000\"", "String([97, 0])");
}

#[test]
fn what_is_no_value_is_refused_with_its_place() {
    for (text, expected) in [
        ("", "column 1: the text ends"),
        ("[1", "column 1: a bracket that is never closed"),
        ("]", "closing bracket"),
        ("[1)", "column 3: a closing bracket"),
        ("\"abc", "never closed"),
        ("\"\\q\"", "column 2: an unknown escape"),
        ("\"\\u12", "four hexadecimal"),
        ("\"\\", "unknown escape"),
        ("\"\\400\"", "octal"),
        (":", "without a name"),
        ("007", "leading zero"),
        ("1x", "not a number"),
        ("1/0", "denominator"),
        ("1e999", "too large"),
        ("1.5N", "not a number"),
        ("1E+9999999999M", "32 bits"),
        ("{1}", "key without a value"),
        ("{1 2 1 3}", "same key twice"),
        ("#{1 1}", "same element twice"),
        ("#inst 5", "before a string"),
        ("#inst \"x\"", "not an instant"),
        ("#inst \"2023-02-29\"", "month does not have"),
        ("#inst \"2024-01-01T00:00:00.0001Z\"", "finer"),
        ("#uuid \"x\"", "UUID"),
        ("#bytes \"abc\"", "hexadecimal"),
        ("#float \"x\"", "not a number"),
        ("#<Object>", "tag"),
        ("#", "tag"),
        ("^{:a 1} []", "reader macro"),
        ("@a", "reader macro"),
        ("##Nope", "##Inf"),
        ("\\nope", "character"),
        ("\\", "character"),
        ("1 2", "text after"),
        ("#:a 5", "without a map"),
        ("#_", "ends"),
        ("#inst", "before a string"),
        ("#x", "ends"),
        ("\u{1}", "control"),
        ("#floats [1 x]", "not a number"),
        ("#floats [1", "not a number"),
    ] {
        refused(text, expected);
    }
    assert_eq!(parse_value(b"\"\xff\"").unwrap_err().reason, "not UTF-8");
}

#[test]
fn nesting_ends_at_64_levels() {
    let nested = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    canonical(&nested("[", "]", 64));
    refused(&nested("[", "]", 65), "deeper than 64");
    let inst = format!("{}#inst \"1970-01-01T00:00:00.000-00:00\"{}", "[".repeat(64), "]".repeat(64));
    canonical(&inst);
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("#{", "}"),
        ("{1 ", "}"),
        ("#a ", ""),
        ("#_", ""),
        ("#:a{:b ", "}"),
        ("#tagged [\"a\" ", "]"),
        ("#object[", "]"),
        ("#_ #a ", ""),
    ] {
        refused(&nested(open, close, 10_000), "deeper than 64");
        let line = format!("[1 :a {} 2 true]", nested(open, close, 10_000));
        assert!(parse_line(line.as_bytes()).is_err());
    }
}

#[test]
fn huge_numbers_are_bounded() {
    canonical(&format!("1{}N", "0".repeat(20_000)));
    refused(&"1".repeat(100_001), "100,000 digits");
    refused(&format!("1.{}M", "1".repeat(100_001)), "100,000 digits");
}

#[test]
fn datoms_come_in_five_spellings() {
    for line in [
        "[1 :a \"x\" 5 true]",
        "[1 :a \"x\" 5]",
        "#datahike/Datom [1 :a \"x\" 5 true]",
        "#datascript/Datom [1 :a \"x\" 5 true]",
        "  [ 1, :a, \"x\", 5, true ] ; why",
    ] {
        let datom = parse_datom_line(line.as_bytes()).unwrap();
        assert_eq!((datom.e, datom.t, datom.added), (1, 5, true), "{line}");
        assert_eq!(shown(&datom.v), "String([120])");
    }
    assert!(!parse_datom_line(b"[1 :a 2 5 false]").unwrap().added);
    assert!(matches!(parse_datom_line(b"[1 7 2 5 false]").unwrap().a, Attribute::Id(7)));
    assert!(matches!(parse_datom_line(b"[1 \"a\" 2 5]").unwrap().a, Attribute::String(_)));
    for line in ["", "  ", "; comment", "#_[1 :a 2 3]", ",,"] {
        assert!(parse_line(line.as_bytes()).unwrap().is_none(), "{line}");
    }
    for (line, expected) in [
        ("", "column 1: no datom"),
        ("[1 :a 2]", "column 8: a transaction id is"),
        ("[1 :a 2 3 maybe]", "column 11: the fifth"),
        ("[1 :a nil 3]", "column 7: nil"),
        ("[x :a 2 3]", "column 2: an entity id"),
        ("[1 a 2 3]", "column 4: an attribute"),
        ("[1 :a 2 3 true 4]", "column 16: a datom is"),
        ("[1 :a 2 3 true", "column 15"),
        ("[1 :a 2 3] x", "text after"),
        ("{:e 1}", "a datom begins"),
        ("#foo [1 :a 2 3]", "a datom begins"),
        ("[1 \"\\ud800\" 2 3]", "surrogate"),
        ("[99999999999999999999 :a 1 1]", "entity id"),
    ] {
        let why = parse_datom_line(line.as_bytes()).unwrap_err().to_string();
        assert!(why.contains(expected), "{line}: {why}");
    }
}

#[test]
fn doubles_are_laid_out_as_java_does() {
    for (x, expected) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-1.5, "-1.5"),
        (0.001, "0.001"),
        (9.99e-4, "9.99E-4"),
        (1e7, "1.0E7"),
        (9_999_999.0, "9999999.0"),
        (9_007_199_254_740_992.0, "9.007199254740992E15"),
        (1e10, "1.0E10"),
        (1e-5, "1.0E-5"),
        (5e-324, "4.9E-324"),
        (1e-323, "9.9E-324"),
        (f64::MAX, "1.7976931348623157E308"),
        (1e21, "1.0E21"),
        (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
        (0.1, "0.1"),
        (100.0, "100.0"),
        (123_456.789, "123456.789"),
        (2e23, "2.0E23"),
        (16_777_217.0, "1.6777217E7"),
        (0.01, "0.01"),
        (12_345_678.9, "1.23456789E7"),
    ] {
        let mut printed = Vec::new();
        number::print_double(x, &mut printed);
        assert_eq!(String::from_utf8(printed).unwrap(), expected);
    }
    for (x, expected) in [
        (1.5_f32, "1.5"),
        (1.1, "1.1"),
        (1e-45, "1.4E-45"),
        (3e-45, "2.8E-45"),
        (4e-45, "4.2E-45"),
        (f32::MAX, "3.4028235E38"),
        (1e10, "1.0E10"),
        (0.001, "0.001"),
        (33_554_432.0, "3.3554432E7"),
        (-0.0, "-0.0"),
    ] {
        let mut printed = Vec::new();
        number::print_float(x, &mut printed);
        assert_eq!(String::from_utf8(printed).unwrap(), expected);
    }
}

#[test]
fn instants_are_in_javas_calendar() {
    for (milliseconds, java, iso) in [
        (0, "1970-01-01T00:00:00.000-00:00", "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999-00:00", "1969-12-31T23:59:59.999Z"),
        (1_704_164_645_678, "2024-01-02T03:04:05.678-00:00", "2024-01-02T03:04:05.678Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000-00:00", "2000-02-29T00:00:00.000Z"),
        (-12_219_292_800_000, "1582-10-15T00:00:00.000-00:00", "1582-10-15T00:00:00.000Z"),
        (-12_219_292_800_001, "1582-10-04T23:59:59.999-00:00", "1582-10-14T23:59:59.999Z"),
        (-14_825_808_000_000, "1500-03-01T00:00:00.000-00:00", "1500-03-11T00:00:00.000Z"),
        (-14_825_894_400_000, "1500-02-29T00:00:00.000-00:00", "1500-03-10T00:00:00.000Z"),
        (-62_135_596_800_000, "0001-01-03T00:00:00.000-00:00", "0001-01-01T00:00:00.000Z"),
        (-62_135_769_600_001, "0000-12-31T23:59:59.999-00:00", "0000-12-29T23:59:59.999Z"),
        (-63_517_824_000_000, "-0043-03-17T00:00:00.000-00:00", "-000043-03-15T00:00:00.000Z"),
        (253_402_300_800_000, "10000-01-01T00:00:00.000-00:00", "+010000-01-01T00:00:00.000Z"),
        (i64::MAX, "292278994-08-17T07:12:55.807-00:00", "+292278994-08-17T07:12:55.807Z"),
        (i64::MIN, "-292269054-12-02T16:47:04.192-00:00", "-292275055-05-16T16:47:04.192Z"),
    ] {
        let mut printed = Vec::new();
        instant::print_java(milliseconds, &mut printed);
        assert_eq!(String::from_utf8(printed).unwrap(), java);
        assert_eq!(instant::parse(java.as_bytes(), instant::Calendar::Java), Ok(milliseconds), "{java}");
        let mut printed = Vec::new();
        instant::print_iso(milliseconds, &mut printed);
        assert_eq!(String::from_utf8(printed).unwrap(), iso);
        assert_eq!(instant::parse(iso.as_bytes(), instant::Calendar::Iso), Ok(milliseconds), "{iso}");
    }
    for (text, expected) in [
        ("1970", 0),
        ("1970-01", 0),
        ("1970-01-01", 0),
        ("1970-01-01T01", 3_600_000),
        ("1970-01-01T00:00:00.5Z", 500),
        ("1970-01-01T02:00+02:00", 0),
        ("1970-01-01T00:00:00.000000-01:30", 5_400_000),
        ("1970-00:00", 0),
    ] {
        assert_eq!(instant::parse(text.as_bytes(), instant::Calendar::Java), Ok(expected), "{text}");
    }
    for text in [
        "",
        "70",
        "1970-13",
        "1970-04-31",
        "1582-10-10",
        "1970-01-01T24",
        "1970-01-01T00:00:60",
        "999999999",
        "1970-01-01x",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00+0100",
        "1970-01-00",
    ] {
        assert!(instant::parse(text.as_bytes(), instant::Calendar::Java).is_err(), "{text}");
    }
}

#[test]
fn text_without_escapes_is_borrowed() {
    let datom = parse_datom_line(b"[1 :a/b \"x\" 2 true]").unwrap();
    assert!(matches!(datom.a, Attribute::Keyword(std::borrow::Cow::Borrowed("a/b"))));
    assert!(matches!(datom.v, Value::String(std::borrow::Cow::Borrowed(b"x"))));
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(datom in datom()) {
        let mut line = Vec::new();
        print_datom(&datom, &mut line);
        prop_assert!(!line.contains(&b'\n'));
        let read = parse_datom_line(&line).map_err(|why| TestCaseError::fail(format!("{}: {why}", String::from_utf8_lossy(&line))))?;
        prop_assert_eq!(shown(&read), shown(&datom));
    }

    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse_line(&bytes);
    }

    #[test]
    fn near_misses_never_panic(text in "\\[1 :a [\\[\\](){}#\\\\\"_:;.0-9A-Za-z/+-é ]{0,30}( 2 true\\])?") {
        if let Ok(Some(datom)) = parse_line(text.as_bytes()) {
            let mut line = Vec::new();
            print_datom(&datom, &mut line);
            let read = parse_datom_line(&line).map_err(|why| TestCaseError::fail(why.to_string()))?;
            prop_assert_eq!(shown(&read), shown(&datom));
        }
    }
}
