//! An open directory, and what is done by name in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Found, Kind};
use crate::record::entry::DeviceNumber;

/// Mode of what is being written: nobody else looks in before it is finished.
const UNFINISHED: Mode = Mode::RWXU;

/// An open directory. Names are single components, see [`super::check_key`]; links are never followed.
#[derive(Clone, Debug)]
pub struct Directory(pub(super) Arc<OwnedFd>);

/// What is neither file, directory nor link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
}

impl Directory {
    /// What stands under a name, if anything does.
    pub fn find(&self, name: &[u8]) -> io::Result<Option<Found>> {
        match rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The directory under a name.
    pub fn directory(&self, name: &[u8]) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(Arc::new(rustix::fs::openat(self, name, flags, Mode::empty())?)))
    }

    /// Creates a directory for its owner alone, unless `shared`: then for whom the process lets.
    pub fn create_directory(&self, name: &[u8], shared: bool) -> io::Result<()> {
        let mode = if shared { Mode::RWXU | Mode::RWXG | Mode::RWXO } else { UNFINISHED };
        Ok(rustix::fs::mkdirat(self, name, mode)?)
    }

    /// Creates a file for its owner alone; an error when the name is taken.
    pub fn create_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Opens a regular file to read it.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        self.open_regular(name, OFlags::RDONLY)
    }

    /// Opens a regular file to read and change it.
    pub fn open_file_to_write(&self, name: &[u8]) -> io::Result<File> {
        self.open_regular(name, OFlags::RDWR)
    }

    /// Opens this directory so that it can be listed and its metadata set.
    pub fn open_whole(&self) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat(self, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Creates a symbolic link.
    pub fn create_symlink(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, self, name)?)
    }

    /// What a symbolic link says.
    pub fn read_symlink(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self, name, Vec::new())?.into_bytes())
    }

    /// Creates something special, for its owner alone.
    pub fn create_special(&self, name: &[u8], special: Special) -> io::Result<()> {
        let (kind, device) = match special {
            Special::Fifo => (FileType::Fifo, 0),
            Special::Socket => (FileType::Socket, 0),
            Special::CharacterDevice(n) => (FileType::CharacterDevice, rustix::fs::makedev(n.major, n.minor)),
            Special::BlockDevice(n) => (FileType::BlockDevice, rustix::fs::makedev(n.major, n.minor)),
        };
        Ok(rustix::fs::mknodat(self, name, kind, Mode::RUSR | Mode::WUSR, device)?)
    }

    /// Gives what stands under a name in another directory a second name here.
    pub fn link(&self, name: &[u8], other: &Self, other_name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::linkat(other, other_name, self, name, AtFlags::empty())?)
    }

    /// Removes a name that is not a directory's.
    pub fn remove(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self, name, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub fn remove_directory(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self, name, AtFlags::REMOVEDIR)?)
    }

    /// The names in it, in no order.
    pub fn names(&self) -> io::Result<Names> {
        Ok(Names(Dir::new(self.open_whole()?)?))
    }

    fn open_regular(&self, name: &[u8], access: OFlags) -> io::Result<File> {
        // Without waiting: whatever took the file's place meanwhile must not hold us up.
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self, name, flags, Mode::empty())?;
        match Found::from(rustix::fs::fstat(&file)?).kind {
            Kind::File => Ok(file.into()),
            _ => Err(io::Error::other("is no regular file any more")),
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Names in a directory.
pub struct Names(Dir);

impl Iterator for Names {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.read()? {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(entry) => return Some(Ok(entry.file_name().to_bytes().to_vec())),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}
