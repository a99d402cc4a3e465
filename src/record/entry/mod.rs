//! Entries: what a directory tree holds, one record for each path.
//!
//! The key is the path's components joined by NUL, the one byte that no name holds and the smallest: so a directory stands
//! before everything in it, all of which stands before the directory's next sibling. The root directory has the empty key.

mod columns;
mod head;
mod key;
mod kind;
mod row;
mod summary;

pub use head::Head;
pub use key::{child_key, children, key_of_path, name_of, parent_of, path_of_key, subtree};
pub use kind::Entries;
pub use summary::Summary;

use super::{Extent, Subtree};
use crate::error::DecodeError;
use crate::id::BlobId;

/// A file of up to so many bytes is part of its entry.
pub const INLINE_CONTENT_MAX: usize = 128;
/// The value of an extended attribute of up to so many bytes is part of its entry; a longer one is a chunk.
pub const INLINE_XATTR_MAX: usize = 256;
/// A file of more extents than this has a tree of them.
pub const INLINE_EXTENTS_MAX: usize = 16;

/// All that is kept about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub body: Body,
    /// Permissions with the set-user-id, set-group-id and sticky bits: twelve bits.
    pub mode: u32,
    /// Who owns it.
    pub owner: Owner,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the content or of anything else here, by the clock of the machine it is on.
    pub ctime: Time,
    /// Last reading, if it was to be kept.
    pub atime: Option<Time>,
    /// Its inode, for noticing that another file took its name.
    pub inode: u64,
    /// For what has several names: names of the same `device` and inode are one.
    pub link: Option<Link>,
    /// Extended attributes, POSIX ACLs among them, by name ascending.
    pub xattrs: Vec<Xattr>,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// Its bytes.
        content: Content,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it says, any bytes.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice {
        /// Its number.
        device: DeviceNumber,
    },
    /// A block device.
    BlockDevice {
        /// Its number.
        device: DeviceNumber,
    },
}

/// What a path is, without more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

/// The bytes of a file. Which form it has follows from the content alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it, at most [`INLINE_CONTENT_MAX`] bytes.
    Inline(Vec<u8>),
    /// At most [`INLINE_EXTENTS_MAX`] extents, ascending and not overlapping; what none covers is a hole.
    Extents(Vec<Extent>),
    /// A tree of [`super::Extents`].
    Tree(Subtree),
}

/// Major and minor number of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// Who owns a path: numbers, and the names they had on the machine; empty where there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// User name.
    pub user: String,
    /// Group name.
    pub group: String,
}

/// A time of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00Z.
    pub seconds: i64,
    /// Nanoseconds after that, below 10^9.
    pub nanos: u32,
}

/// That a path is one of several names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The device that the inode is on.
    pub device: u64,
    /// How many names there were, inside the backup and outside.
    pub count: u64,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// Its name, with its namespace.
    pub name: Vec<u8>,
    /// Its value.
    pub value: XattrValue,
}

/// The value of an extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XattrValue {
    /// All of it, at most [`INLINE_XATTR_MAX`] bytes.
    Inline(Vec<u8>),
    /// A chunk that holds it.
    Chunk(BlobId),
}

impl Time {
    /// Nanoseconds of a second.
    pub(crate) const NANOS: u32 = 1_000_000_000;
}

impl Kind {
    /// Its number in rows.
    pub fn code(self) -> u8 {
        match self {
            Self::File => 0,
            Self::Directory => 1,
            Self::Symlink => 2,
            Self::Fifo => 3,
            Self::Socket => 4,
            Self::CharacterDevice => 5,
            Self::BlockDevice => 6,
        }
    }

    /// The kind with this number.
    pub(crate) fn of_code(code: u8) -> Result<Self, DecodeError> {
        Ok(match code {
            0 => Self::File,
            1 => Self::Directory,
            2 => Self::Symlink,
            3 => Self::Fifo,
            4 => Self::Socket,
            5 => Self::CharacterDevice,
            6 => Self::BlockDevice,
            _ => return Err(DecodeError::Invalid("kind of path")),
        })
    }
}

impl Body {
    /// Which of them it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::Directory => Kind::Directory,
            Self::Symlink { .. } => Kind::Symlink,
            Self::Fifo => Kind::Fifo,
            Self::Socket => Kind::Socket,
            Self::CharacterDevice { .. } => Kind::CharacterDevice,
            Self::BlockDevice { .. } => Kind::BlockDevice,
        }
    }
}

impl Entry {
    /// Length of a regular file, 0 for everything else.
    pub fn size(&self) -> u64 {
        match self.body {
            Body::File { size, .. } => size,
            _ => 0,
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory)
    }
}
