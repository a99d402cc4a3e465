//! Moving live blobs to new packs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::Repository;
use super::announced::Announced;
use super::packer::Packer;
use super::random::random;
use crate::compression::{Compressed, Compressor};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{
    self, BlobEntry, BlobKind, Codec, FrameEntry, IndexedPack, ObjectPath, RetentionClass, SealedFrame,
};
use crate::id::PackId;

/// Frames made of the blobs of half-dead ones are this big before compression.
const FRAME_BYTES: usize = 512 << 10;

/// Copies frames, or the live part of them, into new packs of one retention class.
pub struct Repacker {
    repository: Repository,
    packer: Packer,
    /// Frames on their way here, unless the store is on this machine.
    announced: Option<Announced>,
    compressor: Compressor,
    /// Stored forms of live blobs whose frames were mostly dead.
    loose: [Loose; 2],
    copied_bytes: u64,
}

#[derive(Default)]
struct Loose {
    raw: Vec<u8>,
    blobs: Vec<BlobEntry>,
}

impl Repository {
    /// A repacker for packs of this class.
    pub fn repacker(&self, class: RetentionClass) -> Repacker {
        Repacker {
            repository: self.clone(),
            announced: (!self.store().is_local()).then(|| Announced::new(self.store().clone())),
            packer: Packer::new(self.clone(), Arc::new(Mutex::new(HashSet::new())), class),
            compressor: Compressor::new(3),
            loose: [Loose::default(), Loose::default()],
            copied_bytes: 0,
        }
    }
}

impl Repacker {
    /// What is live of this pack, one flag for each of its blobs, will be copied soon.
    pub fn announce(&self, pack: &IndexedPack, mut live_flags: &[bool]) {
        let Some(announced) = &self.announced else { return };
        let is_live = |frame: &&FrameEntry| {
            let (flags, rest) = live_flags.split_at(frame.blobs.len().min(live_flags.len()));
            live_flags = rest;
            flags.contains(&true)
        };
        let frames = pack.directory.frames.iter().filter(is_live);
        announced.announce(frames.map(|frame| (pack.id, frame.range())));
    }

    /// Copies what is live of a frame, one flag for each of its blobs: the whole frame unopened when at least half of it
    /// is, else blob by blob.
    pub fn copy(&mut self, pack: &IndexedPack, frame: &FrameEntry, live_flags: &[bool]) -> Result<()> {
        if !live_flags.contains(&true) {
            return Ok(());
        }
        let is_live = |i: usize| live_flags.get(i).copied().unwrap_or(false);
        let lengths = frame.blobs.iter().map(|blob| u64::from(blob.stored_len));
        let live: u64 = lengths.enumerate().filter(|(i, _)| is_live(*i)).map(|(_, len)| len).sum();
        let path = ObjectPath::pack(pack.id);
        let announced = self.announced.as_ref().and_then(|announced| announced.take(pack.id, &frame.range()));
        // A bit that is flipped on the way would else take the place of what is whole.
        let is_whole = |sealed: &[u8]| format::authenticate_frame(self.repository.keys(), frame, sealed).is_ok();
        let store = self.repository.store();
        let sealed = match announced {
            Some(sealed) if is_whole(&sealed) => sealed,
            Some(_) => store.get_again(&path, Some(frame.range()))?,
            None => store.get_checked(&path, Some(frame.range()), is_whole)?,
        };
        let whole = frame.codec == Codec::ZstdDelta || live * 2 >= u64::from(frame.raw_len);
        let kind = frame.kind().ok_or_else(|| Error::new(ErrorKind::Damaged, &path, "a frame without blobs"))?;
        if whole {
            self.copied_bytes += u64::from(frame.sealed_len);
            return self.packer.add(kind, SealedFrame { bytes: sealed.to_vec(), entry: frame.clone() });
        }
        let raw = self.repository.open_frame(pack.id, frame, &sealed, None).map_err(|e| Error::damaged(&path, e))?;
        for (i, blob) in frame.blobs.iter().enumerate().filter(|(i, _)| is_live(*i)) {
            let bytes = frame.blob_range(i).and_then(|range| raw.get(range));
            let bytes = bytes.ok_or_else(|| Error::new(ErrorKind::Damaged, &path, "a frame shorter than its blobs"))?;
            let loose = &mut self.loose[usize::from(kind == BlobKind::Node)];
            loose.raw.extend_from_slice(bytes);
            loose.blobs.push(*blob);
            if loose.raw.len() >= FRAME_BYTES {
                self.frame(kind)?;
            }
        }
        Ok(())
    }

    /// Makes everything durable and indexed; returns the new packs and how many bytes were copied.
    pub fn finish(mut self) -> Result<(Vec<PackId>, u64)> {
        self.frame(BlobKind::Chunk)?;
        self.frame(BlobKind::Node)?;
        self.packer.flush()?;
        Ok((std::mem::take(&mut self.packer.written), self.copied_bytes))
    }

    fn frame(&mut self, kind: BlobKind) -> Result<()> {
        let Loose { raw, blobs } = std::mem::take(&mut self.loose[usize::from(kind == BlobKind::Node)]);
        if blobs.is_empty() {
            return Ok(());
        }
        let mut compressed = Vec::new();
        let (codec, body) = match self.compressor.compress(&raw, &mut compressed) {
            Compressed::Zstd => (Codec::Zstd, &compressed),
            Compressed::Raw => (Codec::Raw, &raw),
        };
        let sealed = format::seal_frame(self.repository.keys(), &random(), kind, codec, body, raw.len(), blobs, None)
            .map_err(|e| Error::new(ErrorKind::Failed, "frame", e))?;
        self.copied_bytes += u64::from(sealed.entry.sealed_len);
        self.packer.add(kind, sealed)
    }
}
