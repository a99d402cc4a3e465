//! Whether a path is what it was in the parent snapshot.

use crate::record::entry::{Body, DeviceNumber, Entry, Link, Time};
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
pub(super) fn compare(found: &Found, entry: &Entry, began: Time, options: &Options) -> Same {
    let stat = &found.stat;
    if !is_kind(stat.kind, &entry.body) {
        return Same::Nothing;
    }
    let ctime_agrees = entry.ctime == stat.ctime && is_settled(entry.ctime, began);
    let inode_agrees = entry.inode == stat.inode || options.ignore_inode;
    let mtime_agrees = entry.mtime == stat.mtime && (ctime_agrees || is_settled(entry.mtime, began));
    let content = entry.size() == stat.size
        && mtime_agrees
        && (ctime_agrees || options.ignore_ctime)
        && inode_agrees;
    if !content {
        return Same::Nothing;
    }
    let all = ctime_agrees
        && entry.mode == stat.mode
        && (entry.owner.uid, entry.owner.gid) == (stat.uid, stat.gid)
        && entry.link == link(stat)
        && (entry.inode == stat.inode || entry.link.is_none())
        && entry.atime == options.with_atime.then_some(stat.atime);
    if all { Same::All } else { Same::Content }
}

/// Whether another name stands for what an entry just made says.
pub(super) fn is_same_inode(found: &Found, entry: &Entry) -> bool {
    let stat = &found.stat;
    entry.inode == stat.inode
        && entry.link == link(stat)
        && entry.size() == stat.size
        && (entry.mtime, entry.ctime) == (stat.mtime, stat.ctime)
}

/// That a path is one of several names; directories have one.
pub(super) fn link(stat: &Stat) -> Option<Link> {
    let several = stat.links > 1 && stat.kind != Kind::Directory;
    several.then_some(Link { device: stat.device, count: stat.links })
}

fn is_kind(kind: Kind, body: &Body) -> bool {
    let same = |a: DeviceNumber, b: &DeviceNumber| a == *b;
    match (kind, body) {
        (Kind::File, Body::File { .. })
        | (Kind::Directory, Body::Directory)
        | (Kind::Symlink, Body::Symlink { .. })
        | (Kind::Fifo, Body::Fifo)
        | (Kind::Socket, Body::Socket) => true,
        (Kind::CharacterDevice(a), Body::CharacterDevice { device })
        | (Kind::BlockDevice(a), Body::BlockDevice { device }) => same(a, device),
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
