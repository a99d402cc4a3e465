//! Datoms: `[e a v t op]` facts of a datom database, their values, order, columns and text forms.

mod value;

pub use value::{Attribute, BigDecimal, Datom, Text, Value, ValueReference};
