//! New blobs into frames: grouped with others of their kind, alone, or as a difference to an older blob.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::random::random;
use super::writer::{Shared, lock};
use crate::compression::{Compressed, Compressor};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{self, BlobEntry, BlobKind, Codec};
use crate::id::BlobId;
use crate::index::BlobLocation;
use crate::tree::{Node, ReadNode};

/// Chunks are framed together up to this many bytes.
const CHUNK_FRAME_BYTES: usize = 4 << 20;
/// A chunk of so many bytes has a frame of its own.
const CHUNK_ALONE_BYTES: usize = 512 << 10;
/// Leaves are framed together up to this many bytes of rows, about an eighth of it once encoded.
const LEAF_FRAME_BYTES: usize = 1 << 20;
/// Inner nodes are framed together up to this many bytes.
const INNER_FRAME_BYTES: usize = 128 << 10;

/// Blobs shorter than this are never differences.
const DELTA_LEAST_BYTES: usize = 512;
/// What a difference costs more than its bytes, beside a blob among others: a seal, and a frame with a base in the
/// directory, which is stored twice.
const DELTA_OVERHEAD_BYTES: usize = 140;
/// A difference may have this part of what the whole blob would take. More, and it is time for a new base.
const DELTA_PART: usize = 3;

/// A new blob.
pub(super) struct Blob {
    pub(super) id: BlobId,
    pub(super) content: Content,
}

pub(super) enum Content {
    Chunk(Bytes),
    /// A node and the length of its canonical form.
    Node(Node, usize),
}

impl Content {
    fn kind(&self) -> BlobKind {
        match self {
            Self::Chunk(_) => BlobKind::Chunk,
            Self::Node(..) => BlobKind::Node,
        }
    }

    /// Length of the canonical form.
    fn len(&self) -> usize {
        match self {
            Self::Chunk(bytes) => bytes.len(),
            Self::Node(_, length) => *length,
        }
    }

    fn stored_form(self) -> Bytes {
        match self {
            Self::Chunk(bytes) => bytes,
            Self::Node(node, _) => node.encode().into(),
        }
    }
}

/// Blobs that wait for more of their sort.
#[derive(Default)]
pub(super) struct Groups {
    chunks: Group,
    leaves: Group,
    inners: Group,
}

#[derive(Default)]
struct Group {
    blobs: Vec<Blob>,
    bytes: usize,
}

impl Groups {
    /// Puts a blob to its like; returns a frame's worth when there is one.
    pub(super) fn add(&mut self, blob: Blob) -> Option<Vec<Blob>> {
        let length = blob.content.len();
        let (group, limit) = match &blob.content {
            Content::Chunk(_) if length >= CHUNK_ALONE_BYTES => return Some(vec![blob]),
            Content::Chunk(_) => (&mut self.chunks, CHUNK_FRAME_BYTES),
            Content::Node(node, _) if node.level == 0 => (&mut self.leaves, LEAF_FRAME_BYTES),
            Content::Node(..) => (&mut self.inners, INNER_FRAME_BYTES),
        };
        group.blobs.push(blob);
        group.bytes += length;
        (group.bytes >= limit).then(|| std::mem::take(group).blobs)
    }

    /// Everything that waits, in frames that are not full.
    pub(super) fn take_all(&mut self) -> Vec<Vec<Blob>> {
        let Self { chunks, leaves, inners } = std::mem::take(self);
        [chunks, leaves, inners].into_iter().map(|group| group.blobs).filter(|blobs| !blobs.is_empty()).collect()
    }
}

/// Makes frames, one at a time, and hands them to the packer.
pub(super) struct Framer<'a> {
    shared: &'a Shared,
    compressor: Compressor,
    raw: Vec<u8>,
    body: Vec<u8>,
}

impl<'a> Framer<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        let compressor = Compressor::new(shared.options.compression_level);
        Self { shared, compressor, raw: Vec::new(), body: Vec::new() }
    }

    /// One frame of these blobs, which are of one kind.
    pub(super) fn frame(&mut self, blobs: Vec<Blob>) -> Result<()> {
        let Some(kind) = blobs.first().map(|blob| blob.content.kind()) else { return Ok(()) };
        let mut entries = Vec::with_capacity(blobs.len());
        let mut put = |id, content_len, stored: &Bytes| {
            let (stored_len, content_len) = (format_len(stored.len()), format_len(content_len));
            entries.push(BlobEntry { id, kind, stored_len, content_len });
        };
        let alone = blobs.len() == 1;
        let mut only = Bytes::new();
        self.raw.clear();
        for Blob { id, content } in blobs {
            let content_len = content.len();
            let stored = content.stored_form();
            put(id, content_len, &stored);
            if alone { only = stored } else { self.raw.extend_from_slice(&stored) }
        }
        let raw = if alone { &only[..] } else { &self.raw[..] };
        let (codec, body) = match self.compressor.compress(raw, &mut self.body) {
            Compressed::Zstd => (Codec::Zstd, &self.body[..]),
            Compressed::Raw => (Codec::Raw, raw),
        };
        seal(self.shared, kind, codec, body, raw.len(), entries, None)
    }

    /// A frame of its own as a difference to a blob like `like`, if that pays; else the blob joins those that wait.
    pub(super) fn delta(&mut self, blob: Blob, like: BlobId) -> Result<()> {
        let (id, kind, content_len) = (blob.id, blob.content.kind(), blob.content.len());
        if content_len >= DELTA_LEAST_BYTES
            // A base that cannot be read must not fail a backup that does not need it.
            && let Some((base, prefix)) = self.base(like, kind).filter(|(base, _)| base.blob().id != id)
        {
            let Blob { content, .. } = blob;
            let node;
            let stored = match content {
                Content::Chunk(ref bytes) => Bytes::clone(bytes),
                Content::Node(ref kept, _) => {
                    node = kept;
                    node.encode().into()
                }
            };
            let limit = delta_limit(&base, stored.len());
            let made = self.compressor.compress_with_prefix(&prefix, &stored, &mut self.body);
            if made.is_some() && self.body.len() <= limit {
                let entry =
                    BlobEntry { id, kind, stored_len: format_len(stored.len()), content_len: format_len(content_len) };
                self.shared.deltas_added.fetch_add(1, Ordering::Relaxed);
                self.shared.delta_bytes_added.fetch_add(content_len as u64, Ordering::Relaxed);
                let base = Some(base.blob().id);
                return seal(self.shared, kind, Codec::ZstdDelta, &self.body, stored.len(), vec![entry], base);
            }
            return self.join(Blob { id, content });
        }
        self.join(blob)
    }

    fn join(&mut self, blob: Blob) -> Result<()> {
        let full = lock(&self.shared.groups).add(blob);
        full.map_or(Ok(()), |blobs| self.frame(blobs))
    }

    /// What to take as base for a blob like `like`: that blob, or what it is itself a difference to, with its stored form.
    /// The base counts as known, so it is indexed and not condemned: a prune that condemns it from now on waits for this
    /// session, and then finds it needed by the snapshot, or makes the session look at all it refers to again.
    fn base(&self, like: BlobId, kind: BlobKind) -> Option<(BlobLocation, Bytes)> {
        let index = self.shared.repository.index().read().unwrap_or_else(PoisonError::into_inner);
        let mut base = index.find(&like)?;
        if let Some(id) = base.frame().base {
            base = index.find(&id).filter(|found| !found.is_delta())?;
        }
        drop(index);
        if base.blob().kind != kind {
            return None;
        }
        let reader = self.shared.reader();
        let stored = match kind {
            BlobKind::Chunk => reader.chunk(base.blob().id).ok()?,
            BlobKind::Node => {
                // Compared with its id here; the form that frames hold is not.
                reader.read_node(base.blob().id).ok()?;
                reader.stored_form(base.blob().id).ok()?.1
            }
        };
        Some((base, stored))
    }
}

/// How long a difference may be: the whole blob would shrink about as its base did.
fn delta_limit(base: &BlobLocation, length: usize) -> usize {
    let frame = base.frame();
    let whole = length as u64 * u64::from(frame.sealed_len) / u64::from(frame.raw_len).max(1);
    (usize::try_from(whole).unwrap_or(usize::MAX) / DELTA_PART).saturating_sub(DELTA_OVERHEAD_BYTES)
}

fn seal(
    shared: &Shared,
    kind: BlobKind,
    codec: Codec,
    body: &[u8],
    raw_len: usize,
    entries: Vec<BlobEntry>,
    base: Option<BlobId>,
) -> Result<()> {
    let keys = shared.repository.keys();
    let sealed = format::seal_frame(keys, &random(), kind, codec, body, raw_len, entries, base)
        .map_err(|e| Error::new(ErrorKind::Failed, "frame", e))?;
    lock(&shared.packer).add(kind, sealed)
}

fn format_len(length: usize) -> u32 {
    u32::try_from(length).expect("frames are limited to far less than 4 GiB")
}
