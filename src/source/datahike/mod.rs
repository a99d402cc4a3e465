//! Stores of Datahike as a source.

pub mod increment;

pub use increment::{Difference, FactChange, FactState, FullReason, IncrementOptions, Increments, LeafTable, Next, ReadStats};
