//! Datoms: `[e a v t op]` facts of a datom database, their values, order, columns and text forms.

pub mod edn;
pub mod json;
mod value;

pub use value::{Attribute, BigDecimal, Datom, Text, Value, ValueReference};
