//! What users ask for: backup, restore, check, prune and the others.

pub mod datoms;
pub mod select;
