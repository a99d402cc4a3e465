//! The JSON printer.

use crate::record::datom::edn::number::{print_big, print_decimal, print_double, print_float, print_long};
use crate::record::datom::edn::{instant, print_unit, print_uuid, push_unit, surrogate};
use crate::record::datom::json::base64;
use crate::record::datom::{Attribute, Datom, Value};

/// Appends `[e,a,v,t,added]`, without a line feed.
pub fn print_datom(datom: &Datom<'_>, out: &mut Vec<u8>) {
    out.push(b'[');
    print_long(datom.e, out);
    out.push(b',');
    match &datom.a {
        Attribute::Keyword(name) => print_keyword(name, out),
        Attribute::Id(id) => print_long(*id, out),
        Attribute::String(text) if text.starts_with(':') => {
            print_typed("$string", out, |out| print_string(text.as_bytes(), out));
        }
        Attribute::String(text) => print_string(text.as_bytes(), out),
    }
    out.push(b',');
    print_value(&datom.v, out);
    out.push(b',');
    print_long(datom.t, out);
    out.extend_from_slice(if datom.added { b",true]" } else { b",false]" });
}

fn print_value(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Long(n) => print_long(*n, out),
        Value::String(text) => print_string(text, out),
        Value::Double(x) if x.is_finite() => print_double(*x, out),
        Value::Double(x) => print_typed("$double", out, |out| print_any_double(*x, out)),
        Value::Float(x) => print_typed("$float", out, |out| print_any_float(*x, out)),
        Value::BigInt(n) => print_quoted("$bigint", out, |out| print_big(n, out)),
        Value::BigDecimal(n) => print_quoted("$bigdec", out, |out| print_decimal(n, out)),
        Value::Ratio(numerator, denominator) => print_quoted("$ratio", out, |out| {
            print_big(numerator, out);
            out.push(b'/');
            print_big(denominator, out);
        }),
        Value::Char(unit) => print_typed("$char", out, |out| {
            let mut text = Vec::with_capacity(3);
            push_unit(*unit, &mut text);
            print_string(&text, out);
        }),
        Value::Keyword(name) => print_typed("$keyword", out, |out| print_keyword(name, out)),
        Value::Symbol(name) => print_typed("$symbol", out, |out| print_string(name.as_bytes(), out)),
        Value::Uuid(bytes) => print_quoted("$uuid", out, |out| print_uuid(bytes, out)),
        Value::Instant(milliseconds) => print_quoted("$inst", out, |out| instant::print_iso(*milliseconds, out)),
        Value::Bytes(bytes) => print_quoted("$bytes", out, |out| base64::encode(bytes, out)),
        Value::Uri(text) => print_typed("$uri", out, |out| print_string(text, out)),
        Value::Regex(text) => print_typed("$regex", out, |out| print_string(text, out)),
        Value::Tuple(values) => print_typed("$tuple", out, |out| print_array(values, out, print_value)),
        Value::List(values) => print_typed("$list", out, |out| print_array(values, out, print_value)),
        Value::Set(values) => print_typed("$set", out, |out| print_array(values, out, print_value)),
        Value::Map(entries) => print_typed("$map", out, |out| {
            print_array(entries, out, |(key, value), out| {
                out.push(b'[');
                print_value(key, out);
                out.push(b',');
                print_value(value, out);
                out.push(b']');
            });
        }),
        Value::Floats(numbers) => {
            print_typed("$floats", out, |out| print_array(numbers, out, |x, out| print_any_float(*x, out)));
        }
        Value::Doubles(numbers) => {
            print_typed("$doubles", out, |out| print_array(numbers, out, |x, out| print_any_double(*x, out)));
        }
        Value::Tagged(tag, value) => print_typed("$tagged", out, |out| {
            out.push(b'[');
            print_string(tag.as_bytes(), out);
            out.push(b',');
            print_value(value, out);
            out.push(b']');
        }),
        Value::Stored(reference) => print_typed("$tagged", out, |out| {
            out.extend_from_slice(b"[\"packstone/stored\",");
            print_string(reference.id.to_string().as_bytes(), out);
            out.push(b']');
        }),
    }
}

fn print_typed(key: &str, out: &mut Vec<u8>, print: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    print(out);
    out.push(b'}');
}

/// As [`print_typed`] with quotes around text that needs no escapes.
fn print_quoted(key: &str, out: &mut Vec<u8>, print: impl FnOnce(&mut Vec<u8>)) {
    print_typed(key, out, |out| {
        out.push(b'"');
        print(out);
        out.push(b'"');
    });
}

fn print_array<T>(items: &[T], out: &mut Vec<u8>, print: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        print(item, out);
    }
    out.push(b']');
}

fn print_any_double(x: f64, out: &mut Vec<u8>) {
    if x.is_finite() { print_double(x, out) } else { print_unusual(x, out) }
}

fn print_any_float(x: f32, out: &mut Vec<u8>) {
    if x.is_finite() { print_float(x, out) } else { print_unusual(f64::from(x), out) }
}

fn print_unusual(x: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(match x {
        _ if x.is_nan() => b"\"NaN\"",
        _ if x > 0.0 => b"\"Infinity\"",
        _ => b"\"-Infinity\"",
    });
}

fn print_keyword(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\":");
    print_content(name.as_bytes(), out);
    out.push(b'"');
}

fn print_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    print_content(text, out);
    out.push(b'"');
}

/// WTF-8 text with the escapes that JSON demands; lone surrogates as `\uXXXX`.
fn print_content(text: &[u8], out: &mut Vec<u8>) {
    let mut done = 0;
    for (i, &byte) in text.iter().enumerate() {
        let len = match byte {
            b'"' | b'\\' | 0..=0x1f => 1,
            0xed if surrogate(&text[i..]).is_some() => 3,
            _ => continue,
        };
        out.extend_from_slice(&text[done..i]);
        done = i + len;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => print_unit(surrogate(&text[i..]).unwrap_or(u16::from(byte)), out),
        }
    }
    out.extend_from_slice(&text[done..]);
}
