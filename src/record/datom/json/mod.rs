//! Datoms as JSON lines, typed by convention: `format-spec/text-forms.md`.
//!
//! | value | JSON |
//! |---|---|
//! | string, boolean, nil | `"x"`, `true`, `null` |
//! | long | a number without fraction and exponent |
//! | double | a number with a fraction or exponent, `{"$double":"NaN"}`, `"Infinity"`, `"-Infinity"` |
//! | keyword, symbol | `{"$keyword":":a/b"}`, `{"$symbol":"a/b"}` |
//! | bigint, bigdec, ratio | `{"$bigint":"5"}`, `{"$bigdec":"1.00"}`, `{"$ratio":"1/3"}` |
//! | float | `{"$float":1.5}`, `{"$float":"NaN"}` |
//! | instant, UUID, bytes | `{"$inst":"2024-01-02T03:04:05.678Z"}`, `{"$uuid":"..."}`, `{"$bytes":"base64"}` |
//! | char, URI, regex | `{"$char":"x"}`, `{"$uri":"..."}`, `{"$regex":"..."}` |
//! | tuple, list, set | `{"$tuple":[...]}` (a bare array is read too), `{"$list":[...]}`, `{"$set":[...]}` |
//! | map | `{"$map":[[key,value],...]}` |
//! | float[], double[] | `{"$floats":[1.5,"NaN"]}`, `{"$doubles":[...]}` |
//! | unknown tag | `{"$tagged":["tag",value]}` |
//!
//! The tokeniser is ours because `serde_json` reads integers over 64 bits as doubles, refuses lone surrogates, keeps the
//! last of duplicate keys and limits nesting below what these forms need for 64 levels; the tests compare the two.

pub(crate) mod base64;
mod print;
mod read;
pub(super) mod token;

pub use print::print_datom;
pub(super) use read::single_unit;

use crate::record::datom::edn::TextError;
use crate::record::datom::{Datom, Value};

/// The datom in a line: `[e, a, v, t, added]`, `[e, a, v, t]` (asserted) or `{"e":..,"a":..,"v":..,"t":..,"added":..}`.
///
/// Text without escapes is borrowed from the line.
pub fn parse_datom_line(line: &[u8]) -> Result<Datom<'_>, TextError> {
    parse_line(line)?.ok_or_else(|| TextError::new(0, "no datom in this line"))
}

/// As [`parse_datom_line`], but a line with nothing but whitespace is `None`.
pub fn parse_line(line: &[u8]) -> Result<Option<Datom<'_>>, TextError> {
    read::datom_line(line)
}

/// The one value in a text: plain JSON, and the typed values above.
pub fn parse_value(text: &[u8]) -> Result<Value<'_>, TextError> {
    read::whole_value(text)
}

#[cfg(test)]
mod tests;
