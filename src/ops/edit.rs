//! Changes of datoms made in a tree and in its digest: into packs for a snapshot, or in memory for a look at a state that no
//! snapshot holds yet.

use std::sync::Arc;

use bytes::Bytes;

use super::backup::cut_value;
use super::mark;
use crate::chunker::Chunker;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, ObjectPath};
use crate::id::BlobId;
use crate::record::datom::{self, Datom, Datoms, Digest, Value};
use crate::repository::{OverlayWriter, Reader, Repository, Writer};
use crate::tree::{self, Change, EditStats, Root, WriteNode};

/// Where the nodes and chunks go.
pub(super) enum Sink<'a> {
    Packs(&'a mut Writer),
    Memory(&'a mut OverlayWriter),
}

/// What to make of changes that are so already: of what is put and is there, and of what is removed and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Already {
    /// They show that the tree is not the one that the changes are of.
    Refuse,
    /// They change nothing.
    Ignore,
}

/// A tree with changes.
pub(super) struct EditedTree {
    pub(super) root: NamedRoot,
    /// Datoms that the tree did not have.
    pub(super) added: u64,
    /// Datoms that it no longer has.
    pub(super) removed: u64,
}

/// A change of a key as the tree has it.
struct Stored {
    key: Vec<u8>,
    put: bool,
    /// Its datom's share of the digest.
    hash: u64,
}

/// The tree with `changes`: keys with whole values, each once, and whether it is put or removed. `reader` must find everything
/// that the tree reaches; long values that are put are stored.
///
/// # Errors
/// [`ErrorKind::Data`] for changes that are so already, where they are refused.
pub(super) fn edit<'k>(
    reader: &Reader,
    sink: &mut Sink<'_>,
    named: &NamedRoot,
    changes: impl Iterator<Item = (&'k [u8], bool)>,
    already: Already,
) -> Result<EditedTree> {
    let stored = stored_keys(sink, changes)?;
    if stored.is_empty() {
        return Ok(EditedTree { root: named.clone(), added: 0, removed: 0 });
    }
    let parameters = sink.repository().tree_parameters(&Datoms);
    let root = mark::root(named);
    let of_tree = stored
        .iter()
        .map(|stored| Ok((stored.key.clone(), if stored.put { Change::Put(Vec::new()) } else { Change::Remove })));
    let (new, stats) = tree::edit(reader, sink.nodes(), &parameters, &root, of_tree)?;
    let is_all_new = stats.added + stats.removed == stored.len() as u64;
    if !is_all_new && already == Already::Refuse {
        return Err(misfit(named, &stats));
    }
    let mut digest =
        Digest::decode(&named.digest).map_err(|e| Error::damaged(format!("digest of {}", named.name), e))?;
    for Stored { key, put, hash } in &stored {
        // What was put twice, or removed before it came, changes nothing.
        let changes = is_all_new || tree::get(reader, &parameters, &root, key)?.is_some() != *put;
        match (changes, put) {
            (false, _) => {}
            (true, true) => digest.add_hash(*hash),
            (true, false) => digest.remove_hash(*hash),
        }
    }
    let root = mark::named(&named.name, new, digest.encode().to_vec());
    Ok(EditedTree { root, added: stats.added, removed: stats.removed })
}

/// The changes by the keys that trees have, ascending: long values stand in them by reference.
fn stored_keys<'k>(sink: &mut Sink<'_>, changes: impl Iterator<Item = (&'k [u8], bool)>) -> Result<Vec<Stored>> {
    let repository = sink.repository().clone();
    let chunker = sink.chunker()?;
    let inline = repository.config().inline_value_max_bytes as usize;
    let damaged = |why: &dyn std::fmt::Display| Error::damaged("datom key", why);
    let mut all = Vec::with_capacity(changes.size_hint().0);
    for (whole, put) in changes {
        let datom = datom::decode_key(whole).map_err(|e| damaged(&e))?;
        let hash = Digest::hash(&datom);
        let key = match datom::long_value(&datom.v, inline).map_err(|e| damaged(&e))? {
            None => whole.to_vec(),
            Some(long) => {
                let reference = cut_value(&chunker, &long, &mut |chunk| match put {
                    true => sink.write_chunk(chunk),
                    false => Ok(repository.keys().blob_id_chunk(&chunk)),
                })?;
                let mut key = Vec::new();
                let datom = Datom { v: Value::Stored(reference), a: datom.a.clone(), ..datom };
                datom::encode_key(&datom, &mut key).map_err(|e| damaged(&e))?;
                key
            }
        };
        all.push(Stored { key, put, hash });
    }
    // Keys of long values are in another order than the values.
    all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(all)
}

fn misfit(named: &NamedRoot, stats: &EditStats) -> Error {
    let EditStats { added, replaced, removed, unchanged, absent } = *stats;
    let there = unchanged + replaced;
    let (puts, removals) = (added + there, removed + absent);
    let message =
        format!("{there} of {puts} new and {absent} of {removals} vanished datoms did not fit the parent's tree");
    Error::new(ErrorKind::Data, &named.name, message)
}

impl Sink<'_> {
    pub(super) fn repository(&self) -> &Repository {
        match self {
            Self::Packs(writer) => writer.repository(),
            Self::Memory(writer) => writer.repository(),
        }
    }

    /// From now on new nodes are taken to resemble those of this tree.
    pub(super) fn resemble(&mut self, older: &Root) {
        if let Self::Packs(writer) = self {
            let parameters = writer.repository().tree_parameters(&Datoms);
            writer.resemble(&parameters, older);
        }
    }

    fn chunker(&self) -> Result<Arc<Chunker>> {
        match self {
            Self::Packs(writer) => Ok(Arc::clone(writer.chunker())),
            Self::Memory(writer) => {
                let repository = writer.repository();
                let sizes = repository.config().chunker.sizes();
                let sizes = sizes.map_err(|e| Error::damaged(ObjectPath::config(), e))?;
                Ok(Arc::new(Chunker::new(repository.keys().gear(), sizes)))
            }
        }
    }

    fn write_chunk(&mut self, content: Bytes) -> Result<BlobId> {
        match self {
            Self::Packs(writer) => writer.write_chunk(content),
            Self::Memory(writer) => Ok(writer.write_chunk(content)),
        }
    }

    fn nodes(&mut self) -> &mut dyn WriteNode {
        match self {
            Self::Packs(writer) => *writer,
            Self::Memory(writer) => *writer,
        }
    }
}
