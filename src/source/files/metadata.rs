//! What a file system says about a path.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, major, minor, openat, readlinkat, statat};

use super::place::Place;
use super::{Found, Reading, xattrs};
use crate::record::entry::{DeviceNumber, Time};

/// What `lstat` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Bytes of a regular file, as said before it is read.
    pub size: u64,
    /// The twelve bits of permissions.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
    /// Last reading.
    pub atime: Time,
    /// Inode.
    pub inode: u64,
    /// The device it is on.
    pub device: u64,
    /// How many names it has.
    pub links: u64,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice(DeviceNumber),
    /// A block device.
    BlockDevice(DeviceNumber),
}

/// What must be asked for besides [`Stat`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Target of a symbolic link; empty for everything else.
    pub target: Vec<u8>,
    /// Extended attributes by name, whole.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Stat {
    /// Whether both are of the same file.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.inode, self.device) == (other.inode, other.device)
    }

    /// Asks for it.
    pub fn of(path: &Path) -> io::Result<Self> {
        let place = Place::of(path)?;
        Ok(Self::of_system(&statat(place.directory(), place.rest, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    #[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "the widths of the fields differ by processor")]
    pub(super) fn of_system(said: &rustix::fs::Stat) -> Self {
        let device = DeviceNumber { major: major(said.st_rdev as u64), minor: minor(said.st_rdev as u64) };
        let kind = match FileType::from_raw_mode(said.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice => Kind::CharacterDevice(device),
            FileType::BlockDevice => Kind::BlockDevice(device),
            FileType::RegularFile | FileType::Unknown => Kind::File,
        };
        let time =
            |seconds: i64, nanos: i64| Time { seconds, nanos: u32::try_from(nanos).unwrap_or(0).min(999_999_999) };
        Self {
            kind,
            size: if kind == Kind::File { u64::try_from(said.st_size).unwrap_or(0) } else { 0 },
            mode: said.st_mode as u32 & 0o7777,
            uid: said.st_uid,
            gid: said.st_gid,
            mtime: time(said.st_mtime as i64, said.st_mtime_nsec as i64),
            ctime: time(said.st_ctime as i64, said.st_ctime_nsec as i64),
            atime: time(said.st_atime as i64, said.st_atime_nsec as i64),
            inode: said.st_ino as u64,
            device: said.st_dev as u64,
            links: said.st_nlink as u64,
        }
    }
}

impl Metadata {
    /// Asks for what a path has besides its [`Stat`].
    pub fn read(found: &Found) -> io::Result<Self> {
        let place = Place::of(&found.path)?;
        let target = match found.stat.kind {
            Kind::Symlink => readlinkat(place.directory(), place.rest, Vec::new())?.into_bytes(),
            _ => Vec::new(),
        };
        let path = place.path();
        let xattrs = match found.stat.kind {
            // A directory that leads to a root may be behind a link, but then it must be the one that was found.
            Kind::Directory if xattrs::any_behind(&path)? => match open_directory(&place) {
                Ok(directory) if found.stat.is_same(&Stat::of_system(&fstat(&directory)?)) => {
                    xattrs::of_file(directory)?
                }
                Ok(_) => return Err(replaced()),
                Err(_) => xattrs::of_path(&path)?,
            },
            Kind::Directory => Vec::new(),
            _ => xattrs::of_path(&path)?,
        };
        Ok(Self { target, xattrs })
    }

    /// The same of a file that is open: certainly of the same file, and without looking for it again.
    pub fn read_open(reading: &Reading) -> io::Result<Self> {
        Ok(Self { target: Vec::new(), xattrs: xattrs::of_file(reading)? })
    }
}

fn open_directory(place: &Place<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(place.directory(), place.rest, flags, Mode::empty())
}

/// The error for a path that is another file or directory than the one that was found.
pub(super) fn replaced() -> io::Error {
    io::Error::other("was replaced while the backup ran")
}
