//! Datoms as the ground truth prints them.

use packstone::record::datom::{Attribute, Datom, Value};

pub fn line(datom: &Datom<'_>) -> String {
    let a = match &datom.a {
        Attribute::Keyword(name) => format!(":{name}"),
        Attribute::Id(id) => id.to_string(),
        Attribute::String(text) => format!("{text:?}"),
    };
    format!("[{} {a} {} {} {}]", datom.e, value(&datom.v), datom.t, datom.added)
}

fn value(v: &Value<'_>) -> String {
    match v {
        Value::Nil => "nil".to_owned(),
        Value::Boolean(b) => b.to_string(),
        Value::Long(n) => n.to_string(),
        Value::BigInt(n) => format!("{n}N"),
        Value::Double(x) => double(*x, two_digits(format!("{x:e}"), format!("{x:.1e}"))),
        Value::Float(x) => format!(
            "#float \"{}\"",
            double(f64::from(*x), two_digits(format!("{x:e}"), format!("{x:.1e}"))).replace("##", "")
        ),
        Value::BigDecimal(d) => {
            let digits = d.unscaled.magnitude().to_string();
            let sign = if d.unscaled < 0.into() { "-" } else { "" };
            let adjusted = i64::try_from(digits.len()).unwrap() - 1 - i64::from(d.scale);
            if d.scale < 0 || adjusted < -6 {
                let rest = if digits.len() > 1 { format!(".{}", &digits[1..]) } else { String::new() };
                return format!("{sign}{}{rest}E{adjusted:+}M", &digits[..1]);
            }
            let scale = usize::try_from(d.scale).unwrap();
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let (whole, part) = digits.split_at(digits.len() - scale);
            if scale == 0 { format!("{sign}{whole}M") } else { format!("{sign}{whole}.{part}M") }
        }
        Value::String(text) => string(std::str::from_utf8(text).unwrap()),
        Value::Keyword(name) => format!(":{name}"),
        Value::Symbol(name) => name.to_string(),
        Value::Uuid(bytes) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("#uuid \"{}-{}-{}-{}-{}\"", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
        }
        Value::Instant(millis) => {
            let time = jiff::Timestamp::from_millisecond(*millis).unwrap();
            format!("#inst \"{}-00:00\"", time.strftime("%Y-%m-%dT%H:%M:%S.%3f"))
        }
        Value::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("#bytes \"{hex}\"")
        }
        Value::Tuple(elements) => format!("[{}]", elements.iter().map(value).collect::<Vec<_>>().join(" ")),
        other => format!("{other:?}"),
    }
}

/// Java prints at least two digits, the nearest ones.
fn two_digits(shortest: String, two: String) -> String {
    if shortest.contains('.') { shortest } else { two }
}

/// Java's notation from Rust's shortest digits with an exponent.
fn double(x: f64, shortest: String) -> String {
    if x.is_nan() {
        return "##NaN".to_owned();
    }
    if x.is_infinite() {
        return if x > 0.0 { "##Inf" } else { "##-Inf" }.to_owned();
    }
    let (mantissa, exponent) = shortest.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    let sign = if mantissa.starts_with('-') { "-" } else { "" };
    let mut digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if digits.len() == 2 && digits.ends_with('0') {
        digits.pop();
    }
    if x != 0.0 && !(-3..7).contains(&exponent) {
        let rest = if digits.len() > 1 { &digits[1..] } else { "0" };
        return format!("{sign}{}.{rest}E{exponent}", &digits[..1]);
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(usize::try_from(-exponent - 1).unwrap()));
    }
    let whole = usize::try_from(exponent).unwrap() + 1;
    let digits = format!("{digits:0<width$}", width = whole + 1);
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

fn string(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}
