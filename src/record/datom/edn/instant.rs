//! Instants as text, in Java's calendar (EDN) and in the ISO one (JSON).
//!
//! `java.util.Date` prints days before 1582-10-15 in the Julian calendar, RFC 3339 has the Gregorian one throughout.

use crate::record::datom::edn::number::print_long;

const DAY_MILLISECONDS: i64 = 86_400_000;
/// 1582-10-15T00:00:00Z, where Java's calendar turns Gregorian.
const CUTOVER_DAY: i64 = -141_427;
/// The Julian day number of 1970-01-01.
const EPOCH_JULIAN_DAY: i64 = 2_440_588;

/// Which calendar a text is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calendar {
    /// Julian before 1582-10-15, as `java.util.GregorianCalendar`.
    Java,
    /// Gregorian throughout.
    Iso,
}

/// Appends `2024-01-02T03:04:05.678-00:00`. The year before 0001 is 0000, the one before that -0001; years over
/// 9999 have more digits.
pub(crate) fn print_java(milliseconds: i64, out: &mut Vec<u8>) {
    let day = milliseconds.div_euclid(DAY_MILLISECONDS);
    let (year, month, day) = if day < CUTOVER_DAY { julian_date(day) } else { gregorian_date(day) };
    if year < 0 {
        out.push(b'-');
    }
    print_year(year, 4, out);
    print_rest(month, day, milliseconds, out);
    out.extend_from_slice(b"-00:00");
}

/// Appends `2024-01-02T03:04:05.678Z`; years outside 0 to 9999 have a sign and at least six digits.
pub(crate) fn print_iso(milliseconds: i64, out: &mut Vec<u8>) {
    let (year, month, day) = gregorian_date(milliseconds.div_euclid(DAY_MILLISECONDS));
    if (0..=9999).contains(&year) {
        print_year(year, 4, out);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        print_year(year, 6, out);
    }
    print_rest(month, day, milliseconds, out);
    out.push(b'Z');
}

fn print_year(year: i64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    print_long(year.abs(), out);
    for _ in out.len() - start..width {
        out.insert(start, b'0');
    }
}

fn print_rest(month: i64, day: i64, milliseconds: i64, out: &mut Vec<u8>) {
    let time = milliseconds.rem_euclid(DAY_MILLISECONDS);
    let parts = [
        (b'-', month),
        (b'-', day),
        (b'T', time / 3_600_000),
        (b':', time / 60_000 % 60),
        (b':', time / 1000 % 60),
        (b'.', time % 1000 / 10),
    ];
    for (before, n) in parts {
        out.extend_from_slice(&[before, b'0' + (n / 10) as u8, b'0' + (n % 10) as u8]);
    }
    out.push(b'0' + (time % 10) as u8);
}

fn gregorian_date(day: i64) -> (i64, i64, i64) {
    let a = day + EPOCH_JULIAN_DAY + 32_044;
    let century = (4 * a + 3).div_euclid(146_097);
    let (year, month, day) = four_years(a - (146_097 * century).div_euclid(4));
    (100 * century + year, month, day)
}

fn julian_date(day: i64) -> (i64, i64, i64) {
    four_years(day + EPOCH_JULIAN_DAY + 32_082)
}

/// Year, month and day when every fourth year has 366 days and years begin in March 4801 BC.
fn four_years(day: i64) -> (i64, i64, i64) {
    let year = (4 * day + 3).div_euclid(1461);
    let rest = day - (1461 * year).div_euclid(4);
    let month = (5 * rest + 2) / 153;
    (year - 4800 + month / 10, month + 3 - 12 * (month / 10), rest - (153 * month + 2) / 5 + 1)
}

fn day_of(calendar: Calendar, year: i64, month: i64, day: i64) -> Result<i64, &'static str> {
    let gregorian = calendar == Calendar::Iso || (year, month, day) >= (1582, 10, 15);
    if !gregorian && (year, month, day) > (1582, 10, 4) {
        return Err("an instant on a day that the calendar left out");
    }
    let leap = if gregorian { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) } else { year % 4 == 0 };
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err("an instant with a month over 12"),
    };
    if !(1..=days).contains(&day) {
        return Err("an instant on a day that its month does not have");
    }
    let before_march = (14 - month) / 12;
    let y = year + 4800 - before_march;
    let m = month + 12 * before_march - 3;
    let julian_day = day + (153 * m + 2) / 5 + 365 * y + y.div_euclid(4);
    let leaps_left_out = if gregorian { 32_045 + y.div_euclid(100) - y.div_euclid(400) } else { 32_083 };
    Ok(julian_day - leaps_left_out - EPOCH_JULIAN_DAY)
}

/// Milliseconds since the epoch of `2024-01-02T03:04:05.678-00:00`; what stands after the year may be left out from the
/// right, as Clojure allows, and a missing offset is UTC.
pub(crate) fn parse(text: &[u8], calendar: Calendar) -> Result<i64, &'static str> {
    let mut fields = Fields { rest: text };
    let negative = fields.take(b'-');
    if !negative {
        fields.take(b'+');
    }
    let year = fields.digits(4, 9)?;
    let year = if negative { -year } else { year };
    let (mut month, mut day) = (1, 1);
    if fields.take_before_digit(b'-') {
        month = fields.digits(2, 2)?;
        if fields.take_before_digit(b'-') {
            day = fields.digits(2, 2)?;
        }
    }
    let time = if fields.take(b'T') || fields.take(b't') { fields.time()? } else { 0 };
    let offset = fields.offset()?;
    if !fields.rest.is_empty() {
        return Err(NOT_AN_INSTANT);
    }
    let day = day_of(calendar, year, month, day)?;
    // The first day of the range begins before it.
    let milliseconds = i128::from(day) * i128::from(DAY_MILLISECONDS) + i128::from(time - offset);
    i64::try_from(milliseconds).map_err(|_| "an instant outside the range of 64-bit milliseconds")
}

const NOT_AN_INSTANT: &str = "not an instant like \"2024-01-02T03:04:05.678-00:00\"";

struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// A `-` may also begin the offset `-00:00`, which has a colon after its two digits.
    fn take_before_digit(&mut self, byte: u8) -> bool {
        self.rest.get(3) != Some(&b':') && self.take(byte)
    }

    fn digits(&mut self, min: usize, max: usize) -> Result<i64, &'static str> {
        let len = self.rest.iter().take(max).take_while(|b| b.is_ascii_digit()).count();
        if len < min {
            return Err(NOT_AN_INSTANT);
        }
        let (digits, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(digits.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')))
    }

    fn time(&mut self) -> Result<i64, &'static str> {
        let hour = self.digits(2, 2)?;
        let minute = if self.take(b':') { self.digits(2, 2)? } else { 0 };
        let second = if self.take(b':') { self.digits(2, 2)? } else { 0 };
        if hour > 23 || minute > 59 || second > 59 {
            return Err("an instant with an hour, minute or second that no clock shows");
        }
        let milliseconds = if self.take(b'.') { self.fraction()? } else { 0 };
        Ok((hour * 3600 + minute * 60 + second) * 1000 + milliseconds)
    }

    fn fraction(&mut self) -> Result<i64, &'static str> {
        let len = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(len);
        self.rest = rest;
        if len == 0 {
            return Err(NOT_AN_INSTANT);
        }
        if digits.iter().skip(3).any(|&digit| digit != b'0') {
            return Err("an instant finer than milliseconds");
        }
        let digit = |i: usize| i64::from(digits.get(i).map_or(0, |digit| digit - b'0'));
        Ok(digit(0) * 100 + digit(1) * 10 + digit(2))
    }

    fn offset(&mut self) -> Result<i64, &'static str> {
        if self.rest.is_empty() || self.take(b'Z') || self.take(b'z') {
            return Ok(0);
        }
        let west = self.take(b'-');
        if !west && !self.take(b'+') {
            return Err(NOT_AN_INSTANT);
        }
        let hours = self.digits(2, 2)?;
        let minutes = if self.take(b':') { self.digits(2, 2)? } else { return Err(NOT_AN_INSTANT) };
        if hours > 23 || minutes > 59 {
            return Err(NOT_AN_INSTANT);
        }
        let offset = (hours * 60 + minutes) * 60_000;
        Ok(if west { -offset } else { offset })
    }
}
