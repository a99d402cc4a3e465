//! Packs: `magic, version | frame ... frame | sealed directory | trailer`.

use std::ops::Range;

use super::object::{decode_body, encode_body, pad, unpad};
use super::{BlobKind, PackDirectory, RetentionClass, Sealed, SealedFrame};
use crate::crypto::{Keys, Purpose, SEAL_OVERHEAD};
use crate::error::DecodeError;
use crate::id::PackId;

/// Magic `PSPACK` and version 1 (u16, little-endian).
const HEAD: [u8; 8] = *b"PSPACK\x01\x00";
/// Length of the head; the first frame starts here.
pub(in crate::format) const HEAD_LEN: u64 = 8;
const TRAILER_LEN: usize = 40;
/// The shortest directory (sealed) and the trailer.
pub(in crate::format) const MIN_TAIL_LEN: u64 = 84;

/// A pack in the making: frames of one kind and class, one after another in memory.
pub struct PackBuilder {
    kind: BlobKind,
    bytes: Vec<u8>,
    hasher: blake3::Hasher,
    directory: PackDirectory,
}

/// A pack ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedPack {
    /// Its name: BLAKE3 of the whole object.
    pub id: PackId,
    /// The whole object.
    pub body: Sealed,
    /// What it holds.
    pub directory: PackDirectory,
    /// Length of the whole object.
    pub size_bytes: u64,
}

impl PackBuilder {
    /// An empty pack.
    pub fn new(kind: BlobKind, class: RetentionClass) -> Self {
        Self::with_capacity(kind, class, 0)
    }

    /// An empty pack with room for this many bytes, so that it is not copied as it grows.
    pub fn with_capacity(kind: BlobKind, class: RetentionClass, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(&HEAD);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&HEAD);
        Self { kind, bytes, hasher, directory: PackDirectory { class, frames: Vec::new() } }
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// A frame of the other kind, or whose bytes and entry do not fit together; the pack is unchanged then.
    pub fn add(&mut self, frame: SealedFrame) -> Result<(), DecodeError> {
        let SealedFrame { bytes, mut entry } = frame;
        entry.validate()?;
        if entry.kind() != Some(self.kind) {
            return Err(DecodeError::Invalid("kind of a frame for this pack"));
        }
        if u32::try_from(bytes.len()) != Ok(entry.sealed_len) {
            return Err(DecodeError::Invalid("length of a frame"));
        }
        entry.offset = self.len();
        self.hasher.update(&bytes);
        self.bytes.extend_from_slice(&bytes);
        self.directory.frames.push(entry);
        Ok(())
    }

    /// Bytes so far, without directory and trailer.
    pub fn len(&self) -> u64 {
        u64::try_from(self.bytes.len()).expect("a length fits 64 bits")
    }

    /// Whether it holds no frames.
    pub fn is_empty(&self) -> bool {
        self.directory.frames.is_empty()
    }

    /// What it holds so far.
    pub fn directory(&self) -> &PackDirectory {
        &self.directory
    }

    /// Seals the directory, padding it until the whole pack has a Padmé length, and names the pack.
    pub fn finish(mut self, keys: &Keys, random: &[u8; 32]) -> FinishedPack {
        let around = self.len() + u64::try_from(TRAILER_LEN).expect("40 fits");
        let plaintext = pad(&encode_body(&self.directory), around);
        let epoch = keys.newest_epoch();
        let sealed = keys.seal(Purpose::Metadata, &associated(epoch, self.len()), random, &plaintext);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&sealed);
        let sealed_len = u32::try_from(sealed.len()).expect("no directory is near 4 GiB");
        self.bytes.extend_from_slice(&sealed_len.to_le_bytes());
        self.bytes.extend_from_slice(&epoch.to_le_bytes());
        self.hasher.update(self.bytes.get(start..).unwrap_or_default());
        let hash = self.hasher.finalize();
        self.bytes.extend_from_slice(hash.as_bytes());
        let id = PackId::new(self.hasher.update(hash.as_bytes()).finalize().into());
        let size_bytes = self.len();
        let body = Sealed::new(self.bytes);
        let body = match self.kind {
            BlobKind::Chunk => body.of_content(),
            BlobKind::Node => body,
        };
        FinishedPack { id, body, directory: self.directory, size_bytes }
    }
}

fn associated(epoch: u32, frames_end: u64) -> Vec<u8> {
    [&HEAD[..], b"directory", &epoch.to_le_bytes(), &frames_end.to_le_bytes()].concat()
}

/// The last bytes of a pack: where its directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackTrailer {
    /// Length of the sealed directory.
    pub directory_len: u32,
    /// The epoch it is sealed under.
    pub epoch: u32,
    /// BLAKE3 of the pack up to here.
    pub hash: [u8; 32],
    /// Where the directory stands in the pack.
    directory: (u64, u64),
}

impl PackTrailer {
    /// Length in bytes.
    pub const LEN: u64 = 40;

    /// From the last bytes (40 or more) of a pack of this size.
    pub fn decode(tail: &[u8], pack_size_bytes: u64) -> Result<Self, DecodeError> {
        let trailer = tail.last_chunk::<TRAILER_LEN>().ok_or(DecodeError::Truncated)?;
        let (numbers, hash) = trailer.split_first_chunk::<8>().expect("a trailer has 40 bytes");
        let (directory_len, epoch) = numbers.split_first_chunk::<4>().expect("8 bytes");
        let directory_len = u32::from_le_bytes(*directory_len);
        let epoch = u32::from_le_bytes(epoch.try_into().expect("4 bytes are left"));
        let hash = hash.try_into().expect("32 bytes are left");
        let end = pack_size_bytes.checked_sub(Self::LEN).ok_or(DecodeError::Truncated)?;
        let start = end.checked_sub(u64::from(directory_len)).filter(|start| *start >= HEAD_LEN);
        let start = start.ok_or(DecodeError::Invalid("length of a pack directory"))?;
        if u64::from(directory_len) + Self::LEN < MIN_TAIL_LEN {
            return Err(DecodeError::Invalid("length of a pack directory"));
        }
        Ok(Self { directory_len, epoch, hash, directory: (start, end) })
    }

    /// The sealed directory's place in the pack.
    pub fn directory_range(&self) -> Range<u64> {
        self.directory.0..self.directory.1
    }
}

/// The directory of a pack, from its sealed bytes (those at [`PackTrailer::directory_range`]).
pub fn open_directory(keys: &Keys, trailer: &PackTrailer, sealed: &[u8]) -> Result<PackDirectory, DecodeError> {
    let (frames_end, _) = trailer.directory;
    let plaintext = keys.open(Purpose::Metadata, trailer.epoch, &associated(trailer.epoch, frames_end), sealed)?;
    let directory: PackDirectory = decode_body(unpad(&plaintext)?)?;
    if directory.validate(HEAD_LEN)? != frames_end {
        return Err(DecodeError::Invalid("frames of a pack directory"));
    }
    Ok(directory)
}

/// The directory of a whole pack, after checking its name and its hash. Frames stay sealed.
pub fn verify_pack(keys: &Keys, id: PackId, pack: &[u8]) -> Result<PackDirectory, DecodeError> {
    let head = pack.first_chunk::<8>().ok_or(DecodeError::Truncated)?;
    let (before, hash) = pack.split_last_chunk::<32>().ok_or(DecodeError::Truncated)?;
    let mut hasher = blake3::Hasher::new();
    let hash_before = hasher.update(before).finalize();
    if hasher.update(hash).finalize().as_bytes() != id.as_bytes() || hash_before.as_bytes() != hash {
        return Err(DecodeError::IdMismatch);
    }
    check_head(head)?;
    let size_bytes = u64::try_from(pack.len()).map_err(|_| DecodeError::TooLarge("pack"))?;
    let trailer = PackTrailer::decode(pack, size_bytes)?;
    let range = trailer.directory_range();
    let place = |at: u64| usize::try_from(at).map_err(|_| DecodeError::TooLarge("pack"));
    let sealed = pack.get(place(range.start)?..place(range.end)?).ok_or(DecodeError::Truncated)?;
    open_directory(keys, &trailer, sealed)
}

fn check_head(head: &[u8; 8]) -> Result<(), DecodeError> {
    let (magic, version) = head.split_first_chunk::<6>().expect("eight bytes");
    if magic != b"PSPACK" {
        return Err(DecodeError::BadMagic);
    }
    match version {
        [1, 0] => Ok(()),
        [low, _] => Err(DecodeError::UnknownVersion(*low)),
        _ => Err(DecodeError::Truncated),
    }
}

impl PackDirectory {
    /// Refuses frames that no writer makes; returns where the last of them ends. They follow one another from `start` on.
    pub fn validate(&self, start: u64) -> Result<u64, DecodeError> {
        let kind = self.frames.first().and_then(|frame| frame.kind());
        let mut end = start;
        for frame in &self.frames {
            frame.validate()?;
            if frame.kind() != kind {
                return Err(DecodeError::Invalid("chunks and nodes in one pack"));
            }
            if frame.offset != end {
                return Err(DecodeError::Invalid("offset of a frame"));
            }
            end = end.checked_add(u64::from(frame.sealed_len)).ok_or(DecodeError::TooLarge("pack"))?;
        }
        Ok(end)
    }
}

const _: () = assert!(MIN_TAIL_LEN as usize == 4 + SEAL_OVERHEAD + TRAILER_LEN);
