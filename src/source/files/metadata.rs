//! What a file system says about a path.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::Found;
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
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let m = std::fs::symlink_metadata(path)?;
        let t = m.file_type();
        let device = DeviceNumber { major: rustix::fs::major(m.rdev()), minor: rustix::fs::minor(m.rdev()) };
        let kind = if t.is_dir() {
            Kind::Directory
        } else if t.is_symlink() {
            Kind::Symlink
        } else if t.is_fifo() {
            Kind::Fifo
        } else if t.is_socket() {
            Kind::Socket
        } else if t.is_char_device() {
            Kind::CharacterDevice(device)
        } else if t.is_block_device() {
            Kind::BlockDevice(device)
        } else {
            Kind::File
        };
        let time =
            |seconds: i64, nanos: i64| Time { seconds, nanos: u32::try_from(nanos).unwrap_or(0).min(999_999_999) };
        Ok(Self {
            kind,
            size: if kind == Kind::File { m.size() } else { 0 },
            mode: m.mode() & 0o7777,
            uid: m.uid(),
            gid: m.gid(),
            mtime: time(m.mtime(), m.mtime_nsec()),
            ctime: time(m.ctime(), m.ctime_nsec()),
            atime: time(m.atime(), m.atime_nsec()),
            inode: m.ino(),
            device: m.dev(),
            links: m.nlink(),
        })
    }
}

impl Metadata {
    /// Asks for what a path has besides its [`Stat`].
    pub fn read(found: &Found) -> io::Result<Self> {
        let target = match found.stat.kind {
            Kind::Symlink => std::fs::read_link(&found.path)?.into_os_string().into_vec(),
            _ => Vec::new(),
        };
        Ok(Self { target, xattrs: Vec::new() })
    }
}
