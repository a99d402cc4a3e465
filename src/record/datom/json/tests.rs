//! JSON text: typed, lossless, and JSON to other readers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use crate::record::datom::edn;
use crate::record::datom::edn::generated::{datom, shown};
use crate::record::datom::json::{base64, parse_datom_line, parse_line, print_datom};

/// A JSON line is the same datom as an EDN line, and is what that prints as.
fn check(json: &str, edn: &str) {
    reads(json, edn);
    let datom = edn::parse_datom_line(edn.as_bytes()).unwrap();
    let mut printed = Vec::new();
    print_datom(&datom, &mut printed);
    assert_eq!(String::from_utf8(printed).unwrap(), json);
}

fn reads(json: &str, edn: &str) {
    let expected = edn::parse_datom_line(edn.as_bytes()).unwrap();
    let datom = parse_datom_line(json.as_bytes()).unwrap_or_else(|why| panic!("{json}: {why}"));
    assert_eq!(shown(&datom), shown(&expected), "{json}");
}

#[test]
fn every_type_has_its_spelling() {
    for (json, edn) in [
        ("true", "true"),
        ("5", "5"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1.0", "1.0"),
        ("-0.0", "-0.0"),
        ("1.0E10", "1.0E10"),
        ("{\"$double\":\"NaN\"}", "##NaN"),
        ("{\"$double\":\"-Infinity\"}", "##-Inf"),
        ("{\"$float\":1.5}", "#float \"1.5\""),
        ("{\"$float\":\"NaN\"}", "#float \"NaN\""),
        ("\"a\\n\\\"\"", "\"a\\n\\\"\""),
        ("\"\\ud800\"", "\"\\ud800\""),
        ("\"\\u0001\"", "\"\u{1}\""),
        ("{\"$keyword\":\":a/b\"}", ":a/b"),
        ("{\"$symbol\":\"a/b\"}", "a/b"),
        ("{\"$bigint\":\"5\"}", "5N"),
        ("{\"$bigdec\":\"1.00\"}", "1.00M"),
        ("{\"$bigdec\":\"1E+400\"}", "1E+400M"),
        ("{\"$ratio\":\"1/3\"}", "1/3"),
        ("{\"$char\":\"x\"}", "\\x"),
        ("{\"$char\":\"\\udc00\"}", "\\udc00"),
        ("{\"$uri\":\"x:y\"}", "#uri \"x:y\""),
        ("{\"$regex\":\"a\\\\d\"}", "#\"a\\d\""),
        ("{\"$inst\":\"2024-01-02T03:04:05.678Z\"}", "#inst \"2024-01-02T03:04:05.678-00:00\""),
        ("{\"$uuid\":\"01234567-89ab-cdef-0123-456789abcdef\"}", "#uuid \"01234567-89ab-cdef-0123-456789abcdef\""),
        ("{\"$bytes\":\"AP8=\"}", "#bytes \"00ff\""),
        ("{\"$tuple\":[1,null,{\"$tuple\":[]}]}", "[1 nil []]"),
        ("{\"$list\":[1,\"x\"]}", "(1 \"x\")"),
        ("{\"$set\":[1]}", "#{1}"),
        ("{\"$map\":[[1,2],[\"a\",null]]}", "{1 2 \"a\" nil}"),
        ("{\"$floats\":[1.5,\"NaN\"]}", "#floats [1.5 ##NaN]"),
        ("{\"$doubles\":[-0.0]}", "#doubles [-0.0]"),
        ("{\"$tagged\":[\"a/b\",5]}", "#a/b 5"),
    ] {
        check(&format!("[1,\":a\",{json},3,true]"), &format!("[1 :a {edn} 3 true]"));
    }
    check("[1,7,2,3,false]", "[1 7 2 3 false]");
    check("[1,\"a\",2,3,true]", "[1 \"a\" 2 3 true]");
    check("[1,{\"$string\":\":a\"},2,3,true]", "[1 \":a\" 2 3 true]");
}

#[test]
fn other_spellings_are_understood() {
    for (json, edn) in [
        (" [ 1 , \":a\" , 2 , 3 ] ", "[1 :a 2 3]"),
        ("{\"e\":1,\"a\":\":a\",\"v\":2,\"t\":3}", "[1 :a 2 3]"),
        ("{\"t\":3,\"added\":false,\"v\":\"\\u00e9\\/\",\"a\":\":a\",\"e\":1}", "[1 :a \"é/\" 3 false]"),
        ("[1,\":a\",[1,[2]],3]", "[1 :a [1 [2]] 3]"),
        ("[1,\":a\",1e2,3]", "[1 :a 100.0 3]"),
        ("[1,\":a\",\"\\ud83d\\ude00\",3]", "[1 :a \"😀\" 3]"),
        ("[1,{\"$keyword\":\":a\"},2,3]", "[1 :a 2 3]"),
        ("[1,\":a\",{\"$double\":\"-0.0\"},3]", "[1 :a -0.0 3]"),
        ("[1,\":a\",{\"$inst\":\"1970-01-01T01:00:00+01:00\"},3]", "[1 :a #inst \"1970\" 3]"),
        ("[1,\":a\",{\"$double\":5},3]", "[1 :a 5.0 3]"),
    ] {
        reads(json, edn);
    }
    assert!(parse_line(b" \t ").unwrap().is_none());
}

#[test]
fn what_is_no_datom_is_refused() {
    for (json, expected) in [
        ("", "no datom"),
        ("5", "array or an object"),
        ("[1,\":a\",2]", "[e, a, v, t"),
        ("[1,\":a\",2,3,true,4]", "[e, a, v, t"),
        ("[1,\":a\",2,3]x", "column 13: text after"),
        ("[1,\":a\",null,3]", "null"),
        ("[1,\":a\",{\"x\":1},3]", "typed value"),
        ("[1,\":a\",{\"$bigint\":\"5\",\"$bigint\":\"6\"},3]", "one key"),
        ("{\"e\":1,\"e\":1}", "same key twice"),
        ("{\"e\":1,\"a\":\":a\",\"v\":2}", "a datom has"),
        ("{\"x\":1}", "keys are"),
        ("{}", "a string is expected"),
        ("[1,\":a\",18446744073709551616,3]", "over 64 bits"),
        ("[1,\":a\",01,3]", "not a JSON number"),
        ("[1.0,\":a\",1,3]", "64-bit"),
        ("[1,\":a\",1e999,3]", "too large"),
        ("[1,\":a\",{\"$map\":[[1,2],[1,3]]},3]", "same key twice"),
        ("[1,\":a\",{\"$set\":[1,1]},3]", "same element"),
        ("[1,\":a\",{\"$bytes\":\"AP9=\"},3]", "Base64"),
        ("[1,\":a\",{\"$char\":\"ab\"},3]", "UTF-16"),
        ("[1,\":a\",{\"$keyword\":\"a\"},3]", "colon"),
        ("[1,\":a\",\"x", "never closed"),
        ("[1,\":a\",\"\t\",3]", "control"),
        ("[1,\":a\",tru,3]", "not JSON"),
        ("[1,\":a\",\"\\x\",3]", "escape"),
        ("[1,\"\\ud800\",2,3]", "surrogate"),
    ] {
        let why = parse_datom_line(json.as_bytes()).unwrap_err().to_string();
        assert!(why.contains(expected), "{json}: {why}");
    }
}

#[test]
fn nesting_ends_at_64_levels() {
    for (open, close) in
        [("[", "]"), ("{\"$tuple\":[", "]}"), ("{\"$map\":[[1,", "]]}"), ("{\"$tagged\":[\"a\",", "]}")]
    {
        let nested = |n: usize| format!("[1,\":a\",{}1{},3]", open.repeat(n), close.repeat(n));
        assert!(parse_datom_line(nested(64).as_bytes()).is_ok());
        for n in [65, 10_000] {
            assert_eq!(parse_datom_line(nested(n).as_bytes()).unwrap_err().reason, "nested deeper than 64 levels");
        }
    }
}

#[test]
fn base64_is_strict() {
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        let mut encoded = Vec::new();
        base64::encode(bytes.as_bytes(), &mut encoded);
        assert_eq!(encoded, text.as_bytes());
        assert_eq!(base64::decode(text.as_bytes()).unwrap(), bytes.as_bytes());
    }
    for text in ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "====", "Zg==Zg==", "Z===", "Zm 9"] {
        assert!(base64::decode(text.as_bytes()).is_none(), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(datom in datom()) {
        let mut line = Vec::new();
        print_datom(&datom, &mut line);
        prop_assert!(!line.contains(&b'\n'));
        let read = parse_datom_line(&line).map_err(|why| TestCaseError::fail(format!("{}: {why}", String::from_utf8_lossy(&line))))?;
        prop_assert_eq!(shown(&read), shown(&datom));
        // Another reader sees the same JSON, apart from lone surrogates, which it does not know.
        if !line.windows(3).any(|w| w == b"\\ud") {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok());
        }
    }

    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse_line(&bytes);
    }

    #[test]
    fn what_another_reader_refuses_is_refused(text in "\\[1,\"a\",[\\[\\]{}\\\\\"$a:,.0-9eE+ntrulfs -]{0,12},2\\]") {
        if parse_datom_line(text.as_bytes()).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
    }
}
