//! Rows of the sorters: a key in the order of an index, and behind it the datom.

use crate::datahike::IndexOrder;
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Datom, EncodeError, encode_key};

/// Bytes behind the datom: its length.
const TAIL_BYTES: usize = 4;

/// A row taken apart.
#[derive(Clone, Copy)]
pub(super) struct Row<'r> {
    /// By which it sorts.
    pub key: &'r [u8],
    /// What the one who made it said.
    pub flags: u8,
    /// The datom as the key of a record.
    pub datom: &'r [u8],
}

/// Puts the row of a datom into `row`, which is cleared first.
pub(super) fn make(order: IndexOrder, datom: &Datom<'_>, flags: u8, row: &mut Vec<u8>) -> Result<(), EncodeError> {
    row.clear();
    order.put_key(datom, row)?;
    row.push(flags);
    let start = row.len();
    encode_key(datom, row)?;
    let len = u32::try_from(row.len() - start).map_err(|_| EncodeError::TooLong)?;
    row.extend_from_slice(&len.to_be_bytes());
    Ok(())
}

impl<'r> Row<'r> {
    /// The parts of a row that [`make`] made.
    pub(super) fn split(row: &'r [u8]) -> Result<Self> {
        let short = || Error::new(ErrorKind::Failed, "sorted row", "too short");
        let (rest, len) = row.split_last_chunk::<TAIL_BYTES>().ok_or_else(short)?;
        let at = rest.len().checked_sub(u32::from_be_bytes(*len) as usize).ok_or_else(short)?;
        let (head, datom) = rest.split_at(at);
        let (&flags, key) = head.split_last().ok_or_else(short)?;
        Ok(Self { key, flags, datom })
    }
}
