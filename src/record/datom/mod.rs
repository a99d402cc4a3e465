//! Datoms: `[e a v t op]` facts of a datom database, their values, order, columns and text forms.

mod canonical;
pub mod cbor;
mod columns;
pub mod digest;
pub mod edn;
pub mod fressian;
pub mod json;
mod key;
mod kind;
mod owned;
mod summary;
mod text;
pub mod transit;
mod value;

pub use canonical::{
    EncodeError, INLINE_VALUE_MAX, MAX_NESTING, STORED_START_LEN, decode_value, encode_value, long_value,
};
pub use digest::Digest;
pub use key::{
    FactEvent, KeyParts, attribute_len, decode_key, encode_key, from_view_key, number_bound, split_key, to_view_key,
    value_range, view_fact,
};
pub use kind::Datoms;
pub use summary::Summary;
pub use text::is_wtf8;
pub use value::{Attribute, BigDecimal, Datom, Text, Value, ValueReference};
