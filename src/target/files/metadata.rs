//! Owners, permissions, extended attributes and times.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::{Directory, Found, Kind};
use crate::record::entry::Time;

/// ACLs as the kernel hands them out.
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// What a path is to have besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The twelve bits of permissions; symbolic links have none.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Time,
    /// Last reading, if it was kept.
    pub atime: Option<Time>,
    /// Extended attributes by name, whole.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Something that metadata is set of.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// What stands under a name in a directory; links are not followed.
    Named(&'a Directory, &'a [u8], Kind),
}

/// What of the metadata could not be set.
#[derive(Debug, Default)]
pub struct Refused {
    /// What, and why.
    pub problems: Vec<(String, io::Error)>,
    /// The owner, as was to be expected of a user who is not root.
    pub owner: bool,
    /// So many extended attributes, as was to be expected of a user who is not root.
    pub attributes: u64,
}

impl Metadata {
    /// Sets everything. `before` is what stood there; without it the node is new, and nothing is looked at first.
    pub fn set(&self, node: Node<'_>, before: Option<&Found>, refused: &mut Refused) {
        let root = rustix::process::geteuid().is_root();
        self.set_owner(node, before, root, refused);
        match before {
            Some(_) => self.change_xattrs(node, root, refused),
            None => self.xattrs.iter().for_each(|(name, value)| set_xattr(node, name, value, root, refused)),
        }
        // After the owner, whose change takes the set-user-id bit away, and after the attributes, which a file that may
        // not be written would refuse.
        if !node.is_symlink() {
            refused.note("mode", node.chmod(self.mode));
        }
        refused.note("times", node.set_times(self.mtime, self.atime));
    }

    /// Whether anything differs from what stands there.
    pub fn differs(&self, node: Node<'_>, found: &Found) -> io::Result<bool> {
        let owned = (found.uid, found.gid) == (self.uid, self.gid) || !rustix::process::geteuid().is_root();
        let times = found.mtime == self.mtime && self.atime.is_none_or(|atime| atime == found.atime);
        if !owned || !times || (found.mode != self.mode && found.kind != Kind::Symlink) {
            return Ok(true);
        }
        let root = rustix::process::geteuid().is_root();
        let kept = node.xattrs()?.into_iter().filter(|(name, _)| is_ours(name, root));
        let wanted = self.xattrs.iter().filter(|(name, _)| root || !is_privileged(name));
        Ok(!wanted.cloned().eq(kept))
    }

    fn set_owner(&self, node: Node<'_>, before: Option<&Found>, root: bool, refused: &mut Refused) {
        if before.is_some_and(|found| (found.uid, found.gid) == (self.uid, self.gid)) {
            return;
        }
        let result = if root {
            node.chown(Some(self.uid), self.gid)
        } else {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            let group = if self.gid == gid && before.is_none() { Ok(()) } else { node.chown(None, self.gid) };
            refused.owner |= group.is_err() || uid != self.uid;
            Ok(())
        };
        refused.note("owner", result);
    }

    /// Makes the attributes those that are wanted.
    fn change_xattrs(&self, node: Node<'_>, root: bool, refused: &mut Refused) {
        let kept = match node.xattrs() {
            Ok(kept) => kept,
            Err(error) => {
                refused.problems.push(("extended attributes".to_owned(), error));
                return;
            }
        };
        for (name, _) in kept.iter().filter(|(name, _)| is_ours(name, root)) {
            if !self.xattrs.iter().any(|(wanted, _)| wanted == name) {
                refused.note(&show(name), node.remove_xattr(name));
            }
        }
        for wanted in self.xattrs.iter().filter(|wanted| !kept.contains(wanted)) {
            set_xattr(node, &wanted.0, &wanted.1, root, refused);
        }
    }
}

impl Refused {
    /// Whether everything could be set.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty() && !self.owner && self.attributes == 0
    }

    fn note(&mut self, what: &str, result: io::Result<()>) {
        if let Err(error) = result {
            self.problems.push((what.to_owned(), error));
        }
    }
}

fn set_xattr(node: Node<'_>, name: &[u8], value: &[u8], root: bool, refused: &mut Refused) {
    match node.set_xattr(name, value) {
        Err(_) if !root && is_privileged(name) => refused.attributes += 1,
        result => refused.note(&show(name), result),
    }
}

/// Attributes that a restore removes where a snapshot does not have them. Others belong to the machine, such as labels.
fn is_ours(name: &[u8], root: bool) -> bool {
    let ours = name.starts_with(b"user.") || ACLS.contains(&name);
    ours || root && (name.starts_with(b"trusted.") || name == b"security.capability")
}

/// Attributes that only root may set.
fn is_privileged(name: &[u8]) -> bool {
    name.starts_with(b"trusted.") || name.starts_with(b"security.")
}

fn show(name: &[u8]) -> String {
    format!("extended attribute {}", String::from_utf8_lossy(name))
}

impl Node<'_> {
    /// What stands there.
    pub fn find(self) -> io::Result<Found> {
        Ok(match self {
            Self::Open(fd) => rustix::fs::fstat(fd)?.into(),
            Self::Named(directory, name, _) => rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.into(),
        })
    }

    /// Whether it is an open file or directory.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Makes it for its owner alone, with a time of change that nothing complete has.
    pub fn mark_incomplete(self, mtime: Time) -> io::Result<()> {
        self.chmod(0o600)?;
        self.set_times(mtime, None)
    }

    /// Removes the ACLs that it has from the directory it was made in, so that nothing made in it gets them in turn.
    pub fn remove_acls(self) -> io::Result<()> {
        ACLS.iter().try_for_each(|name| match self.remove_xattr(name) {
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NODATA | Errno::OPNOTSUPP)) => Ok(()),
            result => result,
        })
    }

    /// All extended attributes, by name; none where the file system has none.
    pub fn xattrs(self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let names = read_grown(|buffer| match self.place() {
            Place::Open(fd) => rustix::fs::flistxattr(fd, buffer),
            Place::Path(path) => rustix::fs::llistxattr(path, buffer),
        });
        let names = match names {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            names => names?,
        };
        let mut xattrs = Vec::new();
        for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let value = read_grown(|buffer| match self.place() {
                Place::Open(fd) => rustix::fs::fgetxattr(fd, name, buffer),
                Place::Path(path) => rustix::fs::lgetxattr(path, name, buffer),
            });
            match value {
                Ok(value) => xattrs.push((name.to_vec(), value)),
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
        xattrs.sort();
        Ok(xattrs)
    }

    /// Sets permissions.
    pub fn chmod(self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Self::Open(fd) => Ok(rustix::fs::fchmod(fd, mode)?),
            Self::Named(directory, name, _) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let node = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), mode)?)
            }
        }
    }

    fn is_symlink(self) -> bool {
        matches!(self, Self::Named(_, _, Kind::Symlink))
    }

    fn chown(self, uid: Option<u32>, gid: u32) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), Some(Gid::from_raw(gid)));
        match self {
            Self::Open(fd) => rustix::fs::fchown(fd, uid, gid)?,
            Self::Named(directory, name, _) => {
                rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        Ok(())
    }

    fn set_times(self, mtime: Time, atime: Option<Time>) -> io::Result<()> {
        let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let timespec = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
        let times = Timestamps { last_access: atime.map_or(omitted, timespec), last_modification: timespec(mtime) };
        match self {
            Self::Open(fd) => rustix::fs::futimens(fd, &times)?,
            Self::Named(directory, name, _) => {
                rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        Ok(())
    }

    fn set_xattr(self, name: &[u8], value: &[u8]) -> io::Result<()> {
        match self.place() {
            Place::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())?,
            Place::Path(path) => rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())?,
        }
        Ok(())
    }

    fn remove_xattr(self, name: &[u8]) -> io::Result<()> {
        match self.place() {
            Place::Open(fd) => rustix::fs::fremovexattr(fd, name)?,
            Place::Path(path) => rustix::fs::lremovexattr(path, name)?,
        }
        Ok(())
    }

    fn place(&self) -> Place<'_> {
        match self {
            Self::Open(fd) => Place::Open(fd.as_fd()),
            // The kernel has no such calls relative to a directory; this path leads through our open one.
            Self::Named(directory, name, _) => {
                let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
                path.extend_from_slice(name);
                Place::Path(path)
            }
        }
    }
}

enum Place<'a> {
    Open(BorrowedFd<'a>),
    Path(Vec<u8>),
}

/// Calls `read` with more room until what it reads fits.
fn read_grown(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 512];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 8, 0),
            Err(error) => return Err(error.into()),
        }
    }
}
