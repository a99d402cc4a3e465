//! Columns: the rows of a leaf of entries, stored by field.
//!
//! Kind, mode, owner and which of the rare fields there are repeat from row to row: they are a *class*, of which a row has the
//! number. Ids come last and together, as they do not compress. Whatever decodes has no other encoding.

mod decode;
mod encode;

pub(super) use decode::decode;
pub(super) use encode::encode;

/// The ctime is not the mtime.
const CTIME: u8 = 1;
/// There is an atime.
const ATIME: u8 = 2;
/// There is a link.
const LINK: u8 = 4;
/// There are extended attributes.
const XATTRS: u8 = 8;
/// Where the form of a file's content begins; 0 for what is no file.
const FORM_SHIFT: u32 = 4;
/// In the entry.
const INLINE: u8 = 0;
/// One extent that is the whole file.
const WHOLE: u8 = 1;
/// Other extents.
const EXTENTS: u8 = 2;
/// A tree of extents.
const TREE: u8 = 3;
