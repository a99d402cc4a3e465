//! Transit text: vectors, the cache, hostile text, and an encoder to invert.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;

use proptest::prelude::*;

use crate::record::datom::Value;
use crate::record::datom::edn::generated::{shown, value};
use crate::record::datom::edn::{self, print_value};
use crate::record::datom::json::base64;
use crate::record::datom::transit::cache::is_numbered;
use crate::record::datom::transit::{Head, Reader};

fn check(transit: &str, edn: &str) {
    let read = Reader::new().value(transit.as_bytes());
    let read = read.unwrap_or_else(|why| panic!("{transit}: {why}"));
    assert_eq!(shown(&read), shown(&edn::parse_value(edn.as_bytes()).unwrap()), "{transit}");
}

fn refused(transit: &str, expected: &str) {
    match Reader::new().value(transit.as_bytes()) {
        Ok(value) => panic!("{transit} is read as {value:?}"),
        Err(why) => assert!(why.to_string().contains(expected), "{transit}: {why}"),
    }
}

#[test]
fn every_type_of_the_format_has_its_spelling() {
    for (transit, edn) in [
        ("null", "nil"),
        ("\"~_\"", "nil"),
        ("true", "true"),
        ("\"~?f\"", "false"),
        ("5", "5"),
        ("\"~i9007199254740993\"", "9007199254740993"),
        ("\"~i9223372036854775808\"", "9223372036854775808N"),
        ("\"~n5\"", "5N"),
        ("1.5", "1.5"),
        ("\"~d1.5\"", "1.5"),
        ("\"~zNaN\"", "##NaN"),
        ("\"~zINF\"", "##Inf"),
        ("\"~z-INF\"", "##-Inf"),
        ("\"~f1.10\"", "1.10M"),
        ("[\"~#ratio\",[\"~n1\",\"~n3\"]]", "1/3"),
        ("\"~:a/b\"", ":a/b"),
        ("\"~$a/b\"", "a/b"),
        ("\"~cx\"", "\\x"),
        ("\"~bAP8=\"", "#bytes \"00ff\""),
        ("\"~rhttp://x/\"", "#uri \"http://x/\""),
        ("\"~m-1\"", "#inst \"1969-12-31T23:59:59.999-00:00\""),
        ("\"~t1985-04-12T23:20:50.052Z\"", "#inst \"1985-04-12T23:20:50.052-00:00\""),
        ("\"~u01234567-89ab-cdef-0123-456789abcdef\"", "#uuid \"01234567-89ab-cdef-0123-456789abcdef\""),
        ("[\"~#u\",[81985529216486895,-1]]", "#uuid \"01234567-89ab-cdef-ffff-ffffffffffff\""),
        ("[1,[],\"x\"]", "[1 [] \"x\"]"),
        ("[\"~#list\",[1,\"~:a\"]]", "(1 :a)"),
        ("[\"~#set\",[1,2]]", "#{1 2}"),
        ("[\"^ \"]", "{}"),
        ("[\"^ \",\"~:a\",1,\"b\",[\"^ \"]]", "{:a 1, \"b\" {}}"),
        ("{\"~:a\":1,\"~i5\":\"x\"}", "{:a 1, 5 \"x\"}"),
        ("[\"~#cmap\",[[1],2]]", "{[1] 2}"),
        ("[\"~#'\",\"x\"]", "\"x\""),
        ("{\"~#'\":5}", "5"),
        ("{\"~#set\":[1]}", "#{1}"),
        ("[\"~#a/b\",[1]]", "#a/b [1]"),
        ("\"~~a\"", "\"~a\""),
        ("\"~^ \"", "\"^ \""),
        ("\"~`a\"", "\"`a\""),
        ("\"\\u00e9\\ud83d\"", "\"é\\ud83d\""),
        ("\"~q1\"", "#q \"1\""),
    ] {
        check(transit, edn);
    }
}

#[test]
fn what_was_said_before_is_said_by_its_number() {
    check("[\"~:name\",\"^0\",\"~:n\",\"~$symbol\",\"^1\"]", "[:name :name :n symbol symbol]");
    // Keys are cached whatever they are, values only when they are names; short ones never.
    check("[[\"^ \",\"text\",\"text\",\"abc\",1],[\"^ \",\"^0\",2]]", "[{\"text\" \"text\", \"abc\" 1} {\"text\" 2}]");
    check("[[\"~#point\",[1]],[\"^0\",[2]]]", "[#point [1] #point [2]]");
    check("[[\"~#set\",[\"~:aaa\"]],[\"^0\",[\"^1\"]]]", "[#{:aaa} #{:aaa}]");
    // Length is counted in UTF-16 units: this key has four.
    check("[[\"^ \",\"a😀b\",1],[\"^ \",\"^0\",2]]", "[{\"a😀b\" 1} {\"a😀b\" 2}]");
    refused("[[\"^ \",\"é€x\",1],[\"^ \",\"^0\",2]]", "stands for nothing");
}

#[test]
fn numbers_begin_again_after_44_times_44() {
    let names: Vec<String> = (0..1937).map(|n| format!("\"~:k{n:04}\"")).collect();
    // The last but one has the code of two characters with the highest digits.
    let text = format!("[{},\"^{}\"]", names[..1936].join(","), "[[");
    let Value::Tuple(read) = Reader::new().value(text.as_bytes()).unwrap() else { panic!("an array") };
    assert_eq!(shown(&read[1936]), shown(&Value::Keyword("k1935".into())));
    let text = format!("[{},\"^0\"]", names.join(","));
    let Value::Tuple(read) = Reader::new().value(text.as_bytes()).unwrap() else { panic!("an array") };
    assert_eq!(shown(&read[1937]), shown(&Value::Keyword("k1936".into())));
    refused(&format!("[{},\"^1\"]", names.join(",")), "stands for nothing");
    check("[\"~:abc\",\"^0\"]", "[:abc :abc]");
}

#[test]
fn a_value_may_be_read_in_parts() {
    let mut reader = Reader::new();
    assert_eq!(reader.head(b"\"^ \"").unwrap(), Head::Map);
    assert_eq!(reader.key(b"\"~:datoms\"").unwrap(), Value::Keyword("datoms".into()));
    assert!(reader.is_tag(b"~#list") && !reader.is_tag(b"^1"));
    assert_eq!(reader.head(b"\"~#list\"").unwrap(), Head::Tag("list".into()));
    assert!(reader.is_tag(b"^1") && !reader.is_tag(b"^0"));
    assert_eq!(
        reader.value(b"[1,\"^0\"]").unwrap(),
        Value::Tuple(vec![Value::Long(1), Value::Keyword("datoms".into())])
    );
    reader.reset();
    assert!(reader.value(b"\"^0\"").is_err());
}

#[test]
fn what_is_no_transit_is_refused() {
    for (transit, expected) in [
        ("", "not JSON"),
        ("\"^0\"", "stands for nothing"),
        ("\"^\"", "stands for nothing"),
        ("\"^\\u007f\"", "stands for nothing"),
        ("\"^[[\"", "stands for nothing"),
        ("\"~#set\"", "begins no array"),
        ("[\"~#set\"]", "tag without a value"),
        ("[\"~#set\",1]", "array is expected"),
        ("[\"~#set\",[1,1]]", "same element twice"),
        ("[\"~#set\",[1],2]", "closing bracket"),
        ("[\"^ \",1,2]", "string is expected"),
        ("[\"^ \",\"a\"]", "key without a value"),
        ("[\"^ \",\"a\",1,\"a\",2]", "same key twice"),
        ("{\"a\":1,\"~#set\":[1]}", "tag among keys"),
        ("[\"~#cmap\",[1]]", "key without a value"),
        ("[\"~#ratio\",[1,0]]", "above zero"),
        ("\"~\"", "tilde"),
        ("\"~:\"", "unknown kind"),
        ("\"~u123\"", "UUID"),
        ("\"~i1.5\"", "not"),
        ("\"~zinf\"", "special number"),
        ("\"~cab\"", "UTF-16"),
        ("\"~b*\"", "Base64"),
        ("\"~:\\ud800\"", "surrogate"),
        ("[1] 2", "text after"),
        ("[1", "closing bracket"),
        ("\"~?x\"", "t or f"),
    ] {
        refused(transit, expected);
    }
}

#[test]
fn hostile_text_costs_no_more_than_it_weighs() {
    for (open, close) in
        [("[", "]"), ("[\"~#set\",[", "]]"), ("{\"a\":", "}"), ("[\"~#x\",", "]"), ("[\"^ \",\"a\",", "]")]
    {
        let nested = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
        assert!(Reader::new().value(nested(32).as_bytes()).is_ok());
        refused(&nested(50_000), "nested deeper");
    }
    let long = "k".repeat(1 << 20);
    let text = format!("[[\"^ \",\"{long}\",1]{}]", ",[\"^ \",\"^0\",1]".repeat(100));
    refused(&text, "repeated beyond");
}

/// Writes as Transit's own writers do, to test that reading is the inverse.
#[derive(Default)]
struct Encoder {
    codes: HashMap<Vec<u8>, usize>,
    verbose: bool,
    out: Vec<u8>,
}

impl Encoder {
    fn string(&mut self, text: &[u8], as_key: bool) {
        if !self.verbose && is_numbered(text, as_key) {
            if let Some(&code) = self.codes.get(text) {
                let digit = |n: usize| u8::try_from(n).unwrap() + b'0';
                self.out.extend_from_slice(b"\"^");
                if code >= 44 {
                    self.out.push(digit(code / 44));
                }
                self.out.push(digit(code % 44));
                // The digits end at [, which needs no escape in JSON; the backslash comes behind it.
                self.out.push(b'"');
                return;
            }
            if self.codes.len() == 44 * 44 {
                self.codes.clear();
            }
            self.codes.insert(text.to_vec(), self.codes.len());
        }
        let datom = crate::record::datom::Datom {
            e: 0,
            a: crate::record::datom::Attribute::Id(0),
            v: Value::String(text.into()),
            t: 0,
            added: true,
        };
        let mut line = Vec::new();
        crate::record::datom::json::print_datom(&datom, &mut line);
        self.out.extend_from_slice(line.strip_prefix(b"[0,0,").unwrap().strip_suffix(b",0,true]").unwrap());
    }

    fn spelled(&mut self, kind: &str, text: &[u8], as_key: bool) {
        self.string(&[kind.as_bytes(), text].concat(), as_key);
    }

    fn tagged(&mut self, tag: &str, write: impl FnOnce(&mut Self)) {
        self.out.push(if self.verbose { b'{' } else { b'[' });
        self.string(format!("~#{tag}").as_bytes(), self.verbose);
        self.out.push(if self.verbose { b':' } else { b',' });
        write(self);
        self.out.push(if self.verbose { b'}' } else { b']' });
    }

    fn array(&mut self, values: &[Value<'_>]) {
        self.out.push(b'[');
        for (n, value) in values.iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            self.value(value);
        }
        self.out.push(b']');
    }

    fn map(&mut self, entries: &[(Value<'_>, Value<'_>)]) {
        let simple = |key: &Value<'_>| matches!(key, Value::Keyword(_) | Value::Long(_) | Value::String(_));
        if !entries.iter().all(|(key, _)| simple(key)) {
            let flat: Vec<_> = entries.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
            return self.tagged("cmap", |out| out.array(&flat));
        }
        self.out.extend_from_slice(if self.verbose { b"{" } else { b"[\"^ \"" });
        for (n, (key, value)) in entries.iter().enumerate() {
            if n > 0 || !self.verbose {
                self.out.push(b',');
            }
            match key {
                Value::Long(long) => self.spelled("~i", long.to_string().as_bytes(), true),
                Value::Keyword(name) => self.spelled("~:", name.as_bytes(), true),
                Value::String(text) => self.escaped(text, true),
                _ => unreachable!("keys are simple"),
            }
            self.out.push(if self.verbose { b':' } else { b',' });
            self.value(value);
        }
        self.out.push(if self.verbose { b'}' } else { b']' });
    }

    fn escaped(&mut self, text: &[u8], as_key: bool) {
        let escape = if matches!(text, [b'~' | b'^' | b'`', ..]) { "~" } else { "" };
        self.spelled(escape, text, as_key);
    }

    fn value(&mut self, value: &Value<'_>) {
        let mut text = Vec::new();
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::Boolean(truth) => self.out.extend_from_slice(truth.to_string().as_bytes()),
            Value::Long(long) if long.unsigned_abs() < 1 << 53 => {
                self.out.extend_from_slice(long.to_string().as_bytes());
            }
            Value::Long(long) => self.spelled("~i", long.to_string().as_bytes(), false),
            Value::BigInt(big) => self.spelled("~n", big.to_string().as_bytes(), false),
            Value::Double(x) if x.is_nan() => self.spelled("~z", b"NaN", false),
            Value::Double(x) if x.is_infinite() => self.spelled("~z", if *x > 0.0 { b"INF" } else { b"-INF" }, false),
            Value::Double(_) => print_value(value, &mut self.out),
            Value::BigDecimal(_) => {
                print_value(value, &mut text);
                self.spelled("~f", &text[..text.len() - 1], false);
            }
            Value::Ratio(n, d) => {
                self.tagged("ratio", |out| out.array(&[Value::BigInt(n.clone()), Value::BigInt(d.clone())]));
            }
            Value::String(text) => self.escaped(text, false),
            Value::Keyword(name) => self.spelled("~:", name.as_bytes(), false),
            Value::Symbol(name) => self.spelled("~$", name.as_bytes(), false),
            Value::Uuid(bytes) => {
                edn::print_uuid(bytes, &mut text);
                self.spelled("~u", &text, false);
            }
            Value::Instant(milliseconds) => self.spelled("~m", milliseconds.to_string().as_bytes(), false),
            Value::Bytes(bytes) => {
                base64::encode(bytes, &mut text);
                self.spelled("~b", &text, false);
            }
            Value::Uri(uri) => self.spelled("~r", uri, false),
            Value::Tuple(values) => self.array(values),
            Value::List(values) => self.tagged("list", |out| out.array(values)),
            Value::Set(values) => self.tagged("set", |out| out.array(values)),
            Value::Map(entries) => self.map(entries),
            Value::Tagged(tag, value) => self.tagged(tag, |out| out.value(value)),
            other => unreachable!("{other:?} is not written"),
        }
    }
}

/// Values that Transit has a spelling for, and tags that no reader gives a meaning.
fn is_spelled(value: &Value<'_>) -> bool {
    match value {
        Value::Char(_)
        | Value::Float(_)
        | Value::Floats(_)
        | Value::Doubles(_)
        | Value::Regex(_)
        | Value::Stored(_) => false,
        Value::Keyword(name) | Value::Symbol(name) => !name.is_empty(),
        Value::Tuple(values) | Value::List(values) | Value::Set(values) => values.iter().all(is_spelled),
        Value::Map(entries) => entries.iter().all(|(key, value)| is_spelled(key) && is_spelled(value)),
        Value::Tagged(tag, value) => {
            tag.len() > 1 && !matches!(tag.as_ref(), "list" | "set" | "cmap" | "ratio") && is_spelled(value)
        }
        _ => true,
    }
}

proptest! {
    #[test]
    fn reading_is_the_inverse_of_writing(
        values in proptest::collection::vec(value(), 1..6), again in 0_usize..60, verbose: bool,
    ) {
        let values: Vec<_> = values.into_iter().filter(is_spelled).collect();
        // Said often, what is cached comes as codes, also as codes of two digits.
        let names = (0..again).map(|n| Value::Keyword(format!("name{}", n % 50).into()));
        let all: Vec<_> = values.iter().cloned().chain(names).chain(values.iter().cloned()).collect();
        let mut encoder = Encoder { verbose, ..Encoder::default() };
        encoder.array(&all);
        let mut reader = Reader::new();
        let read = reader.value(&encoder.out);
        let read = read.map_err(|why| TestCaseError::fail(format!("{}: {why}", String::from_utf8_lossy(&encoder.out))))?;
        prop_assert_eq!(shown(&read), shown(&Value::Tuple(all)));
    }

    #[test]
    fn bytes_never_panic(text in "[\\[\\]{}\"^~#:a0,1 \\\\]{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = Reader::new().value(text.as_bytes());
        let _ = Reader::new().head(text.as_bytes());
        let _ = Reader::new().key(&bytes);
    }
}
