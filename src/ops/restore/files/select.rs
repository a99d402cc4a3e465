//! Which paths of a snapshot are restored, and under which keys below the target.

use std::path::Path;
use std::path::PathBuf;

use super::shares::Shares;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Shard;
use crate::record::entry::{self, Entry};
use crate::repository::Reader;
use crate::source::files::Patterns;
use crate::tree::{self, KeyRange, Next, Root, TreeParameters, Visit, Walker};

/// A pattern as those of [`Patterns`], on the paths of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// The pattern.
    pub text: String,
    /// Whether upper and lower case are the same.
    pub any_case: bool,
}

/// Which paths of a snapshot are restored.
pub(super) struct Selection {
    /// The path that becomes the target, or is put into it; empty for everything.
    base: Vec<u8>,
    /// How much of a key is not part of the relative key.
    strip: usize,
    include: Patterns,
    exclude: Patterns,
    shard: Option<Shard>,
}

/// A path that is restored.
pub(super) struct Chosen<'a> {
    /// Its key below the target.
    pub(super) key: &'a [u8],
    /// Its row.
    pub(super) value: &'a [u8],
    /// What the row says.
    pub(super) entry: Entry,
    /// Whether it is meant itself: not if it only leads to what is included.
    pub(super) included: bool,
    /// Whether it is this part's. Directories of others are given too, as this part may put something there.
    pub(super) is_mine: bool,
}

/// What is found on the way through a tree.
#[expect(clippy::large_enum_variant, reason = "one at a time is in memory")]
pub(super) enum Step<'a> {
    /// A path that is restored; directories come before what is in them.
    Chosen(Chosen<'a>),
    /// Something that cannot be read. Paths are missing without anything being known of them.
    Damaged(Error),
}

impl Selection {
    /// Everything at or below `path`, or everything; of that what the patterns choose.
    pub(super) fn new(
        reader: &Reader,
        parameters: &TreeParameters,
        root: &Root,
        path: Option<&Path>,
        include: &[PathPattern],
        exclude: &[PathPattern],
    ) -> Result<Self> {
        let mut selection =
            Self { base: Vec::new(), strip: 0, include: compiled(include)?, exclude: compiled(exclude)?, shard: None };
        let Some(path) = path else { return Ok(selection) };
        let base = entry::key_of_path(path)
            .ok_or_else(|| Error::new(ErrorKind::Usage, path.display(), "not an absolute path within a snapshot"))?;
        let is_directory = match tree::get(reader, parameters, root, &base)? {
            Some(value) => decode(&base, &value)?.is_directory(),
            None => {
                let (from, to) = entry::children(&base);
                let mut below = Walker::new(reader, parameters, root, KeyRange { from, to })?;
                if below.next_record()?.is_none() {
                    return Err(Error::new(ErrorKind::NotFound, path.display(), "the snapshot has no such path"));
                }
                true
            }
        };
        selection.strip = match (base.is_empty(), is_directory) {
            (true, _) => 0,
            (false, true) => base.len() + 1,
            (false, false) => base.len() - entry::name_of(&base).len(),
        };
        selection.base = base;
        Ok(selection)
    }

    /// The same for one of several parts.
    pub(super) fn of_shard(self, shard: Option<Shard>) -> Self {
        Self { shard, ..self }
    }

    /// Every chosen path in the order of keys.
    pub(super) fn each(
        &self,
        reader: &Reader,
        parameters: &TreeParameters,
        root: &Root,
        take: &mut dyn FnMut(Step<'_>) -> Result<()>,
    ) -> Result<()> {
        let shares = Shares::new(self.shard);
        let mut filter = Filter { selection: self, shares, skipped: None, included: None, leading: Vec::new() };
        if self.base.is_empty() {
            return tree::walk_nodes(reader, parameters, root, &mut |visit| {
                match visit {
                    Visit::Read { node, .. } if node.level == 0 => {
                        node.rows.iter().try_for_each(|(key, value)| filter.row(key, value, take))?;
                    }
                    Visit::Unreadable { error, .. } if error.kind() == ErrorKind::Damaged => {
                        take(Step::Damaged(error))?;
                    }
                    Visit::Unreadable { error, .. } => return Err(error),
                    _ => {}
                }
                Ok(Next::Descend)
            });
        }
        let (from, to) = entry::subtree(&self.base);
        let mut walker = Walker::new(reader, parameters, root, KeyRange { from, to })?;
        loop {
            match walker.next_leaf() {
                Ok(None) => return Ok(()),
                Ok(Some((node, rows))) => {
                    for row in rows {
                        filter.row(node.rows.key(row), node.rows.value(row), take)?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Damaged => return take(Step::Damaged(error)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether nothing but a path decides.
    pub(super) fn is_whole(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a path below the target is to be left alone.
    pub(super) fn is_excluded(&self, key: &[u8], is_directory: bool) -> bool {
        self.exclude.matches(&self.full_path(key), is_directory)
    }

    /// Whether a path below the target, in a directory that is meant itself or not, is meant itself.
    pub(super) fn is_included(&self, key: &[u8], is_directory: bool, parent_is: bool) -> bool {
        self.include.is_empty() || self.include.verdict(&self.full_path(key), is_directory).unwrap_or(parent_is)
    }

    /// The key in the snapshot of a path below the target.
    pub(super) fn full_key(&self, key: &[u8]) -> Vec<u8> {
        if key.is_empty() {
            return self.base.clone();
        }
        [&self.base[..self.strip.min(self.base.len())], if self.strip > self.base.len() { b"\0" } else { b"" }, key]
            .concat()
    }

    fn full_path(&self, key: &[u8]) -> PathBuf {
        entry::path_of_key(&self.full_key(key))
    }
}

/// Where a walk stands among the patterns.
struct Filter<'a> {
    selection: &'a Selection,
    shares: Shares,
    /// Everything below this key is left out.
    skipped: Option<Vec<u8>>,
    /// Everything below this key is included unless a pattern says otherwise.
    included: Option<Vec<u8>>,
    /// Directories that may lead to something included: key, row, and whether they are this part's.
    leading: Vec<(Vec<u8>, Vec<u8>, bool)>,
}

impl Filter<'_> {
    fn row(&mut self, key: &[u8], value: &[u8], take: &mut dyn FnMut(Step<'_>) -> Result<()>) -> Result<()> {
        if self.skipped.as_ref().is_some_and(|top| is_below(key, top)) {
            return Ok(());
        }
        let entry = match decode(key, value) {
            Ok(entry) => entry,
            Err(error) => return take(Step::Damaged(error)),
        };
        let selection = self.selection;
        let is_mine = self.shares.is_mine(key, &entry, selection.relative(key).is_empty());
        if !is_mine && !entry.is_directory() {
            return Ok(());
        }
        if selection.is_whole() {
            return take(Step::Chosen(Chosen { key: selection.relative(key), value, entry, included: true, is_mine }));
        }
        let path = entry::path_of_key(key);
        let is_directory = entry.is_directory();
        if selection.exclude.matches(&path, is_directory) {
            self.skipped = Some(key.to_vec());
            return Ok(());
        }
        self.leading.retain(|(top, ..)| is_below(key, top));
        let by_parent = self.included.as_ref().is_some_and(|top| is_below(key, top));
        let included =
            selection.include.is_empty() || selection.include.verdict(&path, is_directory).unwrap_or(by_parent);
        if !included {
            if is_directory {
                self.leading.push((key.to_vec(), value.to_vec(), is_mine));
            }
            return Ok(());
        }
        if is_directory && !by_parent {
            self.included = Some(key.to_vec());
        }
        for (key, value, is_mine) in std::mem::take(&mut self.leading) {
            let (entry, key) = (decode(&key, &value)?, selection.relative(&key));
            take(Step::Chosen(Chosen { key, value: &value, entry, included: false, is_mine }))?;
        }
        take(Step::Chosen(Chosen { key: selection.relative(key), value, entry, included: true, is_mine }))
    }
}

impl Selection {
    fn relative<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key.get(self.strip..).unwrap_or(&[])
    }
}

/// Whether a path is in a directory, at whatever depth.
pub(super) fn is_below(key: &[u8], directory: &[u8]) -> bool {
    match key.strip_prefix(directory) {
        Some(rest) => !rest.is_empty() && (directory.is_empty() || rest[0] == 0),
        None => false,
    }
}

/// A key as shown to people.
pub(super) fn show(key: &[u8]) -> String {
    entry::path_of_key(key).display().to_string()
}

fn decode(key: &[u8], value: &[u8]) -> Result<Entry> {
    Entry::decode(value).map_err(|why| Error::damaged(show(key), why))
}

/// The patterns, compiled as those of `backup`.
fn compiled(patterns: &[PathPattern]) -> Result<Patterns> {
    let of = |any_case| {
        let chosen = patterns.iter().filter(move |pattern| pattern.any_case == any_case);
        chosen.map(|pattern| pattern.text.as_str()).collect::<Vec<_>>()
    };
    Patterns::new(&[], &of(false), &of(true))
}
