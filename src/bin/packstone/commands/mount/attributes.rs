//! What `stat` says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use packstone::record::entry::{Body, Content, DeviceNumber, Entry, Owner, Time};

/// Bytes of what `stat` calls a block.
const BLOCK_BYTES: u64 = 512;

/// Who is shown as the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Whoever it was.
    Kept,
    /// Root.
    Root,
}

/// The attributes of an entry.
pub fn of_entry(inode: u64, entry: &Entry, ownership: Ownership) -> FileAttr {
    let size = match &entry.body {
        Body::File { size, .. } => *size,
        Body::Symlink { target } => target.len() as u64,
        _ => 0,
    };
    let rdev = match entry.body {
        Body::CharacterDevice { device: DeviceNumber { major, minor } }
        | Body::BlockDevice { device: DeviceNumber { major, minor } } => encoded(major, minor),
        _ => 0,
    };
    let (uid, gid) = match ownership {
        Ownership::Kept => (entry.owner.uid, entry.owner.gid),
        Ownership::Root => (0, 0),
    };
    let links = entry.link.map_or(1, |link| u32::try_from(link.count).unwrap_or(u32::MAX));
    FileAttr {
        ino: INodeNo(inode),
        size,
        blocks: stored_bytes(&entry.body).div_ceil(BLOCK_BYTES),
        atime: time(entry.atime.unwrap_or(entry.mtime)),
        mtime: time(entry.mtime),
        ctime: time(entry.ctime),
        crtime: time(entry.ctime),
        kind: kind(&entry.body),
        perm: u16::try_from(entry.mode & 0o7777).unwrap_or(0),
        nlink: links.max(1),
        uid,
        gid,
        rdev,
        blksize: 4096,
        flags: 0,
    }
}

/// What a path is.
pub fn kind(body: &Body) -> FileType {
    match body {
        Body::File { .. } => FileType::RegularFile,
        Body::Directory => FileType::Directory,
        Body::Symlink { .. } => FileType::Symlink,
        Body::Fifo => FileType::NamedPipe,
        Body::Socket => FileType::Socket,
        Body::CharacterDevice { .. } => FileType::CharDevice,
        Body::BlockDevice { .. } => FileType::BlockDevice,
    }
}

/// A directory that no entry describes.
pub fn plain_directory(ms: i64, owner: (u32, u32)) -> Entry {
    let seconds = ms.div_euclid(1000);
    let nanos = u32::try_from(ms.rem_euclid(1000) * 1_000_000).unwrap_or(0);
    let time = Time { seconds, nanos };
    Entry {
        body: Body::Directory,
        mode: 0o755,
        owner: Owner { uid: owner.0, gid: owner.1, ..Owner::default() },
        mtime: time,
        ctime: time,
        atime: None,
        inode: 0,
        link: None,
        xattrs: Vec::new(),
    }
}

/// Bytes of a file without its holes; those of a file with many extents are not counted one by one.
fn stored_bytes(body: &Body) -> u64 {
    match body {
        Body::File { content: Content::Extents(extents), .. } => extents.iter().map(|e| u64::from(e.length)).sum(),
        Body::File { size, .. } => *size,
        _ => 0,
    }
}

/// A device number as the kernel takes it.
fn encoded(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12)
}

fn time(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let whole = match time.seconds >= 0 {
        true => UNIX_EPOCH.checked_add(seconds),
        false => UNIX_EPOCH.checked_sub(seconds),
    };
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn times_before_1970_keep_their_fraction() {
        let got = time(Time { seconds: -2, nanos: 250_000_000 });
        assert_eq!(UNIX_EPOCH.duration_since(got).unwrap().as_millis(), 1750);
    }

    #[test]
    fn device_numbers_are_encoded_as_the_kernel_does() {
        assert_eq!(encoded(8, 1), 0x0801);
        assert_eq!(encoded(259, 0x12345), 0x1231_0345);
    }
}
