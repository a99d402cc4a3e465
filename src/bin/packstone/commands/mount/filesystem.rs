//! What the kernel asks, answered.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{
    AccessFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyXattr, Request,
};
use packstone::Error;
use packstone::record::entry::{self, Body, Entry};

use super::attributes::{self, Ownership, plain_directory};
use super::directory::Listing;
use super::inodes::{Identity, Inodes, Place, ROOT};
use super::names::{Child, Names};
use super::snapshots::Snapshots;
use crate::output::Output;

/// How long the kernel may keep what it was told: nothing ever changes.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);
/// The longest name of a path.
const NAME_MAX: usize = 255;

/// The file system.
pub struct Mounted {
    pub names: Names,
    pub snapshots: Snapshots,
    pub inodes: Inodes,
    pub ownership: Ownership,
    /// Attributes of the directories above the snapshots.
    pub above: Entry,
    pub output: Arc<Output>,
    pub handles: Handles,
}

/// What is open.
#[derive(Default)]
pub struct Handles {
    next: AtomicU64,
    files: Mutex<HashMap<u64, (usize, Arc<Entry>)>>,
    listings: Mutex<HashMap<u64, Arc<Mutex<Listing>>>>,
}

type Answer<T> = Result<T, Errno>;

impl Mounted {
    fn failed(&self, error: &Error) -> Errno {
        self.output.problem(error.object(), error.message());
        Errno::EIO
    }

    fn entry(&self, leaf: usize, key: &[u8]) -> Answer<Arc<Entry>> {
        self.snapshots.entry(leaf, key).map_err(|error| self.failed(&error))?.ok_or(Errno::ENOENT)
    }

    /// The entry of an inode in a snapshot, and where that is shown.
    fn entry_of(&self, inode: INodeNo) -> Answer<(usize, Arc<Entry>)> {
        match self.inodes.find(inode.0).ok_or(Errno::ENOENT)? {
            Place::Entry(leaf, key) => Ok((leaf, self.entry(leaf, &key)?)),
            Place::Above(_) | Place::Link(..) => Err(Errno::ENODATA),
        }
    }

    fn find(&self, parent: INodeNo, name: &OsStr) -> Answer<FileAttr> {
        let name = name.as_bytes();
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let (identity, place) = match self.inodes.find(parent.0).ok_or(Errno::ENOENT)? {
            Place::Link(..) => return Err(Errno::ENOTDIR),
            Place::Above(directory) => {
                let name = std::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
                self.child(directory, name).ok_or(Errno::ENOENT)??
            }
            Place::Entry(leaf, key) => {
                let key = entry::child_key(&key, name);
                let entry = self.entry(leaf, &key)?;
                (self.snapshots.identity(leaf, &key, &entry), Place::Entry(leaf, key.into()))
            }
        };
        let inode = self.inodes.look_up(identity, place.clone());
        self.attributes(inode, &place)
    }

    /// What a name in a directory above the snapshots stands for.
    fn child(&self, directory: usize, name: &str) -> Option<Answer<(Identity, Place)>> {
        let child = self.names.directories.get(directory)?.children.get(name)?;
        Some(self.place(directory, name, child))
    }

    fn place(&self, directory: usize, name: &str, child: &Child) -> Answer<(Identity, Place)> {
        let path = self.names.directories.get(directory).map_or("", |directory| &directory.path);
        Ok(match child {
            Child::Directory(index) => {
                (Identity::of(&[b"above", path.as_bytes(), name.as_bytes()]), Place::Above(*index))
            }
            Child::Link(_) => {
                (Identity::of(&[b"link", path.as_bytes(), name.as_bytes()]), Place::Link(directory, name.into()))
            }
            Child::Leaf(leaf) => {
                let entry = self.entry(*leaf, b"")?;
                (self.snapshots.identity(*leaf, b"", &entry), Place::Entry(*leaf, Box::default()))
            }
        })
    }

    fn attributes(&self, inode: u64, place: &Place) -> Answer<FileAttr> {
        Ok(match place {
            Place::Above(_) => attributes::of_entry(inode, &self.above, self.ownership),
            Place::Link(directory, name) => {
                let target = self.link(*directory, name)?.as_bytes().to_vec();
                let link = Entry { body: Body::Symlink { target }, mode: 0o777, ..self.above.clone() };
                attributes::of_entry(inode, &link, self.ownership)
            }
            Place::Entry(leaf, key) => attributes::of_entry(inode, &*self.entry(*leaf, key)?, self.ownership),
        })
    }

    fn link(&self, directory: usize, name: &str) -> Answer<&str> {
        match self.names.directories.get(directory).and_then(|directory| directory.children.get(name)) {
            Some(Child::Link(target)) => Ok(target),
            _ => Err(Errno::ENOENT),
        }
    }

    fn target(&self, inode: INodeNo) -> Answer<Vec<u8>> {
        if let Some(Place::Link(directory, name)) = self.inodes.find(inode.0) {
            return Ok(self.link(directory, &name)?.as_bytes().to_vec());
        }
        match &self.entry_of(inode)?.1.body {
            Body::Symlink { target } => Ok(target.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open_file(&self, inode: INodeNo, flags: OpenFlags) -> Answer<u64> {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return Err(Errno::EROFS);
        }
        let file = self.entry_of(inode)?;
        let handle = self.handles.number();
        lock(&self.handles.files).insert(handle, file);
        Ok(handle)
    }

    fn open_directory(&self, inode: INodeNo) -> Answer<u64> {
        let handle = self.handles.number();
        match self.inodes.find(inode.0).ok_or(Errno::ENOENT)? {
            Place::Link(..) => return Err(Errno::ENOTDIR),
            Place::Above(_) => {}
            Place::Entry(leaf, key) => {
                lock(&self.handles.listings).insert(handle, Arc::new(Mutex::new(Listing::new(leaf, key))));
            }
        }
        Ok(handle)
    }

    /// Fills `reply` with names from `offset` on: the first two are `.` and `..`.
    fn list(&self, inode: INodeNo, handle: FileHandle, offset: u64, reply: &mut ReplyDirectory) -> Answer<()> {
        let place = self.inodes.find(inode.0).ok_or(Errno::ENOENT)?;
        let parent = self.parent(&place);
        for (at, number, name) in [(0, inode.0, "."), (1, parent, "..")] {
            if offset <= at && reply.add(INodeNo(number), at + 1, FileType::Directory, name) {
                return Ok(());
            }
        }
        let first = offset.max(2) - 2;
        match place {
            Place::Link(..) => Err(Errno::ENOTDIR),
            Place::Above(directory) => self.list_above(directory, first, reply),
            Place::Entry(..) => {
                let listing = lock(&self.handles.listings).get(&handle.0).cloned().ok_or(Errno::EBADF)?;
                let mut listing = lock(&listing);
                let failed = |error| self.failed(&error);
                listing.seek(&self.snapshots, first).map_err(failed)?;
                let mut next = first + 3;
                while let Some(name) = listing.peek(&self.snapshots).map_err(failed)? {
                    if reply.add(INodeNo(name.inode), next, name.kind, OsStr::from_bytes(&name.name)) {
                        break;
                    }
                    listing.advance();
                    next += 1;
                }
                Ok(())
            }
        }
    }

    fn list_above(&self, directory: usize, first: u64, reply: &mut ReplyDirectory) -> Answer<()> {
        let Some(listed) = self.names.directories.get(directory) else { return Err(Errno::ENOENT) };
        let skipped = usize::try_from(first).unwrap_or(usize::MAX);
        for (next, (name, child)) in (first + 3..).zip(listed.children.iter().skip(skipped)) {
            let (identity, _) = self.place(directory, name, child)?;
            let kind = if matches!(child, Child::Link(_)) { FileType::Symlink } else { FileType::Directory };
            if reply.add(INodeNo(identity.number()), next, kind, name) {
                break;
            }
        }
        Ok(())
    }

    /// The inode that `..` shows; the kernel knows its own way up.
    fn parent(&self, place: &Place) -> u64 {
        match place {
            Place::Entry(leaf, key) => {
                let Some(above) = entry::parent_of(key) else { return ROOT };
                let entry = self.snapshots.entry(*leaf, above).ok().flatten();
                entry.map_or(ROOT, |entry| self.snapshots.identity(*leaf, above, &entry).number())
            }
            Place::Above(_) | Place::Link(..) => ROOT,
        }
    }

    fn xattr_names(&self, inode: INodeNo) -> Answer<Vec<u8>> {
        let entry = match self.entry_of(inode) {
            Err(error) if error.code() == Errno::ENODATA.code() => return Ok(Vec::new()),
            found => found?.1,
        };
        let mut names = Vec::new();
        for xattr in &entry.xattrs {
            names.extend_from_slice(&xattr.name);
            names.push(0);
        }
        Ok(names)
    }

    fn xattr(&self, inode: INodeNo, name: &OsStr) -> Answer<Vec<u8>> {
        let (_, entry) = self.entry_of(inode)?;
        let value = self.snapshots.xattr(&entry, name.as_bytes()).map_err(|error| self.failed(&error))?;
        value.map(Vec::from).ok_or(Errno::NO_XATTR)
    }
}

impl Handles {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(parent, name) {
            Ok(attributes) => reply.entry(&FOR_EVER, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn forget(&self, _: &Request, inode: INodeNo, lookups: u64) {
        self.inodes.forget(inode.0, lookups);
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let place = self.inodes.find(inode.0).ok_or(Errno::ENOENT);
        match place.and_then(|place| self.attributes(inode.0, &place)) {
            Ok(attributes) => reply.attr(&FOR_EVER, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, inode: INodeNo, reply: ReplyData) {
        match self.target(inode) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.open_file(inode, flags) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some((leaf, entry)) = lock(&self.handles.files).get(&handle.0).cloned() else {
            return reply.error(Errno::EBADF);
        };
        match self.snapshots.read(leaf, &entry, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(self.failed(&error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.handles.files).remove(&handle.0);
        reply.ok();
    }

    fn opendir(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.open_directory(inode) {
            Ok(handle) => {
                reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
            }
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&self, _: &Request, inode: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.list(inode, handle, offset, &mut reply) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        lock(&self.handles.listings).remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(0, 0, 0, 0, 0, 4096, NAME_MAX as u32, 4096);
    }

    fn getxattr(&self, _: &Request, inode: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        answer_xattr(self.xattr(inode, name), size, reply);
    }

    fn listxattr(&self, _: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        answer_xattr(self.xattr_names(inode), size, reply);
    }

    fn access(&self, _: &Request, _: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        if mask.contains(AccessFlags::W_OK) { reply.error(Errno::EROFS) } else { reply.ok() }
    }
}

/// With a size of 0 the length is asked for, else the bytes.
fn answer_xattr(bytes: Answer<Vec<u8>>, size: u32, reply: ReplyXattr) {
    match bytes {
        Err(error) => reply.error(error),
        Ok(bytes) if size == 0 => match u32::try_from(bytes.len()) {
            Ok(length) => reply.size(length),
            Err(_) => reply.error(Errno::ERANGE),
        },
        Ok(bytes) if bytes.len() as u64 > u64::from(size) => reply.error(Errno::ERANGE),
        Ok(bytes) => reply.data(&bytes),
    }
}

/// The directories above the snapshots.
pub fn above(ms: i64, owner: (u32, u32)) -> Entry {
    Entry { mode: 0o555, ..plain_directory(ms, owner) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
