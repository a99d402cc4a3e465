//! Sets of blobs as bits.

/// Marked entries of an [`Index`](crate::index::Index), one bit each, by [ordinal](crate::index::Index::ordinal).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkSet {
    words: Vec<u64>,
    marked: u64,
}

impl MarkSet {
    /// An empty set for ordinals below `ordinals`; it grows if one above is marked.
    pub fn new(ordinals: u64) -> Self {
        Self { words: vec![0; word(ordinals.saturating_add(63))], marked: 0 }
    }

    /// Marks one; whether it was not marked before.
    pub fn insert(&mut self, ordinal: u64) -> bool {
        let at = word(ordinal);
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let bit = 1 << (ordinal % 64);
        let new = self.words[at] & bit == 0;
        self.words[at] |= bit;
        self.marked += u64::from(new);
        new
    }

    /// Whether it is marked.
    pub fn contains(&self, ordinal: u64) -> bool {
        self.words.get(word(ordinal)).is_some_and(|bits| bits & (1 << (ordinal % 64)) != 0)
    }

    /// How many are marked.
    pub fn len(&self) -> u64 {
        self.marked
    }

    /// Whether none is marked.
    pub fn is_empty(&self) -> bool {
        self.marked == 0
    }
}

fn word(ordinal: u64) -> usize {
    usize::try_from(ordinal / 64).unwrap_or(usize::MAX)
}
