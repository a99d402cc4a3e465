//! Changes applied to trees: into packs for a snapshot, or in memory for a look at a state that no snapshot holds yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::net::Net;
use crate::chunker::Chunker;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, ObjectPath};
use crate::id::BlobId;
use crate::ops::backup::cut_value;
use crate::ops::mark;
use crate::record::RecordKind;
use crate::record::datom::{self, Datom, Datoms, Digest, Value};
use crate::repository::{OverlayWriter, Reader, Repository, Writer};
use crate::tree::{self, Change, Root, TreeParameters, WriteNode};

/// Where the nodes and chunks go.
pub(super) enum Sink<'a> {
    Packs(&'a mut Writer),
    Memory(&'a mut OverlayWriter),
}

impl Sink<'_> {
    fn repository(&self) -> &Repository {
        match self {
            Self::Packs(writer) => writer.repository(),
            Self::Memory(writer) => writer.repository(),
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

    fn resemble(&mut self, parameters: &TreeParameters, older: &Root) {
        if let Self::Packs(writer) = self {
            writer.resemble(parameters, older);
        }
    }
}

/// What becomes of a key, and its datom's share of the digest.
struct Wanted {
    put: bool,
    hash: u64,
}

/// The roots with the changes applied; `reader` must find everything that `roots` reach. A tree that changes and is not among
/// them begins empty.
pub(super) fn apply(
    reader: &Reader,
    sink: &mut Sink<'_>,
    roots: &[NamedRoot],
    changes: &Net,
) -> Result<Vec<NamedRoot>> {
    let repository = sink.repository().clone();
    let sizes = repository.config().chunker.sizes().map_err(|e| Error::damaged(ObjectPath::config(), e))?;
    let chunker = Arc::new(Chunker::new(repository.keys().gear(), sizes));
    let parameters = repository.tree_parameters(&Datoms);
    let mut named: BTreeMap<String, NamedRoot> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for root in roots {
        order.push(root.name.clone());
        named.insert(root.name.clone(), root.clone());
    }
    for (name, keys) in &changes.trees {
        let old = named.get(name).cloned().unwrap_or_else(|| {
            order.push(name.clone());
            mark::named(name, Root::empty(Datoms.code()), Digest::new().encode().to_vec())
        });
        let wanted = stored_keys(&chunker, &repository, sink, keys)?;
        let new = edit(reader, sink, &parameters, &old, &wanted)?;
        named.insert(name.clone(), new);
    }
    Ok(order.into_iter().filter_map(|name| named.remove(&name)).collect())
}

/// The changes by the keys that trees have: long values stand in them by reference.
fn stored_keys(
    chunker: &Chunker,
    repository: &Repository,
    sink: &mut Sink<'_>,
    keys: &BTreeMap<Vec<u8>, bool>,
) -> Result<BTreeMap<Vec<u8>, Wanted>> {
    let inline = repository.config().inline_value_max_bytes as usize;
    let mut wanted = BTreeMap::new();
    for (key, put) in keys {
        let damaged = |why: &dyn std::fmt::Display| Error::new(ErrorKind::Damaged, "datom key", why);
        let datom = datom::decode_key(key).map_err(|e| damaged(&e))?;
        let hash = Digest::hash(&datom);
        let key = match datom::long_value(&datom.v, inline).map_err(|e| damaged(&e))? {
            None => key.clone(),
            Some(long) => {
                let reference = cut_value(chunker, &long, &mut |chunk| match put {
                    true => sink.write_chunk(chunk),
                    false => Ok(repository.keys().blob_id_chunk(&chunk)),
                })?;
                let mut stored = Vec::new();
                let datom = Datom { v: Value::Stored(reference), a: datom.a.clone(), ..datom };
                datom::encode_key(&datom, &mut stored).map_err(|e| damaged(&e))?;
                stored
            }
        };
        wanted.insert(key, Wanted { put: *put, hash });
    }
    Ok(wanted)
}

fn edit(
    reader: &Reader,
    sink: &mut Sink<'_>,
    parameters: &TreeParameters,
    old: &NamedRoot,
    wanted: &BTreeMap<Vec<u8>, Wanted>,
) -> Result<NamedRoot> {
    let root = mark::root(old);
    sink.resemble(parameters, &root);
    let changes = wanted
        .iter()
        .map(|(key, wanted)| Ok((key.clone(), if wanted.put { Change::Put(Vec::new()) } else { Change::Remove })));
    let (new, stats) = tree::edit(reader, sink.nodes(), parameters, &root, changes)?;
    let as_said = stats.unchanged == 0 && stats.absent == 0;
    let mut digest = Digest::decode(&old.digest).map_err(|e| Error::damaged(format!("digest of {}", old.name), e))?;
    for (key, wanted) in wanted {
        // What was put twice, or removed before it came, changes nothing.
        let changes = as_said || tree::get(reader, parameters, &root, key)?.is_some() != wanted.put;
        match (changes, wanted.put) {
            (false, _) => {}
            (true, true) => digest.add_hash(wanted.hash),
            (true, false) => remove_hash(&mut digest, wanted.hash),
        }
    }
    Ok(mark::named(&old.name, new, digest.encode().to_vec()))
}

fn remove_hash(digest: &mut Digest, hash: u64) {
    digest.xor ^= hash;
    digest.sum = digest.sum.wrapping_sub(hash);
    digest.count = digest.count.wrapping_sub(1);
}
