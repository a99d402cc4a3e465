//! What stands in an item's place, what of it is right, and what there is to do.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::batch::{Batch, Body, Flag, Item, State};
use super::frames::{Piece, Plan};
use super::run::Run;
use super::{Change, Overwrite};
use crate::error::{Error, ErrorKind, Result};
use crate::format::MAX_FRAME_LEN;
use crate::record::Extent;
use crate::target::files::{Directory, Found, Holes, Kind, Node, Special, punch};

/// Extents that a thread compares at a time.
const EXTENTS_AT_ONCE: usize = 16;

/// What of a file is not as it should be.
#[derive(Default)]
struct Differences {
    /// Extents, by their numbers.
    wrong: Vec<usize>,
    /// What should be holes and is not.
    filled: Vec<Range<u64>>,
}

/// A file of very many chunks that is being restored.
pub(super) enum Big {
    /// There is nothing to do about it.
    Nothing,
    /// Its content is written; a file that was there before is compared.
    Into { file: File, before: Option<Found>, differs: AtomicBool },
    /// It is only compared.
    Look { file: File, before: Found, differs: AtomicBool },
}

impl Big {
    pub(super) fn is_wanted(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// What to do about an item.
enum Decision {
    /// Nothing.
    Skip,
    /// Make it: nothing is in its place any more.
    Make(Directory),
    /// Say that it would be made.
    WouldMake(Change),
    /// Its kind is there already.
    Keep(Directory, Found),
}

impl Run<'_> {
    /// Does what needs no chunks for an item, and plans the chunks that it needs.
    pub(super) fn begin(&self, batch: &Batch, number: usize, plan: &Plan, pieces: &mut Vec<Piece>) {
        let item = &batch.items[number];
        let mut begin = || match self.decide(batch, item)? {
            Decision::Skip => Ok(()),
            Decision::WouldMake(change) => {
                self.would(batch, item, change);
                Ok(())
            }
            Decision::Make(directory) => self.make(batch, number, &directory, plan, pieces),
            Decision::Keep(directory, found) => self.keep(batch, number, &directory, &found, plan, pieces),
        };
        let decided = self.unlocked(&batch.directories[item.directory as usize].key, &mut begin);
        if let Err(error) = decided {
            self.fail_io(batch, item, error);
        }
    }

    fn decide(&self, batch: &Batch, item: &Item) -> io::Result<Decision> {
        if batch.state(item) == State::Absent {
            return Ok(Decision::WouldMake(Change::New));
        }
        let place = &batch.directories[item.directory as usize];
        let Some(directory) = self.directory(&place.key)? else { return Ok(Decision::WouldMake(Change::New)) };
        if place.state == State::New {
            return Ok(Decision::Make(directory));
        }
        let Some(found) = directory.find(&item.name)? else {
            return Ok(if self.options.dry_run { Decision::WouldMake(Change::New) } else { Decision::Make(directory) });
        };
        let skip = match self.options.overwrite {
            Overwrite::Never => true,
            Overwrite::IfNewer => item.wanted.mtime <= found.mtime,
            Overwrite::Always | Overwrite::IfChanged => false,
        };
        if skip {
            self.leave_out(&batch.key(item));
            self.report.files_skipped.fetch_add(1, Ordering::Relaxed);
            return Ok(Decision::Skip);
        }
        let same_kind = match (&item.body, found.kind) {
            (Body::Small(_) | Body::File { .. }, kind) => kind == Kind::File,
            (Body::Symlink(target), Kind::Symlink) => directory.read_symlink(&item.name)? == *target,
            (Body::Special(special), kind) => kind_of(*special) == kind,
            _ => false,
        };
        if same_kind {
            return Ok(Decision::Keep(directory, found));
        }
        if self.options.dry_run {
            return Ok(Decision::WouldMake(Change::Changed));
        }
        self.clear_away(&directory, &item.name, &batch.key(item), &found)?;
        Ok(Decision::Make(directory))
    }

    /// Removes what is in the way. A directory that holds anything goes only if deleting was asked for.
    pub(super) fn clear_away(&self, directory: &Directory, name: &[u8], key: &[u8], found: &Found) -> io::Result<()> {
        if found.kind != Kind::Directory {
            return directory.remove(name);
        }
        if self.options.delete {
            self.empty(key)?;
        }
        match directory.remove_directory(name) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                let advice = if self.options.delete { "excluded paths" } else { "something" };
                Err(io::Error::other(format!("a directory with {advice} in it is in the way")))
            }
            removed => removed,
        }
    }

    /// Restores an item where nothing is.
    fn make(
        &self,
        batch: &Batch,
        number: usize,
        directory: &Directory,
        plan: &Plan,
        pieces: &mut Vec<Piece>,
    ) -> io::Result<()> {
        let item = &batch.items[number];
        let named = |kind| Node::Named(directory, &item.name, kind);
        match &item.body {
            Body::Small(bytes) => {
                let file = directory.create_file(&item.name)?;
                if !bytes.is_empty() {
                    file.write_all_at(bytes, 0)?;
                }
                self.report.progress(bytes.len() as u64, 0);
                self.finish(batch, item, Node::Open(file.as_fd()));
            }
            Body::Symlink(target) => {
                directory.create_symlink(&item.name, target)?;
                self.finish(batch, item, named(Kind::Symlink));
            }
            Body::Special(special) => {
                directory.create_special(&item.name, *special)?;
                self.finish(batch, item, named(kind_of(*special)));
            }
            Body::File { size, extents } if extents.is_empty() => {
                let file = directory.create_file(&item.name)?;
                file.set_len(*size)?;
                self.report.progress(*size, 0);
                self.finish(batch, item, Node::Open(file.as_fd()));
            }
            Body::File { size, extents } => {
                // Holes are restored by not being written.
                let written: u64 = extents.iter().map(|extent| u64::from(extent.length)).sum();
                self.report.progress(size.saturating_sub(written), 0);
                self.plan_extents(batch, number, 0..extents.len(), 0, plan, pieces);
            }
        }
        Ok(())
    }

    /// Makes what is there equal to the item.
    fn keep(
        &self,
        batch: &Batch,
        number: usize,
        directory: &Directory,
        found: &Found,
        plan: &Plan,
        pieces: &mut Vec<Piece>,
    ) -> io::Result<()> {
        let item = &batch.items[number];
        let (Body::Small(_) | Body::File { .. }) = &item.body else {
            let node = Node::Named(directory, &item.name, found.kind);
            if !item.wanted.differs(node, found)? {
                self.unchanged(item);
            } else if self.options.dry_run {
                self.would(batch, item, Change::Changed);
            } else {
                item.mark(Flag::InPlace);
                self.finish(batch, item, node);
            }
            return Ok(());
        };
        let readable = directory.open_file(&item.name);
        let file = match readable {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !self.options.dry_run => {
                directory.remove(&item.name)?;
                return self.make(batch, number, directory, plan, pieces);
            }
            opened => opened?,
        };
        let trusted = self.is_trusted(item, found);
        let differences = match &item.body {
            _ if trusted => Differences::default(),
            Body::Small(bytes) => {
                let mut content = vec![0; bytes.len()];
                let same = found.size == item.size() && read_range(&file, 0, &mut content)? && content == *bytes;
                Differences { wrong: if same { Vec::new() } else { vec![0] }, filled: Vec::new() }
            }
            _ => self.compare(&file, item.extents(), 0..item.size())?,
        };
        let content_differs = found.size != item.size() || !differences.is_empty();
        if !content_differs && !item.wanted.differs(Node::Open(file.as_fd()), found)? {
            self.unchanged(item);
            return Ok(());
        }
        if self.options.dry_run {
            self.would(batch, item, Change::Changed);
            return Ok(());
        }
        // Its other names may be anywhere, also outside the target: those keep what they have.
        if found.links > 1 {
            directory.remove(&item.name)?;
            return self.make(batch, number, directory, plan, pieces);
        }
        if !content_differs {
            item.mark(Flag::InPlace);
            self.report.progress(0, item.size());
            self.finish(batch, item, Node::Open(file.as_fd()));
            return Ok(());
        }
        let Some(file) = self.open_to_change(batch, item, directory)? else {
            return self.make(batch, number, directory, plan, pieces);
        };
        self.change(batch, number, &file, found, differences, plan, pieces)
    }

    /// Writes what needs no chunks into a file that was there, and plans the rest.
    #[expect(clippy::too_many_arguments, reason = "each is known only here")]
    fn change(
        &self,
        batch: &Batch,
        number: usize,
        file: &File,
        found: &Found,
        differences: Differences,
        plan: &Plan,
        pieces: &mut Vec<Piece>,
    ) -> io::Result<()> {
        let item = &batch.items[number];
        if found.size != item.size() {
            file.set_len(item.size())?;
        }
        if let Body::Small(bytes) = &item.body {
            file.write_all_at(bytes, 0)?;
            self.report.progress(bytes.len() as u64, 0);
            self.finish(batch, item, Node::Open(file.as_fd()));
            return Ok(());
        }
        differences.filled.into_iter().try_for_each(|range| punch(file, range))?;
        let wrong: u64 = differences.wrong.iter().map(|at| u64::from(item.extents()[*at].length)).sum();
        self.report.progress(0, item.size().saturating_sub(wrong));
        if differences.wrong.is_empty() {
            self.finish(batch, item, Node::Open(file.as_fd()));
        } else {
            self.plan_extents(batch, number, differences.wrong.into_iter(), 0, plan, pieces);
        }
        Ok(())
    }

    /// A file that was there, to be changed; `None` after removing one that may not be.
    fn open_to_change(&self, batch: &Batch, item: &Item, directory: &Directory) -> io::Result<Option<File>> {
        use io::ErrorKind::{ExecutableFileBusy, PermissionDenied};
        match directory.open_file_to_write(&item.name) {
            Ok(file) => {
                item.mark(Flag::InPlace);
                item.mark(Flag::Present);
                Ok(Some(file))
            }
            Err(error) if matches!(error.kind(), PermissionDenied | ExecutableFileBusy) => {
                self.report.observer.event(crate::progress::Event::Note(&format!(
                    "{}: replaced, as it cannot be changed in place ({error})",
                    self.path(&batch.key(item)).display()
                )));
                directory.remove(&item.name)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether size and time of change are taken for proof of the content.
    fn is_trusted(&self, item: &Item, found: &Found) -> bool {
        self.options.overwrite == Overwrite::IfChanged && found.size == item.size() && found.mtime == item.wanted.mtime
    }

    fn unchanged(&self, item: &Item) {
        self.report.files_unchanged.fetch_add(1, Ordering::Relaxed);
        self.report.progress(0, item.size());
    }

    fn would(&self, batch: &Batch, item: &Item, change: Change) {
        self.report.files_restored.fetch_add(1, Ordering::Relaxed);
        self.report.change(change, &self.path(&batch.key(item)));
    }

    /// Adds the pieces of some extents; `held` keeps the item from being finished when they are written.
    fn plan_extents(
        &self,
        batch: &Batch,
        number: usize,
        extents: impl ExactSizeIterator<Item = usize> + Clone,
        held: u32,
        plan: &Plan,
        pieces: &mut Vec<Piece>,
    ) {
        let item = &batch.items[number];
        let count = u32::try_from(extents.len()).expect("batches are limited to far fewer extents");
        item.pieces.store(count + held, Ordering::Release);
        let number = u32::try_from(number).expect("batches are limited to far fewer items");
        for at in extents {
            pieces.push(plan.piece(self, number, &item.extents()[at]));
        }
    }

    /// Whether a range of a file reads as it should, holes or not.
    pub(super) fn reads_as(&self, file: &File, extents: &[Extent], range: Range<u64>) -> io::Result<bool> {
        let mut reached = range.start;
        let mut buffer = Vec::new();
        for extent in extents {
            let hole = reached..extent.offset;
            if Holes::of(file).has_other_than_zeros(hole)? || !self.holds(file, extent, &mut buffer)? {
                return Ok(false);
            }
            reached = extent.end();
        }
        Ok(!Holes::of(file).has_other_than_zeros(reached..range.end)?)
    }

    /// Compares a range of a file with what it should be.
    fn compare(&self, file: &File, extents: &[Extent], range: Range<u64>) -> io::Result<Differences> {
        let mut differences = Differences::default();
        let mut reached = range.start;
        let mut buffer = Vec::new();
        for (number, extent) in extents.iter().enumerate() {
            if Holes::of(file).is_filled(reached..extent.offset)? {
                differences.filled.push(reached..extent.offset);
            }
            if !self.holds(file, extent, &mut buffer)? {
                differences.wrong.push(number);
            }
            reached = extent.end();
        }
        if Holes::of(file).is_filled(reached..range.end)? {
            differences.filled.push(reached..range.end);
        }
        Ok(differences)
    }

    /// Whether a file has this chunk at its place.
    pub(super) fn holds(&self, file: &File, extent: &Extent, buffer: &mut Vec<u8>) -> io::Result<bool> {
        if extent.length > MAX_FRAME_LEN {
            return Ok(false);
        }
        buffer.resize(extent.length as usize, 0);
        Ok(read_range(file, extent.offset, buffer)?
            && self.reader.repository().keys().blob_id_chunk(buffer) == extent.id)
    }

    /// Begins with the one item of a batch, a file of very many chunks.
    pub(super) fn begin_big(&self, batch: &Batch) -> Big {
        let item = &batch.items[0];
        self.try_begin_big(batch, item).unwrap_or_else(|error| {
            self.fail_io(batch, item, error);
            Big::Nothing
        })
    }

    fn try_begin_big(&self, batch: &Batch, item: &Item) -> io::Result<Big> {
        let create = |directory: &Directory| {
            let file = directory.create_file(&item.name)?;
            item.mark(Flag::Present);
            file.set_len(item.size())?;
            Ok(Big::Into { file, before: None, differs: AtomicBool::new(true) })
        };
        Ok(match self.decide(batch, item)? {
            Decision::Skip => Big::Nothing,
            Decision::WouldMake(change) => {
                self.would(batch, item, change);
                Big::Nothing
            }
            Decision::Make(directory) => create(&directory)?,
            Decision::Keep(directory, found) => {
                let file = directory.open_file(&item.name)?;
                if self.is_trusted(item, &found) {
                    self.end_compared(batch, item, &file, &found, false);
                    return Ok(Big::Nothing);
                }
                if self.options.dry_run {
                    let differs = AtomicBool::new(found.size != item.size());
                    return Ok(Big::Look { file, before: found, differs });
                }
                if found.links > 1 {
                    directory.remove(&item.name)?;
                    return create(&directory);
                }
                let Some(file) = self.open_to_change(batch, item, &directory)? else { return create(&directory) };
                let differs = AtomicBool::new(found.size != item.size());
                if found.size != item.size() {
                    file.set_len(item.size())?;
                }
                Big::Into { file, before: Some(found), differs }
            }
        })
    }

    /// Restores, or compares, a range of a big file, whose extents are those of the item.
    pub(super) fn portion(&self, batch: &Batch, big: &Big, range: Range<u64>) -> Result<()> {
        let item = &batch.items[0];
        let (file, differs, compared) = match big {
            Big::Nothing => return Ok(()),
            Big::Into { file, before, differs } => (file, differs, before.is_some()),
            Big::Look { file, differs, .. } => (file, differs, true),
        };
        let mut wrong: Vec<usize> = (0..item.extents().len()).collect();
        if compared {
            let compared = match self.compare_in_parallel(file, item.extents(), range.clone()) {
                Ok(compared) => compared,
                Err(error) => {
                    self.fail_io(batch, item, error);
                    return self.report.go_on();
                }
            };
            if !compared.is_empty() {
                differs.store(true, Ordering::Relaxed);
            }
            if let Big::Look { .. } = big {
                return Ok(());
            }
            if let Err(error) = compared.filled.into_iter().try_for_each(|range| punch(file, range)) {
                self.fail_io(batch, item, error);
            }
            wrong = compared.wrong;
        }
        let length: u64 = wrong.iter().map(|at| u64::from(item.extents()[*at].length)).sum();
        let rest = (range.end - range.start).saturating_sub(length);
        if compared {
            self.report.progress(0, rest)
        } else {
            self.report.progress(rest, 0)
        }
        let (plan, mut pieces) = (Plan::default(), Vec::new());
        self.plan_extents(batch, 0, wrong.into_iter(), 1, &plan, &mut pieces);
        plan.add(pieces);
        self.write(batch, plan)
    }

    fn compare_in_parallel(&self, file: &File, extents: &[Extent], range: Range<u64>) -> io::Result<Differences> {
        let next = AtomicUsize::new(0);
        let all = std::sync::Mutex::new(Ok(Differences::default()));
        self.in_parallel(|| {
            loop {
                let from = next.fetch_add(EXTENTS_AT_ONCE, Ordering::Relaxed);
                // The last part also has what follows all extents.
                if from > extents.len() || (from == extents.len() && from > 0) {
                    break;
                }
                let to = extents.len().min(from + EXTENTS_AT_ONCE);
                let start = if from == 0 { range.start } else { extents[from - 1].end() };
                let end = if to == extents.len() { range.end } else { extents[to - 1].end() };
                let part = self.compare(file, &extents[from..to], start..end);
                let mut all = all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match (&mut *all, part) {
                    (Ok(all), Ok(part)) => {
                        all.wrong.extend(part.wrong.into_iter().map(|at| at + from));
                        all.filled.extend(part.filled);
                    }
                    (Ok(_), Err(error)) => *all = Err(error),
                    (Err(_), _) => {}
                }
            }
        });
        all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends with a big file.
    pub(super) fn finish_big(&self, batch: &Batch, big: Big) {
        let item = &batch.items[0];
        match big {
            Big::Nothing => {}
            Big::Into { file, before: Some(found), differs } if !item.is(Flag::Failed) => {
                self.end_compared(batch, item, &file, &found, differs.into_inner());
            }
            Big::Into { file, .. } => self.finish(batch, item, Node::Open(file.as_fd())),
            Big::Look { file, before, differs } => {
                self.end_compared(batch, item, &file, &before, differs.into_inner());
            }
        }
    }

    /// Ends with a file whose content is right, or would be, and was not before if it `differs`.
    fn end_compared(&self, batch: &Batch, item: &Item, file: &File, found: &Found, differs: bool) {
        let node = Node::Open(file.as_fd());
        match item.wanted.differs(node, found) {
            Err(error) => self.fail_io(batch, item, error),
            Ok(false) if !differs => {
                self.report.files_unchanged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) if self.options.dry_run => self.would(batch, item, Change::Changed),
            Ok(_) => {
                item.mark(Flag::InPlace);
                self.finish(batch, item, node);
            }
        }
    }
}

impl Differences {
    fn is_empty(&self) -> bool {
        self.wrong.is_empty() && self.filled.is_empty()
    }
}

/// Fills the buffer from a place in a file; `false` when the file ends before.
fn read_range(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn kind_of(special: Special) -> Kind {
    match special {
        Special::Fifo => Kind::Fifo,
        Special::Socket => Kind::Socket,
        Special::CharacterDevice(device) => Kind::CharacterDevice(device),
        Special::BlockDevice(device) => Kind::BlockDevice(device),
    }
}

/// The error for a list of chunks that cannot be right.
pub(super) fn wrong_length(extent: &Extent) -> Error {
    Error::new(ErrorKind::Damaged, format!("blob {}", extent.id), "is not as long as what refers to it says")
}
