//! Datoms as CBOR items, in the two dialects Datahike writes (`format-spec/interchange.md`).
//!
//! Values no dialect has a form for keep their tag: CBOR tag `N` is the tagged value `cbor/N`, and the named objects of
//! tag 27 are tagged values under their name.

mod decode;
mod encode;
mod instant;

pub use decode::{Chunk, decode_chunk, decode_datom, skip};
pub use encode::{Unrepresentable, digest_bytes, encode_datom, encode_value};
use encode::{sort_entries, sort_values};

use super::Value;
use crate::error::DecodeError;

/// Who wrote the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// clj-cbor: flat exports (D.1) and datacamp chunks in CBOR.
    CljCbor,
    /// boring's `:archival` profile: dump directories (D.2).
    Archival,
}

/// Tag of the wrapper that marks a float that came as a half float, of which clj-cbor does not tell whether it was a
/// float or a double: `cbor/half` around a [`super::Value::Double`].
pub const HALF: &str = "cbor/half";

/// Name boring writes for a reference to an entity of Datahike's own schema.
pub const SYSTEM_REFERENCE: &str = "datahike.migrate.cbor.SysRef";

/// How deep values may nest.
const DEPTH_LIMIT: u32 = 64;

/// Puts the elements of a set in order; an element that occurs twice is refused.
pub fn order_set(elements: &mut [Value<'_>]) -> Result<(), DecodeError> {
    sort_values(elements);
    match elements.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(DecodeError::Invalid("set: an element occurs twice")),
        false => Ok(()),
    }
}

/// Puts the entries of a map in the order of their keys; a key that occurs twice is refused.
pub fn order_map(entries: &mut [(Value<'_>, Value<'_>)]) -> Result<(), DecodeError> {
    sort_entries(entries);
    match entries.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        true => Err(DecodeError::Invalid("map: a key occurs twice")),
        false => Ok(()),
    }
}

/// The double itself, or the one NaN that values have.
pub fn canonical_double(double: f64) -> f64 {
    if double.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { double }
}

/// The float itself, or the one NaN that values have.
pub fn canonical_float(float: f32) -> f32 {
    if float.is_nan() { f32::from_bits(0x7fc0_0000) } else { float }
}

mod tag {
    pub(super) const DATE_TEXT: u64 = 0;
    pub(super) const EPOCH: u64 = 1;
    pub(super) const POSITIVE_BIGNUM: u64 = 2;
    pub(super) const NEGATIVE_BIGNUM: u64 = 3;
    pub(super) const DECIMAL: u64 = 4;
    pub(super) const OBJECT: u64 = 27;
    pub(super) const RATIONAL: u64 = 30;
    pub(super) const URI: u64 = 32;
    pub(super) const REGEX: u64 = 35;
    pub(super) const UUID: u64 = 37;
    pub(super) const IDENTIFIER: u64 = 39;
    pub(super) const FLOATS: u64 = 85;
    pub(super) const DOUBLES: u64 = 86;
    pub(super) const SET: u64 = 258;
}

#[cfg(test)]
mod tests;
