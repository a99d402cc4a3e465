//! The value of an entry's row: its canonical bytes.

use super::head::{ContentView, Head, RestView};
use super::{Body, Content, Entry, Link, Owner, Time, Xattr, XattrValue};
use crate::error::DecodeError;
use crate::id::BlobId;
use crate::record::Subtree;
use crate::record::cursor::{put_len, put_varint, put_zigzag};
use crate::record::extent::put_extents;

impl Entry {
    /// The value of its row.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        self.encode_to(&mut out);
        out
    }

    // format-spec records, rows of entries.
    /// Appends the value of its row.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        out.push(self.body.kind().code());
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
            Some(link) => {
                out.push(1);
                put_link(link, out);
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
        let head = Head::parse(value)?;
        let body = match head.rest()? {
            RestView::File(content) => Body::File { size: head.size, content: content.to_content() },
            RestView::Symlink(target) => Body::Symlink { target: target.to_vec() },
            RestView::CharacterDevice(device) => Body::CharacterDevice { device },
            RestView::BlockDevice(device) => Body::BlockDevice { device },
            RestView::Directory => Body::Directory,
            RestView::Fifo => Body::Fifo,
            RestView::Socket => Body::Socket,
        };
        let owner = Owner { uid: head.uid, gid: head.gid, user: head.user.to_owned(), group: head.group.to_owned() };
        let Head { mode, mtime, ctime, atime, inode, link, .. } = head;
        Ok(Self { body, mode, owner, mtime, ctime, atime, inode, link, xattrs: head.xattrs().collect() })
    }
}

impl ContentView<'_> {
    fn to_content(&self) -> Content {
        match self {
            Self::Inline(bytes) => Content::Inline(bytes.to_vec()),
            Self::Extents(extents) => Content::Extents(extents.iter().collect()),
            Self::Tree(tree) => Content::Tree(tree.clone()),
        }
    }
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
            put_tree(&tree.id, tree, out);
        }
    }
}

fn put_tree(id: &BlobId, tree: &Subtree, out: &mut Vec<u8>) {
    out.extend_from_slice(id.as_bytes());
    out.push(tree.level);
    put_varint(tree.records, out);
    put_varint(tree.row_bytes, out);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_len(bytes.len(), out);
    out.extend_from_slice(bytes);
}

pub(super) fn put_time(time: Time, out: &mut Vec<u8>) {
    put_zigzag(time.seconds, out);
    put_varint(u64::from(time.nanos), out);
}

pub(super) fn put_link(link: Link, out: &mut Vec<u8>) {
    put_varint(link.device, out);
    put_varint(link.count, out);
}
