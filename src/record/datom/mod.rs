//! Datoms: `[e a v t op]` facts of a datom database, their values, order, columns and text forms.

pub mod cbor;
pub mod digest;
pub mod fressian;
pub mod edn;
pub mod json;
mod value;

pub use digest::Digest;
mod canonical;
mod columns;
mod key;
mod kind;
mod owned;
mod summary;
mod text;
mod value;

pub use canonical::{EncodeError, INLINE_VALUE_MAX, MAX_NESTING, decode_value, encode_value, long_value};
pub use key::{
    KeyParts, decode_key, encode_key, from_view_key, number_bound, split_key, to_view_key, value_range, view_fact,
};
pub use kind::Datoms;
pub use summary::Summary;
pub use text::is_wtf8;
pub use value::{Attribute, BigDecimal, Datom, Text, Value, ValueReference};
