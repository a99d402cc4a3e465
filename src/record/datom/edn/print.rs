//! The EDN printer.

use crate::record::datom::edn::instant;
use crate::record::datom::edn::number::{print_big, print_decimal, print_double, print_float, print_long};
use crate::record::datom::edn::read::{is_keyword, is_symbol, is_tag};
use crate::record::datom::{Attribute, Datom, Value};

/// Appends `[e a v t op]`, without a line feed.
pub fn print_datom(datom: &Datom<'_>, out: &mut Vec<u8>) {
    out.push(b'[');
    print_long(datom.e, out);
    out.push(b' ');
    match &datom.a {
        Attribute::Keyword(name) => print_keyword(name, out),
        Attribute::Id(id) => print_long(*id, out),
        Attribute::String(text) => print_string(text.as_bytes(), out),
    }
    out.push(b' ');
    print_value(&datom.v, out);
    out.push(b' ');
    print_long(datom.t, out);
    out.extend_from_slice(if datom.added { b" true]" } else { b" false]" });
}

/// Appends a value; never a line feed.
pub fn print_value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Nil => out.extend_from_slice(b"nil"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Long(n) => print_long(*n, out),
        Value::BigInt(n) => {
            print_big(n, out);
            out.push(b'N');
        }
        Value::Double(x) => print_any_double(*x, out),
        Value::Float(x) => {
            out.extend_from_slice(b"#float \"");
            match x {
                _ if x.is_nan() => out.extend_from_slice(b"NaN"),
                _ if x.is_finite() => print_float(*x, out),
                _ if *x > 0.0 => out.extend_from_slice(b"Infinity"),
                _ => out.extend_from_slice(b"-Infinity"),
            }
            out.push(b'"');
        }
        Value::BigDecimal(n) => {
            print_decimal(n, out);
            out.push(b'M');
        }
        Value::Ratio(numerator, denominator) => {
            print_big(numerator, out);
            out.push(b'/');
            print_big(denominator, out);
        }
        Value::Char(unit) => print_character(*unit, out),
        Value::String(text) => print_string(text, out),
        Value::Keyword(name) => print_keyword(name, out),
        Value::Symbol(name) if is_symbol(name) => out.extend_from_slice(name.as_bytes()),
        Value::Symbol(name) => print_tagged_string(b"#symbol ", name.as_bytes(), out),
        Value::Uuid(bytes) => {
            out.extend_from_slice(b"#uuid \"");
            uuid(bytes, out);
            out.push(b'"');
        }
        Value::Instant(milliseconds) => {
            out.extend_from_slice(b"#inst \"");
            instant::print_java(*milliseconds, out);
            out.push(b'"');
        }
        Value::Bytes(bytes) => {
            out.extend_from_slice(b"#bytes \"");
            hex(bytes, out);
            out.push(b'"');
        }
        Value::Uri(text) => print_tagged_string(b"#uri ", text, out),
        Value::Regex(pattern) if is_regex_literal(pattern) => {
            out.extend_from_slice(b"#\"");
            out.extend_from_slice(pattern);
            out.push(b'"');
        }
        Value::Regex(pattern) => print_tagged_string(b"#regex ", pattern, out),
        Value::Tuple(values) => print_sequence(b"[", values, b" ", b']', out, print_value),
        Value::List(values) => print_sequence(b"(", values, b" ", b')', out, print_value),
        Value::Set(values) => print_sequence(b"#{", values, b" ", b'}', out, print_value),
        Value::Map(entries) => print_sequence(b"{", entries, b", ", b'}', out, |(key, value), out| {
            print_value(key, out);
            out.push(b' ');
            print_value(value, out);
        }),
        Value::Floats(numbers) => print_sequence(b"#floats [", numbers, b" ", b']', out, |x, out| {
            if x.is_finite() { print_float(*x, out) } else { print_any_double(f64::from(*x), out) }
        }),
        Value::Doubles(numbers) => {
            print_sequence(b"#doubles [", numbers, b" ", b']', out, |x, out| print_any_double(*x, out));
        }
        Value::Tagged(tag, value) => print_tagged(tag, value, out),
        Value::Stored(reference) => {
            print_tagged_string(b"#packstone/stored ", reference.id.to_string().as_bytes(), out);
        }
    }
}

fn print_any_double(x: f64, out: &mut Vec<u8>) {
    if x.is_finite() {
        print_double(x, out);
    } else if x.is_nan() {
        out.extend_from_slice(b"##NaN");
    } else {
        out.extend_from_slice(if x > 0.0 { b"##Inf" } else { b"##-Inf" });
    }
}

fn print_keyword(name: &str, out: &mut Vec<u8>) {
    if is_keyword(name) {
        out.push(b':');
        out.extend_from_slice(name.as_bytes());
    } else {
        print_tagged_string(b"#keyword ", name.as_bytes(), out);
    }
}

fn print_tagged_string(tag: &[u8], text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(tag);
    print_string(text, out);
}

fn print_sequence<T>(
    open: &[u8],
    items: &[T],
    between: &[u8],
    close: u8,
    out: &mut Vec<u8>,
    print: impl Fn(&T, &mut Vec<u8>),
) {
    out.extend_from_slice(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(between);
        }
        print(item, out);
    }
    out.push(close);
}

/// Tags that the reader gives a meaning stand in a `#tagged` when they are on something else.
fn print_tagged(tag: &str, value: &Value<'_>, out: &mut Vec<u8>) {
    const OURS: [&str; 11] =
        ["inst", "uuid", "bytes", "float", "uri", "regex", "keyword", "symbol", "floats", "doubles", "tagged"];
    match value {
        Value::Tuple(parts) if tag == "object" => {
            print_sequence(b"#object[", parts, b" ", b']', out, print_object_part)
        }
        _ if is_tag(tag) && !OURS.contains(&tag) => {
            out.push(b'#');
            out.extend_from_slice(tag.as_bytes());
            out.push(b' ');
            print_value(value, out);
        }
        _ => {
            out.extend_from_slice(b"#tagged [");
            print_string(tag.as_bytes(), out);
            out.push(b' ');
            print_value(value, out);
            out.push(b']');
        }
    }
}

/// The address in `#object["[B" 0x7e1b1315 "..."]` is a symbol that looks like a number.
fn print_object_part(part: &Value<'_>, out: &mut Vec<u8>) {
    match part {
        Value::Symbol(name) if is_keyword(name) && name.starts_with(|c: char| c.is_ascii_digit()) => {
            out.extend_from_slice(name.as_bytes());
        }
        other => print_value(other, out),
    }
}

/// A WTF-8 text in quotes: `pr-str`'s escapes, and `\uXXXX` for NUL and lone surrogates.
fn print_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut done = 0;
    for (i, &byte) in text.iter().enumerate() {
        let escape = match byte {
            0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0xec | 0xee..=0xff => continue,
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\t' => b't',
            b'\r' => b'r',
            0x0c => b'f',
            0x08 => b'b',
            0 => {
                out.extend_from_slice(&text[done..i]);
                print_unit(0, out);
                done = i + 1;
                continue;
            }
            0xed => {
                if let Some(unit) = surrogate(&text[i..]) {
                    out.extend_from_slice(&text[done..i]);
                    print_unit(unit, out);
                    done = i + 3;
                }
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&text[done..i]);
        out.extend_from_slice(&[b'\\', escape]);
        done = i + 1;
    }
    out.extend_from_slice(&text[done..]);
    out.push(b'"');
}

/// The surrogate that these bytes begin with.
pub(crate) fn surrogate(bytes: &[u8]) -> Option<u16> {
    match bytes {
        [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, ..] => {
            Some(0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f))
        }
        _ => None,
    }
}

/// Appends `\uXXXX`.
pub(crate) fn print_unit(unit: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    hex(&unit.to_be_bytes(), out);
}

fn print_character(unit: u16, out: &mut Vec<u8>) {
    match (unit, char::from_u32(u32::from(unit))) {
        (10, _) => out.extend_from_slice(b"\\newline"),
        (32, _) => out.extend_from_slice(b"\\space"),
        (9, _) => out.extend_from_slice(b"\\tab"),
        (8, _) => out.extend_from_slice(b"\\backspace"),
        (12, _) => out.extend_from_slice(b"\\formfeed"),
        (13, _) => out.extend_from_slice(b"\\return"),
        (0, _) | (_, None) => print_unit(unit, out),
        (_, Some(c)) => {
            out.push(b'\\');
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Whether `#"..."` around the pattern reads back as it: quotes only behind a backslash, and nothing that ends a line.
fn is_regex_literal(pattern: &[u8]) -> bool {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' | b'\n' | b'\r' | 0 => return false,
            b'\\' if bytes.next().is_none_or(|next| matches!(next, b'\n' | b'\r' | 0)) => return false,
            _ => {}
        }
    }
    std::str::from_utf8(pattern).is_ok()
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends lower-case hexadecimal digits.
fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes.iter().flat_map(|b| [HEX_DIGITS[usize::from(b >> 4)], HEX_DIGITS[usize::from(b & 15)]]));
}

/// Appends `01234567-89ab-cdef-0123-456789abcdef`.
pub(crate) fn uuid(bytes: &[u8; 16], out: &mut Vec<u8>) {
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        hex(&[*byte], out);
    }
}
