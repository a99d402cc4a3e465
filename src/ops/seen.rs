//! Sets of blobs that were met, at about a bit for each blob of the repository.

use std::collections::HashSet;

use crate::id::BlobId;
use crate::index::{Index, MarkSet};

/// Blobs that were met. Those that the index does not know, or only in condemned packs, are kept one by one.
#[derive(Default)]
pub(super) struct Seen {
    marks: MarkSet,
    ordinals: u64,
    others: HashSet<BlobId>,
    count: u64,
}

impl Seen {
    /// Notes a blob; whether it is met for the first time.
    ///
    /// Ordinals change with the index: when it was changed meanwhile, blobs may seem new again, never the reverse.
    pub(super) fn insert(&mut self, index: &Index, id: BlobId) -> bool {
        let ordinals = index.ordinals();
        if ordinals != self.ordinals {
            self.marks = MarkSet::new(ordinals);
            self.ordinals = ordinals;
        }
        let new = match index.ordinal(&id) {
            Some(ordinal) => self.marks.insert(ordinal),
            None => self.others.insert(id),
        };
        self.count += u64::from(new);
        new
    }

    /// How many were met.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}
