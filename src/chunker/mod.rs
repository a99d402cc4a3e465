//! Where content is cut: keyed FastCDC, so that an edit changes only the chunks around it and nobody without the key can
//! predict the cuts. Files of pages are cut at fixed runs instead.

mod buffer;
mod pages;
mod sizes;

use fastcdc::v2020::{Normalization, cut_gear, select_masks};
use zeroize::Zeroizing;

pub use buffer::ChunkBuffer;
pub use pages::{PageRuns, STRUCTURE_HEAD_BYTES, structure};
pub use sizes::Sizes;

/// Cuts content by its own bytes.
///
/// ```
/// use packstone::chunker::{Chunker, Sizes};
/// let gear = std::array::from_fn(|i| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
/// let chunker = Chunker::new(&gear, Sizes { min_bytes: 64, average_bytes: 1024, max_bytes: 4096 });
/// let content = vec![7; 10_000];
/// assert_eq!(chunker.cut(&content, true), Some(4096));
/// assert_eq!(chunker.cut(&content[..100], false), None);
/// ```
pub struct Chunker {
    sizes: Sizes,
    // The crate's own `seed` is not used: it XORs one value into every entry of a public table.
    gear: Box<Zeroizing<[u64; 256]>>,
    /// The same entries shifted left by one, for the step of two bytes.
    gear_shifted: Box<Zeroizing<[u64; 256]>>,
    mask_small: u64,
    mask_large: u64,
}

impl Chunker {
    /// A chunker with a repository's gear table.
    pub fn new(gear: &[u64; 256], sizes: Sizes) -> Self {
        let (mask_small, mask_large) = select_masks(sizes.average_bytes, Normalization::Level2);
        Self {
            sizes,
            gear: Box::new(Zeroizing::new(*gear)),
            gear_shifted: Box::new(Zeroizing::new(gear.map(|entry| entry << 1))),
            mask_small,
            mask_large,
        }
    }

    /// The sizes it cuts at.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Length of the first chunk of `buffer`.
    ///
    /// `None` when more bytes are needed: the buffer is shorter than the largest chunk and not the end of the stream, or
    /// empty.
    pub fn cut(&self, buffer: &[u8], end_of_stream: bool) -> Option<usize> {
        if buffer.is_empty() || (buffer.len() < self.sizes.max_bytes && !end_of_stream) {
            return None;
        }
        let Sizes { min_bytes, average_bytes, max_bytes } = self.sizes;
        let (small, large) = (self.mask_small, self.mask_large);
        let (gear, shifted) = (&self.gear[..], &self.gear_shifted[..]);
        let (_, cut) =
            cut_gear(buffer, min_bytes, average_bytes, max_bytes, small, large, small << 1, large << 1, gear, shifted);
        Some(cut)
    }

    /// The chunks of content that is in memory.
    pub fn chunks<'a>(&'a self, content: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = content;
        std::iter::from_fn(move || {
            let (chunk, after) = rest.split_at(self.cut(rest, true)?);
            rest = after;
            Some(chunk)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const SIZES: Sizes = Sizes { min_bytes: 256, average_bytes: 1024, max_bytes: 4096 };

    /// A stream of pseudo-random words.
    fn noise(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    fn content(seed: u64, len: usize) -> Vec<u8> {
        let mut word = noise(seed);
        (0..len).map(|_| word() as u8).collect()
    }

    fn chunker(seed: u64) -> Chunker {
        let mut word = noise(seed);
        Chunker::new(&std::array::from_fn(|_| word()), SIZES)
    }

    #[test]
    fn sizes_keep_their_bounds_and_their_average() {
        let content = content(1, 2 << 20);
        let chunker = chunker(2);
        let lens: Vec<_> = chunker.chunks(&content).map(<[u8]>::len).collect();
        assert!(lens[..lens.len() - 1].iter().all(|len| (256..=4096).contains(len)));
        let mean = content.len() / lens.len();
        assert!((800..1700).contains(&mean), "{mean}");
    }

    #[test]
    fn a_local_edit_changes_only_the_chunks_around_it() {
        let chunker = chunker(3);
        let before = content(4, 1 << 20);
        let old: HashSet<&[u8]> = chunker.chunks(&before).collect();
        let mut after = before.clone();
        after.splice(500_000..500_003, *b"something longer");
        let new = chunker.chunks(&after).filter(|chunk| !old.contains(chunk)).count();
        assert!((1..=8).contains(&new), "{new}");
    }

    /// The cut as format-spec, chapter blob and frame, tells it, with the masks of an average of 1 KiB.
    fn specified_cut(gear: &[u64; 256], s: &[u8]) -> usize {
        let (strict, loose) = (0x0000_d901_0353_0000_u64, 0x0000_0018_0003_5300_u64);
        let (min, average, max) = (SIZES.min_bytes, SIZES.average_bytes, SIZES.max_bytes);
        if s.len() <= min {
            return s.len();
        }
        let r = s.len().min(max);
        let c = r.min(average);
        let entry = |at: usize| gear[usize::from(s[at])];
        let mut h = 0u64;
        for k in min / 2..r / 2 {
            let m = if k < c / 2 { strict } else { loose };
            h = h.wrapping_mul(4).wrapping_add(entry(2 * k).wrapping_mul(2));
            if h & (2 * m) == 0 {
                return 2 * k;
            }
            h = h.wrapping_add(entry(2 * k + 1));
            if h & m == 0 {
                return 2 * k + 1;
            }
        }
        r
    }

    #[test]
    fn cuts_are_those_of_the_specification() {
        let content = content(8, 1 << 20);
        let mut word = noise(9);
        let gear = std::array::from_fn(|_| word());
        let chunker = Chunker::new(&gear, SIZES);
        let mut rest = &content[..];
        while let Some(cut) = chunker.cut(rest, true) {
            assert_eq!(cut, specified_cut(&gear, rest));
            rest = &rest[cut..];
        }
        for len in 0..5000 {
            assert_eq!(chunker.cut(&content[..len], true).unwrap_or(0), specified_cut(&gear, &content[..len]));
        }
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let content = content(5, 1 << 20);
        let ends = |chunker: &Chunker| {
            let mut at = 0;
            chunker
                .chunks(&content)
                .map(|chunk| {
                    at += chunk.len();
                    at
                })
                .collect::<HashSet<_>>()
        };
        let (a, b) = (ends(&chunker(6)), ends(&chunker(7)));
        assert!(a.intersection(&b).count() < 20);
    }

    proptest! {
        #[test]
        fn chunks_are_the_content_whatever_the_read_sizes(
            seed in any::<u64>(), len in 0usize..40_000, reads in prop::collection::vec(1usize..9000, 1..20),
        ) {
            let content = content(seed, len);
            let chunker = chunker(seed);
            let whole: Vec<&[u8]> = chunker.chunks(&content).collect();
            prop_assert_eq!(whole.concat(), &content[..]);

            let mut buffer = ChunkBuffer::new(&chunker);
            let (mut streamed, mut rest, mut reads) = (Vec::new(), &content[..], reads.into_iter().cycle());
            loop {
                while let Some(chunk) = buffer.next_chunk(&chunker) {
                    streamed.push(chunk.to_vec());
                }
                if rest.is_empty() {
                    break;
                }
                let space = buffer.space();
                let read = reads.next().unwrap_or(1).min(rest.len()).min(space.len());
                space[..read].copy_from_slice(&rest[..read]);
                rest = &rest[read..];
                buffer.filled(read);
            }
            buffer.end();
            while let Some(chunk) = buffer.next_chunk(&chunker) {
                streamed.push(chunk.to_vec());
            }
            prop_assert_eq!(streamed, whole);
        }
    }
}
