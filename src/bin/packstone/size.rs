//! Sizes in bytes as people write them: `512MiB`, `1.5G`, `100 kB`.

/// The number of bytes. `K`, `M`, `G`, `T` and `KiB` ... are powers of 1024 as in restic, `kB`, `MB` ... of 1000.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor = factor(unit).ok_or_else(|| format!("`{unit}` is no unit of size: B, K, M, G, T, KiB, MB ..."))?;
    let wrong = || format!("`{text}` is no size such as 512MiB");
    let number = number.trim();
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"));
    }
    let plain = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let bytes = number.parse::<f64>().ok().filter(|_| plain).ok_or_else(wrong)? * factor as f64;
    if bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(format!("`{text}` is too large")) }
}

fn factor(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let mut letters = unit.chars();
    let power = match letters.next() {
        None => return Some(1),
        Some('b') if unit == "b" => return Some(1),
        Some(letter) => "kmgtp".find(letter)? as u32 + 1,
    };
    match letters.as_str() {
        "" | "i" | "ib" => Some(1024_u64.pow(power)),
        "b" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// For people: `1.5 MiB`.
pub fn show(bytes: u64) -> String {
    let mut unit = 0;
    let mut number = bytes as f64;
    while number >= 1023.95 && unit < 5 {
        number /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        unit => format!("{number:.1} {}iB", ["K", "M", "G", "T", "P"][unit - 1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("1k", 1024),
            ("1K", 1024),
            ("1KiB", 1024),
            ("1kB", 1000),
            ("512MiB", 512 << 20),
            ("512 MiB", 512 << 20),
            ("1.5G", 3 << 29),
            ("2T", 2 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "-1", "1X", "1KBB", "1e9", "nan", "inf", "1.2.3M", "99999999P"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_at_most_four_digits() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_048_575, "1.0 MiB"), (3 << 29, "1.5 GiB")]
        {
            assert_eq!(show(bytes), text);
        }
    }
}
