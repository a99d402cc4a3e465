//! Numbers as Java's `toString` writes them (JDK 19 and later): what hashes of numbers are made of.

use num_bigint::Sign;

use crate::record::datom::BigDecimal;

/// `Double.toString`.
pub fn double(number: f64) -> String {
    if !number.is_finite() {
        return not_finite(number.is_nan(), number.is_sign_negative());
    }
    let shortest = format!("{number:e}");
    // With a single digit Java takes the closest number of two digits: 4.9E-324.
    if shortest.contains('.') || number == 0.0 { arrange(&shortest) } else { arrange(&format!("{number:.1e}")) }
}

/// `Float.toString`.
pub fn float(number: f32) -> String {
    if !number.is_finite() {
        return not_finite(number.is_nan(), number.is_sign_negative());
    }
    let shortest = format!("{number:e}");
    if shortest.contains('.') || number == 0.0 { arrange(&shortest) } else { arrange(&format!("{number:.1e}")) }
}

fn not_finite(nan: bool, negative: bool) -> String {
    match (nan, negative) {
        (true, _) => "NaN",
        (false, false) => "Infinity",
        (false, true) => "-Infinity",
    }
    .to_owned()
}

/// Digits and exponent as Java arranges them: plain from 10^-3 up to below 10^7, else in computer's notation.
fn arrange(scientific: &str) -> String {
    let (mantissa, exponent) = scientific.split_once('e').expect("the notation of {:e} has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent of {:e} is a small number");
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let or_zero = |digits: &str| if digits.is_empty() { "0".to_owned() } else { digits.to_owned() };
    match exponent {
        -3..0 => format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize)),
        0..7 => {
            let whole = exponent as usize + 1;
            let padded = format!("{digits:0<whole$}");
            let (before, after) = padded.split_at(whole);
            format!("{sign}{before}.{}", or_zero(after))
        }
        _ => format!("{sign}{}.{}E{exponent}", &digits[..1], or_zero(&digits[1..])),
    }
}

/// `BigDecimal.toString`.
pub fn decimal(number: &BigDecimal) -> String {
    let (sign, digits) = match number.unscaled.sign() {
        Sign::Minus => ("-", (-&number.unscaled).to_string()),
        _ => ("", number.unscaled.to_string()),
    };
    let scale = i64::from(number.scale);
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let adjusted = digits.len() as i64 - 1 - scale;
    if scale > 0 && adjusted >= -6 {
        let scale = scale as usize;
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (before, after) = padded.split_at(padded.len() - scale);
        return format!("{sign}{before}.{after}");
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    match adjusted {
        0 => format!("{sign}{first}{point}{rest}"),
        _ => format!("{sign}{first}{point}{rest}E{adjusted:+}"),
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;

    use super::*;

    #[test]
    fn doubles_are_written_as_java_does() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (1234567.0, "1234567.0"),
            (9999999.999, "9999999.999"),
            (1e7, "1.0E7"),
            (12345678.9, "1.23456789E7"),
            (0.001, "0.001"),
            (0.00123, "0.00123"),
            (0.000999, "9.99E-4"),
            (1e23, "1.0E23"),
            (2e23, "2.0E23"),
            (0.1, "0.1"),
            (std::f64::consts::PI, "3.141592653589793"),
            (f64::from_bits(1), "4.9E-324"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (number, text) in cases {
            assert_eq!(double(number), text);
        }
        let cases =
            [(1.1_f32, "1.1"), (f32::from_bits(1), "1.4E-45"), (f32::MAX, "3.4028235E38"), (16777216.0, "1.6777216E7")];
        for (number, text) in cases {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn decimals_are_written_as_java_does() {
        let cases: [(i64, i32, &str); 12] = [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (110, 2, "1.10"),
            (-11, 1, "-1.1"),
            (5, 3, "0.005"),
            (1, 6, "0.000001"),
            (1, 7, "1E-7"),
            (123, 10, "1.23E-8"),
            (1, -400, "1E+400"),
            (123, -1, "1.23E+3"),
            (-123, -3, "-1.23E+5"),
            (0, 7, "0E-7"),
        ];
        for (unscaled, scale, text) in cases {
            assert_eq!(decimal(&BigDecimal { unscaled: BigInt::from(unscaled), scale }), text);
        }
    }
}
