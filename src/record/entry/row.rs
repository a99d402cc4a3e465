//! The value of an entry's row: its canonical bytes.

use super::{Body, Content, DeviceNumber, Entry, INLINE_CONTENT_MAX, INLINE_EXTENTS_MAX, INLINE_XATTR_MAX};
use super::{Link, Owner, Time, Xattr, XattrValue};
use crate::error::DecodeError;
use crate::id::BlobId;
use crate::record::cursor::{Cursor, put_len, put_varint, put_zigzag};
use crate::record::extent::{put_extents, take_extents};
use crate::record::{Extents, RecordKind, Subtree};

/// The longest name of an extended attribute or of a user, and the longest target of a link, that a reader takes.
const NAME_MAX: usize = 4096;
/// The most extended attributes of one path that a reader takes.
const XATTRS_MAX: usize = 1 << 16;
/// The twelve bits of a mode.
const MODE_BITS: u32 = 0o7777;

impl Entry {
    /// The value of its row.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        self.encode_to(&mut out);
        out
    }

    // format-spec records, entry rows.
    /// Appends the value of its row.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        out.push(self.body.code());
        put_varint(u64::from(self.mode), out);
        put_varint(u64::from(self.owner.uid), out);
        put_varint(u64::from(self.owner.gid), out);
        put_bytes(self.owner.user.as_bytes(), out);
        put_bytes(self.owner.group.as_bytes(), out);
        put_time(self.mtime, out);
        put_time(self.ctime, out);
        match self.atime {
            None => out.push(0),
            Some(atime) => {
                out.push(1);
                put_time(atime, out);
            }
        }
        put_varint(self.inode, out);
        match self.link {
            None => out.push(0),
            Some(Link { device, count }) => {
                out.push(1);
                put_varint(device, out);
                put_varint(count, out);
            }
        }
        put_len(self.xattrs.len(), out);
        for Xattr { name, value } in &self.xattrs {
            put_bytes(name, out);
            match value {
                XattrValue::Inline(value) => {
                    out.push(0);
                    put_bytes(value, out);
                }
                XattrValue::Chunk(id) => {
                    out.push(1);
                    out.extend_from_slice(id.as_bytes());
                }
            }
        }
        match &self.body {
            Body::File { size, content } => {
                put_varint(*size, out);
                put_content(content, out);
            }
            Body::Symlink { target } => put_bytes(target, out),
            Body::CharacterDevice { device } | Body::BlockDevice { device } => {
                put_varint(u64::from(device.major), out);
                put_varint(u64::from(device.minor), out);
            }
            Body::Directory | Body::Fifo | Body::Socket => {}
        }
    }

    /// The entry of a row's value. Every entry has exactly one: nothing else is accepted.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(value);
        let code = cursor.byte()?;
        let mode = small(&mut cursor, "mode")?;
        if mode & !MODE_BITS != 0 {
            return Err(DecodeError::Invalid("mode"));
        }
        let (uid, gid) = (small(&mut cursor, "user id")?, small(&mut cursor, "group id")?);
        let owner = Owner { uid, gid, user: take_text(&mut cursor)?, group: take_text(&mut cursor)? };
        let (mtime, ctime) = (take_time(&mut cursor)?, take_time(&mut cursor)?);
        let atime = if flag(&mut cursor)? { Some(take_time(&mut cursor)?) } else { None };
        let inode = cursor.varint()?;
        let link = match flag(&mut cursor)? {
            true => Some(Link { device: cursor.varint()?, count: cursor.varint()? }),
            false => None,
        };
        let count = cursor.count(XATTRS_MAX.min(value.len()), "extended attributes")?;
        let mut xattrs: Vec<Xattr> = Vec::with_capacity(count);
        for _ in 0..count {
            let name = take_bytes(&mut cursor, NAME_MAX)?;
            if xattrs.last().is_some_and(|last| last.name >= name) {
                return Err(DecodeError::Invalid("order of extended attributes"));
            }
            let value = match flag(&mut cursor)? {
                false => XattrValue::Inline(take_bytes(&mut cursor, INLINE_XATTR_MAX)?),
                true => XattrValue::Chunk(BlobId::new(cursor.array()?)),
            };
            xattrs.push(Xattr { name, value });
        }
        let body = take_body(code, &mut cursor)?;
        cursor.finish()?;
        Ok(Self { body, mode, owner, mtime, ctime, atime, inode, link, xattrs })
    }
}

impl Body {
    /// The number of the kind of path in rows.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::File { .. } => 0,
            Self::Directory => 1,
            Self::Symlink { .. } => 2,
            Self::Fifo => 3,
            Self::Socket => 4,
            Self::CharacterDevice { .. } => 5,
            Self::BlockDevice { .. } => 6,
        }
    }
}

fn take_body(code: u8, cursor: &mut Cursor<'_>) -> Result<Body, DecodeError> {
    let mut device = || -> Result<DeviceNumber, DecodeError> {
        Ok(DeviceNumber { major: small(cursor, "device")?, minor: small(cursor, "device")? })
    };
    Ok(match code {
        0 => {
            let size = cursor.varint()?;
            Body::File { size, content: take_content(cursor, size)? }
        }
        1 => Body::Directory,
        2 => Body::Symlink { target: take_bytes(cursor, NAME_MAX)? },
        3 => Body::Fifo,
        4 => Body::Socket,
        5 => Body::CharacterDevice { device: device()? },
        6 => Body::BlockDevice { device: device()? },
        _ => return Err(DecodeError::Invalid("kind of path")),
    })
}

fn put_content(content: &Content, out: &mut Vec<u8>) {
    match content {
        Content::Inline(bytes) => {
            out.push(0);
            out.extend_from_slice(bytes);
        }
        Content::Extents(extents) => {
            out.push(1);
            put_extents(extents, out);
        }
        Content::Tree(tree) => {
            out.push(2);
            out.extend_from_slice(tree.id.as_bytes());
            out.push(tree.level);
            put_varint(tree.records, out);
            put_varint(tree.row_bytes, out);
        }
    }
}

fn take_content(cursor: &mut Cursor<'_>, size: u64) -> Result<Content, DecodeError> {
    match cursor.byte()? {
        0 => match usize::try_from(size) {
            Ok(size) if size <= INLINE_CONTENT_MAX => Ok(Content::Inline(cursor.take(size)?.to_vec())),
            _ => Err(DecodeError::TooLarge("content in an entry")),
        },
        1 => Ok(Content::Extents(take_extents(cursor, INLINE_EXTENTS_MAX, size)?)),
        2 => {
            let id = BlobId::new(cursor.array()?);
            let level = cursor.byte()?;
            let (records, row_bytes) = (cursor.varint()?, cursor.varint()?);
            if records <= INLINE_EXTENTS_MAX as u64 {
                return Err(DecodeError::Invalid("extents of an entry"));
            }
            Ok(Content::Tree(Subtree { kind: Extents.code(), id, level, records, row_bytes, summary: Vec::new() }))
        }
        _ => Err(DecodeError::Invalid("content of an entry")),
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_len(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn take_bytes(cursor: &mut Cursor<'_>, limit: usize) -> Result<Vec<u8>, DecodeError> {
    let len = cursor.count(limit, "length in an entry")?;
    Ok(cursor.take(len)?.to_vec())
}

fn take_text(cursor: &mut Cursor<'_>) -> Result<String, DecodeError> {
    String::from_utf8(take_bytes(cursor, NAME_MAX)?).map_err(|_| DecodeError::Invalid("name of an owner"))
}

fn put_time(time: Time, out: &mut Vec<u8>) {
    put_zigzag(time.seconds, out);
    put_varint(u64::from(time.nanos), out);
}

fn take_time(cursor: &mut Cursor<'_>) -> Result<Time, DecodeError> {
    let seconds = cursor.zigzag()?;
    match u32::try_from(cursor.varint()?) {
        Ok(nanos) if nanos < 1_000_000_000 => Ok(Time { seconds, nanos }),
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
