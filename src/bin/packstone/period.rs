//! Periods of a run: `90s`, `5m`, `1h 30m`. Retention has its own, of years to hours.

use std::time::Duration;

use jiff::SignedDuration;

/// A period longer than nothing.
pub fn parse(text: &str) -> Result<Duration, String> {
    let period: SignedDuration = text.parse().map_err(|e| format!("`{text}` is no period such as 5m or 90s: {e}"))?;
    let period = Duration::try_from(period).map_err(|_| format!("`{text}` is negative"))?;
    if period.is_zero() { Err("a period of nothing".to_owned()) } else { Ok(period) }
}

/// For people: `0:07`, `1:02:03`.
pub fn show(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_units() {
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5400)));
        for text in ["", "5", "0s", "-5m", "soon"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(show(7_999), "0:07");
        assert_eq!(show(3_723_000), "1:02:03");
    }
}
