//! Amounts of money.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// An amount of money in whole picos, 10^-12 of its currency. Sums and differences stop at the ends of what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(u128);

const PICOS: u128 = 1_000_000_000_000;
const DECIMALS: usize = 12;

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many picos.
    pub const fn from_picos(picos: u128) -> Self {
        Self(picos)
    }

    /// The amount in picos.
    pub const fn picos(self) -> u128 {
        self.0
    }

    /// So many times the amount.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(u128::from(count)))
    }

    /// For people: rounded up to millionths.
    pub fn rounded(self) -> Self {
        const MILLIONTH: u128 = PICOS / 1_000_000;
        Self(self.0.div_ceil(MILLIONTH).saturating_mul(MILLIONTH))
    }

    /// A thousand requests for a nano are a pico each.
    pub(super) fn of_requests(count: u64, nanos_per_1000: u64) -> Self {
        Self(u128::from(count) * u128::from(nanos_per_1000))
    }

    pub(super) fn of_bytes(bytes: u64, nanos_per_gb: u64, gb_bytes: u64) -> Self {
        let product = u128::from(bytes) * u128::from(nanos_per_gb);
        // Prices are at most 10^15 nanos: the product stays below 2^114, and a thousand times that below 2^124.
        Self((product * 1000).div_ceil(u128::from(gb_bytes.max(1))))
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl Sub for Money {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Money {
    /// In full, without zeros at the end: `0.0054`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:0DECIMALS$}", self.0 % PICOS);
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{}", self.0 / PICOS),
            decimals => write!(f, "{}.{decimals}", self.0 / PICOS),
        }
    }
}

impl FromStr for Money {
    type Err = String;

    /// Digits with at most one point: `12`, `0.05`, `.5`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no amount such as 0.50");
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && decimals.is_empty()) || !is_number(whole) || !is_number(decimals) {
            return Err(wrong());
        }
        if decimals.len() > DECIMALS || whole.len() > 15 {
            return Err(format!("`{text}` has too many digits"));
        }
        let digits = format!("{whole}{decimals:0<DECIMALS$}");
        digits.parse().map(Self).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, picos) in [
            ("0", 0),
            ("1", PICOS),
            ("12.50", 12 * PICOS + PICOS / 2),
            (".5", PICOS / 2),
            ("5.", 5 * PICOS),
            ("0.000000000001", 1),
        ] {
            assert_eq!(text.parse(), Ok(Money(picos)), "{text}");
        }
        for text in ["", ".", "-1", "+1", "1e3", "nan", "inf", "1,5", "1.2.3", " 1", "0.0000000000001", "1USD"] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_largest_bill_is_still_an_amount() {
        let most = Money::of_bytes(u64::MAX, 1_000_000_000_000_000, 1);
        assert!(most + most > most && most.times(u64::MAX) >= most);
        assert_eq!(Money::of_requests(u64::MAX, 1_000_000_000_000_000).picos(), u128::from(u64::MAX) * 10_u128.pow(15));
        assert_eq!(Money(1).rounded().to_string(), "0.000001");
        assert_eq!(Money::ZERO.rounded(), Money::ZERO);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(picos in 0..u128::from(u64::MAX)) {
            prop_assert_eq!(Money(picos).to_string().parse(), Ok(Money(picos)));
        }

        #[test]
        fn parts_never_cost_less_than_the_whole(a in 0..1_u64 << 50, b in 0..1_u64 << 50, price in 0..1_u64 << 40) {
            let of = |bytes| Money::of_bytes(bytes, price, 1 << 30);
            prop_assert!(of(a) + of(b) >= of(a + b));
            prop_assert!(of(a) + of(b) <= of(a + b) + Money(1));
        }
    }
}
