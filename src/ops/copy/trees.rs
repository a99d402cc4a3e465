//! One tree of a snapshot: what differs from the tree that was copied before, applied to the copy of that.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Instant;

use super::CopyOptions;
use super::content::{Contents, Earlier};
use super::datoms::Rekeyed;
use super::shares::{self, Shares};
use crate::error::{Error, Result};
use crate::format::{NamedRoot, Snapshot};
use crate::id::BlobId;
use crate::ops::streamed::{Sink, streamed};
use crate::ops::{FileTree, mark};
use crate::progress::{Event, Observer};
use crate::record::entry::{self, Body, Content, Entry};
use crate::record::{self, RecordKind, Reference};
use crate::repository::{Reader, Writer};
use crate::sorter::SorterOptions;
use crate::tree::{self, Change, DiffItem, Node, Root, TreeParameters, WriteNode};

/// Records between two looks at what has been written.
const RECORDS_PER_TICK: u64 = 256;

/// A snapshot and the copy of it, or what there is of that so far.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) source: Snapshot,
    pub(super) copy: Snapshot,
    /// Keys up to this one are already those of the snapshot that is being copied.
    pub(super) done_until: Option<Vec<u8>>,
}

/// Copies trees.
pub(super) struct Trees<'a> {
    pub(super) contents: Contents,
    pub(super) source: Reader,
    pub(super) copy: Reader,
    pub(super) options: &'a CopyOptions,
    pub(super) observer: &'a dyn Observer,
    pub(super) records: u64,
    /// What parts have copied of the snapshot that is being copied.
    pub(super) shares: Shares,
}

/// What is done when a copy has gone on for a while: told the tree so far, and the key up to which it is done.
pub(super) type Save<'a> = &'a mut dyn FnMut(&mut Writer, &Root, &[u8]) -> Result<()>;

/// A change of a tree, with what the other repository must translate.
type Found = (Vec<u8>, FoundChange);

enum FoundChange {
    Remove,
    Put { before: Option<Vec<u8>>, after: Vec<u8> },
}

/// The trees of a pair that records may refer to.
struct Files {
    now: FileTree,
    earlier: Option<(FileTree, FileTree)>,
}

impl Trees<'_> {
    /// Copies one tree of `snapshot`; `base` is what it is compared with.
    pub(super) fn copy(
        &mut self,
        writer: &mut Writer,
        snapshot: &Snapshot,
        named: &NamedRoot,
        base: Option<&Pair>,
        save: Save<'_>,
    ) -> Result<NamedRoot> {
        let kind = record::kind(named.kind).map_err(|why| Error::damaged(format_args!("tree {}", named.name), why))?;
        let from_parameters = self.source.repository().tree_parameters(kind);
        let to_parameters = self.copy.repository().tree_parameters(kind);
        let base = base.filter(|pair| find(&pair.source, named).is_some() && find(&pair.copy, named).is_some());
        let empty = || Root::empty(named.kind);
        let old_source = base.and_then(|pair| find(&pair.source, named)).map_or_else(empty, mark::root);
        let old_copy = base.and_then(|pair| find(&pair.copy, named)).map_or_else(empty, mark::root);
        let done_until = base.and_then(|pair| pair.done_until.as_deref());
        if kind.code() != record::Entries.code() {
            if self.options.shard.is_some_and(|shard| !shares::takes_tree(shard, snapshot, named)) {
                return Ok(mark::named(&named.name, empty(), Vec::new()));
            }
            if let Some(copied) = self.shares.tree(snapshot, named) {
                return Ok(copied);
            }
        }
        let (source, now) = (self.source.clone(), mark::root(named));
        let find = |sink: Sink<'_, Found>| differences(&source, &from_parameters, &old_source, &now, done_until, sink);
        let root = streamed(find, |found| match kind.code() {
            code if code == record::Entries.code() => {
                let files = Files {
                    now: FileTree::of(&self.source, snapshot)?,
                    earlier: match base {
                        Some(pair) => {
                            Some((FileTree::of(&self.source, &pair.source)?, FileTree::of(&self.copy, &pair.copy)?))
                        }
                        None => None,
                    },
                };
                self.entries(writer, &to_parameters, old_copy, &files, found, save)
            }
            code if code == record::datom::Datoms.code() => self.datoms(writer, &to_parameters, &old_copy, found),
            code => self.others(writer, &to_parameters, &old_copy, code, found),
        })?;
        let digest = if kind.code() == record::Entries.code() { Vec::new() } else { named.digest.clone() };
        Ok(mark::named(&named.name, root, digest))
    }

    /// Entries, in stretches after each of which the copy is saved.
    fn entries(
        &mut self,
        writer: &mut Writer,
        parameters: &TreeParameters,
        mut root: Root,
        files: &Files,
        found: &mut dyn Iterator<Item = Result<Found>>,
        save: Save<'_>,
    ) -> Result<Root> {
        let mut found = found.peekable();
        loop {
            let (started, added_before) = (Instant::now(), writer.statistics().bytes_added);
            let (partial_every, partial_every_bytes) = (self.options.partial_every, self.options.partial_every_bytes);
            let (mut last, mut count) = (Vec::new(), 0_u64);
            let copy = self.copy.clone();
            let writing = RefCell::new(&mut *writer);
            let changes = std::iter::from_fn(|| {
                if count > 0 && count.is_multiple_of(RECORDS_PER_TICK) {
                    let added = writing.borrow().statistics().bytes_added - added_before;
                    if started.elapsed() >= partial_every || added >= partial_every_bytes {
                        return None;
                    }
                }
                count += 1;
                let change = found.next()?.and_then(|(key, change)| {
                    self.tick();
                    last.clone_from(&key);
                    let change = self.entry(&mut writing.borrow_mut(), files, &key, change)?;
                    Ok((key, change))
                });
                Some(change)
            });
            root = tree::edit(&copy, &mut Shared(&writing), parameters, &root, changes)?.0;
            if found.peek().is_none() {
                return Ok(root);
            }
            save(writer, &root, &last)?;
        }
    }

    fn entry(&mut self, writer: &mut Writer, files: &Files, key: &[u8], change: FoundChange) -> Result<Change> {
        let FoundChange::Put { before, after } = change else { return Ok(Change::Remove) };
        let after = decode(key, &after)?;
        if self.options.shard.is_some_and(|shard| !shard.takes_entry(key, &after)) {
            // It may have been this part's in the snapshot before.
            return Ok(Change::Remove);
        }
        if let Some(copied) = self.shares.entry(key, &after)? {
            return Ok(Change::Put(copied.encode()));
        }
        let earlier = || {
            let (Some(before), Some((source_tree, copy_tree))) = (before, &files.earlier) else { return Ok(None) };
            let copy = copy_tree.find(key)?;
            let contents = (content(decode(key, &before)?), copy.and_then(content));
            Ok(match contents {
                (Some(source), Some(copy)) => Some(Earlier { source: (source_tree, source), copy: (copy_tree, copy) }),
                _ => None,
            })
        };
        Ok(Change::Put(self.contents.entry(writer, &files.now, after, earlier)?.encode()))
    }

    fn datoms(
        &mut self,
        writer: &mut Writer,
        parameters: &TreeParameters,
        root: &Root,
        found: &mut dyn Iterator<Item = Result<Found>>,
    ) -> Result<Root> {
        let changes = found.map(|found| {
            found.map(|(key, change)| match change {
                FoundChange::Remove => (key, Change::Remove),
                FoundChange::Put { after, .. } => (key, Change::Put(after)),
            })
        });
        let limit = |reader: &Reader| reader.repository().config().inline_value_max_bytes;
        let same_limit = limit(&self.source) == limit(&self.copy);
        let sorter =
            SorterOptions { memory_bytes: self.options.memory_bytes, directory: self.options.temporary.clone() };
        let mut rekeyed = Rekeyed::new(changes, same_limit, sorter);
        let copy = self.copy.clone();
        let writing = RefCell::new(writer);
        let changes = std::iter::from_fn(|| {
            self.tick();
            rekeyed.next(&mut self.contents, &mut writing.borrow_mut()).transpose()
        });
        Ok(tree::edit(&copy, &mut Shared(&writing), parameters, root, changes)?.0)
    }

    /// Records that refer to nothing, and extents.
    fn others(
        &mut self,
        writer: &mut Writer,
        parameters: &TreeParameters,
        root: &Root,
        code: u8,
        found: &mut dyn Iterator<Item = Result<Found>>,
    ) -> Result<Root> {
        let copy = self.copy.clone();
        let writing = RefCell::new(writer);
        let changes = found.map(|found| {
            let (key, change) = found?;
            self.tick();
            let FoundChange::Put { after, .. } = change else { return Ok((key, Change::Remove)) };
            if code != record::Extents.code() {
                return Ok((key, Change::Put(after)));
            }
            let extent = record::Extent::decode(&key, &after).map_err(|why| Error::damaged("extent", why))?;
            let id = self.contents.chunk(&mut writing.borrow_mut(), extent.id, None)?;
            Ok((key, Change::Put(record::Extent { id, ..extent }.value())))
        });
        Ok(tree::edit(&copy, &mut Shared(&writing), parameters, root, changes)?.0)
    }

    fn tick(&mut self) {
        self.records += 1;
        if self.records.is_multiple_of(RECORDS_PER_TICK) {
            self.observer.event(Event::Progress { done: self.records });
        }
    }
}

/// A writer that changes and the nodes made of them both write to.
struct Shared<'a, 'b>(&'a RefCell<&'b mut Writer>);

impl WriteNode for Shared<'_, '_> {
    fn write_node(&mut self, node: Node) -> Result<BlobId> {
        self.0.borrow_mut().write_node(node)
    }
}

fn differences(
    source: &Reader,
    parameters: &TreeParameters,
    before: &Root,
    now: &Root,
    done_until: Option<&[u8]>,
    sink: Sink<'_, Found>,
) -> Result<()> {
    tree::diff(source, parameters, before, now, &mut |item| {
        let (key, change) = match item {
            DiffItem::Removed { key, .. } => (key, FoundChange::Remove),
            DiffItem::Added { key, value } => (key, FoundChange::Put { before: None, after: value.to_vec() }),
            DiffItem::Changed { key, before, after } => {
                (key, FoundChange::Put { before: Some(before.to_vec()), after: after.to_vec() })
            }
        };
        match done_until {
            Some(done) if key <= done => Ok(()),
            _ => {
                announce(source, parameters.kind(), key, &change);
                sink((key.to_vec(), change))
            }
        }
    })
}

/// Tells the reader of the chunks that only the record as it is now refers to.
fn announce(source: &Reader, kind: &dyn RecordKind, key: &[u8], change: &FoundChange) {
    let FoundChange::Put { before, after } = change else { return };
    if !source.is_far() {
        return;
    }
    let chunks = |value: &[u8]| {
        let mut references = Vec::new();
        // What cannot be understood is told when it is copied.
        let _ = kind.references(key, value, &mut references);
        references.into_iter().filter_map(|reference| match reference {
            Reference::Chunk(id) | Reference::List(id) => Some(id),
            Reference::Tree(_) => None,
        })
    };
    let known: HashSet<BlobId> = before.iter().flat_map(|before| chunks(before)).collect();
    source.prefetch_chunks(chunks(after).filter(|id| !known.contains(id)));
}

fn decode(key: &[u8], value: &[u8]) -> Result<Entry> {
    Entry::decode(value).map_err(|why| Error::damaged(format_args!("entry {}", entry::path_of_key(key).display()), why))
}

fn content(entry: Entry) -> Option<Content> {
    match entry.body {
        Body::File { content, .. } => Some(content),
        _ => None,
    }
}

/// The tree of the same name and kind.
pub(super) fn find<'a>(snapshot: &'a Snapshot, like: &NamedRoot) -> Option<&'a NamedRoot> {
    snapshot.roots.iter().find(|root| (&root.name, root.kind) == (&like.name, like.kind))
}
