//! Points in time as users give them: a t, or a time that `:db/txInstant` datoms turn into one.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::error::{Error, ErrorKind};

/// A t, or a moment that stands for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimePoint {
    /// A transaction id.
    T(i64),
    /// Milliseconds since 1970-01-01T00:00Z.
    Instant(i64),
}

impl FromStr for TimePoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(t) = text.parse() {
            return Ok(Self::T(t));
        }
        match text.parse::<Timestamp>() {
            Ok(time) => Ok(Self::Instant(time.as_nanosecond().div_euclid(1_000_000) as i64)),
            Err(error) => Err(Error::new(
                ErrorKind::Usage,
                text,
                "neither a transaction id nor an RFC 3339 time such as 2026-01-31T12:00:00Z",
            )
            .because(error)),
        }
    }
}

impl fmt::Display for TimePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::T(t) => write!(f, "{t}"),
            Self::Instant(ms) => match Timestamp::from_millisecond(*ms) {
                Ok(time) => write!(f, "{time}"),
                Err(_) => write!(f, "{ms} ms"),
            },
        }
    }
}

/// Finds the t that a time point stands for, from the instants of all transactions in any order.
///
/// It is the greatest t whose instant is not after the time, even if instants do not ascend with t.
#[derive(Clone, Debug)]
pub struct TimeResolver {
    point: TimePoint,
    t: Option<i64>,
}

impl TimeResolver {
    /// For one time point.
    pub fn new(point: TimePoint) -> Self {
        let t = match point {
            TimePoint::T(t) => Some(t),
            TimePoint::Instant(_) => None,
        };
        Self { point, t }
    }

    /// Whether transactions must be looked at.
    pub fn needs_instants(&self) -> bool {
        matches!(self.point, TimePoint::Instant(_))
    }

    /// Takes the instant, in milliseconds, of transaction `t`.
    pub fn push(&mut self, t: i64, instant_ms: i64) {
        if let TimePoint::Instant(time) = self.point
            && instant_ms <= time
        {
            self.t = self.t.max(Some(t));
        }
    }

    /// The t; `None` when the time is before every transaction.
    pub fn finish(self) -> Option<i64> {
        self.t
    }
}

/// Which t are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    after: Option<i64>,
    up_to: Option<i64>,
    empty: bool,
}

impl Window {
    /// Every t.
    pub fn all() -> Self {
        Self::default()
    }

    /// Narrowed to t > `since`; `None`, a time before every transaction, takes nothing away.
    pub fn since(mut self, since: Option<i64>) -> Self {
        self.after = self.after.max(since);
        self
    }

    /// Narrowed to t <= `until`; `None`, a time before every transaction, leaves nothing. `--as-of` is the same.
    pub fn until(mut self, until: Option<i64>) -> Self {
        self.empty |= until.is_none();
        self.up_to = [self.up_to, until].into_iter().flatten().min();
        self
    }

    /// Whether this t is wanted.
    #[cfg(test)]
    pub fn contains(&self, t: i64) -> bool {
        !self.empty && self.after.is_none_or(|after| t > after) && self.up_to.is_none_or(|up_to| t <= up_to)
    }

    /// The smallest and the greatest t that are wanted; `None` when there are none.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let first = self.after.map_or(Some(i64::MIN), |after| after.checked_add(1))?;
        let last = self.up_to.unwrap_or(i64::MAX);
        (!self.empty && first <= last).then_some((first, last))
    }
}
