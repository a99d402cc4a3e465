//! Where the chunks of a file are.

use std::vec;

use super::FileTree;
use crate::error::{DecodeError, Error, Result};
use crate::record::Extent;
use crate::record::entry::Content;
use crate::tree::{KeyRange, Root, Walker};

/// How far before an offset the extent that covers it is looked for at first.
const LOOK_BACK_BYTES: u64 = 1 << 20;

/// The extents of a file, ascending and not overlapping; a tree of them is read as it is needed.
pub struct FileExtents<'a> {
    inner: Inner<'a>,
    end: u64,
}

enum Inner<'a> {
    Listed(vec::IntoIter<Extent>),
    Tree { first: Option<Extent>, walker: Box<Walker<'a>> },
}

impl<'a> FileExtents<'a> {
    pub(super) fn new(tree: &'a FileTree, content: &Content, offset: u64) -> Result<Self> {
        let inner = match content {
            Content::Inline(_) => Inner::Listed(Vec::new().into_iter()),
            Content::Extents(extents) => {
                let first = extents.partition_point(|extent| extent.end() <= offset);
                Inner::Listed(extents.get(first..).unwrap_or_default().to_owned().into_iter())
            }
            Content::Tree(subtree) => {
                let root = Root::from(subtree.clone());
                let (first, walker) = seek(tree, &root, offset)?;
                Inner::Tree { first, walker: Box::new(walker) }
            }
        };
        Ok(Self { inner, end: 0 })
    }

    fn next_extent(&mut self) -> Result<Option<Extent>> {
        let extent = match &mut self.inner {
            Inner::Listed(extents) => extents.next(),
            Inner::Tree { first, walker } => match first.take() {
                Some(extent) => Some(extent),
                None => read(walker)?,
            },
        };
        let Some(extent) = extent else { return Ok(None) };
        if extent.offset < self.end {
            return Err(Error::damaged("extents of a file", DecodeError::Invalid("order of extents")));
        }
        self.end = extent.end();
        Ok(Some(extent))
    }
}

/// At the extent that covers `offset`, or the first after it.
///
/// The one that covers it has the greatest key that is not above, which may be anywhere before: a hole of any length may
/// lie between.
fn seek<'a>(tree: &'a FileTree, root: &Root, offset: u64) -> Result<(Option<Extent>, Walker<'a>)> {
    let mut back = LOOK_BACK_BYTES;
    loop {
        let start = offset.saturating_sub(back);
        let range = KeyRange { from: start.to_be_bytes().to_vec(), to: None };
        let mut walker = match offset {
            0 => Walker::new(&tree.reader, &tree.extents, root, range)?,
            _ => Walker::new(&tree.once, &tree.extents, root, range)?,
        };
        let mut extent = read(&mut walker)?;
        if start == 0 || extent.is_some_and(|extent| extent.offset <= offset) {
            while extent.is_some_and(|extent| extent.end() <= offset) {
                extent = read(&mut walker)?;
            }
            return Ok((extent, walker));
        }
        back = back.saturating_mul(16);
    }
}

fn read(walker: &mut Walker<'_>) -> Result<Option<Extent>> {
    let Some((key, value)) = walker.next_record()? else { return Ok(None) };
    Extent::decode(key, value).map(Some).map_err(|why| Error::damaged("extents of a file", why))
}

impl Iterator for FileExtents<'_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_extent().transpose()
    }
}
