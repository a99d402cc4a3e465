//! The extents of one file as they come: few stay together, more become a tree.

use super::chunks::Piece;
use crate::error::Result;
use crate::id::BlobId;
use crate::record::entry::{Content, INLINE_CONTENT_MAX, INLINE_EXTENTS_MAX};
use crate::record::{Extent, Extents, Subtree};
use crate::repository::Writer;
use crate::tree::{Builder, Pushed};

/// Stores the pieces of a file and gathers where they stand.
#[derive(Default)]
pub(super) struct ExtentList {
    /// A first piece so short that it may be all of the file, and then is part of the entry.
    held: Option<Piece>,
    few: Vec<Extent>,
    many: Option<Builder>,
}

impl ExtentList {
    /// The next piece; `like` names a chunk that it probably resembles.
    pub(super) fn push(&mut self, writer: &mut Writer, piece: Piece, like: Option<BlobId>) -> Result<()> {
        self.release(writer)?;
        if self.few.is_empty() && self.many.is_none() && piece.end() <= INLINE_CONTENT_MAX as u64 {
            self.held = Some(piece);
            return Ok(());
        }
        self.store(writer, piece, like)
    }

    /// The content of a file of this size, once all pieces were pushed.
    pub(super) fn finish(mut self, writer: &mut Writer, size: u64) -> Result<Content> {
        match usize::try_from(size) {
            Ok(size) if size <= INLINE_CONTENT_MAX => {
                let mut bytes = vec![0; size];
                if let Some(Piece { offset, bytes: held, .. }) = &self.held {
                    let start = usize::try_from(*offset).unwrap_or(size).min(size);
                    let len = held.len().min(size - start);
                    bytes[start..start + len].copy_from_slice(&held[..len]);
                }
                return Ok(Content::Inline(bytes));
            }
            _ => self.release(writer)?,
        }
        let Some(builder) = self.many else { return Ok(Content::Extents(self.few)) };
        let root = builder.finish(writer)?;
        let id = root.id.expect("a tree with records has a top node");
        let (kind, level, records, row_bytes, summary) =
            (root.kind, root.level, root.records, root.row_bytes, root.summary);
        Ok(Content::Tree(Subtree { kind, id, level, records, row_bytes, summary }))
    }

    fn release(&mut self, writer: &mut Writer) -> Result<()> {
        match self.held.take() {
            Some(piece) => self.store(writer, piece, None),
            None => Ok(()),
        }
    }

    fn store(&mut self, writer: &mut Writer, piece: Piece, like: Option<BlobId>) -> Result<()> {
        let extent = piece.extent();
        writer.write_hashed_chunk(piece.id, piece.bytes, like)?;
        if self.many.is_none() && self.few.len() < INLINE_EXTENTS_MAX {
            self.few.push(extent);
            return Ok(());
        }
        let builder = self.many.get_or_insert_with(|| Builder::new(&writer.repository().tree_parameters(&Extents)));
        for extent in self.few.drain(..).chain([extent]) {
            let _: Pushed = builder.push(writer, &extent.key(), &extent.value())?;
        }
        Ok(())
    }
}
