//! What comes after the content: what is deleted, then the metadata of directories, children first.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use super::gather::{IS_INCLUDED, IS_MINE, WAS_THERE};
use super::rows::take_key;
use super::run::Run;
use super::select::{Selection, is_below, show};
use super::{Change, Overwrite};
use crate::error::{Error, Result};
use crate::record::entry::{self, Entry, child_key, name_of, parent_of};
use crate::repository::Reader;
use crate::sorter::Sorted;
use crate::target::files::{Directory, Kind, Node};
use crate::tree::{self, KeyRange, Root, TreeParameters, Walker};

/// What a snapshot has, for deleting what it has not.
pub(super) struct Known<'a> {
    pub(super) reader: &'a Reader,
    pub(super) parameters: &'a TreeParameters,
    pub(super) root: &'a Root,
    pub(super) selection: &'a Selection,
    /// Keys of what was backed up. Directories that only lead there are not known whole.
    pub(super) sources: Vec<Vec<u8>>,
}

impl Known<'_> {
    /// Whether a directory at a key below the target was backed up as a whole.
    fn is_whole(&self, key: &[u8]) -> bool {
        let full = self.selection.full_key(key);
        self.sources.iter().any(|source| full == *source || is_below(&full, source))
    }

    fn has(&self, key: &[u8]) -> Result<bool> {
        let full = self.selection.full_key(key);
        if tree::get(self.reader, self.parameters, self.root, &full)?.is_some() {
            return Ok(true);
        }
        let (from, to) = entry::children(&full);
        let mut below = Walker::new(self.reader, self.parameters, self.root, KeyRange { from, to })?;
        Ok(below.next_record()?.is_some())
    }
}

struct Pending {
    key: Vec<u8>,
    flags: u8,
    entry: Entry,
}

impl Run<'_> {
    /// Deletes what is in directories and not in the snapshot, and sets their metadata. Nothing is deleted where nothing
    /// is `known`.
    pub(super) fn finish_directories(&self, mut rows: Sorted, known: Option<&Known<'_>>) -> Result<()> {
        let mut path: Vec<Pending> = Vec::new();
        while let Some(row) = rows.next()? {
            let (key, rest) = take_key(row);
            let Some((&flags, value)) = rest.split_first() else { continue };
            let entry = Entry::decode(value).map_err(|why| Error::damaged(show(&key), why))?;
            while let Some(done) = path.pop_if(|last| !is_below(&key, &last.key)) {
                self.finish_directory(&done, known)?;
            }
            path.push(Pending { key, flags, entry });
        }
        while let Some(done) = path.pop() {
            self.finish_directory(&done, known)?;
        }
        self.report.go_on()
    }

    fn finish_directory(&self, done: &Pending, known: Option<&Known<'_>>) -> Result<()> {
        let was_there = done.flags & WAS_THERE != 0;
        let is_mine = done.flags & IS_MINE != 0;
        if was_there
            && is_mine
            && done.flags & IS_INCLUDED != 0
            && let Some(known) = known
            && known.is_whole(&done.key)
        {
            self.delete_unknown(&done.key, known)?;
        }
        self.report.directories.fetch_add(u64::from(is_mine), Ordering::Relaxed);
        // A target that was there before is the user's own, unless it is what was backed up.
        let is_foreign = done.key.is_empty() && !self.is_original;
        if was_there && (is_foreign || self.options.overwrite == Overwrite::Never) {
            return Ok(());
        }
        if let Err(error) = self.set_directory(done, was_there) {
            self.report.failed(&self.path(&done.key), "", error);
        }
        self.report.go_on()
    }

    fn set_directory(&self, done: &Pending, was_there: bool) -> io::Result<()> {
        if self.options.dry_run && !was_there {
            return Ok(());
        }
        let Some(directory) = self.find_directory(&done.key)? else { return Ok(()) };
        let whole = directory.open_whole()?;
        let node = Node::Open(whole.as_fd());
        let wanted = self.metadata(&done.key, &done.entry);
        let before = if was_there { Some(node.find()?) } else { None };
        if let Some(found) = &before {
            if !wanted.differs(node, found)? {
                return Ok(());
            }
            self.report.change(Change::Changed, &self.path(&done.key));
            if self.options.dry_run {
                return Ok(());
            }
        }
        let mut refused = Default::default();
        wanted.set(node, before.as_ref(), &mut refused);
        self.report.refused(&self.path(&done.key), refused);
        Ok(())
    }

    /// Deletes what a directory holds that the snapshot does not have in it.
    fn delete_unknown(&self, key: &[u8], known: &Known<'_>) -> Result<()> {
        let names = self.find_directory(key).and_then(|directory| {
            let Some(directory) = directory else { return Ok(None) };
            let names = directory.names()?.collect::<io::Result<Vec<_>>>()?;
            Ok(Some((directory, names)))
        });
        let (directory, mut names) = match names {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.report.failed(&self.path(key), "", error);
                return Ok(());
            }
        };
        names.sort_unstable();
        for name in names {
            let key = child_key(key, &name);
            if !known.has(&key)?
                && let Err(error) = self.delete(&directory, &name, &key, known.selection)
            {
                self.report.failed(&self.path(&key), "not deleted", error);
            }
            self.report.go_on()?;
        }
        Ok(())
    }

    fn delete(&self, directory: &Directory, name: &[u8], key: &[u8], selection: &Selection) -> io::Result<()> {
        let Some(found) = directory.find(name)? else { return Ok(()) };
        let is_directory = found.kind == Kind::Directory;
        if selection.is_excluded(key, is_directory) {
            return Ok(());
        }
        let is_included = selection.is_included(key, is_directory, true);
        match is_directory {
            false if is_included => self.delete_name(directory, name, key, false),
            false => Ok(()),
            true => {
                self.empty_chosen(key, is_included, Some(selection))?;
                if is_included { self.delete_name(directory, name, key, true) } else { Ok(()) }
            }
        }
    }

    /// Deletes everything in a directory.
    pub(super) fn empty(&self, key: &[u8]) -> io::Result<()> {
        self.empty_chosen(key, true, self.deletable.as_ref())
    }

    /// Deletes everything in a directory that is chosen, but not what is mounted there.
    fn empty_chosen(&self, key: &[u8], is_included: bool, selection: Option<&Selection>) -> io::Result<()> {
        struct Level {
            key: Vec<u8>,
            is_included: bool,
            names: Vec<Vec<u8>>,
        }
        let open = |key: Vec<u8>, is_included: bool| -> io::Result<Level> {
            let directory = self.directory(&key)?;
            let names = directory.map_or(Ok(Vec::new()), |directory| directory.names()?.collect())?;
            Ok(Level { key, is_included, names })
        };
        let mut path = vec![open(key.to_vec(), is_included)?];
        while let Some(level) = path.last_mut() {
            let Some(name) = level.names.pop() else {
                let Some(done) = path.pop() else { break };
                if !path.is_empty() && done.is_included {
                    let parent = self.directory(parent_of(&done.key).unwrap_or_default())?;
                    if let Some(parent) = parent {
                        self.delete_name(&parent, name_of(&done.key), &done.key, true)?;
                    }
                }
                continue;
            };
            let Some(directory) = self.directory(&level.key)? else { break };
            let Some(found) = directory.find(&name)? else { continue };
            let key = child_key(&level.key, &name);
            let is_directory = found.kind == Kind::Directory;
            let is_excluded = selection.is_some_and(|selection| selection.is_excluded(&key, is_directory));
            if is_excluded {
                continue;
            }
            let is_included =
                selection.is_none_or(|selection| selection.is_included(&key, is_directory, level.is_included));
            if !is_directory {
                if is_included {
                    self.delete_name(&directory, &name, &key, false)?;
                }
                continue;
            }
            if Node::Named(&directory, b".", Kind::Directory).find()?.device != found.device {
                self.report.problem(&self.path(&key), "another file system is mounted here: nothing of it is deleted");
                continue;
            }
            path.push(open(key, is_included)?);
        }
        Ok(())
    }

    /// Deletes one name; a directory only if it is empty.
    fn delete_name(&self, directory: &Directory, name: &[u8], key: &[u8], is_directory: bool) -> io::Result<()> {
        if !self.options.dry_run {
            let deleted = if is_directory { directory.remove_directory(name) } else { directory.remove(name) };
            match deleted {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
                deleted => deleted?,
            }
            if is_directory && let Some(root) = &self.root {
                root.forget();
            }
        }
        self.report.files_deleted.fetch_add(1, Ordering::Relaxed);
        self.report.change(Change::Deleted, &self.path(key));
        Ok(())
    }
}
