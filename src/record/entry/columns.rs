//! Entries as records of a tree.

use super::Head;
use crate::error::DecodeError;
use crate::record::{Items, RecordKind, Reference, Rows};

/// Entries of a directory tree.
pub struct Entries;

impl RecordKind for Entries {
    fn code(&self) -> u8 {
        3
    }

    fn name(&self) -> &'static str {
        "entry"
    }

    fn leaf_target_bytes(&self) -> u32 {
        12 << 10
    }

    fn encode(&self, rows: &Rows) -> Vec<u8> {
        Items.encode(rows)
    }

    fn decode(&self, columns: &[u8]) -> Result<Rows, DecodeError> {
        Items.decode(columns)
    }

    fn summarize(&self, _rows: &Rows) -> Vec<u8> {
        Vec::new()
    }

    fn merge(&self, _summaries: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
        Ok(Vec::new())
    }

    fn references(&self, _key: &[u8], value: &[u8], references: &mut Vec<Reference>) -> Result<(), DecodeError> {
        Head::parse(value)?.references(references)
    }
}
