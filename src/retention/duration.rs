//! Durations as restic writes them: `1y6m7d3h`.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A span of years, months, days and hours; a calendar's, so its length depends on where it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Duration {
    /// Years.
    pub years: u32,
    /// Months.
    pub months: u32,
    /// Days.
    pub days: u32,
    /// Hours.
    pub hours: u32,
}

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// There is no text.
    Empty,
    /// A number is missing where this rest of the text begins.
    NoNumber(String),
    /// A number has no unit.
    NoUnit(String),
    /// A unit that is none of y, m, d, h (w, for weeks, is not restic's, but clear).
    UnknownUnit(char),
    /// A number, or a sum for one unit, over 100,000.
    TooLarge(String),
}

/// Keeps every sum far from the ends of the calendar's arithmetic.
const NUMBER_MAX: u32 = 100_000;

impl Duration {
    /// Whether it has no length.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// The moment this long before `time_ms` on the clocks of `zone`; months that are too short end where they end.
    pub fn before(&self, time_ms: i64, zone: &TimeZone) -> i64 {
        let span = || Span::new().try_years(self.years)?.try_months(self.months)?.try_days(self.days);
        let moment = || {
            let zoned = Timestamp::from_millisecond(time_ms)?.to_zoned(zone.clone());
            let day = zoned.checked_sub(span()?)?;
            Ok::<_, jiff::Error>(day.checked_sub(Span::new().try_hours(self.hours)?)?.timestamp().as_millisecond())
        };
        // Before the calendar begins there are no snapshots either.
        moment().unwrap_or(i64::MIN)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(DurationError::Empty);
        }
        let mut duration = Self::default();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, behind) = rest.split_at(digits);
            if number.is_empty() {
                return Err(DurationError::NoNumber(rest.to_owned()));
            }
            let mut letters = behind.chars();
            let unit = letters.next().ok_or_else(|| DurationError::NoUnit(number.to_owned()))?;
            let too_large = || DurationError::TooLarge(number.to_owned());
            let value = number.parse().ok().filter(|&value| value <= NUMBER_MAX).ok_or_else(too_large)?;
            let (field, value) = match unit {
                'y' => (&mut duration.years, value),
                'm' => (&mut duration.months, value),
                'w' => (&mut duration.days, value * 7),
                'd' => (&mut duration.days, value),
                'h' => (&mut duration.hours, value),
                unit => return Err(DurationError::UnknownUnit(unit)),
            };
            *field = field.checked_add(value).filter(|&sum| sum <= NUMBER_MAX).ok_or_else(too_large)?;
            rest = letters.as_str();
        }
        Ok(duration)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (value, unit) in [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')] {
            if value != 0 {
                write!(f, "{value}{unit}")?;
            }
        }
        if self.is_zero() { f.write_str("0h") } else { Ok(()) }
    }
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty duration")?,
            Self::NoNumber(rest) => write!(f, "no number at `{rest}`")?,
            Self::NoUnit(number) => write!(f, "no unit behind {number}")?,
            Self::UnknownUnit(unit) => write!(f, "unknown unit `{unit}`")?,
            Self::TooLarge(number) => write!(f, "{number} is too large")?,
        }
        f.write_str("; a duration is written like 1y6m7d3h: years, months, days, hours")
    }
}

impl std::error::Error for DurationError {}
