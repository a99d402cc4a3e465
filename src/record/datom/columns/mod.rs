//! The column codec.
use crate::error::DecodeError;
use crate::record::{Items, RecordKind, Rows};
pub(super) fn encode(rows: &Rows) -> Vec<u8> {
    Items.encode(rows)
}
pub(super) fn decode(columns: &[u8]) -> Result<Rows, DecodeError> {
    Items.decode(columns)
}
