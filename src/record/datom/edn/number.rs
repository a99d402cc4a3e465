//! Numbers as Java prints them, and as Clojure reads them.

use std::io::Write as _;

use num_bigint::{BigInt, Sign};

use crate::record::datom::{BigDecimal, Value};

/// Digits of an integer, ratio or decimal, at most; reading takes time with the square of them.
const DIGITS_MAX: usize = 100_000;

/// Appends an integer.
pub(crate) fn print_long(n: i64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends a big integer, without the `N`.
pub(crate) fn print_big(n: &BigInt, out: &mut Vec<u8>) {
    out.extend_from_slice(n.to_str_radix(10).as_bytes());
}

/// Appends a finite double as Java's `Double.toString`.
pub(crate) fn print_double(x: f64, out: &mut Vec<u8>) {
    let mut text = Digits::default();
    write!(text, "{x:e}").expect("a double's digits fit in the buffer");
    // Java prints two digits where one would do, which shows only where the numbers are that sparse.
    if x.abs() < f64::MIN_POSITIVE && text.mantissa_len() == 1 {
        let mut two = Digits::default();
        write!(two, "{x:.1e}").expect("two digits fit in the buffer");
        if two.as_str().parse() == Ok(x) {
            text = two;
        }
    }
    print_java(text.as_str(), out);
}

/// Appends a finite float as Java's `Float.toString`.
pub(crate) fn print_float(x: f32, out: &mut Vec<u8>) {
    let mut text = Digits::default();
    write!(text, "{x:e}").expect("a float's digits fit in the buffer");
    if x.abs() < f32::MIN_POSITIVE && text.mantissa_len() == 1 {
        let mut two = Digits::default();
        write!(two, "{x:.1e}").expect("two digits fit in the buffer");
        if two.as_str().parse() == Ok(x) {
            text = two;
        }
    }
    print_java(text.as_str(), out);
}

/// A short text on the stack.
#[derive(Default)]
struct Digits {
    bytes: [u8; 32],
    len: usize,
}

impl Digits {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("formatting writes UTF-8")
    }

    fn mantissa_len(&self) -> usize {
        self.bytes[..self.len].iter().take_while(|&&b| b != b'e').filter(|b| b.is_ascii_digit()).count()
    }
}

impl std::io::Write for Digits {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let copied = (&mut self.bytes[self.len..]).write(bytes)?;
        self.len += copied;
        Ok(copied)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lays out `-1.25e-7` as Java does: plain from 10^-3 up to 10^7, otherwise with an exponent, always with a fraction.
fn print_java(scientific: &str, out: &mut Vec<u8>) {
    let unsigned = scientific.strip_prefix('-').unwrap_or(scientific);
    if unsigned.len() != scientific.len() {
        out.push(b'-');
    }
    let (mantissa, exponent) = unsigned.split_once('e').expect("this notation has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent of a double is a small number");
    let (first, rest) = mantissa.split_at(1);
    let rest = rest.trim_start_matches('.').trim_end_matches('0').as_bytes();
    let fraction = |digits: &[u8], out: &mut Vec<u8>| {
        out.push(b'.');
        out.extend_from_slice(if digits.is_empty() { b"0" } else { digits });
    };
    match exponent {
        0..7 => {
            let whole = exponent as usize;
            let given = whole.min(rest.len());
            out.extend_from_slice(first.as_bytes());
            out.extend_from_slice(&rest[..given]);
            out.resize(out.len() + whole - given, b'0');
            fraction(&rest[given..], out);
        }
        -3..0 => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-1 - exponent) as usize, b'0');
            out.extend_from_slice(first.as_bytes());
            out.extend_from_slice(rest);
        }
        _ => {
            out.extend_from_slice(first.as_bytes());
            fraction(rest, out);
            out.push(b'E');
            print_long(i64::from(exponent), out);
        }
    }
}

/// Appends a decimal as Java's `BigDecimal.toString`, without the `M`.
pub(crate) fn print_decimal(n: &BigDecimal, out: &mut Vec<u8>) {
    let (sign, magnitude) = n.unscaled.clone().into_parts();
    let digits = magnitude.to_str_radix(10).into_bytes();
    if sign == Sign::Minus {
        out.push(b'-');
    }
    let (scale, len) = (i64::from(n.scale), digits.len() as i64);
    let exponent = len - 1 - scale;
    if scale == 0 {
        out.extend_from_slice(&digits);
    } else if scale > 0 && exponent >= -6 {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (scale - len) as usize, b'0');
            out.extend_from_slice(&digits);
        } else {
            let (whole, fraction) = digits.split_at((len - scale) as usize);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        if exponent != 0 {
            out.extend_from_slice(if exponent > 0 { b"E+" } else { b"E" });
            print_long(exponent, out);
        }
    }
}

/// The number of a token: `7`, `7N`, `0x7f`, `1/3`, `1.5`, `1E10`, `1.00M`.
pub(crate) fn parse_number<'a>(token: &str) -> Result<Value<'a>, &'static str> {
    if let Some(n) = parse_long(token.as_bytes()) {
        return Ok(Value::Long(n));
    }
    if let Some(digits) = token.strip_suffix('N') {
        return parse_big(digits).map(Value::BigInt);
    }
    if let Some(digits) = token.strip_suffix('M') {
        return parse_decimal(digits).map(Value::BigDecimal);
    }
    if let Some((numerator, denominator)) = token.split_once('/') {
        let denominator = parse_big(denominator)?;
        if denominator.sign() != Sign::Plus {
            return Err("a denominator that is not above zero");
        }
        return Ok(Value::Ratio(parse_big(numerator)?, denominator));
    }
    if let Some(n) = parse_hexadecimal(token) {
        return Ok(Value::Long(n));
    }
    let (whole, is_integer) = match token.find(['.', 'e', 'E']) {
        Some(end) => (&token[..end], false),
        None => (token, true),
    };
    refuse_leading_zero(whole)?;
    if is_integer { parse_big(token).map(Value::BigInt) } else { parse_double(token).map(Value::Double) }
}

fn refuse_leading_zero(token: &str) -> Result<(), &'static str> {
    let digits = token.trim_start_matches(['+', '-']).as_bytes();
    if digits.len() > 1 && digits[0] == b'0' { Err("a number with a leading zero") } else { Ok(()) }
}

fn parse_hexadecimal(token: &str) -> Option<i64> {
    let (negative, digits) = match token.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, token),
    };
    let digits = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"))?;
    let digits = digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(digits)?;
    let n = i64::from_str_radix(digits, 16).ok()?;
    Some(if negative { -n } else { n })
}

/// A 64-bit integer without a leading zero.
pub(crate) fn parse_long(token: &[u8]) -> Option<i64> {
    let (negative, digits) = match token {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, token),
    };
    let short = !digits.is_empty() && digits.len() <= 19;
    if !short || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    // Nineteen digits are below 2^64, and the sum is of unsigned numbers.
    let mut n: u64 = 0;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n = n * 10 + u64::from(digit);
    }
    if negative { 0_i64.checked_sub_unsigned(n) } else { i64::try_from(n).ok() }
}

/// An integer of any size.
pub(crate) fn parse_big(token: &str) -> Result<BigInt, &'static str> {
    let digits = token.strip_prefix(['+', '-']).unwrap_or(token);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("not a number");
    }
    if digits.len() > DIGITS_MAX {
        return Err("a number of more than 100,000 digits");
    }
    refuse_leading_zero(digits)?;
    token.parse().map_err(|_| "not a number")
}

/// Splits `1.25e-7` into whole digits with sign, fraction digits and exponent digits with sign.
fn split_number(token: &str) -> Option<(&str, &str, &str)> {
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent),
        None => (token, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = |text| str::strip_prefix(text, ['+', '-']).unwrap_or(text);
    let fine = !unsigned(whole).is_empty()
        && all_digits(unsigned(whole))
        && all_digits(fraction)
        && !unsigned(exponent).is_empty()
        && all_digits(unsigned(exponent));
    fine.then_some((whole, fraction, exponent))
}

/// A double with fraction, exponent or both.
pub(crate) fn parse_double(token: &str) -> Result<f64, &'static str> {
    split_number(token).ok_or("not a number")?;
    let x: f64 = token.parse().map_err(|_| "not a number")?;
    if x.is_finite() { Ok(x) } else { Err("a number too large for a double") }
}

/// A float, rounded once, from the decimal digits.
pub(crate) fn parse_float(token: &str) -> Result<f32, &'static str> {
    split_number(token).ok_or("not a number")?;
    let x: f32 = token.parse().map_err(|_| "not a number")?;
    if x.is_finite() { Ok(x) } else { Err("a number too large for a float") }
}

/// A decimal, keeping its scale.
pub(crate) fn parse_decimal(token: &str) -> Result<BigDecimal, &'static str> {
    let (whole, fraction, exponent) = split_number(token).ok_or("not a number")?;
    if whole.len() + fraction.len() > DIGITS_MAX {
        return Err("a number of more than 100,000 digits");
    }
    let exponent: i64 = exponent.parse().map_err(|_| "a decimal with an exponent over 32 bits")?;
    let scale = (fraction.len() as i64).checked_sub(exponent).and_then(|scale| i32::try_from(scale).ok());
    let scale = scale.ok_or("a decimal with a scale over 32 bits")?;
    let unscaled = format!("{whole}{fraction}").parse().map_err(|_| "not a number")?;
    Ok(BigDecimal { unscaled, scale })
}
