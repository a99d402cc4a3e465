//! Paths of any length, for system calls that take at most `PATH_MAX` bytes.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

/// The longest path that is given to a system call, which takes 4095 bytes: room is left for [`Place::path`].
const LONGEST: usize = 4000;

/// A path as system calls take it: a directory and the rest of the path, from there.
pub(super) struct Place<'a> {
    directory: Option<OwnedFd>,
    /// What is left, at most [`LONGEST`] bytes.
    pub rest: &'a Path,
}

impl<'a> Place<'a> {
    /// Opens what leads to `path` as far as it is too long.
    pub fn of(path: &'a Path) -> io::Result<Self> {
        let mut rest = path.as_os_str().as_bytes();
        let mut directory: Option<OwnedFd> = None;
        while rest.len() > LONGEST {
            let Some(end) = rest[..LONGEST].iter().rposition(|&byte| byte == b'/').filter(|&end| end > 0) else {
                return Err(Errno::NAMETOOLONG.into());
            };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let step = OsStr::from_bytes(&rest[..end]);
            directory = Some(match &directory {
                None => openat(CWD, step, flags, Mode::empty())?,
                Some(from) => openat(from, step, flags, Mode::empty())?,
            });
            rest = &rest[end + 1..];
            while let Some(tail) = rest.strip_prefix(b"/") {
                rest = tail;
            }
        }
        Ok(Self { directory, rest: Path::new(OsStr::from_bytes(rest)) })
    }

    /// What [`Self::rest`] starts from.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_ref().map_or(CWD, AsFd::as_fd)
    }

    /// The same as a path, for the calls that take nothing else.
    pub fn path(&self) -> Cow<'a, Path> {
        match &self.directory {
            None => Cow::Borrowed(self.rest),
            Some(directory) => {
                Cow::Owned(Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(self.rest))
            }
        }
    }

    /// Opens it for reading without following a link that it is, and without a trace in its atime where that is allowed.
    pub fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        match openat(self.directory(), self.rest, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => Ok(openat(self.directory(), self.rest, flags, Mode::empty())?),
            other => Ok(other?),
        }
    }
}
