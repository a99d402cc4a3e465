//! The record kind of datoms.

use crate::error::DecodeError;
use crate::record::{RecordKind, Reference, Rows};

use super::canonical::stored_reference;
use super::columns;
use super::key::split_key;
use super::summary::{Summary, attribute_bit};

/// Datoms: a row's key is the datom, its value is empty.
pub struct Datoms;

impl RecordKind for Datoms {
    fn code(&self) -> u8 {
        1
    }

    fn name(&self) -> &'static str {
        "datom"
    }

    fn leaf_target_bytes(&self) -> u32 {
        128 << 10
    }

    fn encode(&self, rows: &Rows) -> Vec<u8> {
        columns::encode(rows)
    }

    fn decode(&self, columns: &[u8]) -> Result<Rows, DecodeError> {
        columns::decode(columns)
    }

    fn summarize(&self, rows: &Rows) -> Vec<u8> {
        let mut summary = Summary::EMPTY;
        let mut last_attribute: &[u8] = &[];
        for (key, _) in rows.iter() {
            let parts = split_key(key).expect("rows hold keys of datoms");
            summary.t_min = summary.t_min.min(parts.t);
            summary.t_max = summary.t_max.max(parts.t);
            summary.e_min = summary.e_min.min(parts.e);
            summary.e_max = summary.e_max.max(parts.e);
            summary.retractions += u64::from(!parts.added);
            if parts.a != last_attribute {
                summary.attributes |= attribute_bit(parts.a);
                last_attribute = parts.a;
            }
        }
        summary.encode()
    }

    fn merge(&self, summaries: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
        let mut merged = Summary::EMPTY;
        for summary in summaries {
            merged = merged.merge(&Summary::decode(summary)?);
        }
        Ok(merged.encode())
    }

    fn references(&self, key: &[u8], _value: &[u8], references: &mut Vec<Reference>) -> Result<(), DecodeError> {
        references.extend(stored_reference(split_key(key)?.v)?);
        Ok(())
    }
}
