//! What stands under a name.

use rustix::fs::{FileType, Stat};

use crate::record::entry::{DeviceNumber, Time};

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes.
    pub size: u64,
    /// The twelve bits of permissions.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Time,
    /// Last reading.
    pub atime: Time,
    /// The device it is on.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
}

/// What a name stands for.
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

impl Found {
    /// Whether both are one inode.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<Stat> for Found {
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the types differ between machines")]
    fn from(stat: Stat) -> Self {
        let number = DeviceNumber { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice => Kind::CharacterDevice(number),
            FileType::BlockDevice => Kind::BlockDevice(number),
            FileType::RegularFile | FileType::Unknown => Kind::File,
        };
        let nanos = |nanos: u64| u32::try_from(nanos).unwrap_or(0).min(999_999_999);
        Self {
            kind,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode as u32 & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time { seconds: stat.st_mtime as i64, nanos: nanos(stat.st_mtime_nsec as u64) },
            atime: Time { seconds: stat.st_atime as i64, nanos: nanos(stat.st_atime_nsec as u64) },
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            links: stat.st_nlink as u64,
        }
    }
}
