//! A row's value read where it lies, without an allocation: for looking at many entries quickly.

use super::{DeviceNumber, INLINE_CONTENT_MAX, INLINE_EXTENTS_MAX, INLINE_XATTR_MAX};
use super::{Kind, Link, Time, Xattr, XattrValue};
use crate::error::DecodeError;
use crate::id::BlobId;
use crate::record::cursor::Cursor;
use crate::record::extent::ExtentsView;
use crate::record::{Extents, RecordKind, Reference, Subtree};

/// The longest name of an extended attribute or of a user, and the longest target of a link, that a reader takes.
pub(super) const NAME_MAX: usize = 4096;
/// The most extended attributes of one path that a reader takes.
const XATTRS_MAX: usize = 1 << 16;
/// The twelve bits of a mode.
const MODE_BITS: u32 = 0o7777;

/// All of an entry but its content, borrowed from the value of its row.
///
/// Of what follows the size nothing was looked at: [`super::Entry::decode`] may still refuse it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// What it is.
    pub kind: Kind,
    /// Permissions with the set-user-id, set-group-id and sticky bits: twelve bits.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// User name; empty where there was none.
    pub user: &'a str,
    /// Group name; empty where there was none.
    pub group: &'a str,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the content or of anything else here.
    pub ctime: Time,
    /// Last reading, if it was to be kept.
    pub atime: Option<Time>,
    /// Its inode.
    pub inode: u64,
    /// For what has several names: names of the same `device` and inode are one.
    pub link: Option<Link>,
    /// Length of a regular file, 0 for everything else.
    pub size: u64,
    /// Kind, mode and owner, as in the row.
    pub(super) class: &'a [u8],
    /// Number of extended attributes and the attributes, as in the row.
    pub(super) xattrs: &'a [u8],
    /// What follows all that.
    rest: &'a [u8],
}

/// What follows the head of a row.
#[derive(Clone, Debug)]
pub(super) enum RestView<'a> {
    File(ContentView<'a>),
    Directory,
    Symlink(&'a [u8]),
    Fifo,
    Socket,
    CharacterDevice(DeviceNumber),
    BlockDevice(DeviceNumber),
}

/// The value of an extended attribute, where it lies.
#[derive(Clone, Copy)]
enum XattrView<'a> {
    Inline(&'a [u8]),
    Chunk(BlobId),
}

/// The bytes of a file, where they lie.
#[derive(Clone, Debug)]
pub(super) enum ContentView<'a> {
    Inline(&'a [u8]),
    Extents(ExtentsView<'a>),
    Tree(Subtree),
}

impl<'a> Head<'a> {
    /// Reads the value of a row as far as the size.
    pub fn parse(value: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(value);
        let (kind, mode, [uid, gid], [user, group]) = take_class(&mut cursor)?;
        let class = passed(value, &cursor);
        let (mtime, ctime) = (take_time(&mut cursor)?, take_time(&mut cursor)?);
        let atime = if flag(&mut cursor)? { Some(take_time(&mut cursor)?) } else { None };
        let inode = cursor.varint()?;
        let link = if flag(&mut cursor)? { Some(take_link(&mut cursor)?) } else { None };
        let xattrs = take_xattrs(&mut cursor)?;
        let size = if kind == Kind::File { cursor.varint()? } else { 0 };
        let rest = cursor.rest();
        Ok(Self { kind, mode, uid, gid, user, group, mtime, ctime, atime, inode, link, size, class, xattrs, rest })
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Number of a device; `None` for everything else.
    pub fn device(&self) -> Option<DeviceNumber> {
        match self.rest() {
            Ok(RestView::CharacterDevice(device) | RestView::BlockDevice(device)) => Some(device),
            _ => None,
        }
    }

    /// Whether there are extended attributes.
    pub fn has_xattrs(&self) -> bool {
        self.xattrs != [0]
    }

    /// The extended attributes, by name ascending.
    pub fn xattrs(&self) -> impl Iterator<Item = Xattr> + 'a {
        self.xattr_views().map(|(name, value)| {
            let value = match value {
                XattrView::Inline(value) => XattrValue::Inline(value.to_vec()),
                XattrView::Chunk(id) => XattrValue::Chunk(id),
            };
            Xattr { name: name.to_vec(), value }
        })
    }

    fn xattr_views(&self) -> impl Iterator<Item = (&'a [u8], XattrView<'a>)> + 'a {
        let mut cursor = Cursor::new(self.xattrs);
        let count = cursor.varint().unwrap_or(0);
        (0..count).map_while(move |_| take_xattr(&mut cursor).ok())
    }

    /// Appends all blobs that the entry refers to.
    pub fn references(&self, references: &mut Vec<Reference>) -> Result<(), DecodeError> {
        references.extend(self.xattr_views().filter_map(|(_, value)| match value {
            XattrView::Chunk(id) => Some(Reference::Chunk(id)),
            XattrView::Inline(_) => None,
        }));
        match self.rest()? {
            RestView::File(ContentView::Extents(extents)) => references.extend(extents.ids().map(Reference::Chunk)),
            RestView::File(ContentView::Tree(tree)) => references.push(Reference::Tree(tree)),
            _ => {}
        }
        Ok(())
    }

    /// What follows, whole: nothing may be left over.
    pub(super) fn rest(&self) -> Result<RestView<'a>, DecodeError> {
        let mut cursor = Cursor::new(self.rest);
        let rest = match self.kind {
            Kind::File => RestView::File(take_content(&mut cursor, self.size)?),
            Kind::Directory => RestView::Directory,
            Kind::Symlink => RestView::Symlink(take_bytes(&mut cursor, NAME_MAX)?),
            Kind::Fifo => RestView::Fifo,
            Kind::Socket => RestView::Socket,
            Kind::CharacterDevice => RestView::CharacterDevice(take_device(&mut cursor)?),
            Kind::BlockDevice => RestView::BlockDevice(take_device(&mut cursor)?),
        };
        cursor.finish()?;
        Ok(rest)
    }
}

/// What was read of `whole` since `cursor` was at its start.
pub(super) fn passed<'a>(whole: &'a [u8], cursor: &Cursor<'_>) -> &'a [u8] {
    whole.get(..whole.len().saturating_sub(cursor.rest().len())).unwrap_or_default()
}

type Class<'a> = (Kind, u32, [u32; 2], [&'a str; 2]);

/// Kind, mode, user and group id, user and group name.
pub(super) fn take_class<'a>(cursor: &mut Cursor<'a>) -> Result<Class<'a>, DecodeError> {
    let kind = Kind::of_code(cursor.byte()?)?;
    let mode = small(cursor, "mode")?;
    if mode & !MODE_BITS != 0 {
        return Err(DecodeError::Invalid("mode"));
    }
    let ids = [small(cursor, "user id")?, small(cursor, "group id")?];
    Ok((kind, mode, ids, [take_text(cursor)?, take_text(cursor)?]))
}

/// The number of extended attributes and all of them, as bytes that were looked at.
pub(super) fn take_xattrs<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], DecodeError> {
    let start = cursor.rest();
    let count = cursor.count(XATTRS_MAX, "extended attributes")?;
    let mut last = None;
    for _ in 0..count {
        let (name, _) = take_xattr(cursor)?;
        if last.is_some_and(|last| last >= name) {
            return Err(DecodeError::Invalid("order of extended attributes"));
        }
        last = Some(name);
    }
    Ok(passed(start, cursor))
}

/// A name, and the value or the chunk that holds it.
fn take_xattr<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], XattrView<'a>), DecodeError> {
    let name = take_bytes(cursor, NAME_MAX)?;
    let value = match flag(cursor)? {
        false => XattrView::Inline(take_bytes(cursor, INLINE_XATTR_MAX)?),
        true => XattrView::Chunk(BlobId::new(cursor.array()?)),
    };
    Ok((name, value))
}

fn take_content<'a>(cursor: &mut Cursor<'a>, size: u64) -> Result<ContentView<'a>, DecodeError> {
    let form = cursor.byte()?;
    let short = usize::try_from(size).ok().filter(|size| *size <= INLINE_CONTENT_MAX);
    match (form, short) {
        (0, Some(size)) => Ok(ContentView::Inline(cursor.take(size)?)),
        (0, None) => Err(DecodeError::TooLarge("content in an entry")),
        (1 | 2, Some(_)) => Err(DecodeError::Invalid("content that belongs into its entry")),
        (1, None) => Ok(ContentView::Extents(ExtentsView::take(cursor, INLINE_EXTENTS_MAX, size)?)),
        (2, None) => {
            let id = BlobId::new(cursor.array()?);
            Ok(ContentView::Tree(take_tree(cursor, id)?))
        }
        _ => Err(DecodeError::Invalid("content of an entry")),
    }
}

/// What is said of a tree of extents after its id.
pub(super) fn take_tree(cursor: &mut Cursor<'_>, id: BlobId) -> Result<Subtree, DecodeError> {
    let level = cursor.byte()?;
    let (records, row_bytes) = (cursor.varint()?, cursor.varint()?);
    if records <= INLINE_EXTENTS_MAX as u64 {
        return Err(DecodeError::Invalid("extents of an entry"));
    }
    Ok(Subtree { kind: Extents.code(), id, level, records, row_bytes, summary: Vec::new() })
}

pub(super) fn take_device(cursor: &mut Cursor<'_>) -> Result<DeviceNumber, DecodeError> {
    Ok(DeviceNumber { major: small(cursor, "device")?, minor: small(cursor, "device")? })
}

pub(super) fn take_link(cursor: &mut Cursor<'_>) -> Result<Link, DecodeError> {
    Ok(Link { device: cursor.varint()?, count: cursor.varint()? })
}

fn take_bytes<'a>(cursor: &mut Cursor<'a>, limit: usize) -> Result<&'a [u8], DecodeError> {
    let len = cursor.count(limit, "length in an entry")?;
    cursor.take(len)
}

fn take_text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(take_bytes(cursor, NAME_MAX)?).map_err(|_| DecodeError::Invalid("name of an owner"))
}

pub(super) fn take_time(cursor: &mut Cursor<'_>) -> Result<Time, DecodeError> {
    let seconds = cursor.zigzag()?;
    match u32::try_from(cursor.varint()?) {
        Ok(nanos) if nanos < Time::NANOS => Ok(Time { seconds, nanos }),
        _ => Err(DecodeError::Invalid("nanoseconds")),
    }
}

fn small(cursor: &mut Cursor<'_>, what: &'static str) -> Result<u32, DecodeError> {
    u32::try_from(cursor.varint()?).map_err(|_| DecodeError::TooLarge(what))
}

fn flag(cursor: &mut Cursor<'_>) -> Result<bool, DecodeError> {
    match cursor.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("flag")),
    }
}
