//! Whether a path is what it was in the parent snapshot.

use crate::record::entry::{self, DeviceNumber, Head, Link, Time};
use crate::source::files::{Found, Kind, Options, Stat};

/// How much of a parent's row still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Same {
    /// All of it.
    All,
    /// The content of a file.
    Content,
    /// Nothing.
    Nothing,
}

/// Compares what the walk says with a row of a backup that began at `began`.
pub(super) fn compare(found: &Found, head: &Head<'_>, began: Time, options: &Options) -> Same {
    let stat = &found.stat;
    if !is_kind(stat.kind, head) {
        return Same::Nothing;
    }
    let ctime_agrees = head.ctime == stat.ctime && is_settled(head.ctime, began);
    let inode_agrees = head.inode == stat.inode || options.ignore_inode;
    let mtime_agrees = head.mtime == stat.mtime && (ctime_agrees || is_settled(head.mtime, began));
    let content = head.size == stat.size && mtime_agrees && (ctime_agrees || options.ignore_ctime) && inode_agrees;
    if !content {
        return Same::Nothing;
    }
    let all = ctime_agrees
        && head.mode == stat.mode
        && (head.uid, head.gid) == (stat.uid, stat.gid)
        && head.link == link(stat)
        && (head.inode == stat.inode || head.link.is_none())
        && head.atime == options.with_atime.then_some(stat.atime);
    if all { Same::All } else { Same::Content }
}

/// Whether another name stands for what an entry just made says.
pub(super) fn is_same_inode(found: &Found, head: &Head<'_>) -> bool {
    let stat = &found.stat;
    head.inode == stat.inode
        && head.link == link(stat)
        && head.size == stat.size
        && (head.mtime, head.ctime) == (stat.mtime, stat.ctime)
}

/// That a path is one of several names; directories have one.
pub(super) fn link(stat: &Stat) -> Option<Link> {
    let several = stat.links > 1 && stat.kind != Kind::Directory;
    several.then_some(Link { device: stat.device, count: stat.links })
}

fn is_kind(kind: Kind, head: &Head<'_>) -> bool {
    let is_device = |device: DeviceNumber| head.device() == Some(device);
    match (kind, head.kind) {
        (Kind::File, entry::Kind::File)
        | (Kind::Directory, entry::Kind::Directory)
        | (Kind::Symlink, entry::Kind::Symlink)
        | (Kind::Fifo, entry::Kind::Fifo)
        | (Kind::Socket, entry::Kind::Socket) => true,
        (Kind::CharacterDevice(device), entry::Kind::CharacterDevice)
        | (Kind::BlockDevice(device), entry::Kind::BlockDevice) => is_device(device),
        _ => false,
    }
}

/// Whether a change after `began` would have got another time than this one: clocks of file systems go in steps, of a few
/// milliseconds or, where there are no nanoseconds, of up to two seconds.
fn is_settled(time: Time, began: Time) -> bool {
    let step_nanos: i128 = if time.nanos == 0 { 2_000_000_000 } else { 20_000_000 };
    let nanos = |time: Time| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    nanos(time) + step_nanos < nanos(began)
}
