//! Taking paths out of directory trees.

use std::collections::HashMap;

use super::Patterns;
use crate::error::{Error, Result};
use crate::format::{NamedRoot, Snapshot};
use crate::ops::mark;
use crate::ops::streamed::{Sink, streamed};
use crate::record::Entries;
use crate::record::entry::{self, Body, Entry};
use crate::repository::{Reader, Repository, Writer};
use crate::tree::{self, Change, DiffItem, KeyRange, Root, TreeParameters, Walker};

/// What was taken out of a snapshot.
pub(super) struct Removal {
    /// The tree that is left; `None` when nothing was taken out, or in a dry run.
    pub(super) root: Option<NamedRoot>,
    /// How many entries.
    pub(super) entries: u64,
    /// Regular files among them.
    pub(super) files: u64,
    /// Bytes of those.
    pub(super) bytes: u64,
}

/// Takes paths out of one tree after another. What was done to the last tree of the same host and label is done to the next
/// only where the two differ.
pub(super) struct Removals<'a> {
    patterns: &'a Patterns,
    reader: Reader,
    parameters: TreeParameters,
    last: HashMap<(String, String), Last>,
}

/// A tree before and after.
#[derive(Clone)]
struct Last {
    before: Root,
    after: Root,
    gone: Gone,
}

/// Regular files that went, and their bytes; differences may be negative.
#[derive(Clone, Copy, Default)]
struct Gone {
    files: i128,
    bytes: i128,
}

/// A key, what becomes of it in the tree that is left, and what more went with it.
type Item = (Vec<u8>, Option<Change>, Gone);

impl<'a> Removals<'a> {
    pub(super) fn new(repository: &Repository, patterns: &'a Patterns) -> Self {
        let parameters = repository.tree_parameters(&Entries);
        Self { patterns, reader: repository.reader(), parameters, last: HashMap::new() }
    }

    /// Whether there is nothing to take out anywhere, or this snapshot has a directory tree.
    pub(super) fn apply_to(&self, snapshot: &Snapshot) -> bool {
        self.patterns.is_empty() || find(snapshot).is_some()
    }

    /// Takes the paths out of the snapshot's tree.
    pub(super) fn take_out(&mut self, writer: &mut Writer, snapshot: &Snapshot, dry_run: bool) -> Result<Removal> {
        let Some(named) = find(snapshot).filter(|_| !self.patterns.is_empty()) else {
            return Ok(Removal { root: None, entries: 0, files: 0, bytes: 0 });
        };
        let root = mark::root(named);
        if dry_run {
            let (mut entries, mut gone) = (0, Gone::default());
            self.all(&root, &mut |(_, _, size)| {
                entries += 1;
                gone.add(size);
                Ok(())
            })?;
            return Ok(Removal { root: None, entries, files: count(gone.files), bytes: count(gone.bytes) });
        }
        let group = (snapshot.host.clone(), snapshot.label.clone());
        let last = self.last.get(&group).cloned();
        let (after, gone) = match &last {
            Some(last) => self.edit(writer, &last.after, last.gone, |sink| self.differing(last, &root, sink)),
            None => self.edit(writer, &root, Gone::default(), |sink| self.all(&root, sink)),
        }?;
        // The next edit reads what this one wrote.
        writer.flush()?;
        let entries = root.records.saturating_sub(after.records);
        let left = mark::named(&named.name, after.clone(), Vec::new());
        self.last.insert(group, Last { before: root, after, gone });
        Ok(Removal { root: (entries > 0).then_some(left), entries, files: count(gone.files), bytes: count(gone.bytes) })
    }

    fn edit(
        &self,
        writer: &mut Writer,
        from: &Root,
        mut gone: Gone,
        find: impl FnOnce(Sink<'_, Item>) -> Result<()> + Send,
    ) -> Result<(Root, Gone)> {
        let root = streamed(find, |items| {
            let changes = items.filter_map(|item| match item {
                Ok((key, change, size)) => {
                    gone.add(size);
                    change.map(|change| Ok((key, change)))
                }
                Err(error) => Some(Err(error)),
            });
            Ok(tree::edit(&self.reader, writer, &self.parameters, from, changes)?.0)
        })?;
        Ok((root, gone))
    }

    /// Everything of a tree that goes.
    fn all(&self, root: &Root, sink: Sink<'_, Item>) -> Result<()> {
        let mut walker = Walker::new(&self.reader, &self.parameters, root, KeyRange::all())?;
        while let Some((key, value)) = walker.next_record()? {
            let (goes, size) = self.judge(key, value)?;
            if goes {
                sink((key.to_vec(), Some(Change::Remove), size))?;
            }
        }
        Ok(())
    }

    /// What leads from the last tree that is left to the next: the differences between the whole trees, but for what goes.
    fn differing(&self, last: &Last, root: &Root, sink: Sink<'_, Item>) -> Result<()> {
        tree::diff(&self.reader, &self.parameters, &last.before, root, &mut |item| {
            let (key, before, after) = match item {
                DiffItem::Removed { key, value } => (key, Some(value), None),
                DiffItem::Added { key, value } => (key, None, Some(value)),
                DiffItem::Changed { key, before, after } => (key, Some(before), Some(after)),
            };
            let (mut gone, mut change) = (Gone::default(), None);
            if let Some(before) = before {
                let (went, size) = self.judge(key, before)?;
                if went { gone.add(size.negated()) } else { change = Some(Change::Remove) }
            }
            if let Some(after) = after {
                let (goes, size) = self.judge(key, after)?;
                if goes { gone.add(size) } else { change = Some(Change::Put(after.to_vec())) }
            }
            sink((key.to_vec(), change, gone))
        })
    }

    /// Whether an entry goes, and what would go with it.
    fn judge(&self, key: &[u8], value: &[u8]) -> Result<(bool, Gone)> {
        let entry = Entry::decode(value)
            .map_err(|why| Error::damaged(format_args!("entry {}", entry::path_of_key(key).display()), why))?;
        let is_file = matches!(entry.body, Body::File { .. });
        let gone = Gone { files: i128::from(is_file), bytes: i128::from(entry.size()) };
        Ok((self.patterns.takes(key, entry.is_directory()), gone))
    }
}

impl Gone {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }

    fn negated(self) -> Self {
        Self { files: -self.files, bytes: -self.bytes }
    }
}

fn find(snapshot: &Snapshot) -> Option<&NamedRoot> {
    snapshot.roots.iter().find(|root| record_code() == root.kind)
}

fn record_code() -> u8 {
    crate::record::RecordKind::code(&Entries)
}

fn count(bytes: i128) -> u64 {
    u64::try_from(bytes.max(0)).unwrap_or(u64::MAX)
}
