//! What a snapshot of a Datahike database keeps for the next one: where each branch stood, and its table of nodes.
//!
//! The bytes are `format-spec/snapshot.md`, "Cursor of datahike". Tables are in the local cache; small ones stand in the
//! cursor too. Nothing of a snapshot depends on it: without it everything is read, which gives the same trees.

use std::collections::BTreeMap;

use crate::error::DecodeError;
use crate::format::{NamedRoot, Snapshot};
use crate::id::BlobId;
use crate::ops::datoms::root_names;
use crate::record::cursor::{Cursor as Bytes, put_len, put_varint, put_zigzag};
use crate::repository::Repository;
use crate::source::datahike::LeafTable;

const VERSION: u8 = 1;
/// Tables stand in the cursor when all together are no longer than this.
const INLINE_BYTES: usize = 16 << 10;

/// Where a snapshot's branches stood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::ops) struct Cursor {
    /// Increments in a row, none of which was compared with a full read.
    pub(in crate::ops) increments: u64,
    branches: Vec<Branch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Branch {
    name: String,
    commit: Option<[u8; 16]>,
    max_tx: i64,
    /// Ids of the trees that were made of what the table describes.
    roots: [Option<BlobId>; 2],
    /// The name under which the table is kept.
    table: [u8; 32],
    inline: Option<Vec<u8>>,
}

/// The cursor of a snapshot with these roots; also keeps the tables in the local cache.
pub(in crate::ops) fn keep(
    repository: &Repository,
    tables: &BTreeMap<String, LeafTable>,
    roots: &[NamedRoot],
    increments: u64,
) -> Vec<u8> {
    let encoded: BTreeMap<&String, Vec<u8>> = tables.iter().map(|(name, table)| (name, table.encode())).collect();
    let is_small = encoded.values().map(Vec::len).sum::<usize>() <= INLINE_BYTES;
    let branch = |(name, table): (&String, &LeafTable)| {
        let bytes = &encoded[name];
        Branch {
            name: name.clone(),
            commit: table.head.commit,
            max_tx: table.head.max_tx,
            roots: ids(roots, name),
            table: repository.keep(bytes),
            inline: is_small.then(|| bytes.clone()),
        }
    };
    Cursor { increments, branches: tables.iter().map(branch).collect() }.encode()
}

/// The tables of a snapshot's branches, as far as they are at hand and belong to its trees.
pub(in crate::ops) fn tables(repository: &Repository, snapshot: &Snapshot) -> BTreeMap<String, LeafTable> {
    let Ok(cursor) = Cursor::decode(&snapshot.cursor) else { return BTreeMap::new() };
    let mut tables = BTreeMap::new();
    for branch in cursor.branches {
        let bytes = branch.inline.or_else(|| repository.kept(&branch.table));
        let bytes = bytes.filter(|bytes| repository.name_to_keep(bytes) == branch.table);
        let Some(Ok(table)) = bytes.map(|bytes| LeafTable::decode(&bytes)) else { continue };
        // Whatever has changed the trees since has not changed the database.
        if ids(&snapshot.roots, &branch.name) == branch.roots {
            tables.insert(branch.name, table);
        }
    }
    tables
}

fn ids(roots: &[NamedRoot], branch: &str) -> [Option<BlobId>; 2] {
    let (log, exceptions) = root_names(Some(branch));
    [log, exceptions].map(|name| roots.iter().find(|root| root.name == name).and_then(|root| root.id))
}

impl Cursor {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_varint(self.increments, &mut out);
        put_len(self.branches.len(), &mut out);
        for branch in &self.branches {
            put_len(branch.name.len(), &mut out);
            out.extend_from_slice(branch.name.as_bytes());
            put_option(branch.commit.as_ref().map(<[u8; 16]>::as_slice), &mut out);
            put_zigzag(branch.max_tx, &mut out);
            for root in &branch.roots {
                put_option(root.as_ref().map(|id| id.as_bytes().as_slice()), &mut out);
            }
            out.extend_from_slice(&branch.table);
            match &branch.inline {
                None => out.push(0),
                Some(table) => {
                    out.push(1);
                    put_len(table.len(), &mut out);
                    out.extend_from_slice(table);
                }
            }
        }
        out
    }

    /// The cursor in these bytes.
    pub(in crate::ops) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut bytes = Bytes::new(bytes);
        match bytes.byte()? {
            VERSION => {}
            version => return Err(DecodeError::UnknownVersion(version)),
        }
        let increments = bytes.varint()?;
        let mut branches: Vec<Branch> = Vec::new();
        for _ in 0..bytes.count(bytes.rest().len(), "branches")? {
            let name_len = bytes.count(bytes.rest().len(), "name")?;
            let name = std::str::from_utf8(bytes.take(name_len)?).map_err(|_| DecodeError::Invalid("name"))?.to_owned();
            if branches.last().is_some_and(|last| last.name >= name) {
                return Err(DecodeError::Invalid("order of branches"));
            }
            let commit = take_option(&mut bytes)?;
            let max_tx = bytes.zigzag()?;
            let roots = [take_option(&mut bytes)?.map(BlobId::new), take_option(&mut bytes)?.map(BlobId::new)];
            let table = bytes.array()?;
            let inline = match bytes.byte()? {
                0 => None,
                1 => {
                    let len = bytes.count(bytes.rest().len(), "table")?;
                    Some(bytes.take(len)?.to_vec())
                }
                _ => return Err(DecodeError::Invalid("flag")),
            };
            branches.push(Branch { name, commit, max_tx, roots, table, inline });
        }
        bytes.finish()?;
        Ok(Self { increments, branches })
    }
}

fn put_option(value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(u8::from(value.is_some()));
    out.extend_from_slice(value.unwrap_or_default());
}

fn take_option<const N: usize>(bytes: &mut Bytes<'_>) -> Result<Option<[u8; N]>, DecodeError> {
    match bytes.byte()? {
        0 => Ok(None),
        1 => bytes.array().map(Some),
        _ => Err(DecodeError::Invalid("flag")),
    }
}

#[cfg(test)]
mod vector;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn cursors() -> impl Strategy<Value = Cursor> {
        type Id = Option<[u8; 32]>;
        type Parts = (Option<[u8; 16]>, i64, Id, Id, [u8; 32], Option<Vec<u8>>);
        let branch = any::<Parts>();
        let branches = prop::collection::btree_map("[a-z]{1,4}", branch, 0..3);
        (any::<u64>(), branches).prop_map(|(increments, branches)| {
            let branch = |(name, parts): (String, Parts)| {
                let (commit, max_tx, log, exceptions, table, inline) = parts;
                let roots = [log.map(BlobId::new), exceptions.map(BlobId::new)];
                Branch { name, commit, max_tx, roots, table, inline }
            };
            Cursor { increments, branches: branches.into_iter().map(branch).collect() }
        })
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_has_one_form_and_no_cut(cursor in cursors(), at: prop::sample::Index, byte: u8) {
            let mut bytes = cursor.encode();
            prop_assert_eq!(&Cursor::decode(&bytes).unwrap(), &cursor);
            for cut in 0..bytes.len() {
                prop_assert!(Cursor::decode(&bytes[..cut]).is_err());
            }
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(decoded) = Cursor::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}
