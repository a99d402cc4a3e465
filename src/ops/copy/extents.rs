//! Where the chunks of files are: looking along them, comparing them, gathering them.

use std::ops::Range;

use crate::error::Result;
use crate::ops::{FileExtents, FileTree};
use crate::record::entry::{Content, INLINE_EXTENTS_MAX};
use crate::record::{self, Extent, Subtree};
use crate::repository::Writer;
use crate::tree::{Builder, Pushed};

/// The extents of a file, asked for at ascending offsets.
pub(super) struct Extents<'a> {
    rest: FileExtents<'a>,
    current: Option<Extent>,
    following: Option<Extent>,
}

impl<'a> Extents<'a> {
    pub(super) fn new(tree: &'a FileTree, content: &Content) -> Result<Self> {
        let mut rest = tree.extents(content, 0)?;
        let current = rest.next().transpose()?;
        let following = rest.next().transpose()?;
        Ok(Self { rest, current, following })
    }

    /// The first that ends behind `offset`.
    pub(super) fn reaching(&mut self, offset: u64) -> Result<Option<Extent>> {
        while self.current.is_some_and(|extent| extent.end() <= offset) {
            self.advance()?;
        }
        Ok(self.current)
    }

    /// The one that covers `offset`.
    pub(super) fn at(&mut self, offset: u64) -> Result<Option<Extent>> {
        Ok(self.reaching(offset)?.filter(|extent| extent.offset <= offset))
    }

    /// The one behind that which was found last.
    pub(super) fn following(&self) -> Result<Option<Extent>> {
        Ok(self.following)
    }

    fn advance(&mut self) -> Result<()> {
        self.current = self.following.take();
        self.following = self.rest.next().transpose()?;
        Ok(())
    }
}

/// Where two files hold the same chunks at the same places.
pub(super) struct Same<'a> {
    a: Extents<'a>,
    b: Extents<'a>,
    /// The last stretch that is the same.
    run: Range<u64>,
}

impl<'a> Same<'a> {
    pub(super) fn new(a: Extents<'a>, b: Extents<'a>) -> Self {
        Self { a, b, run: 0..0 }
    }

    /// Whether everything from `from` to `to` is the same. Questions must ascend and not overlap.
    pub(super) fn covers(&mut self, from: u64, to: u64) -> Result<bool> {
        while self.run.end < to {
            if self.run.start > from {
                return Ok(false);
            }
            match self.next_common()? {
                None => return Ok(false),
                Some(extent) if extent.offset == self.run.end => self.run.end = extent.end(),
                Some(extent) => self.run = extent.offset..extent.end(),
            }
        }
        Ok(self.run.start <= from)
    }

    fn next_common(&mut self) -> Result<Option<Extent>> {
        while let (Some(a), Some(b)) = (self.a.current, self.b.current) {
            if a.offset <= b.offset {
                self.a.advance()?;
            }
            if b.offset <= a.offset {
                self.b.advance()?;
            }
            if a == b {
                return Ok(Some(a));
            }
        }
        Ok(None)
    }
}

/// The extents of one file as they come: few stay together, more become a tree.
#[derive(Default)]
pub(super) struct ExtentList {
    few: Vec<Extent>,
    many: Option<Builder>,
}

impl ExtentList {
    pub(super) fn push(&mut self, writer: &mut Writer, extent: Extent) -> Result<()> {
        if self.many.is_none() && self.few.len() < INLINE_EXTENTS_MAX {
            self.few.push(extent);
            return Ok(());
        }
        let parameters = || writer.repository().tree_parameters(&record::Extents);
        let mut builder = self.many.take().unwrap_or_else(|| Builder::new(&parameters()));
        for extent in self.few.drain(..).chain([extent]) {
            let _: Pushed = builder.push(writer, &extent.key(), &extent.value())?;
        }
        self.many = Some(builder);
        Ok(())
    }

    pub(super) fn finish(self, writer: &mut Writer) -> Result<Content> {
        let Some(builder) = self.many else { return Ok(Content::Extents(self.few)) };
        let root = builder.finish(writer)?;
        let id = root.id.expect("this cannot fail because the tree has records");
        let (kind, level, records, row_bytes, summary) =
            (root.kind, root.level, root.records, root.row_bytes, root.summary);
        Ok(Content::Tree(Subtree { kind, id, level, records, row_bytes, summary }))
    }
}
