//! What is in a directory, or the next part of it.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, RawDir, fstat, statat};
use rustix::io::Errno;

use super::directory_names::{NameBuffer, NameSorter, SortedNames, Span};
use crate::record::entry::{child_key, path_of_key};
use crate::source::files::excludes::Excludes;
use crate::source::files::metadata::replaced;
use crate::source::files::place::Place;
use crate::source::files::roots::Roots;
use crate::source::files::{Kind, Stat};

/// Memory for the names that the system gives at once.
const DIRENTS_BYTES: usize = 32 << 10;

/// What every listing needs to know.
pub(super) struct Rules {
    pub roots: Roots,
    pub excludes: Excludes,
    pub one_file_system: bool,
    pub ignore_inode: bool,
    /// A listing has no more entries than this; what follows is in the next one.
    pub entries_max: usize,
    /// A directory has no more names than this in memory.
    pub names_max: usize,
}

/// A part of a directory, ascending.
pub(super) struct Listing {
    pub key: Vec<u8>,
    pub path: PathBuf,
    pub names: NameBuffer,
    pub items: Vec<Item>,
    pub descents: Vec<Descent>,
}

/// A name in a directory.
pub(super) struct Item {
    pub name: Span,
    pub said: Result<Stat, Errno>,
}

/// An item that is a directory to go into.
#[derive(Clone, Copy)]
pub(super) struct Descent {
    pub item: usize,
    /// Whether all in it belongs to the backup, or only what is or leads to a root.
    pub whole: bool,
}

/// What a listing is made from.
pub(super) enum Task {
    Directory(Directory),
    Rest(Rest),
}

/// A directory to be listed.
pub(super) struct Directory {
    pub key: Vec<u8>,
    pub path: PathBuf,
    pub inode: u64,
    pub device: u64,
    pub whole: bool,
}

/// The names of a directory that did not fit in a listing.
pub(super) struct Rest {
    key: Vec<u8>,
    path: PathBuf,
    directory: OwnedFd,
    device: u64,
    names: SortedNames,
}

impl Rules {
    /// The listing and, for a long directory, what continues it.
    pub fn list(&self, task: Task) -> io::Result<(Listing, Option<Rest>)> {
        match task {
            Task::Rest(rest) => self.list_rest(rest),
            Task::Directory(directory) if directory.whole => self.list_whole(directory),
            Task::Directory(directory) => {
                let names = self.names_to_roots(&directory.key)?;
                Ok((self.list_to_roots(directory.key, directory.path, names), None))
            }
        }
    }

    /// The root directory as if it were in another one.
    pub fn list_above(&self) -> Listing {
        let mut names = NameBuffer::default();
        names.push(b"");
        let items = vec![Item { name: names.spans()[0], said: stat_following(Path::new("/")) }];
        let descents = vec![Descent { item: 0, whole: self.roots.contains(b"") }];
        Listing { key: Vec::new(), path: PathBuf::new(), names, items, descents }
    }

    fn names_to_roots(&self, key: &[u8]) -> io::Result<NameBuffer> {
        let mut names = NameBuffer::default();
        for name in self.roots.names_below(key) {
            if !names.push(name) {
                return Err(Errno::FBIG.into());
            }
        }
        Ok(names)
    }

    fn list_to_roots(&self, key: Vec<u8>, path: PathBuf, names: NameBuffer) -> Listing {
        let (mut items, mut descents) = (Vec::with_capacity(names.len()), Vec::new());
        for &name in names.spans() {
            let child = child_key(&key, names.name(name));
            let is_root = self.roots.contains(&child);
            // What leads to a root is a directory, be it by a link; a root is what it is.
            let said = match is_root {
                true => stat(&path_of_key(&child)),
                false => stat_following(&path_of_key(&child)),
            };
            match &said {
                Ok(stat) if stat.kind == Kind::Directory => {
                    descents.push(Descent { item: items.len(), whole: is_root })
                }
                Ok(stat) if is_root && self.excludes.is_too_large(stat) => continue,
                _ => {}
            }
            items.push(Item { name, said });
        }
        Listing { key, path, names, items, descents }
    }

    fn list_whole(&self, directory: Directory) -> io::Result<(Listing, Option<Rest>)> {
        let Directory { key, path, inode, device, .. } = directory;
        let opened = Place::of(&path)?.open(OFlags::RDONLY | OFlags::DIRECTORY).map_err(|error| {
            match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::LOOP | Errno::NOTDIR) => replaced(),
                _ => error,
            }
        })?;
        let now = Stat::of_system(&fstat(&opened)?);
        if !self.ignore_inode && (now.inode, now.device) != (inode, device) {
            return Err(replaced());
        }
        let mut names = NameSorter::new(self.names_max);
        let mut tags: Vec<Vec<u8>> = Vec::new();
        let mut dirents = Vec::with_capacity(DIRENTS_BYTES);
        let mut entries = RawDir::new(&opened, dirents.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            names.push(name)?;
            if self.excludes.may_be_tag(name) {
                tags.push(name.to_vec());
            }
        }
        tags.retain(|name| self.excludes.is_tag(opened.as_fd(), name));
        if !tags.is_empty() {
            return Ok((self.list_tags(key, path, &opened, now.device, tags)?, None));
        }
        match names.finish()?.into_whole(self.entries_max) {
            Ok(names) => Ok((self.list_names(key, path, &opened, now.device, names), None)),
            Err(names) => self.list_rest(Rest { key, path, directory: opened, device: now.device, names }),
        }
    }

    fn list_rest(&self, mut rest: Rest) -> io::Result<(Listing, Option<Rest>)> {
        let mut names = NameBuffer::default();
        rest.names.next_batch(self.entries_max, &mut names)?;
        let is_last = names.len() < self.entries_max;
        let listing = self.list_names(rest.key.clone(), rest.path.clone(), &rest.directory, rest.device, names);
        Ok((listing, (!is_last).then_some(rest)))
    }

    // What is left of a directory in which these files leave out the others.
    fn list_tags(
        &self,
        key: Vec<u8>,
        path: PathBuf,
        directory: &OwnedFd,
        device: u64,
        tags: Vec<Vec<u8>>,
    ) -> io::Result<Listing> {
        let mut names = self.names_to_roots(&key)?;
        for tag in &tags {
            names.push(tag);
        }
        names.sort();
        let mut listing = self.list_names(key, path, directory, device, names);
        listing.descents.iter_mut().for_each(|descent| {
            let item = &listing.items[descent.item];
            descent.whole = self.roots.contains(&child_key(&listing.key, listing.names.name(item.name)));
        });
        Ok(listing)
    }

    fn list_names(&self, key: Vec<u8>, path: PathBuf, directory: &OwnedFd, device: u64, names: NameBuffer) -> Listing {
        let (mut items, mut descents) = (Vec::with_capacity(names.len()), Vec::new());
        let mut at = PathBuf::new();
        if self.excludes.has_patterns() {
            at.reserve(path.as_os_str().len() + 256);
        }
        for &name in names.spans() {
            let c_name = CStr::from_bytes_with_nul(names.terminated(name)).expect("the system ends names with a NUL");
            let stat = match statat(directory, c_name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(said) => Stat::of_system(&said),
                // Gone since it was listed: as if it had gone before.
                Err(Errno::NOENT) => continue,
                Err(error) => {
                    items.push(Item { name, said: Err(error) });
                    continue;
                }
            };
            if self.excludes.is_too_large(&stat) {
                continue;
            }
            let is_directory = stat.kind == Kind::Directory;
            let leads_to_roots = || self.roots.any_below(&child_key(&key, names.name(name)));
            if self.excludes.has_patterns() {
                at.clone_from(&path);
                at.push(OsStr::from_bytes(names.name(name)));
                if self.excludes.match_path(&at, is_directory) {
                    // Only a root that was re-included can be here.
                    if is_directory && leads_to_roots() {
                        descents.push(Descent { item: items.len(), whole: false });
                        items.push(Item { name, said: Ok(stat) });
                    }
                    continue;
                }
            }
            if is_directory {
                let foreign = self.one_file_system
                    && stat.device != device
                    && !self.roots.contains(&child_key(&key, names.name(name)));
                if !foreign || leads_to_roots() {
                    descents.push(Descent { item: items.len(), whole: !foreign });
                }
            }
            items.push(Item { name, said: Ok(stat) });
        }
        Listing { key, path, names, items, descents }
    }
}

impl Rest {
    /// The memory it holds, about.
    pub fn held_bytes(&self) -> usize {
        self.names.held_bytes()
    }
}

impl Listing {
    /// The memory it holds, about.
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + self.key.capacity()
            + self.path.capacity()
            + self.names.held_bytes()
            + self.items.capacity() * size_of::<Item>()
            + self.descents.capacity() * size_of::<Descent>()
    }

    /// The key of an item.
    pub fn key_of(&self, item: &Item) -> Vec<u8> {
        child_key(&self.key, self.names.name(item.name))
    }

    /// The path of an item.
    pub fn path_of(&self, item: &Item) -> PathBuf {
        let (parent, name) = (self.path.as_os_str().as_bytes(), self.names.name(item.name));
        let mut path = Vec::with_capacity(parent.len() + 1 + name.len());
        path.extend_from_slice(parent);
        if parent != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        PathBuf::from(OsString::from_vec(path))
    }

    /// A directory in it, to be listed.
    pub fn directory(&self, descent: Descent) -> Option<Directory> {
        let item = self.items.get(descent.item)?;
        let stat = item.said.as_ref().ok()?;
        Some(Directory {
            key: self.key_of(item),
            path: self.path_of(item),
            inode: stat.inode,
            device: stat.device,
            whole: descent.whole,
        })
    }
}

fn stat(path: &Path) -> Result<Stat, Errno> {
    Stat::of(path).map_err(errno)
}

fn stat_following(path: &Path) -> Result<Stat, Errno> {
    let place = Place::of(path).map_err(errno)?;
    let stat = Stat::of_system(&statat(place.directory(), place.rest, AtFlags::empty())?);
    if stat.kind == Kind::Directory { Ok(stat) } else { Err(Errno::NOTDIR) }
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
