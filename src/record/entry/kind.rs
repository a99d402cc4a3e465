//! The record kind of entries.

use super::{Head, Summary, columns};
use crate::error::DecodeError;
use crate::record::{RecordKind, Reference, Rows};

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
        columns::encode(rows)
    }

    fn decode(&self, columns: &[u8]) -> Result<Rows, DecodeError> {
        columns::decode(columns)
    }

    fn summarize(&self, rows: &Rows) -> Vec<u8> {
        Summary::of(rows).encode()
    }

    fn merge(&self, summaries: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
        let mut merged = Summary::EMPTY;
        for summary in summaries {
            merged = merged.merge(&Summary::decode(summary)?)?;
        }
        Ok(merged.encode())
    }

    fn references(&self, _key: &[u8], value: &[u8], references: &mut Vec<Reference>) -> Result<(), DecodeError> {
        Head::parse(value)?.references(references)
    }
}
