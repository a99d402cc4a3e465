//! Moments: RFC 3339 in JSON, the local clock for people.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Milliseconds since 1970 of `now`, an RFC 3339 time, or a time of the local clock such as `2026-01-31 12:00:00`.
pub fn parse(text: &str) -> Result<i64, String> {
    if text == "now" {
        return Ok(Timestamp::now().as_millisecond());
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.as_millisecond());
    }
    text.parse::<DateTime>()
        .and_then(|local| local.to_zoned(TimeZone::system()))
        .map(|zoned| zoned.timestamp().as_millisecond())
        .map_err(|_| format!("`{text}` is neither 2026-01-31T12:00:00Z nor `2026-01-31 12:00:00`"))
}

/// RFC 3339.
pub fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |moment| moment.to_string())
}

/// By the local clock, to the second.
pub fn local(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(moment) => Zoned::new(moment, TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{ms} ms"),
    }
}

/// How long something took, in milliseconds with one digit behind the point.
pub fn milliseconds(period: std::time::Duration) -> f64 {
    (period.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_as_rfc_3339() {
        assert_eq!(parse("2026-01-31T12:00:00Z"), Ok(1_769_860_800_000));
        assert_eq!(parse("2026-01-31T13:00:00+01:00"), Ok(1_769_860_800_000));
        assert_eq!(rfc3339(1_769_860_800_000), "2026-01-31T12:00:00Z");
        assert!(parse("2026-01-31 12:00:00").is_ok());
        assert!(parse("yesterday").is_err());
    }
}
