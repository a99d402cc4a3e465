//! zstd, with and without a prefix, never trusting a length it reads.

use std::cell::RefCell;

use zstd_safe::{CCtx, CParameter, DCtx, ResetDirective};

use crate::error::DecodeError;

/// The most bytes that anything compressed may have before compression; decoders refuse more.
pub const MAX_RAW_LEN: usize = 64 << 20;

/// The level used unless the user asks for another.
pub const DEFAULT_LEVEL: i32 = 3;

/// How [`Compressor::compress`] left the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compressed {
    /// Not at all: compression would have saved less than 2 %.
    Raw,
    /// One zstd frame that states its content size.
    Zstd,
}

/// A compression context that is used again and again.
pub struct Compressor {
    context: CCtx<'static>,
    level: i32,
}

impl Compressor {
    /// A compressor at a level from 1 (fast) to 22 (small), or 0 to leave everything as it is; others are moved into that
    /// range.
    pub fn new(level: i32) -> Self {
        let level = level.clamp(0, 22);
        Self { context: context(level.max(1)), level }
    }

    /// Puts `raw`, compressed, in place of what `out` holds; what `out` holds afterwards means nothing when it comes back
    /// [`Compressed::Raw`].
    pub fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Compressed {
        if self.level == 0 {
            return Compressed::Raw;
        }
        out.clear();
        out.reserve(zstd_safe::compress_bound(raw.len()));
        let written = self.context.compress2(out, raw).unwrap_or(usize::MAX);
        if written >= raw.len() - raw.len() / 50 { Compressed::Raw } else { Compressed::Zstd }
    }

    /// Puts `raw`, compressed as a difference to `prefix`, in place of what `out` holds; `None` when that is not shorter. The
    /// two must not share memory: zstd ignores what of the prefix overlaps.
    pub fn compress_with_prefix(&mut self, prefix: &[u8], raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
        if self.level == 0 {
            return None;
        }
        out.clear();
        out.reserve(zstd_safe::compress_bound(raw.len()));
        let written = compress_with_prefix(self.level, prefix, raw, out).unwrap_or(usize::MAX);
        (written < raw.len()).then_some(())
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new(DEFAULT_LEVEL)
    }
}

fn context<'a>(level: i32) -> CCtx<'a> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level)).expect("every level from 1 to 22 is known to zstd");
    context
}

// A context of its own: one that has seen a prefix may not outlive it.
fn compress_with_prefix(level: i32, prefix: &[u8], raw: &[u8], out: &mut Vec<u8>) -> Result<usize, usize> {
    let mut context = context(level);
    let reach = prefix.len().saturating_add(raw.len()).max(1 << 10);
    let window = reach.checked_next_power_of_two().map_or(27, usize::ilog2).min(27);
    context.set_parameter(CParameter::WindowLog(window))?;
    // The match finder's own tables reach back about as far as a level is meant for, not as far as the window.
    context.set_parameter(CParameter::EnableLongDistanceMatching(reach > 1 << 20))?;
    context.ref_prefix(prefix)?;
    context.compress2(out, raw)
}

/// What begins like this is a dictionary to zstd, not content.
const DICTIONARY_MAGIC: [u8; 4] = 0xEC30_A437_u32.to_le_bytes();

thread_local! {
    static DECOMPRESSION: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// The `raw_len` bytes of one zstd frame.
pub fn decompress(body: &[u8], raw_len: usize) -> Result<Vec<u8>, DecodeError> {
    let mut out = expect_one_frame(body, raw_len)?;
    let written = DECOMPRESSION.with_borrow_mut(|context| {
        let written = context.decompress(&mut out[..], body);
        if written.is_err() {
            // Leaves no half-read frame behind for the next caller.
            let _ = context.reset(ResetDirective::SessionOnly);
        }
        written
    });
    finish(out, written, raw_len)
}

/// The `raw_len` bytes of one zstd frame that was compressed with this prefix.
pub fn decompress_with_prefix(prefix: &[u8], body: &[u8], raw_len: usize) -> Result<Vec<u8>, DecodeError> {
    let mut out = expect_one_frame(body, raw_len)?;
    if prefix.starts_with(&DICTIONARY_MAGIC) {
        let mut context = DCtx::create();
        context.ref_prefix(prefix).map_err(|_| DecodeError::Invalid("zstd prefix"))?;
        let written = context.decompress(&mut out[..], body);
        return finish(out, written, raw_len);
    }
    // The same as a prefix, in a context that is used again: making one costs more than a short difference.
    let written = DECOMPRESSION.with_borrow_mut(|context| {
        let written = context.decompress_using_dict(&mut out[..], body, prefix);
        if written.is_err() {
            let _ = context.reset(ResetDirective::SessionOnly);
        }
        written
    });
    finish(out, written, raw_len)
}

/// Room for the content, once the frame itself agrees on the length and fills the body.
fn expect_one_frame(body: &[u8], raw_len: usize) -> Result<Vec<u8>, DecodeError> {
    if raw_len > MAX_RAW_LEN {
        return Err(DecodeError::TooLarge("uncompressed length"));
    }
    let invalid = DecodeError::Invalid("zstd frame");
    let stated = zstd_safe::get_frame_content_size(body).map_err(|_| invalid)?;
    let frame_len = zstd_safe::find_frame_compressed_size(body).map_err(|_| invalid)?;
    if stated != u64::try_from(raw_len).ok() || frame_len != body.len() {
        return Err(invalid);
    }
    Ok(vec![0; raw_len])
}

fn finish(out: Vec<u8>, written: Result<usize, usize>, raw_len: usize) -> Result<Vec<u8>, DecodeError> {
    if written == Ok(raw_len) { Ok(out) } else { Err(DecodeError::Invalid("zstd frame")) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn what_does_not_shrink_stays_raw() {
        let (raw, mut out) = (noise(100_000, 1), b"before".to_vec());
        assert_eq!(Compressor::default().compress(&raw, &mut out), Compressed::Raw);
        assert_eq!(Compressor::default().compress(b"", &mut out), Compressed::Raw);
    }

    #[test]
    fn a_scattered_change_costs_little_against_its_base() {
        let mut compressor = Compressor::default();
        for len in [64 << 10, 1 << 20, 5 << 20] {
            let base = noise(len, 2);
            let mut raw = base.clone();
            for at in (0..len).step_by(10_000) {
                raw[at] ^= 0xff;
            }
            let mut out = Vec::new();
            compressor.compress_with_prefix(&base, &raw, &mut out).unwrap();
            assert!(out.len() < len / 100, "{len}: {}", out.len());
            assert_eq!(decompress_with_prefix(&base, &out, len).unwrap(), raw);
            assert_ne!(decompress_with_prefix(&noise(len, 3), &out, len).as_deref(), Ok(&raw[..]));
            assert!(decompress(&out, len).is_err());
        }
    }

    #[test]
    fn a_prefix_that_looks_like_a_dictionary_is_still_a_prefix() {
        let base = [&0xEC30_A437u32.to_le_bytes()[..], &noise(50_000, 4)].concat();
        let mut out = Vec::new();
        Compressor::default().compress_with_prefix(&base, &base.clone(), &mut out).unwrap();
        assert!(out.len() < 200, "{}", out.len());
        assert_eq!(decompress_with_prefix(&base, &out, base.len()).unwrap(), base);
    }

    #[test]
    fn a_length_is_never_believed() {
        let mut out = Vec::new();
        assert_eq!(Compressor::default().compress(&[7; 1000], &mut out), Compressed::Zstd);
        assert_eq!(decompress(&out, 1000).unwrap(), [7; 1000]);
        for wrong in [0, 999, 1001, 1 << 20] {
            assert_eq!(decompress(&out, wrong), Err(DecodeError::Invalid("zstd frame")));
        }
        assert_eq!(decompress(&out, usize::MAX), Err(DecodeError::TooLarge("uncompressed length")));
        let twice = [&out[..], &out[..]].concat();
        assert_eq!(decompress(&twice, 1000), Err(DecodeError::Invalid("zstd frame")));
        assert_eq!(decompress(&out[..out.len() - 1], 1000), Err(DecodeError::Invalid("zstd frame")));
    }

    #[test]
    fn any_content_may_be_a_prefix() {
        let noise: Vec<u8> = (0..70_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for start in [&[][..], &DICTIONARY_MAGIC, b"SQLite format 3"] {
            let base = [start, &noise].concat();
            let mut changed = base.clone();
            changed[40_000] ^= 1;
            let mut out = Vec::new();
            Compressor::new(3).compress_with_prefix(&base, &changed, &mut out).unwrap();
            assert!(out.len() < 4000, "{}", out.len());
            for _ in 0..2 {
                assert_eq!(decompress_with_prefix(&base, &out, changed.len()).unwrap(), changed);
                // Another base gives an error or other bytes, and spoils nothing for the next.
                let other = decompress_with_prefix(&[7; 80_000], &out, changed.len());
                assert!(other.is_err() || other.is_ok_and(|bytes| bytes != changed));
            }
            let mut plain = Vec::new();
            Compressor::new(3).compress(&[b'x'; 5000], &mut plain);
            assert_eq!(decompress(&plain, 5000).unwrap(), [b'x'; 5000]);
        }
    }

    proptest! {
        #[test]
        fn decompress_inverts_compress(raw in prop::collection::vec(0u8..4, 0..5000), level in 1..7) {
            let mut out = Vec::new();
            match Compressor::new(level).compress(&raw, &mut out) {
                Compressed::Raw => {}
                Compressed::Zstd => prop_assert_eq!(decompress(&out, raw.len()).unwrap(), raw),
            }
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(body in prop::collection::vec(any::<u8>(), 0..300), len in 0usize..1000) {
            let framed = [&0xFD2F_B528u32.to_le_bytes()[..], &body].concat();
            for body in [&body, &framed] {
                let _ = decompress(body, len);
                let _ = decompress_with_prefix(&[1; 500], body, len);
            }
        }
    }
}
