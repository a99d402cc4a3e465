//! Looking for blobs: by the start of their id, or by the pack that holds them.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::PoisonError;

use crate::error::{Error, ErrorKind, Result};
use crate::id::{BlobId, PackId};
use crate::ops::files::FileTree;
use crate::ops::mark::{self, Reached};
use crate::record::{self, RecordKind, Reference};
use crate::repository::Reader;

/// Blobs that are looked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Blobs whose id begins like this.
    pub blobs: Vec<BlobStart>,
    /// All blobs of the packs whose id begins like this.
    pub packs: Vec<BlobStart>,
}

/// The start of an id: hexadecimal digits, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobStart(String);

impl FromStr for BlobStart {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.to_ascii_lowercase();
        let valid = (1..=2 * BlobId::LEN).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_hexdigit());
        match valid {
            true => Ok(Self(digits)),
            false => Err(Error::new(ErrorKind::Usage, text, "not the start of an id")),
        }
    }
}

impl BlobStart {
    fn begins(&self, id: &[u8]) -> bool {
        let digit = |i: usize| {
            let byte = id.get(i / 2).copied().unwrap_or_default();
            let nibble = if i.is_multiple_of(2) { byte >> 4 } else { byte & 15 };
            char::from_digit(u32::from(nibble), 16)
        };
        self.0.chars().enumerate().all(|(i, wanted)| digit(i) == Some(wanted))
    }
}

/// Blobs that are looked for, known one by one where they come from packs.
pub(super) struct Blobs {
    starts: Vec<BlobStart>,
    ids: HashSet<BlobId>,
}

impl Blobs {
    /// `None` when nothing is wanted.
    pub(super) fn resolve(reader: &Reader, wanted: &Wanted) -> Result<Option<Self>> {
        if wanted.blobs.is_empty() && wanted.packs.is_empty() {
            return Ok(None);
        }
        let mut ids = HashSet::new();
        let mut met = vec![None; wanted.packs.len()];
        let index = reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
        if !wanted.packs.is_empty() {
            for pack in index.packs() {
                let pack = pack?;
                for (start, met) in wanted.packs.iter().zip(&mut met) {
                    if start.begins(pack.id.as_bytes()) {
                        note(start, pack.id, met)?;
                        ids.extend(pack.directory.frames.iter().flat_map(|frame| &frame.blobs).map(|blob| blob.id));
                    }
                }
            }
        }
        match wanted.packs.iter().zip(&met).find(|(_, met)| met.is_none()) {
            Some((start, _)) => Err(Error::new(ErrorKind::NotFound, format!("pack {}", start.0), "not in the index")),
            None => Ok(Some(Self { starts: wanted.blobs.clone(), ids })),
        }
    }

    pub(super) fn contains(&self, id: &BlobId) -> bool {
        self.ids.contains(id) || self.starts.iter().any(|start| start.begins(id.as_bytes()))
    }

    /// Which of them an entry refers to, by itself or through its tree of extents, each once.
    pub(super) fn of_entry(&self, reader: &Reader, tree: &FileTree, key: &[u8], value: &[u8]) -> Result<Vec<BlobId>> {
        let mut references = Vec::new();
        let kind = record::Entries;
        kind.references(key, value, &mut references)
            .map_err(|why| Error::damaged(tree.place(&record::entry::path_of_key(key)), why))?;
        let mut found = Contained { blobs: self, met: HashSet::new(), found: Vec::new() };
        for reference in &references {
            match reference {
                Reference::Chunk(id) => found.blob(*id).map(drop)?,
                _ => mark::walk_reference(reader, reference, &mut found)?,
            }
        }
        Ok(found.found)
    }
}

/// The start of a pack's id must mean one pack.
fn note(start: &BlobStart, pack: PackId, met: &mut Option<PackId>) -> Result<()> {
    match met {
        Some(other) if *other != pack => {
            let why = format!("the start of several ids: {other}, {pack}");
            Err(Error::new(ErrorKind::Usage, format!("pack {}", start.0), why))
        }
        _ => {
            *met = Some(pack);
            Ok(())
        }
    }
}

struct Contained<'a> {
    blobs: &'a Blobs,
    met: HashSet<BlobId>,
    found: Vec<BlobId>,
}

impl Reached for Contained<'_> {
    fn blob(&mut self, id: BlobId) -> Result<bool> {
        if !self.met.insert(id) {
            return Ok(false);
        }
        if self.blobs.contains(&id) {
            self.found.push(id);
        }
        Ok(true)
    }

    fn unreadable(&mut self, _: BlobId, error: Error) -> Result<()> {
        Err(error)
    }
}
