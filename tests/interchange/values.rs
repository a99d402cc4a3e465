//! Values of every type at their edges, through every form that loses nothing.

use packstone::record::datom::cbor::{self, Dialect};
use packstone::record::datom::{Datom, Value, decode_value, edn, encode_value, json};

/// The values, as EDN; each differs from all others.
fn values() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for power in [0, 6, 12, 19, 25, 33, 41, 49, 53, 62] {
        let edge = 1_i64 << power;
        all.extend([edge - 1, edge, edge + 1, -edge - 1, -edge, 1 - edge].map(|n| n.to_string()));
    }
    all.extend([i64::MIN, i64::MAX].map(|n| n.to_string()));
    let big = ["0N", "5N", "-1N", "9223372036854775807N", "9223372036854775808N", "-9223372036854775809N"];
    let bigger = ["18446744073709551616N", "-18446744073709551616N", "123456789012345678901234567890N"];
    let doubles =
        ["0.0", "-0.0", "0.1", "1.0", "5.0", "1.1", "4.9E-324", "1.7976931348623157E308", "##NaN", "##Inf", "##-Inf"];
    let floats = ["0.0", "-0.0", "1.1", "1.0", "5.0", "1.4E-45", "3.4028235E38", "NaN", "Infinity", "-Infinity"];
    let decimals = ["1.10M", "1.1M", "0M", "0.00M", "1E+400M", "-1E-400M", "5M", "1/3", "-1/3", "2/6"];
    let simple = ["true", "false", "\\a", "\\newline", "\\u0000", "\\ud800", "#uri \"http://x/\"", "#\"a\\d\""];
    let texts = [
        "\"\"",
        "\"\\u0000\"",
        "\"é\"",
        "\"e\u{301}\"",
        "\"€\"",
        "\"😀\"",
        "\":looks-like-kw\"",
        "\"a/b\"",
        "\"5\"",
        "\"a\\n\\t\\\"\\\\\"",
    ];
    let names =
        [":looks-like-kw", ":a/b", "a/b", ":a", "a", ":ünï/cödé", ":a/b/c", "#keyword \"a b\"", "#symbol \"true\""];
    let instants = [
        "1970-01-01T00:00:00.000-00:00",
        "1969-12-31T23:59:59.999-00:00",
        "2024-01-02T03:04:05.678-00:00",
        "0000-06-15T00:00:00.000-00:00",
        "10000-01-01T00:00:00.000-00:00",
    ];
    let others = [
        "#uuid \"01234567-89ab-cdef-0123-456789abcdef\"",
        "#bytes \"\"",
        "#bytes \"00ff\"",
        "#floats [-0.0 1.5 ##NaN]",
        "#doubles [-0.0 1.5 ##Inf]",
        "[1 \"x\" nil]",
        "[nil nil]",
        "[]",
        "[#bytes \"00\" [1]]",
        "(1 \"x\" nil)",
        "#{1 2}",
        "{:a 1, \"b\" [nil]}",
        "#my/tag [1]",
    ];
    let plain = [&big[..], &bigger, &doubles, &decimals, &simple, &texts, &names, &others].concat();
    all.extend(plain.into_iter().map(str::to_owned));
    all.extend(floats.map(|text| format!("#float \"{text}\"")));
    all.extend(instants.map(|text| format!("#inst \"{text}\"")));
    // Around the length of a Fressian chunk, with a pair of surrogates at its edge; and long bytes.
    all.push(format!("\"{}😀{}\"", "x".repeat(65_533), "y".repeat(5_000)));
    all.push(format!("#bytes \"{}\"", "0a".repeat(65_535)));
    all.push(format!("#bytes \"{}\"", "0a".repeat(140_000)));
    all.sort();
    all.dedup();
    all
}

fn line(value: &str) -> String {
    format!("[1 :a/b {value} 536870913 true]")
}

fn same(found: &Datom<'_>, expected: &Datom<'_>, form: &str) {
    assert_eq!(found, expected, "{form}");
    let bytes = |datom: &Datom<'_>| {
        let mut bytes = Vec::new();
        encode_value(&datom.v, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes(found), bytes(expected), "{form}");
}

#[test]
fn every_value_survives_every_form_that_loses_nothing() {
    for value in values() {
        let text = line(&value);
        let short = &text[..text.len().min(80)].to_owned();
        let datom = edn::parse_datom_line(text.as_bytes()).unwrap_or_else(|why| panic!("{short}: {why}"));
        let mut out = Vec::new();
        edn::print_datom(&datom, &mut out);
        same(&edn::parse_datom_line(&out).unwrap(), &datom, &format!("EDN, {short}"));
        out.clear();
        json::print_datom(&datom, &mut out);
        same(&json::parse_datom_line(&out).unwrap(), &datom, &format!("JSON, {short}"));
        out.clear();
        encode_value(&datom.v, &mut out).unwrap();
        let again = Datom { v: decode_value(&out).unwrap(), ..datom.clone() };
        same(&again, &datom, &format!("canonical, {short}"));
        let mut item = Vec::new();
        match cbor::encode_datom(Dialect::Archival, &datom, &mut item) {
            Ok(()) => {
                let (read, len) = cbor::decode_datom(Dialect::Archival, &item).unwrap();
                assert_eq!(len, item.len(), "{short}");
                // Dumps write lists as arrays: the one loss.
                let kept = match datom.v.clone() {
                    Value::List(elements) => Value::Tuple(elements),
                    other => other,
                };
                same(&read, &Datom { v: kept, ..datom }, &format!("CBOR, {short}"));
            }
            // What no dump can hold is refused, not changed.
            Err(why) => assert!(value.contains("\\ud800"), "{short}: {why:?}"),
        }
    }
}

#[test]
fn values_that_look_alike_are_not_the_same() {
    let mut seen = std::collections::HashMap::new();
    for value in values() {
        let text = line(&value);
        let datom = edn::parse_datom_line(text.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        encode_value(&datom.v, &mut bytes).unwrap();
        if let Some(other) = seen.insert(bytes, value.clone()) {
            panic!("{value} is {other}");
        }
    }
    for refused in ["nil", "", "1 2"] {
        assert!(edn::parse_datom_line(line(refused).as_bytes()).is_err(), "{refused}");
    }
}
