//! From the sorted paths of a snapshot to batches. Directories are made on the way.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use super::batch::{Batch, Body, Flag, Item, Names, Place, State};
use super::rows::{put_key, take_key};
use super::run::Run;
use super::select::{Chosen, Step, is_below, show};
use super::{Change, Overwrite};
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::progress::Event;
use crate::record::entry::{self, Content, Entry, XattrValue, name_of, parent_of};
use crate::record::{Extent, Extents, Subtree};
use crate::sorter::{Sorted, Sorter};
use crate::target::files::{Kind, Metadata, Node, Special, check_key};
use crate::tree::{KeyRange, Root, Walker};

/// Memory of a batch: with what is planned from it about 150,000 files.
const BATCH_BYTES: usize = 48 << 20;
/// A file of more chunks than this is restored by itself, so many at a time.
const CHUNKS_AT_ONCE: usize = 64 << 10;
/// Other names of one file that are kept in memory.
const NAMES_AT_ONCE: usize = 10_000;

/// Meets the paths in order.
pub(super) struct Gather<'a, 'r> {
    run: &'a Run<'r>,
    /// The directories from the target to the last path.
    levels: Vec<Level>,
    batch: Batch,
    /// Every directory with its row, for the end.
    directories: Sorter,
    /// Every path that has other names, with its row.
    linked: Sorter,
    /// Directories of other parts, from the top to the last path, of which nothing is done unless something is put there.
    passed: Vec<Passed>,
    /// The last path that is no directory: nothing can be below it.
    barrier: Option<Vec<u8>>,
    /// Something of the tree could not be read.
    is_partial: bool,
    /// Tell how many bytes there are once that is known.
    tells_total: bool,
}

struct Level {
    key: Vec<u8>,
    state: State,
    /// Its index in the batch, once something of it is there.
    index: Option<u32>,
}

/// A directory of another part.
struct Passed {
    key: Vec<u8>,
    value: Vec<u8>,
    included: bool,
}

/// Where a path went.
enum Placed {
    /// Into the batch, at this index.
    InBatch(usize),
    /// Onto the disk.
    Done,
    /// Nowhere; that has been told.
    Lost,
}

/// What the directories' rows say first.
pub(super) const WAS_THERE: u8 = 1;
pub(super) const IS_INCLUDED: u8 = 2;
pub(super) const IS_MINE: u8 = 4;

/// How often a directory is tried when another part of the restore makes it at the same moment.
const RACES: usize = 8;

impl<'a, 'r> Gather<'a, 'r> {
    pub(super) fn new(run: &'a Run<'r>, top: State, tells_total: bool) -> Self {
        let levels = vec![Level { key: Vec::new(), state: top, index: None }];
        let (directories, linked) = (Sorter::new(run.sorter()), Sorter::new(run.sorter()));
        Self {
            run,
            levels,
            batch: Batch::default(),
            directories,
            linked,
            passed: Vec::new(),
            barrier: None,
            is_partial: false,
            tells_total,
        }
    }

    /// Takes the next path.
    pub(super) fn step(&mut self, step: Step<'_>) -> Result<()> {
        self.run.report.go_on()?;
        let chosen = match step {
            Step::Chosen(chosen) => chosen,
            Step::Damaged(error) => {
                self.is_partial = true;
                self.run.report.damage(self.run.target(), &error);
                return Ok(());
            }
        };
        if let Err(why) = self.check(chosen.key, &chosen.entry) {
            self.is_partial = true;
            self.run.report.damage(self.run.target(), &Error::damaged(show(chosen.key), why));
            return Ok(());
        }
        while self.passed.pop_if(|last| !is_below(chosen.key, &last.key)).is_some() {}
        if !chosen.is_mine {
            let (key, value) = (chosen.key.to_vec(), chosen.value.to_vec());
            self.passed.push(Passed { key, value, included: chosen.included });
            return Ok(());
        }
        for Passed { key, value, included } in std::mem::take(&mut self.passed) {
            let entry = Entry::decode(&value).map_err(|why| Error::damaged(show(&key), why))?;
            self.directory(&Chosen { key: &key, value: &value, entry, included, is_mine: false })?;
        }
        if chosen.entry.is_directory() {
            return self.directory(&chosen);
        }
        self.barrier = Some(chosen.key.to_vec());
        match chosen.entry.link {
            None => self.item(chosen.key, chosen.entry).map(drop),
            Some(link) => {
                let mut row = Vec::with_capacity(32 + chosen.key.len() + chosen.value.len());
                row.extend_from_slice(&link.device.to_be_bytes());
                row.extend_from_slice(&chosen.entry.inode.to_be_bytes());
                put_key(chosen.key, &mut row);
                row.extend_from_slice(chosen.value);
                self.linked.push(&row)
            }
        }
    }

    /// Restores what is left, then everything that has several names. All directories with their rows, and whether
    /// everything could be read.
    pub(super) fn finish(mut self) -> Result<(Sorted, bool)> {
        if self.tells_total && self.linked.is_empty() {
            let total = self.run.report.bytes_total.load(Ordering::Relaxed);
            self.run.report.observer.event(Event::Stage { name: "restoring files", total: Some(total) });
        }
        self.flush()?;
        let linked = std::mem::replace(&mut self.linked, Sorter::new(self.run.sorter()));
        if !linked.is_empty() {
            let groups = by_first_name(linked.finish()?, Sorter::new(self.run.sorter()))?;
            self.linked(groups)?;
            self.flush()?;
        }
        Ok((self.directories.finish()?, self.is_partial))
    }

    /// Refuses what no file system can have had.
    fn check(&self, key: &[u8], entry: &Entry) -> Result<(), &'static str> {
        check_key(key)?;
        if key.is_empty() && !entry.is_directory() {
            return Err("the root is no directory");
        }
        match &self.barrier {
            Some(barrier) if is_below(key, barrier) => Err("lies in something that is no directory"),
            _ => Ok(()),
        }
    }

    fn directory(&mut self, chosen: &Chosen<'_>) -> Result<()> {
        let state = match chosen.key {
            b"" => self.levels[0].state,
            key => self.enter(key, false),
        };
        if matches!(state, State::New | State::Absent) && !chosen.key.is_empty() {
            self.run.report.change(Change::New, &self.run.path(chosen.key));
        }
        if state == State::Blocked {
            return Ok(());
        }
        let mut row = Vec::with_capacity(chosen.key.len() + chosen.value.len() + 8);
        put_key(chosen.key, &mut row);
        let was_there = if state == State::Old { WAS_THERE } else { 0 };
        let included = if chosen.included { IS_INCLUDED } else { 0 };
        row.push(was_there | included | if chosen.is_mine { IS_MINE } else { 0 });
        row.extend_from_slice(chosen.value);
        self.directories.push(&row)
    }

    /// Goes to a directory, making it and what leads to it.
    fn enter(&mut self, key: &[u8], implied: bool) -> State {
        while self
            .levels
            .last()
            .is_some_and(|level| !level.key.is_empty() && level.key != key && !is_below(key, &level.key))
        {
            self.levels.pop();
        }
        let top = self.levels.last().expect("the target itself is never left");
        if top.key == key {
            return top.state;
        }
        if let Some(parent) = parent_of(key).filter(|parent| *parent != top.key) {
            let parent = parent.to_vec();
            self.enter(&parent, true);
        }
        let parent = self.levels.last().expect("the target itself is never left").state;
        let state = self.make(key, parent, implied);
        self.levels.push(Level { key: key.to_vec(), state, index: None });
        state
    }

    fn make(&self, key: &[u8], parent: State, implied: bool) -> State {
        match parent {
            State::Blocked | State::Absent => return parent,
            State::New | State::Old => {}
        }
        let mut made = self.try_make(key, parent, implied);
        for _ in 0..RACES {
            match &made {
                Err(error) if self.run.options.shard.is_some() && is_race(error) => {
                    made = self.try_make(key, parent, implied);
                }
                _ => break,
            }
        }
        match made {
            Ok(state) => state,
            Err(error) => {
                self.run.report.failed(&self.run.path(key), "", error);
                State::Blocked
            }
        }
    }

    fn try_make(&self, key: &[u8], parent: State, implied: bool) -> io::Result<State> {
        let run = self.run;
        let Some(directory) = run.directory(parent_of(key).unwrap_or_default())? else { return Ok(State::Absent) };
        let name = name_of(key);
        if parent == State::New && !run.options.dry_run {
            match directory.create_directory(name, implied) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| State::New),
            }
        }
        match directory.find(name)? {
            Some(found) if found.kind == Kind::Directory => {
                if !run.options.dry_run && !run.is_root && found.mode & 0o700 != 0o700 {
                    Node::Named(&directory, name, found.kind).chmod(found.mode | 0o700)?;
                }
                return Ok(State::Old);
            }
            Some(_) if run.options.overwrite == Overwrite::Never => {
                run.report.problem(&run.path(key), "is no directory, and nothing is to be overwritten");
                return Ok(State::Blocked);
            }
            Some(_) if run.options.dry_run => return Ok(State::Absent),
            Some(_) => directory.remove(name)?,
            None if run.options.dry_run => return Ok(State::Absent),
            None => {}
        }
        directory.create_directory(name, implied)?;
        // What the directory above hands down must not be handed down further, nor stay.
        let made = directory.directory(name)?.open_whole()?;
        Node::Open(made.as_fd()).remove_acls()?;
        Ok(State::New)
    }

    /// Adds a path to the batch.
    fn item(&mut self, key: &[u8], entry: Entry) -> Result<Placed> {
        let size = entry.size();
        self.run.report.bytes_total.fetch_add(size, Ordering::Relaxed);
        let directory = parent_of(key).unwrap_or_default();
        if self.enter(directory, true) == State::Blocked {
            self.run.report.files_skipped.fetch_add(1, Ordering::Relaxed);
            self.run.leave_out(key);
            return Ok(Placed::Lost);
        }
        let wanted = self.run.metadata(key, &entry);
        let body = match entry.body {
            entry::Body::File { content: Content::Inline(bytes), .. } => Body::Small(bytes),
            entry::Body::File { size, content: Content::Extents(extents) } => Body::File { size, extents },
            entry::Body::File { size, content: Content::Tree(tree) } => {
                if tree.records > CHUNKS_AT_ONCE as u64 {
                    return self.big(key, size, tree, wanted);
                }
                match self.extents(tree, size) {
                    Ok(extents) => Body::File { size, extents },
                    Err(error) => {
                        self.run.report.unreadable(&self.run.path(key), error);
                        self.run.leave_out(key);
                        return Ok(Placed::Lost);
                    }
                }
            }
            entry::Body::Symlink { target } => Body::Symlink(target),
            entry::Body::Fifo => Body::Special(Special::Fifo),
            entry::Body::Socket => Body::Special(Special::Socket),
            entry::Body::CharacterDevice { device } => Body::Special(Special::CharacterDevice(device)),
            entry::Body::BlockDevice { device } => Body::Special(Special::BlockDevice(device)),
            entry::Body::Directory => return Ok(Placed::Lost),
        };
        if self.batch.weight >= BATCH_BYTES {
            self.flush()?;
        }
        let directory = self.place();
        let item = Item::new(directory, name_of(key), body, wanted);
        self.batch.weight += item.weight();
        self.batch.items.push(item);
        Ok(Placed::InBatch(self.batch.items.len() - 1))
    }

    /// The index in the batch of the directory entered last.
    fn place(&mut self) -> u32 {
        let level = self.levels.last_mut().expect("the target itself is never left");
        if let Some(index) = level.index {
            return index;
        }
        let index = u32::try_from(self.batch.directories.len()).expect("a batch is limited to far fewer directories");
        self.batch.weight += size_of::<Place>() + level.key.len();
        self.batch.directories.push(Place { key: level.key.clone(), state: level.state });
        level.index = Some(index);
        index
    }

    /// A file of very many chunks, by itself. It is no longer in the batch when this returns.
    fn big(&mut self, key: &[u8], size: u64, tree: Subtree, wanted: Metadata) -> Result<Placed> {
        self.flush()?;
        let directory = self.place();
        let body = Body::File { size, extents: Vec::new() };
        self.batch.items.push(Item::new(directory, name_of(key), body, wanted));
        let run = self.run;
        let parameters = run.reader.repository().tree_parameters(&Extents);
        let mut walker = Walker::new(&run.reader, &parameters, &Root::from(tree), KeyRange::all())?;
        let (mut reached, mut ended) = (0, false);
        let big = run.begin_big(&self.batch);
        while big.is_wanted() && !ended {
            let mut extents = Vec::new();
            let start = reached;
            while extents.len() < CHUNKS_AT_ONCE && !ended {
                let leaf = walker.next_leaf().and_then(|leaf| {
                    ended = leaf.is_none();
                    leaf.map_or(Ok(()), |(node, rows)| {
                        rows.map(|row| Extent::decode(node.rows.key(row), node.rows.value(row)))
                            .try_for_each(|extent| take_extent(extent, size, &mut reached, &mut extents))
                    })
                });
                if let Err(error) = leaf {
                    ended = true;
                    run.fail(&self.batch, &self.batch.items[0], error);
                }
            }
            let end = if ended { size } else { reached };
            self.batch.items[0].body = Body::File { size, extents };
            run.portion(&self.batch, &big, start..end)?;
        }
        run.finish_big(&self.batch, big);
        let placed = if self.batch.items[0].is(Flag::Failed) { Placed::Lost } else { Placed::Done };
        self.reset();
        run.report.go_on().map(|()| placed)
    }

    fn extents(&self, tree: Subtree, size: u64) -> Result<Vec<Extent>> {
        let parameters = self.run.reader.repository().tree_parameters(&Extents);
        let mut walker = Walker::new(&self.run.reader, &parameters, &Root::from(tree), KeyRange::all())?;
        let (mut reached, mut extents) = (0, Vec::new());
        while let Some((key, value)) = walker.next_record()? {
            take_extent(Extent::decode(key, value), size, &mut reached, &mut extents)?;
        }
        Ok(extents)
    }

    /// Names of the same inode follow each other, the first with its row.
    fn linked(&mut self, mut groups: Sorted) -> Result<()> {
        let mut first: Option<(Vec<u8>, Placed)> = None;
        while let Some(row) = groups.next()? {
            self.run.report.go_on()?;
            let (group, rest) = take_key(row);
            let (key, value) = take_key(rest);
            let Some((_, placed)) = first.as_mut().filter(|(known, _)| *known == group) else {
                let entry = Entry::decode(value).map_err(|why| Error::damaged(show(&key), why))?;
                let placed = self.item(&key, entry)?;
                first = Some((group, placed));
                continue;
            };
            match *placed {
                Placed::Lost => self.run.lost_name(&group, &key),
                Placed::Done => self.run.link(&group, &key),
                Placed::InBatch(number) => {
                    self.batch.weight += key.len() + 48;
                    match self.batch.links.last_mut() {
                        Some(names) if names.item == number => names.keys.push(key),
                        _ => self.batch.links.push(Names { item: number, keys: vec![key] }),
                    }
                    if self.batch.links.last().is_some_and(|names| names.keys.len() >= NAMES_AT_ONCE) {
                        self.restore()?;
                        let failed = self.batch.items[number].is(Flag::Failed);
                        *placed = if failed { Placed::Lost } else { Placed::Done };
                        self.reset();
                    }
                }
            }
        }
        Ok(())
    }

    fn restore(&self) -> Result<()> {
        if !self.batch.items.is_empty() {
            self.run.restore(&self.batch)?;
        }
        self.run.report.go_on()
    }

    fn flush(&mut self) -> Result<()> {
        self.restore()?;
        self.reset();
        Ok(())
    }

    fn reset(&mut self) {
        self.batch = Batch::default();
        self.levels.iter_mut().for_each(|level| level.index = None);
    }
}

/// Whether somebody else did the same, or removed the same, between a look and the step after it.
fn is_race(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, IsADirectory, NotFound};
    matches!(error.kind(), AlreadyExists | IsADirectory | NotFound)
}

/// Adds an extent that follows those before it and ends within the file.
pub(super) fn take_extent(
    extent: Result<Extent, DecodeError>,
    size: u64,
    reached: &mut u64,
    extents: &mut Vec<Extent>,
) -> Result<()> {
    let extent = extent.map_err(|why| Error::damaged("list of chunks", why))?;
    if extent.offset < *reached || extent.end() > size {
        return Err(Error::new(ErrorKind::Damaged, "list of chunks", "overlaps itself or the end of the file"));
    }
    *reached = extent.end();
    extents.push(extent);
    Ok(())
}

/// From rows by device and inode to rows by the first name of each inode: that name, then the name of the row, then the
/// entry, of the first one alone.
fn by_first_name(mut linked: Sorted, mut sorter: Sorter) -> Result<Sorted> {
    let (mut inode, mut first) = (Vec::new(), Vec::new());
    let mut out = Vec::new();
    while let Some(row) = linked.next()? {
        let (number, rest) = row.split_at(16);
        let (key, value) = take_key(rest);
        let is_first = first.is_empty() || inode != number;
        if is_first {
            inode = number.to_vec();
            first.clone_from(&key);
        }
        out.clear();
        put_key(&first, &mut out);
        put_key(&key, &mut out);
        out.extend_from_slice(if is_first { value } else { &[] });
        sorter.push(&out)?;
    }
    sorter.finish()
}

impl Run<'_> {
    /// What a path is to have besides its content. Attributes that cannot be read are told, and left out.
    pub(super) fn metadata(&self, key: &[u8], entry: &Entry) -> Metadata {
        let mut xattrs = Vec::with_capacity(entry.xattrs.len());
        for xattr in &entry.xattrs {
            let value = match &xattr.value {
                XattrValue::Inline(value) => value.clone(),
                XattrValue::Chunk(id) => match self.reader.chunk(*id) {
                    Ok(value) => value.to_vec(),
                    Err(error) => {
                        self.report.unreadable(&self.path(key), error);
                        continue;
                    }
                },
            };
            xattrs.push((xattr.name.clone(), value));
        }
        let (uid, gid) = (entry.owner.uid, entry.owner.gid);
        Metadata { mode: entry.mode, uid, gid, mtime: entry.mtime, atime: entry.atime, xattrs }
    }
}
