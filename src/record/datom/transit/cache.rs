//! The cache of Transit's JSON: strings that may come again are numbered, and later stand as `^` and a code.
//!
//! Writer and reader number alike: tags, keywords, symbols and map keys of more than three UTF-16 units, from zero; when
//! all 44 * 44 numbers are given the cache is emptied and numbering begins again.

/// How many digits a code's characters have.
const DIGITS: usize = 44;
/// The first digit.
const BASE: u8 = b'0';
/// How many strings are numbered before the numbers begin again.
const ENTRIES_MAX: usize = DIGITS * DIGITS;
/// Shorter strings are not numbered.
const UNITS_MIN: usize = 4;

/// The strings that have numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Cache(Vec<Vec<u8>>);

impl Cache {
    /// Takes note of a string as it stands in the text, if it is one that is numbered.
    pub(super) fn note(&mut self, text: &[u8], as_key: bool) {
        if !is_numbered(text, as_key) {
            return;
        }
        if self.0.len() == ENTRIES_MAX {
            self.0.clear();
        }
        self.0.push(text.to_vec());
    }

    /// The string with this code.
    pub(super) fn find(&self, code: &[u8]) -> Option<&[u8]> {
        let digit = |byte: u8| byte.checked_sub(BASE).map(usize::from).filter(|digit| *digit < DIGITS);
        let index = match code {
            [b'^', low] => digit(*low)?,
            [b'^', high, low] => digit(*high)? * DIGITS + digit(*low)?,
            _ => return None,
        };
        self.0.get(index).map(Vec::as_slice)
    }
}

/// Whether a string gets a number.
pub(super) fn is_numbered(text: &[u8], as_key: bool) -> bool {
    (as_key || matches!(text, [b'~', b':' | b'$' | b'#', ..])) && has_units(text, UNITS_MIN)
}

/// Whether WTF-8 has at least `least` UTF-16 units.
fn has_units(text: &[u8], least: usize) -> bool {
    // Every unit takes one byte that is no continuation, and a character of four bytes is two units.
    let units = text.iter().map(|byte| match byte {
        0x80..=0xbf => 0,
        0xf0..=0xff => 2,
        _ => 1,
    });
    units
        .scan(0, |sum, n| {
            *sum += n;
            Some(*sum)
        })
        .any(|sum| sum >= least)
}
