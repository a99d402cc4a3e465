//! Datoms and values as EDN text, as Clojure's `pr-str` prints them: `format-spec/text-forms.md`.
//!
//! Reading and printing are inverse for every value. Where `pr-str` prints something that cannot be read back (byte
//! arrays, floats, instants before year 1, names with spaces) a tag or a sign of ours stands instead. Nothing is ever
//! evaluated.

pub(crate) mod instant;
pub(crate) mod number;
mod print;
mod read;

use std::borrow::Cow;
use std::fmt;

pub use print::{print_datom, print_value};
pub(crate) use print::{print_unit, surrogate, uuid as print_uuid};
pub(crate) use read::{has_duplicate, push_unit, uuid as parse_uuid};

use crate::record::datom::{Datom, Value};

/// Collections and tags within each other, at most.
pub const NESTING_MAX: u32 = 64;

/// How the reasons end that more text might cure.
const UNCLOSED: &str = "never closed";

/// Why a text is not a datom or a value, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// Where in the text, in bytes; the first byte is column 1.
    pub column: usize,
    /// What is wrong there; lower case.
    pub reason: Cow<'static, str>,
}

impl TextError {
    /// Whether the text ends before what it began: more lines might complete it.
    pub fn is_unclosed(&self) -> bool {
        self.reason.ends_with(UNCLOSED)
    }

    pub(crate) fn new(at: usize, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { column: at.saturating_add(1), reason: reason.into() }
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.reason)
    }
}

impl std::error::Error for TextError {}

/// The datom in a line: `[e a v t op]`, `[e a v t]` (asserted), or either behind `#datahike/Datom` or
/// `#datascript/Datom`.
///
/// Text without escapes is borrowed from the line.
pub fn parse_datom_line(line: &[u8]) -> Result<Datom<'_>, TextError> {
    parse_line(line)?.ok_or_else(|| TextError::new(0, "no datom in this line"))
}

/// As [`parse_datom_line`], but a line with nothing but whitespace, comments and discarded forms is `None`.
pub fn parse_line(line: &[u8]) -> Result<Option<Datom<'_>>, TextError> {
    read::Reader::new(line)?.datom_line()
}

/// The one value in a text, which may have any number of lines.
pub fn parse_value(text: &[u8]) -> Result<Value<'_>, TextError> {
    read::Reader::new(text)?.whole_value()
}

/// What stands in the one vector in a text.
pub fn parse_elements(text: &[u8]) -> Result<Vec<Value<'_>>, TextError> {
    read::Reader::new(text)?.whole_elements()
}

#[cfg(test)]
pub(crate) mod generated;
#[cfg(test)]
mod tests;
