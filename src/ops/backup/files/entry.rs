//! What was read of a path, as its entry.

use bytes::Bytes;

use super::same::link;
use crate::crypto::Keys;
use crate::id::BlobId;
use crate::record::entry::{Body, Content, Entry, INLINE_XATTR_MAX, Owner, Xattr, XattrValue};
use crate::source::files::{Kind, Metadata, Stat};

/// The entry of a path; `content` is that of a file. Long values of extended attributes go to `chunks`.
pub(super) fn entry(
    stat: &Stat,
    metadata: Metadata,
    owner: Owner,
    content: Option<Content>,
    with_atime: bool,
    keys: &Keys,
    chunks: &mut Vec<(BlobId, Bytes)>,
) -> Entry {
    let body = match stat.kind {
        Kind::File => Body::File { size: stat.size, content: content.unwrap_or(Content::Extents(Vec::new())) },
        Kind::Directory => Body::Directory,
        Kind::Symlink => Body::Symlink { target: metadata.target },
        Kind::Fifo => Body::Fifo,
        Kind::Socket => Body::Socket,
        Kind::CharacterDevice(device) => Body::CharacterDevice { device },
        Kind::BlockDevice(device) => Body::BlockDevice { device },
    };
    let mut xattrs: Vec<Xattr> = Vec::with_capacity(metadata.xattrs.len());
    for (name, value) in metadata.xattrs {
        let value = match value.len() {
            0..=INLINE_XATTR_MAX => XattrValue::Inline(value),
            _ => {
                let value = Bytes::from(value);
                let id = keys.blob_id_chunk(&value);
                chunks.push((id, value));
                XattrValue::Chunk(id)
            }
        };
        xattrs.push(Xattr { name, value });
    }
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    xattrs.dedup_by(|a, b| a.name == b.name);
    Entry {
        body,
        mode: stat.mode,
        owner,
        mtime: stat.mtime,
        ctime: stat.ctime,
        atime: with_atime.then_some(stat.atime),
        inode: stat.inode,
        link: link(stat),
        xattrs,
    }
}
