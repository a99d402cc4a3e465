//! What an inner node says about a child, and whether the child agrees.

use super::{Node, TreeParameters, separator, varint};
use crate::error::DecodeError;
use crate::id::BlobId;

/// The longest summary of a subtree, in bytes.
pub const MAX_SUMMARY_LEN: usize = 64;

/// What an inner node says about a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Id of the child node.
    pub id: BlobId,
    /// Records below it.
    pub records: u64,
    /// Bytes of rows of the leaves below it.
    pub row_bytes: u64,
    /// The record kind's summary of them.
    pub summary: Vec<u8>,
}

impl Child {
    /// The value of its row: id, records and row bytes as varints, then the summary to the end.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BlobId::LEN + 20 + self.summary.len());
        out.extend_from_slice(self.id.as_bytes());
        varint::put(&mut out, self.records);
        varint::put(&mut out, self.row_bytes);
        out.extend_from_slice(&self.summary);
        out
    }

    /// The child that the value of an inner row describes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let ChildView { id, records, row_bytes, summary } = parse(bytes)?;
        Ok(Self { id, records, row_bytes, summary: summary.to_vec() })
    }
}

/// A [`Child`] where it lies.
struct ChildView<'a> {
    id: BlobId,
    records: u64,
    row_bytes: u64,
    summary: &'a [u8],
}

fn parse(bytes: &[u8]) -> Result<ChildView<'_>, DecodeError> {
    let (id, mut summary) = bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
    let (records, row_bytes) = (varint::take(&mut summary)?, varint::take(&mut summary)?);
    if records == 0 {
        return Err(DecodeError::Invalid("child without records"));
    }
    if summary.len() > MAX_SUMMARY_LEN {
        return Err(DecodeError::TooLarge("summary"));
    }
    Ok(ChildView { id: BlobId::new(*id), records, row_bytes, summary })
}

/// Refuses the value of an inner row that describes no child.
pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    parse(bytes).map(drop)
}

/// What the parent of `node` is to say about it.
pub(super) fn describe(parameters: &TreeParameters, node: &Node, id: BlobId) -> Result<Child, DecodeError> {
    if node.level == 0 {
        let summary = parameters.kind().summarize(&node.rows);
        return Ok(Child { id, records: node.rows.len() as u64, row_bytes: node.rows.size_bytes() as u64, summary });
    }
    let (mut records, mut row_bytes) = (0u64, 0u64);
    let mut summaries = Vec::with_capacity(node.rows.len());
    for (_, value) in node.rows.iter() {
        let child = parse(value)?;
        records = records.checked_add(child.records).ok_or(DecodeError::TooLarge("records"))?;
        row_bytes = row_bytes.checked_add(child.row_bytes).ok_or(DecodeError::TooLarge("row bytes"))?;
        summaries.push(child.summary);
    }
    Ok(Child { id, records, row_bytes, summary: parameters.kind().merge(&summaries)? })
}

/// A node as its parent, or the root, describes it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// Its level.
    pub(super) level: u8,
    /// Its id and counts.
    pub(super) child: Child,
    /// The separator in the parent; the root has none.
    pub(super) separator: Option<Vec<u8>>,
}

impl Claim {
    /// What row `i` of an inner node says.
    pub(super) fn of_row(node: &Node, i: usize) -> Result<Self, DecodeError> {
        let level = node.level.checked_sub(1).ok_or(DecodeError::Invalid("child of a leaf"))?;
        Ok(Self { level, child: Child::decode(node.rows.value(i))?, separator: Some(node.rows.key(i).to_vec()) })
    }

    /// Refuses a node that is not as claimed.
    pub(super) fn check(&self, parameters: &TreeParameters, node: &Node) -> Result<(), DecodeError> {
        if node.kind != parameters.kind().code() {
            return Err(DecodeError::Invalid("record kind of a node"));
        }
        if node.level != self.level {
            return Err(DecodeError::Invalid("level of a node"));
        }
        let Some(last) = node.rows.len().checked_sub(1) else {
            return Err(DecodeError::Invalid("node without rows"));
        };
        let last_key = node.rows.key(last);
        let agrees = match &self.separator {
            None => true,
            Some(claimed) if node.level > 0 => claimed == last_key,
            Some(claimed) => separator::names(claimed, &parameters.keys, last_key),
        };
        if !agrees {
            return Err(DecodeError::Invalid("last key of a node"));
        }
        let found = describe(parameters, node, self.child.id)?;
        if found.records != self.child.records {
            return Err(DecodeError::Invalid("record count of a node"));
        }
        if found.row_bytes != self.child.row_bytes {
            return Err(DecodeError::Invalid("row bytes of a node"));
        }
        if found.summary != self.child.summary {
            return Err(DecodeError::Invalid("summary of a node"));
        }
        Ok(())
    }
}
