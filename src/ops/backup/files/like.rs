//! Which chunk of the parent's file a new chunk probably resembles.

use std::collections::{HashMap, VecDeque};

use super::chunks::Piece;
use crate::id::BlobId;
use crate::record::Extent;
use crate::record::entry::Content;
use crate::repository::Reader;
use crate::tree::{KeyRange, Root, TreeParameters, Walker};

/// So many extents of the parent's file are looked at around the place in question: a gibibyte of it at the least.
const WINDOW: usize = 1 << 14;

/// The extents of a file as the parent has them, beside its pieces as they come.
pub(super) struct Resemblance<'a> {
    /// What follows the window.
    walker: Option<Walker<'a>>,
    window: VecDeque<Extent>,
    offsets: HashMap<BlobId, u64>,
    /// How much later in the parent's file stands what was last found in both.
    shift: i128,
}

impl<'a> Resemblance<'a> {
    /// To a file with this content; `None` if it has no chunks.
    pub(super) fn new(content: Content, reader: &'a Reader, parameters: &'a TreeParameters) -> Option<Self> {
        let empty = Self { walker: None, window: VecDeque::new(), offsets: HashMap::new(), shift: 0 };
        match content {
            Content::Inline(_) => None,
            Content::Extents(extents) => {
                let offsets = extents.iter().map(|extent| (extent.id, extent.offset)).collect();
                Some(Self { window: extents.into(), offsets, ..empty })
            }
            Content::Tree(tree) => {
                let walker = Walker::new(reader, parameters, &Root::from(tree), KeyRange::all()).ok()?;
                Some(Self { walker: Some(walker), ..empty })
            }
        }
    }

    /// The chunk that stands where the piece stood, as far as can be told; `None` also where it is the same.
    pub(super) fn to(&mut self, piece: &Piece) -> Option<BlobId> {
        self.slide(self.place(piece));
        if let Some(&offset) = self.offsets.get(&piece.id) {
            self.shift = i128::from(offset) - i128::from(piece.offset);
            return None;
        }
        let start = self.place(piece);
        let end = start.saturating_add(piece.bytes.len() as u64);
        let first = self.window.partition_point(|extent| extent.end() <= start);
        let overlapping = self.window.range(first..).take_while(|extent| extent.offset < end);
        overlapping.max_by_key(|extent| extent.end().min(end) - extent.offset.max(start)).map(|extent| extent.id)
    }

    /// The content is read from its start again.
    pub(super) fn again(&mut self) {
        self.shift = 0;
    }

    fn place(&self, piece: &Piece) -> u64 {
        u64::try_from(i128::from(piece.offset) + self.shift).unwrap_or(0)
    }

    /// Reads on until half of the window is past an offset.
    fn slide(&mut self, offset: u64) {
        while let Some(walker) = &mut self.walker {
            let middle = self.window.get(WINDOW / 2);
            if self.window.len() >= WINDOW && middle.is_none_or(|extent| extent.offset >= offset) {
                return;
            }
            // What cannot be read only costs a delta.
            let next = walker.next_record().ok().flatten();
            let Some(extent) = next.and_then(|(key, value)| Extent::decode(key, value).ok()) else {
                self.walker = None;
                return;
            };
            if self.window.len() >= WINDOW
                && let Some(passed) = self.window.pop_front()
                && self.offsets.get(&passed.id) == Some(&passed.offset)
            {
                self.offsets.remove(&passed.id);
            }
            self.offsets.entry(extent.id).or_insert(extent.offset);
            self.window.push_back(extent);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn id(number: u8) -> BlobId {
        BlobId::new([number; BlobId::LEN])
    }

    fn piece(offset: u64, length: usize, number: u8) -> Piece {
        Piece { offset, id: id(number), bytes: Bytes::from(vec![0; length]) }
    }

    fn resemblance(lengths: &[(u32, u8)]) -> Resemblance<'static> {
        let mut window = VecDeque::new();
        let mut offset = 0;
        for &(length, number) in lengths {
            window.push_back(Extent { offset, length, id: id(number) });
            offset += u64::from(length);
        }
        let offsets = window.iter().map(|extent| (extent.id, extent.offset)).collect();
        Resemblance { walker: None, window, offsets, shift: 0 }
    }

    #[test]
    fn a_changed_piece_resembles_what_stood_in_its_place() {
        let mut parent = resemblance(&[(100, 1), (100, 2), (100, 3)]);
        assert_eq!(parent.to(&piece(0, 100, 1)), None);
        assert_eq!(parent.to(&piece(100, 100, 9)), Some(id(2)));
        assert_eq!(parent.to(&piece(200, 90, 8)), Some(id(3)));
        assert_eq!(parent.to(&piece(300, 90, 7)), None);
    }

    #[test]
    fn what_was_inserted_before_shifts_the_place() {
        let mut parent = resemblance(&[(100, 1), (100, 2), (100, 3), (100, 4)]);
        assert_eq!(parent.to(&piece(0, 150, 9)), Some(id(1)));
        assert_eq!(parent.to(&piece(150, 100, 2)), None);
        assert_eq!(parent.to(&piece(250, 100, 8)), Some(id(3)));
        // Removed again: what follows stands where it stood.
        assert_eq!(parent.to(&piece(300, 100, 4)), None);
        parent.again();
        assert_eq!(parent.to(&piece(210, 80, 7)), Some(id(3)));
    }

    #[test]
    fn of_several_the_one_with_most_in_common_is_taken() {
        let mut parent = resemblance(&[(100, 1), (20, 2), (100, 3)]);
        assert_eq!(parent.to(&piece(90, 100, 9)), Some(id(3)));
    }
}
