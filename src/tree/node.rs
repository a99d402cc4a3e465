//! Nodes: their canonical bytes, of which ids are made, and the shorter form that is kept.

use super::{child, separator, varint};
use crate::error::DecodeError;
use crate::record::{self, Rows};

/// The most bytes of canonical encoding that a reader takes.
pub const MAX_NODE_BYTES: usize = 64 << 20;
/// The highest level: a tree of 2^64 records has fewer, as every node but the last of a level has two rows or more.
pub const MAX_LEVEL: u8 = 63;

// format-spec tree 2: the version of the canonical encoding, and the tags of the kept forms.
const VERSION: u8 = 1;
const KEPT_ROWS: u8 = 0;
const KEPT_COLUMNS: u8 = 1;

/// A node: rows of records (level 0) or rows of children (above).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The record kind of the tree, see [`crate::record::kind`].
    pub kind: u8,
    /// 0 for a leaf, one more than its children otherwise.
    pub level: u8,
    /// Records, or children as (separator, encoded [`super::Child`]).
    pub rows: Rows,
}

impl Node {
    /// The canonical row encoding: version, kind, level, row count, then each row as key and value with their lengths.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(13 + self.rows.size_bytes() + 4 * self.rows.len());
        self.put_canonical(&mut out);
        out
    }

    /// The node with this canonical encoding. Every node has exactly one: nothing else is accepted.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_NODE_BYTES {
            return Err(DecodeError::TooLarge("node"));
        }
        let (&[version, kind, level], mut rest) = bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
        if version != VERSION {
            return Err(DecodeError::UnknownVersion(version));
        }
        let count = varint::take(&mut rest)?;
        let mut rows = Rows::new();
        for _ in 0..count {
            let key = varint::take_bytes(&mut rest)?;
            let value = varint::take_bytes(&mut rest)?;
            rows.push(key, value);
        }
        if !rest.is_empty() {
            return Err(DecodeError::TrailingBytes);
        }
        let node = Self { kind, level, rows };
        node.check()?;
        Ok(node)
    }

    /// The form kept in frames: columns for leaves, rows for inner nodes; `decode` is its inverse.
    pub fn encode(&self) -> Vec<u8> {
        match record::kind(self.kind) {
            Ok(kind) if self.level == 0 => {
                let columns = kind.encode(&self.rows);
                let mut out = Vec::with_capacity(3 + columns.len());
                out.extend_from_slice(&[KEPT_COLUMNS, VERSION, self.kind]);
                out.extend_from_slice(&columns);
                out
            }
            _ => {
                let mut out = Vec::with_capacity(14 + self.rows.size_bytes() + 4 * self.rows.len());
                out.push(KEPT_ROWS);
                self.put_canonical(&mut out);
                out
            }
        }
    }

    /// The node of a kept form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes {
            [KEPT_ROWS, canonical @ ..] => {
                let node = Self::from_canonical(canonical)?;
                // Rows of a known kind must have gone through its codec, which refuses what is not a record.
                if node.level == 0 && record::kind(node.kind).is_ok() {
                    return Err(DecodeError::Invalid("kept form of a leaf"));
                }
                Ok(node)
            }
            [KEPT_COLUMNS, VERSION, kind, columns @ ..] => {
                let node = Self { kind: *kind, level: 0, rows: record::kind(*kind)?.decode(columns)? };
                node.check()?;
                Ok(node)
            }
            [KEPT_COLUMNS, version, _, ..] => Err(DecodeError::UnknownVersion(*version)),
            [] | [KEPT_COLUMNS] | [KEPT_COLUMNS, _] => Err(DecodeError::Truncated),
            _ => Err(DecodeError::Invalid("kept form of a node")),
        }
    }

    /// What every node must be, however it came.
    fn check(&self) -> Result<(), DecodeError> {
        if self.rows.is_empty() {
            return Err(DecodeError::Invalid("node without rows"));
        }
        if self.level > MAX_LEVEL {
            return Err(DecodeError::TooLarge("level"));
        }
        if self.rows.size_bytes() > MAX_NODE_BYTES {
            return Err(DecodeError::TooLarge("node"));
        }
        if self.level == 0 {
            return match (1..self.rows.len()).all(|i| self.rows.key(i - 1) < self.rows.key(i)) {
                true => Ok(()),
                false => Err(DecodeError::Invalid("order of keys")),
            };
        }
        for (i, (key, value)) in self.rows.iter().enumerate() {
            separator::check(key)?;
            child::check(value)?;
            if i > 0 && !separator::may_follow(self.rows.key(i - 1), key) {
                return Err(DecodeError::Invalid("order of separators"));
            }
        }
        Ok(())
    }

    fn put_canonical(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, self.kind, self.level]);
        varint::put(out, self.rows.len() as u64);
        for (key, value) in self.rows.iter() {
            varint::put(out, key.len() as u64);
            out.extend_from_slice(key);
            varint::put(out, value.len() as u64);
            out.extend_from_slice(value);
        }
    }
}

/// What a row adds to the size of a node: its own canonical bytes.
pub(super) fn cost(key: &[u8], value: &[u8]) -> u64 {
    let (key, value) = (key.len() as u64, value.len() as u64);
    varint::len(key) as u64 + key + varint::len(value) as u64 + value
}
