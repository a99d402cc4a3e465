//! Paths one after the other.

use std::collections::VecDeque;

use super::FileTree;
use crate::error::Result;
use crate::record::entry::{Body, Content, Entry};
use crate::repository::Reader;
use crate::tree::{KeyRange, Walker};

/// The entries of a range of keys, in their order.
pub struct Entries<'a> {
    walker: Walker<'a>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(tree: &'a FileTree, (from, to): (Vec<u8>, Option<Vec<u8>>)) -> Result<Self> {
        let walker = Walker::new(&tree.reader, &tree.entries, &tree.root, KeyRange { from, to })?;
        Ok(Self { walker })
    }

    /// Leaves out subtrees whose summary is not wanted; other entries may still come, wanted or not.
    pub fn only(self, wanted: impl FnMut(&[u8]) -> bool + 'a) -> Self {
        Self { walker: self.walker.only(wanted) }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(Vec<u8>, Entry)>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.walker.next_record().transpose()?;
        Some(next.and_then(|(key, value)| Ok((key.to_vec(), super::decode(key, value)?))))
    }
}

/// Entries that are looked at before they are handed out, ...
const ENTRIES_AHEAD: usize = 256;
/// ... as long as their files have no more bytes.
const BYTES_AHEAD: u64 = 32 << 20;

/// Tells the reader of the chunks of files before they are handed out.
pub(super) struct Announcing<'a> {
    reader: &'a Reader,
    entries: Entries<'a>,
    coming: VecDeque<Result<(Vec<u8>, Entry)>>,
    coming_bytes: u64,
}

impl<'a> Announcing<'a> {
    pub(super) fn new(reader: &'a Reader, entries: Entries<'a>) -> Self {
        Self { reader, entries, coming: VecDeque::new(), coming_bytes: 0 }
    }

    fn look_ahead(&mut self) {
        let mut ids = Vec::new();
        while self.coming.len() < ENTRIES_AHEAD && self.coming_bytes < BYTES_AHEAD {
            let Some(found) = self.entries.next() else { break };
            if let Ok((_, entry)) = &found {
                self.coming_bytes += entry.size();
                // Longer files are announced as they are read.
                if let Body::File { content: Content::Extents(extents), .. } = &entry.body {
                    ids.extend(extents.iter().map(|extent| extent.id));
                }
            }
            self.coming.push_back(found);
        }
        self.reader.prefetch_chunks(ids);
    }
}

impl Iterator for Announcing<'_> {
    type Item = Result<(Vec<u8>, Entry)>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.reader.is_far() {
            return self.entries.next();
        }
        if self.coming.len() < ENTRIES_AHEAD / 2 && self.coming_bytes < BYTES_AHEAD / 2 {
            self.look_ahead();
        }
        let found = self.coming.pop_front()?;
        if let Ok((_, entry)) = &found {
            self.coming_bytes = self.coming_bytes.saturating_sub(entry.size());
        }
        Some(found)
    }
}
