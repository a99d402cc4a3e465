//! Datoms: `[e a v t op]` facts of a datom database, their values, order, columns and text forms.

pub mod cbor;
pub mod digest;
pub mod fressian;
mod value;

pub use digest::Digest;
pub use value::{Attribute, BigDecimal, Datom, Text, Value, ValueReference};
