//! Chunks from packs into files: pack by pack, every frame read and opened once for all files of a batch that need it.
//!
//! A delta is written when the frame of its base is opened, so that bases too are opened once.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::batch::{Batch, Body, Flag, Item};
use super::examine::wrong_length;
use super::run::Run;
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::{self, BlobEntry, FrameEntry, IndexedPack, ObjectPath};
use crate::id::{BlobId, PackId};
use crate::index::BlobLocation;
use crate::record::Extent;
use crate::repository::Wanted;
use crate::target::files::{Directory, Node};

/// Bytes that are read of a pack in one request, unless a single frame has more.
const READ_BYTES: u64 = 4 << 20;
/// Bytes between two frames that are read along rather than asking twice.
const GAP_BYTES: u64 = 128 << 10;
/// Deltas that are dealt with together.
const DELTAS_AT_ONCE: usize = 256;
/// Files that are kept open because several frames go into them.
const OPEN_FILES: usize = 128;

/// Which frame of which pack of a plan.
type FrameNumber = (u32, u32);

/// A chunk on its way to one place.
pub(super) struct Piece {
    /// The frame that is opened for it: of a delta, that of its base. `None` when the index does not know the chunk.
    frame: Option<FrameNumber>,
    /// Where the chunk, or the base, starts in that frame.
    start: u32,
    /// The item it belongs to, and where in it.
    item: u32,
    offset: u64,
    /// Where the delta is, if it is one.
    delta: Option<FrameNumber>,
}

/// All that has to be written.
#[derive(Default)]
pub(super) struct Plan {
    packs: Mutex<Packs>,
    pieces: Mutex<Vec<Piece>>,
}

#[derive(Default)]
struct Packs {
    ids: Vec<PackId>,
    numbers: HashMap<PackId, u32>,
}

impl Plan {
    /// The piece of an item that an extent stands for.
    pub(super) fn piece(&self, run: &Run<'_>, item: u32, extent: &Extent) -> Piece {
        let mut piece = Piece { frame: None, start: 0, item, offset: extent.offset, delta: None };
        let index = run.reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
        let Some(location) = index.find_anywhere(&extent.id) else { return piece };
        let base = location.frame().base.map(|base| index.find_anywhere(&base).filter(|found| !found.is_delta()));
        drop(index);
        match base {
            None => (piece.frame, piece.start) = self.place(&location),
            // Without its base there is nothing to open; reading it by itself will say so.
            Some(None) => {}
            Some(Some(base)) => {
                (piece.frame, piece.start) = self.place(&base);
                piece.delta = self.place(&location).0;
            }
        }
        piece
    }

    /// Adds what a thread has planned.
    pub(super) fn add(&self, pieces: Vec<Piece>) {
        lock(&self.pieces).extend(pieces);
    }

    fn place(&self, location: &BlobLocation) -> (Option<FrameNumber>, u32) {
        let mut packs = lock(&self.packs);
        let Packs { ids, numbers } = &mut *packs;
        let number = *numbers.entry(location.pack()).or_insert_with(|| {
            ids.push(location.pack());
            u32::try_from(ids.len() - 1).expect("a batch is limited to far fewer chunks")
        });
        let frame = u32::try_from(location.frame_number()).ok();
        let start = u32::try_from(location.offset_in_frame()).ok();
        (frame.zip(start).map(|(frame, _)| (number, frame)), start.unwrap_or(0))
    }
}

/// A plan that is being carried out.
struct Work<'a, 'r> {
    run: &'a Run<'r>,
    batch: &'a Batch,
    packs: Vec<PackId>,
    open: Mutex<HashMap<u32, Arc<File>>>,
    /// Packs that were missing, so that the index was read again.
    reloaded: Mutex<HashSet<PackId>>,
}

/// Pieces of neighbouring frames, and the stretches of packs that are read for them.
struct Planned<'p> {
    pieces: &'p [Piece],
    stretches: Vec<Stretch>,
    /// Why some frames cannot even be asked for.
    refused: SealedFrames,
}

/// A range of a pack and the frames in it.
struct Stretch {
    pack: Arc<IndexedPack>,
    range: Range<u64>,
    frames: Vec<FrameNumber>,
}

/// Frames as they are stored, or why they cannot be read.
type SealedFrames = HashMap<FrameNumber, Result<(Arc<IndexedPack>, Bytes)>>;

impl Run<'_> {
    /// Writes all pieces. Items that have all of theirs are finished.
    pub(super) fn write(&self, batch: &Batch, plan: Plan) -> Result<()> {
        let mut pieces = plan.pieces.into_inner().unwrap_or_else(PoisonError::into_inner);
        let packs = plan.packs.into_inner().unwrap_or_else(PoisonError::into_inner).ids;
        pieces.sort_unstable_by_key(|piece| (piece.frame, piece.item, piece.offset));
        let work = Work { run: self, batch, packs, open: Mutex::default(), reloaded: Mutex::default() };
        let runs = work.runs(&pieces)?;
        let plans = runs.into_iter().map(|run| work.plan(&pieces[run]));
        let ahead = self.reader.repository().store().read_ahead(plans);
        self.in_parallel(|| {
            while let Some((planned, answers)) = ahead.take() {
                if self.report.is_stopped() {
                    break;
                }
                work.pieces(planned, answers);
            }
        });
        self.report.go_on()
    }
}

impl Work<'_, '_> {
    /// Ranges of pieces whose frames are read together.
    fn runs(&self, pieces: &[Piece]) -> Result<Vec<Range<usize>>> {
        let mut runs = Vec::new();
        let (mut start, mut read_start, mut read_end, mut deltas) = (0, 0, 0, 0);
        let mut pack: Option<(u32, Option<Arc<IndexedPack>>)> = None;
        let mut last = None;
        for (at, piece) in pieces.iter().enumerate() {
            deltas += usize::from(piece.delta.is_some());
            if at > 0 && piece.frame == last {
                continue;
            }
            last = piece.frame;
            let mut range = 0..0;
            if let Some((number, frame)) = piece.frame {
                if pack.as_ref().is_none_or(|(known, _)| *known != number) {
                    pack = Some((number, self.directory(number).ok()));
                    read_end = u64::MAX;
                }
                let entry = pack.as_ref().and_then(|(_, pack)| pack.as_ref()?.directory.frames.get(frame as usize));
                range = entry.map_or(0..0, FrameEntry::range);
            }
            let near = range.start >= read_end && range.start - read_end <= GAP_BYTES;
            if at > start && (!near || range.end - read_start > READ_BYTES || deltas > DELTAS_AT_ONCE) {
                runs.push(start..at);
                start = at;
                deltas = usize::from(piece.delta.is_some());
            }
            if at == start {
                read_start = range.start;
            }
            read_end = range.end;
        }
        if start < pieces.len() {
            runs.push(start..pieces.len());
        }
        Ok(runs)
    }

    /// What must be read for pieces of neighbouring frames: neighbours in one request.
    fn plan<'p>(&self, pieces: &'p [Piece]) -> (Planned<'p>, Vec<Wanted>) {
        let mut wanted: Vec<_> = pieces.iter().flat_map(|piece| [piece.frame, piece.delta]).flatten().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut planned = Planned { pieces, stretches: Vec::new(), refused: SealedFrames::default() };
        for wanted in wanted.chunk_by(|a, b| a.0 == b.0) {
            match self.directory(wanted[0].0) {
                Ok(pack) => planned.add(&pack, wanted),
                Err(error) => planned.refused.extend(wanted.iter().map(|number| (*number, Err(same(&error))))),
            }
        }
        let wanted =
            |stretch: &Stretch| Wanted { path: ObjectPath::pack(stretch.pack.id), range: stretch.range.clone() };
        let wanted = planned.stretches.iter().map(wanted).collect();
        (planned, wanted)
    }

    /// Writes the pieces of neighbouring frames.
    fn pieces(&self, planned: Planned<'_>, answers: Vec<Result<Bytes>>) {
        let Planned { pieces, stretches, refused: mut sealed } = planned;
        for (stretch, answer) in stretches.iter().zip(&answers) {
            sealed.extend(stretch.frames.iter().map(|number| (*number, stretch.frame(*number, answer))));
        }
        drop(answers);
        let mut last: Option<(u32, Directory)> = None;
        for group in pieces.chunk_by(|a, b| a.frame == b.frame) {
            let mut frame = Frame::open(self, group[0].frame, &sealed);
            for group in group.chunk_by(|a, b| a.item == b.item) {
                if self.run.report.is_stopped() {
                    return;
                }
                self.item(group, &mut frame, &sealed, &mut last);
            }
        }
    }

    /// Writes the pieces of one item in one frame.
    fn item(
        &self,
        pieces: &[Piece],
        frame: &mut Frame<'_, '_, '_>,
        sealed: &SealedFrames,
        last: &mut Option<(u32, Directory)>,
    ) {
        let number = pieces[0].item;
        let item = &self.batch.items[number as usize];
        let count = u32::try_from(pieces.len()).expect("batches are limited to far fewer pieces");
        // Whatever is left of it is here: nobody else has or wants it open.
        let is_all = item.pieces.load(Ordering::Acquire) == count;
        let file = match is_all {
            true => lock(&self.open).remove(&number).map_or_else(|| self.open_file(item, last).map(Arc::new), Ok),
            false => self.shared_file(number, item, last),
        };
        let mut written = 0;
        match &file {
            Err(error) => self.run.fail_io(self.batch, item, clone_io(error)),
            Ok(file) => {
                for piece in pieces {
                    match self.content(piece, item, frame, sealed) {
                        Ok(content) => match file.write_all_at(&content, piece.offset) {
                            Ok(()) => written += content.len() as u64,
                            Err(error) => self.run.fail_io(self.batch, item, error),
                        },
                        Err(error) => self.run.fail(self.batch, item, error),
                    }
                }
            }
        }
        self.run.report.progress(written, 0);
        let before = item.pieces.fetch_sub(count, Ordering::AcqRel);
        if before == count {
            lock(&self.open).remove(&number);
            if let Ok(file) = file {
                self.run.finish(self.batch, item, Node::Open(file.as_fd()));
            }
        }
    }

    /// A verified chunk.
    fn content(
        &self,
        piece: &Piece,
        item: &Item,
        frame: &mut Frame<'_, '_, '_>,
        sealed: &SealedFrames,
    ) -> Result<Bytes> {
        let extent = find_extent(item, piece.offset)?;
        let content = match piece.delta {
            _ if piece.frame.is_none() => self.run.reader.chunk(extent.id),
            None => frame.chunk(piece.start, extent),
            Some(delta) => frame.delta(piece.start, delta, sealed, extent),
        };
        let content = match content {
            Err(error) if error.kind() == ErrorKind::NotFound => self.find_again(piece, extent.id)?,
            content => content?,
        };
        if content.len() != extent.length as usize {
            return Err(wrong_length(extent));
        }
        Ok(content)
    }

    /// A chunk whose pack is gone: a pruner has moved it.
    fn find_again(&self, piece: &Piece, id: BlobId) -> Result<Bytes> {
        let repository = self.run.reader.repository();
        let mut reloaded = lock(&self.reloaded);
        let gone = [piece.frame, piece.delta].into_iter().flatten().map(|(pack, _)| self.packs[pack as usize]);
        let mut is_new = false;
        for pack in gone {
            is_new |= reloaded.insert(pack);
        }
        if is_new {
            repository.load_index(&repository.gc_records()?)?;
        }
        drop(reloaded);
        self.run.reader.chunk(id)
    }

    /// The open file of an item of which more comes.
    fn shared_file(&self, number: u32, item: &Item, last: &mut Option<(u32, Directory)>) -> io::Result<Arc<File>> {
        let mut open = lock(&self.open);
        if let Some(file) = open.get(&number) {
            return Ok(Arc::clone(file));
        }
        if open.len() >= OPEN_FILES {
            let idle = open.iter().find(|(_, file)| Arc::strong_count(file) == 1).map(|(number, _)| *number);
            if let Some(idle) = idle {
                open.remove(&idle);
            }
        }
        // Under the lock, so that no other thread creates it too.
        let file = Arc::new(self.open_file(item, last)?);
        open.insert(number, Arc::clone(&file));
        Ok(file)
    }

    fn open_file(&self, item: &Item, last: &mut Option<(u32, Directory)>) -> io::Result<File> {
        if last.as_ref().is_none_or(|(number, _)| *number != item.directory) {
            let key = &self.batch.directories[item.directory as usize].key;
            let directory = self.run.directory(key)?.ok_or_else(|| io::Error::other("no target"))?;
            *last = Some((item.directory, directory));
        }
        let (_, directory) = last.as_ref().expect("it was just opened");
        if item.is(Flag::Present) {
            return directory.open_file_to_write(&item.name);
        }
        let file = directory.create_file(&item.name)?;
        item.mark(Flag::Present);
        if let Body::File { size, extents } = &item.body
            && extents.last().is_none_or(|last| last.end() < *size)
        {
            file.set_len(*size)?;
        }
        Ok(file)
    }

    fn directory(&self, number: u32) -> Result<Arc<IndexedPack>> {
        let id = &self.packs[number as usize];
        let index = self.run.reader.repository().index().read().unwrap_or_else(PoisonError::into_inner);
        index
            .pack(id)?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, ObjectPath::pack(*id), "not in the index any more"))
    }
}

impl Planned<'_> {
    /// Plans to read these frames of a pack.
    fn add(&mut self, pack: &Arc<IndexedPack>, wanted: &[FrameNumber]) {
        let first = self.stretches.len();
        for number in wanted {
            let Some(range) = pack.directory.frames.get(number.1 as usize).map(FrameEntry::range) else {
                let why = DecodeError::Invalid("frame number");
                self.refused.insert(*number, Err(Error::damaged(ObjectPath::pack(pack.id), why)));
                continue;
            };
            match self.stretches[first..].last_mut().filter(|last| last.is_near(&range)) {
                Some(last) => {
                    last.range.end = range.end;
                    last.frames.push(*number);
                }
                None => self.stretches.push(Stretch { pack: Arc::clone(pack), range, frames: vec![*number] }),
            }
        }
    }
}

impl Stretch {
    fn is_near(&self, next: &Range<u64>) -> bool {
        let Range { start, end } = self.range;
        next.start >= end && next.start - end <= GAP_BYTES && next.end - start <= READ_BYTES
    }

    /// One of its frames, from what was read.
    fn frame(&self, number: FrameNumber, answer: &Result<Bytes>) -> Result<(Arc<IndexedPack>, Bytes)> {
        let bytes = answer.as_ref().map_err(same)?;
        let range = self.pack.directory.frames.get(number.1 as usize).map(FrameEntry::range);
        let at = |offset: u64| usize::try_from(offset.checked_sub(self.range.start)?).ok();
        let part = range.and_then(|range| Some(at(range.start)?..at(range.end)?));
        match part.filter(|part| part.start <= part.end && part.end <= bytes.len()) {
            Some(part) => Ok((Arc::clone(&self.pack), bytes.slice(part))),
            None => Err(Error::damaged(ObjectPath::pack(self.pack.id), DecodeError::Truncated)),
        }
    }
}

/// An open frame of chunks that stand for themselves.
struct Frame<'f, 'a, 'r> {
    work: &'f Work<'a, 'r>,
    opened: Result<Opened>,
    /// The delta opened last.
    delta: Option<(FrameNumber, Bytes)>,
}

struct Opened {
    pack: Arc<IndexedPack>,
    frame: usize,
    raw: Bytes,
    /// Where each blob starts, and whether it was compared with its id.
    blobs: Vec<(u32, bool)>,
}

impl<'f, 'a, 'r> Frame<'f, 'a, 'r> {
    fn open(work: &'f Work<'a, 'r>, number: Option<FrameNumber>, sealed: &SealedFrames) -> Self {
        let opened = Self::try_open(work, number, sealed);
        Self { work, opened, delta: None }
    }

    fn try_open(work: &Work<'_, '_>, number: Option<FrameNumber>, sealed: &SealedFrames) -> Result<Opened> {
        let nowhere = || Error::new(ErrorKind::Damaged, "blob", "not in the index");
        let number = number.ok_or_else(nowhere)?;
        let (pack, bytes) = find(sealed, number)?;
        let frame = number.1 as usize;
        let entry = &pack.directory.frames[frame];
        let keys = work.run.reader.repository().keys();
        let raw = format::open_frame(keys, entry, bytes, None).map_err(|why| damaged(pack, why))?;
        let mut start = 0;
        let blobs = entry.blobs.iter().map(|blob| {
            let this = (start, false);
            start += blob.stored_len;
            this
        });
        let blobs = blobs.collect();
        Ok(Opened { pack: Arc::clone(pack), frame, raw: raw.into(), blobs })
    }

    /// The chunk that starts here.
    fn chunk(&mut self, start: u32, extent: &Extent) -> Result<Bytes> {
        let opened = self.opened.as_mut().map_err(|error| same(error))?;
        let (at, content) = opened.slice(start)?;
        if !opened.blobs[at].1 {
            verify(self.work.run, &opened.pack, opened.blob(at), &content)?;
            opened.blobs[at].1 = true;
        }
        if opened.blob(at).id != extent.id {
            return Err(damaged(&opened.pack, DecodeError::IdMismatch));
        }
        Ok(content)
    }

    /// The chunk that is stored as a delta to what starts here.
    fn delta(&mut self, start: u32, number: FrameNumber, sealed: &SealedFrames, extent: &Extent) -> Result<Bytes> {
        if let Some((_, content)) = self.delta.as_ref().filter(|(known, _)| *known == number) {
            return Ok(content.clone());
        }
        let opened = self.opened.as_mut().map_err(|error| same(error))?;
        let (_, base) = opened.slice(start)?;
        let (pack, bytes) = find(sealed, number)?;
        let entry = &pack.directory.frames[number.1 as usize];
        let keys = self.work.run.reader.repository().keys();
        let raw = format::open_frame(keys, entry, bytes, Some(&base)).map_err(|why| damaged(pack, why))?;
        let content = Bytes::from(raw);
        let blob = entry.blobs.first().filter(|blob| blob.id == extent.id);
        let blob = blob.ok_or_else(|| damaged(pack, DecodeError::IdMismatch))?;
        verify(self.work.run, pack, blob, &content)?;
        self.delta = Some((number, content.clone()));
        Ok(content)
    }
}

impl Opened {
    fn blob(&self, at: usize) -> &BlobEntry {
        &self.pack.directory.frames[self.frame].blobs[at]
    }

    /// The number of the blob that starts here, and its stored form.
    fn slice(&self, start: u32) -> Result<(usize, Bytes)> {
        let found = self.blobs.partition_point(|(known, _)| *known < start);
        // Blobs without a byte start where the next one does.
        let mut at = found;
        while self.blobs.get(at + 1).is_some_and(|(known, _)| *known == start) {
            at += 1;
        }
        if self.blobs.get(at).is_none_or(|(known, _)| *known != start) {
            return Err(damaged(&self.pack, DecodeError::Invalid("place in a frame")));
        }
        let end = start as usize + self.blob(at).stored_len as usize;
        if end > self.raw.len() {
            return Err(damaged(&self.pack, DecodeError::Truncated));
        }
        Ok((at, self.raw.slice(start as usize..end)))
    }
}

fn verify(run: &Run<'_>, pack: &IndexedPack, blob: &BlobEntry, content: &[u8]) -> Result<()> {
    if blob.kind == format::BlobKind::Chunk && run.reader.repository().keys().blob_id_chunk(content) == blob.id {
        return Ok(());
    }
    let object = ObjectPath::pack(pack.id);
    Err(Error::new(ErrorKind::Damaged, object, format!("blob {}: {}", blob.id, DecodeError::IdMismatch)))
}

fn find(sealed: &SealedFrames, number: FrameNumber) -> Result<&(Arc<IndexedPack>, Bytes)> {
    match sealed.get(&number) {
        Some(Ok(frame)) => Ok(frame),
        Some(Err(error)) => Err(same(error)),
        None => Err(Error::new(ErrorKind::Failed, "frame", "was not read")),
    }
}

fn find_extent(item: &Item, offset: u64) -> Result<&Extent> {
    let extents = item.extents();
    let found = extents.binary_search_by_key(&offset, |extent| extent.offset).ok();
    found.map(|at| &extents[at]).ok_or_else(|| Error::new(ErrorKind::Failed, "plan", "names a place without a chunk"))
}

fn damaged(pack: &IndexedPack, why: DecodeError) -> Error {
    Error::damaged(ObjectPath::pack(pack.id), why)
}

/// The same error for another path.
fn same(error: &Error) -> Error {
    Error::new(error.kind(), error.object(), error.message())
}

fn clone_io(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
