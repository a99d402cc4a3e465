//! The EDN of manifests: small, trusted for nothing, and kept as text where only its meaning matters to others.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::Value;

const DEPTH_LIMIT: u32 = 64;
/// Manifests of 100 million datoms stay far below this.
const SIZE_LIMIT: u64 = 256 << 20;
/// Parts of a key's name that mean its value is not for manifests.
const SECRETS: [&str; 7] = ["password", "secret", "token", "credential", "passphrase", "access-key", "private-key"];

/// A map of keywords, each with the text of its value.
#[derive(Debug)]
pub struct Manifest<'t> {
    name: String,
    entries: Vec<(String, Value<'t>, &'t str)>,
}

/// Reads a manifest file, refusing one of absurd size.
pub fn load(path: &std::path::Path) -> Result<String> {
    let size = std::fs::metadata(path).map_err(|e| Error::io(path.display(), e))?.len();
    if size > SIZE_LIMIT {
        return Err(Error::new(ErrorKind::Data, path.display(), "too large for a manifest"));
    }
    std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => Error::new(ErrorKind::Data, path.display(), "not UTF-8").because(e),
        _ => Error::io(path.display(), e),
    })
}

impl<'t> Manifest<'t> {
    /// Parses the text of the file `name`.
    pub fn parse(name: &str, text: &'t str) -> Result<Self> {
        let mut edn = Edn { text, position: 0 };
        let entries = edn.manifest().map_err(|what| {
            let line = text.as_bytes()[..edn.position.min(text.len())].iter().filter(|&&b| b == b'\n').count() + 1;
            Error::new(ErrorKind::Data, name, format!("line {line}: {what}"))
        })?;
        Ok(Self { name: name.to_owned(), entries })
    }

    /// The value under a keyword, written without its colon.
    pub fn find(&self, key: &str) -> Option<&Value<'t>> {
        self.entries.iter().find(|(name, _, _)| name == key).map(|(_, value, _)| value)
    }

    /// The text of the value under a keyword, without what looks like credentials.
    pub fn text(&self, key: &str) -> Option<String> {
        let (_, value, text) = self.entries.iter().find(|(name, _, _)| name == key)?;
        let mut redacted = false;
        let value = redact(value.clone(), &mut redacted);
        Some(if redacted { print(&value) } else { (*text).to_owned() })
    }

    /// The whole number under a keyword.
    pub fn number(&self, key: &str) -> Result<i64> {
        match self.find(key) {
            Some(Value::Long(number)) => Ok(*number),
            _ => Err(self.refuse(format!("no whole number under :{key}"))),
        }
    }

    /// An error about this manifest.
    pub fn refuse(&self, message: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Data, &self.name, message)
    }
}

/// The value under a keyword in a map.
pub fn field<'v, 't>(map: &'v Value<'t>, key: &str) -> Option<&'v Value<'t>> {
    let Value::Map(entries) = map else { return None };
    entries.iter().find(|(name, _)| matches!(name, Value::Keyword(name) if name == key)).map(|(_, value)| value)
}

/// Parses one EDN value.
pub fn parse(text: &str) -> Result<Value<'_>, &'static str> {
    let mut edn = Edn { text, position: 0 };
    let value = edn.value(0)?;
    edn.space()?;
    if edn.rest().is_empty() { Ok(value) } else { Err("text after the value") }
}

/// The value with everything that looks like a credential replaced.
pub fn redact<'t>(value: Value<'t>, redacted: &mut bool) -> Value<'t> {
    match value {
        Value::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| match &key {
                    Value::Keyword(name) if is_secret(name) && !matches!(value, Value::Nil | Value::Boolean(_)) => {
                        *redacted = true;
                        (key, Value::String(Cow::Borrowed(b"redacted")))
                    }
                    _ => (key, redact(value, redacted)),
                })
                .collect(),
        ),
        Value::Tuple(elements) => Value::Tuple(elements.into_iter().map(|v| redact(v, redacted)).collect()),
        other => other,
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret)) || name == "key" || name.ends_with("/key")
}

/// A value as EDN, of the kinds manifests hold.
pub fn print(value: &Value<'_>) -> String {
    let mut out = String::new();
    print_into(value, &mut out);
    out
}

fn print_into(value: &Value<'_>, out: &mut String) {
    use std::fmt::Write;
    let mut all = |open: &str, elements: &[Value<'_>], close: char| {
        out.push_str(open);
        for (i, element) in elements.iter().enumerate() {
            if i > 0 {
                out.push(' ');
            }
            print_into(element, out);
        }
        out.push(close);
    };
    match value {
        Value::Tuple(elements) => all("[", elements, ']'),
        Value::List(elements) => all("(", elements, ')'),
        Value::Set(elements) => all("#{", elements, '}'),
        Value::Map(entries) => {
            out.push('{');
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                print_into(key, out);
                out.push(' ');
                print_into(value, out);
            }
            out.push('}');
        }
        Value::Keyword(name) => {
            out.push(':');
            out.push_str(name);
        }
        Value::Symbol(name) => out.push_str(name),
        Value::String(text) => print_string(&String::from_utf8_lossy(text), out),
        Value::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Long(value) => write!(out, "{value}").expect("writing to a string does not fail"),
        Value::Tagged(tag, value) => {
            out.push('#');
            out.push_str(tag);
            out.push(' ');
            print_into(value, out);
        }
        _ => out.push_str("nil"),
    }
}

/// Appends an EDN string literal.
pub fn print_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
}

type Parsed<T> = Result<T, &'static str>;

struct Edn<'t> {
    text: &'t str,
    position: usize,
}

impl<'t> Edn<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.position += prefix.len();
        }
        found
    }

    /// Whitespace, commas and comments.
    fn space(&mut self) -> Parsed<()> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            self.position += rest.len() - trimmed.len();
            if !trimmed.starts_with(';') {
                return Ok(());
            }
            self.position += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn manifest(&mut self) -> Parsed<Vec<(String, Value<'t>, &'t str)>> {
        self.space()?;
        if !self.take("{") {
            return Err("not a map");
        }
        let mut entries: Vec<(String, Value<'t>, &'t str)> = Vec::new();
        loop {
            self.space()?;
            if self.take("}") {
                break;
            }
            let Value::Keyword(key) = self.value(1)? else { return Err("a key is not a keyword") };
            self.space()?;
            let start = self.position;
            let value = self.value(1)?;
            if entries.iter().any(|(name, _, _)| *name == key) {
                return Err("a key occurs twice");
            }
            entries.push((key.into_owned(), value, &self.text[start..self.position]));
        }
        self.space()?;
        if self.rest().is_empty() { Ok(entries) } else { Err("text after the map") }
    }

    fn value(&mut self, depth: u32) -> Parsed<Value<'t>> {
        if depth > DEPTH_LIMIT {
            return Err("nested too deep");
        }
        self.space()?;
        match self.peek().ok_or("the text ends inside a value")? {
            '{' => {
                self.position += 1;
                self.map("", depth)
            }
            '[' => {
                self.position += 1;
                Ok(Value::Tuple(self.elements(']', depth)?))
            }
            '(' => {
                self.position += 1;
                Ok(Value::List(self.elements(')', depth)?))
            }
            '"' => self.string(),
            '#' => self.dispatch(depth),
            ')' | ']' | '}' => Err("a closing bracket without an opening one"),
            _ => self.atom(),
        }
    }

    fn elements(&mut self, close: char, depth: u32) -> Parsed<Vec<Value<'t>>> {
        let mut elements = Vec::new();
        loop {
            self.space()?;
            if self.peek() == Some(close) {
                self.position += 1;
                return Ok(elements);
            }
            elements.push(self.value(depth + 1)?);
        }
    }

    /// A map after its opening bracket; `namespace` is put on keywords that have none.
    fn map(&mut self, namespace: &str, depth: u32) -> Parsed<Value<'t>> {
        let mut flat = self.elements('}', depth)?.into_iter();
        let mut entries: Vec<(Value<'t>, Value<'t>)> = Vec::new();
        while let Some(key) = flat.next() {
            let value = flat.next().ok_or("a map with a key without a value")?;
            let key = match key {
                Value::Keyword(name) if !namespace.is_empty() => match name.strip_prefix("_/") {
                    Some(bare) => Value::Keyword(Cow::Owned(bare.to_owned())),
                    None if name.contains('/') => Value::Keyword(name),
                    None => Value::Keyword(Cow::Owned(format!("{namespace}/{name}"))),
                },
                other => other,
            };
            entries.push((key, value));
        }
        crate::record::datom::cbor::order_map(&mut entries).map_err(|_| "a key occurs twice")?;
        Ok(Value::Map(entries))
    }

    fn dispatch(&mut self, depth: u32) -> Parsed<Value<'t>> {
        if self.take("#{") {
            let mut elements = self.elements('}', depth)?;
            crate::record::datom::cbor::order_set(&mut elements).map_err(|_| "an element of a set occurs twice")?;
            return Ok(Value::Set(elements));
        }
        if self.take("#:") {
            let namespace = self.word();
            self.space()?;
            return if self.take("{") { self.map(namespace, depth) } else { Err("a namespace without its map") };
        }
        if self.take("#_") {
            return Err("a discarded value");
        }
        self.position += 1;
        let tag = self.word();
        if tag.is_empty() {
            return Err("a tag without a name");
        }
        let value = self.value(depth + 1)?;
        Ok(Value::Tagged(Cow::Borrowed(tag), Box::new(value)))
    }

    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || "()[]{}\",;".contains(c)).unwrap_or(rest.len());
        self.position += end;
        &rest[..end]
    }

    fn atom(&mut self) -> Parsed<Value<'t>> {
        let word = self.word();
        Ok(match word {
            "nil" => Value::Nil,
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            _ if word.starts_with(':') && word.len() > 1 => Value::Keyword(Cow::Borrowed(&word[1..])),
            _ => match word.strip_suffix('N').unwrap_or(word).parse::<i64>() {
                Ok(number) => Value::Long(number),
                Err(_) if word.starts_with(|c: char| c.is_ascii_digit()) => match word.parse::<f64>() {
                    Ok(number) => Value::Double(number),
                    Err(_) => return Err("a number"),
                },
                Err(_) => Value::Symbol(Cow::Borrowed(word)),
            },
        })
    }

    fn string(&mut self) -> Parsed<Value<'t>> {
        let mut out = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.position += at + 1;
                    return Ok(Value::String(Cow::Owned(out.into_bytes())));
                }
                '\\' => match chars.next().ok_or("the text ends inside a string")?.1 {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    'b' => out.push('\u{8}'),
                    'f' => out.push('\u{c}'),
                    c @ ('"' | '\\') => out.push(c),
                    'u' => {
                        let mut code = 0;
                        for _ in 0..4 {
                            let digit = chars.next().and_then(|(_, c)| c.to_digit(16)).ok_or("a character code")?;
                            code = code * 16 + digit;
                        }
                        out.push(char::from_u32(code).ok_or("a character code")?);
                    }
                    _ => return Err("an escape in a string"),
                },
                c => out.push(c),
            }
        }
        Err("the text ends inside a string")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_and_printed() {
        for (text, expected) in [
            ("#:db{:ident :a/b, :x/y 1}", "{:x/y 1, :db/ident :a/b}"),
            ("[1 -2 \"a\\\"\\u00e9\"] ", "[1 -2 \"a\\\"é\"]"),
            ("#{:b :a}", "#{:a :b}"),
            ("{:a #inst \"2024-01-01\" ; comment\n :b nil}", "{:a #inst \"2024-01-01\", :b nil}"),
        ] {
            assert_eq!(print(&parse(text).unwrap()), expected);
        }
    }

    #[test]
    fn bad_text_is_refused() {
        for (text, why) in [
            ("{:a 1 :a 2}", "a key occurs twice"),
            ("#{1 1}", "an element of a set occurs twice"),
            ("{:a", "the text ends inside a value"),
            ("[1 2}", "a closing bracket without an opening one"),
            ("{:a}", "a map with a key without a value"),
            ("1 2", "text after the value"),
        ] {
            assert_eq!(parse(text).unwrap_err(), why, "{text}");
        }
        assert_eq!(parse(&"[".repeat(10_000)).unwrap_err(), "nested too deep");
        assert_eq!(parse(&"#a ".repeat(10_000)).unwrap_err(), "nested too deep");
    }

    #[test]
    fn credentials_are_not_kept() {
        let text = "{:store {:backend :s3 :secret \"s\" :access-key-id \"k\" :bucket \"b\"}}";
        let text = Manifest::parse("m", text).unwrap().text("store").unwrap();
        assert!(!text.contains("\"s\"") && !text.contains("\"k\"") && text.contains("\"b\""), "{text}");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[\\PC{}\\[\\]()#:\"\\\\ ]*") {
            let _ = parse(&text);
            let _ = Manifest::parse("m", &text);
        }
    }
}
