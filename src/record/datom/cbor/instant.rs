//! RFC 3339 instants as Java's `Instant` prints and reads them, to the millisecond.

use crate::error::DecodeError;

const DAY_MILLIS: i64 = 86_400_000;
const BAD: DecodeError = DecodeError::Invalid("instant");

/// Appends `yyyy-MM-ddTHH:mm:ss[.SSS]Z`; years beyond four digits carry a sign.
pub(super) fn format(millis: i64, out: &mut Vec<u8>) {
    use std::io::Write;
    let (days, rest) = (millis.div_euclid(DAY_MILLIS), millis.rem_euclid(DAY_MILLIS));
    let (year, month, day) = civil(days);
    let (seconds, fraction) = (rest / 1000, rest % 1000);
    let written = match year {
        0..=9999 => write!(out, "{year:04}"),
        10_000.. => write!(out, "+{year}"),
        _ => write!(out, "-{:04}", -year),
    };
    written.expect("writing to a vector does not fail");
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    write!(out, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}").expect("writing to a vector does not fail");
    if fraction != 0 {
        write!(out, ".{fraction:03}").expect("writing to a vector does not fail");
    }
    out.push(b'Z');
}

/// Milliseconds of an RFC 3339 text; digits below the millisecond are dropped, as `java.util.Date` does.
pub(super) fn parse(text: &str) -> Result<i64, DecodeError> {
    let bytes = text.as_bytes();
    let (sign, bytes) = match bytes.split_first().ok_or(BAD)? {
        (b'-', rest) => (-1, rest),
        (b'+', rest) => (1, rest),
        _ => (1, bytes),
    };
    let year_len = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(4..=10).contains(&year_len) {
        return Err(BAD);
    }
    let year = number(&bytes[..year_len])? * sign;
    let mut rest = Cursor(&bytes[year_len..]);
    rest.expect(b'-')?;
    let month = rest.two_digits(1, 12)?;
    rest.expect(b'-')?;
    let day = rest.two_digits(1, 31)?;
    if !rest.take(b'T') && !rest.take(b't') {
        return Err(BAD);
    }
    let hour = rest.two_digits(0, 23)?;
    rest.expect(b':')?;
    let minute = rest.two_digits(0, 59)?;
    rest.expect(b':')?;
    let second = rest.two_digits(0, 60)?;
    let fraction = if rest.take(b'.') { rest.fraction()? } else { 0 };
    let offset = rest.offset()?;
    if !rest.0.is_empty() || civil(days_of(year, month, day)) != (year, month, day) {
        return Err(BAD);
    }
    let seconds = hour * 3600 + minute * 60 + second - offset * 60;
    days_of(year, month, day)
        .checked_mul(DAY_MILLIS)
        .and_then(|millis| millis.checked_add(seconds * 1000 + fraction))
        .ok_or(BAD)
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), DecodeError> {
        if self.take(byte) { Ok(()) } else { Err(BAD) }
    }

    fn two_digits(&mut self, low: i64, high: i64) -> Result<i64, DecodeError> {
        let (digits, rest) = self.0.split_at_checked(2).ok_or(BAD)?;
        let value = number(digits)?;
        self.0 = rest;
        if (low..=high).contains(&value) { Ok(value) } else { Err(BAD) }
    }

    fn fraction(&mut self) -> Result<i64, DecodeError> {
        let len = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(1..=9).contains(&len) {
            return Err(BAD);
        }
        let (digits, rest) = self.0.split_at(len);
        self.0 = rest;
        let millis = &digits[..len.min(3)];
        Ok(number(millis)? * [100, 10, 1][millis.len() - 1])
    }

    /// Minutes east of Greenwich.
    fn offset(&mut self) -> Result<i64, DecodeError> {
        if self.take(b'Z') || self.take(b'z') {
            return Ok(0);
        }
        let sign = if self.take(b'+') {
            1
        } else {
            self.expect(b'-')?;
            -1
        };
        let hours = self.two_digits(0, 23)?;
        self.expect(b':')?;
        Ok(sign * (hours * 60 + self.two_digits(0, 59)?))
    }
}

fn number(digits: &[u8]) -> Result<i64, DecodeError> {
    digits.iter().try_fold(0i64, |value, &b| match b {
        b'0'..=b'9' => Ok(value * 10 + i64::from(b - b'0')),
        _ => Err(BAD),
    })
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's algorithm).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_index = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
