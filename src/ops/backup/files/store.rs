//! The thread that decides: the walk beside the parents' rows, what must be read to the pool, every row in order to the tree.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;

use super::chunks::Cutter;
use super::extents::ExtentList;
use super::figures::{Change, Figures};
use super::like::Resemblance;
use super::links::{Links, Name};
use super::parents::Parents;
use super::read::{self, Answers, Pool, Read, Streamed, Task};
use super::same::{self, Same};
use super::{FILES, FilesSource, entry};
use crate::error::{Error, Result};
use crate::format::Snapshot;
use crate::ops::backup::run::Run;
use crate::ops::mark;
use crate::progress::Event;
use crate::record::entry::{Body, Content, Entry, Head, path_of_key};
use crate::record::{Entries, Extents, RecordKind, Reference};
use crate::repository::{Reader, Writer};
use crate::source::files::{Found, Kind, Names, Options, Patterns, Stat, Step, Walk};
use crate::tree::{Builder, Pushed, Root, TreeParameters};

/// Files of a batch for the pool, at most.
const BATCH_TASKS: usize = 64;
/// Bytes of the files of a batch, roughly.
const BATCH_BYTES: u64 = 1 << 20;
/// A batch is handed over when so many paths wait behind its first, even if it is not full.
const BATCH_WAIT: usize = 256;
/// Bytes of files and rows that may wait for what stands before them.
const PENDING_BYTES: u64 = 16 << 20;
/// What a waiting path takes beside its row.
const PENDING_OVERHEAD_BYTES: u64 = 256;
/// So often, in paths or in bytes, it is looked whether progress is to be told or a partial snapshot to be saved.
const PATHS_PER_TICK: u64 = 512;
const BYTES_PER_TICK: u64 = 8 << 20;
/// How many skipped paths a snapshot names.
const SKIPPED_NAMED: usize = 1000;

/// What was stored.
pub(super) struct Done {
    pub(super) root: Root,
    pub(super) figures: Figures,
    pub(super) removed: u64,
    pub(super) skipped: Vec<(String, String)>,
    pub(super) skipped_count: u64,
}

pub(super) fn store(
    run: &mut Run<'_>,
    source: &FilesSource,
    parents: (Option<&Snapshot>, Option<&Snapshot>),
) -> Result<Done> {
    let repository = run.writer.repository().clone();
    let reader = run.writer.reader().clone();
    let (entries, extents) = (repository.tree_parameters(&Entries), repository.tree_parameters(&Extents));
    run.writer.resemble(&entries, &root_of(parents.1.or(parents.0)));
    let parents = Parents::new(&reader, &entries, parents, run.observer)?;
    let cutter = Cutter { chunker: run.writer.chunker().clone(), keys: repository.keys().clone() };
    let walk = Walk::new(&source.paths, &source.options)?;
    let pages = Patterns::new(&[], &source.options.page_files, &[])?;
    let pool = Pool::start(&cutter, threads(run.options.read_concurrency), Arc::new(pages));
    let mut storing = Storing {
        large_bytes: cutter.chunker.sizes().max_bytes as u64,
        run,
        paths_given: &source.paths,
        options: &source.options,
        parents,
        reader: &reader,
        extents: &extents,
        builder: Builder::new(&entries),
        pool,
        links: Links::default(),
        names: Names::new(),
        pending: VecDeque::new(),
        pending_bytes: 0,
        tasks: Vec::new(),
        tasks_bytes: 0,
        tasks_since: 0,
        batches: VecDeque::new(),
        answers: Vec::new().into_iter(),
        figures: Figures::default(),
        skipped: Vec::new(),
        skipped_count: 0,
        row: Vec::new(),
        references: Vec::new(),
        paths: 0,
        bytes: 0,
        ticked: (0, 0),
    };
    for step in walk {
        storing.step(step)?;
        storing.settle(PENDING_BYTES)?;
    }
    storing.submit()?;
    while storing.settle_first(Wait::Yes)? {}
    storing.finish()
}

/// The tree of files of a snapshot; an empty one if there is none.
fn root_of(snapshot: Option<&Snapshot>) -> Root {
    let root = snapshot.and_then(|snapshot| snapshot.roots.iter().find(|root| root.name == FILES));
    root.map_or_else(|| Root::empty(Entries.code()), mark::root)
}

fn threads(wanted: Option<NonZero<usize>>) -> NonZero<usize> {
    wanted.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN)
}

/// All that a backup of files has at hand.
struct Storing<'a, 'r> {
    run: &'a mut Run<'r>,
    paths_given: &'a [PathBuf],
    options: &'a Options,
    parents: Parents<'a>,
    reader: &'a Reader,
    extents: &'a TreeParameters,
    builder: Builder,
    pool: Pool,
    links: Links,
    names: Names,
    /// Files of more bytes than this are not read as a whole.
    large_bytes: u64,
    /// Paths in order whose rows are not in the tree yet.
    pending: VecDeque<Pending>,
    pending_bytes: u64,
    /// The batch that is being gathered.
    tasks: Vec<Task>,
    tasks_bytes: u64,
    tasks_since: usize,
    /// Batches handed over, in order, and the rest of the one before them.
    batches: VecDeque<Receiver<Answers>>,
    answers: std::vec::IntoIter<io::Result<Read>>,
    figures: Figures,
    skipped: Vec<(String, String)>,
    skipped_count: u64,
    /// Memory to use again.
    row: Vec<u8>,
    references: Vec<Reference>,
    /// Paths and bytes stored, and what they were at the last tick.
    paths: u64,
    bytes: u64,
    ticked: (u64, u64),
}

struct Pending {
    key: Vec<u8>,
    bytes: u64,
    what: What,
}

enum What {
    /// The parent's row.
    Row { row: Vec<u8>, kind: Kind, size: u64 },
    /// The pool reads it.
    Read {
        /// The parent's row.
        old: Option<Vec<u8>>,
        /// Whether its content is taken from there.
        keep_content: bool,
        /// Whether it is the first name of several.
        first_name: bool,
        /// Whether it only leads to what was asked for.
        leads: bool,
    },
    /// Another name of a file before it.
    Name { found: Found, last: bool, old: Option<Vec<u8>> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

impl Storing<'_, '_> {
    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Found(found) => self.found(found),
            Step::Problem { path, error } => {
                self.problem(&path, &error);
                Ok(())
            }
        }
    }

    /// Takes over the parent's row of an unchanged path; has everything else read.
    fn found(&mut self, found: Found) -> Result<()> {
        let parent = self.parents.find(&found.key)?;
        let mut old = None;
        let mut keep_content = false;
        if let Some(row) = parent {
            let head = Head::parse(row.value).map_err(|e| Error::damaged(found.path.display(), e))?;
            let same = same::compare(&found, &head, row.began, self.options);
            let known = same != Same::Nothing && is_known(&self.run.writer, &head, &mut self.references)?;
            if known && same == Same::All {
                let (kind, size) = (found.stat.kind, found.stat.size);
                if self.pending.is_empty() {
                    self.figures.count(kind, size, Change::Unmodified);
                    let _: Pushed = self.builder.push(&mut self.run.writer, &found.key, row.value)?;
                    return self.tick(1, size);
                }
                let row = row.value.to_vec();
                self.wait(found.key, row.len() as u64, What::Row { row, kind, size });
                return Ok(());
            }
            keep_content = known;
            old = Some(row.value.to_vec());
        }
        let mut first_name = false;
        if found.stat.kind == Kind::File && found.stat.links > 1 {
            match self.links.meet(&found.stat) {
                Name::Another { last } => {
                    self.wait(found.key.clone(), 0, What::Name { found, last, old });
                    return Ok(());
                }
                Name::First => first_name = true,
                Name::Unknown => {}
            }
        }
        self.read(found, old, keep_content, first_name)
    }

    fn read(&mut self, found: Found, old: Option<Vec<u8>>, keep_content: bool, first_name: bool) -> Result<()> {
        let content = found.stat.kind == Kind::File && !keep_content;
        let leads = found.leads;
        let large = content && found.stat.size > self.large_bytes;
        let bytes = if content && !large { found.stat.size } else { 0 };
        if self.tasks.is_empty() {
            self.tasks_since = 0;
        }
        self.wait(found.key.clone(), bytes, What::Read { old, keep_content, first_name, leads });
        self.tasks.push(Task { found, content });
        self.tasks_bytes += bytes;
        if large || self.tasks.len() >= BATCH_TASKS || self.tasks_bytes >= BATCH_BYTES {
            self.submit()?;
        }
        Ok(())
    }

    fn wait(&mut self, key: Vec<u8>, bytes: u64, what: What) {
        let bytes = bytes + key.len() as u64 + PENDING_OVERHEAD_BYTES;
        self.pending_bytes += bytes;
        self.tasks_since += 1;
        self.pending.push_back(Pending { key, bytes, what });
    }

    /// Hands the gathered batch over.
    fn submit(&mut self) -> Result<()> {
        if !self.tasks.is_empty() {
            self.tasks_bytes = 0;
            self.batches.push_back(self.pool.submit(std::mem::take(&mut self.tasks))?);
        }
        Ok(())
    }

    /// Stores what waits as far as it was read, and until no more than `limit` bytes wait.
    fn settle(&mut self, limit: u64) -> Result<()> {
        if !self.tasks.is_empty() && self.tasks_since >= BATCH_WAIT {
            self.submit()?;
        }
        while self.settle_first(if self.pending_bytes > limit { Wait::Yes } else { Wait::No })? {}
        Ok(())
    }

    /// Stores the first path that waits; `false` if there is none, or it was not read yet and is not to be waited for.
    fn settle_first(&mut self, wait: Wait) -> Result<bool> {
        let Some(first) = self.pending.front() else { return Ok(false) };
        if matches!(first.what, What::Read { .. }) && !self.has_answer(wait)? {
            return Ok(false);
        }
        let Some(Pending { key, bytes, what }) = self.pending.pop_front() else { return Ok(false) };
        self.pending_bytes -= bytes;
        match what {
            What::Row { row, kind, size } => {
                self.figures.count(kind, size, Change::Unmodified);
                let _: Pushed = self.builder.push(&mut self.run.writer, &key, &row)?;
                self.tick(1, size)?;
            }
            What::Read { old, keep_content, first_name, leads } => {
                let answer = self.answers.next().ok_or_else(read::ended)?;
                self.was_read(&key, answer, old, keep_content, first_name, leads)?;
            }
            What::Name { found, last, old } => self.another_name(found, last, old)?,
        }
        Ok(true)
    }

    /// Whether the answer to the first task is here.
    fn has_answer(&mut self, wait: Wait) -> Result<bool> {
        while self.answers.as_slice().is_empty() {
            if self.batches.is_empty() {
                if wait == Wait::No {
                    return Ok(false);
                }
                self.submit()?;
            }
            let batch = self.batches.front().ok_or_else(read::ended)?;
            let answers = match wait {
                Wait::Yes => batch.recv().map_err(|_| read::ended())?,
                Wait::No => match batch.try_recv() {
                    Ok(answers) => answers,
                    Err(TryRecvError::Empty) => return Ok(false),
                    Err(TryRecvError::Disconnected) => return Err(read::ended()),
                },
            };
            self.batches.pop_front();
            self.answers = answers.into_iter();
        }
        Ok(true)
    }

    fn was_read(
        &mut self,
        key: &[u8],
        answer: io::Result<Read>,
        old: Option<Vec<u8>>,
        keep_content: bool,
        first_name: bool,
        leads: bool,
    ) -> Result<()> {
        let path = || path_of_key(key);
        let mut read = match answer {
            Ok(read) => read,
            Err(error) => {
                self.problem(&path(), &error);
                return Ok(());
            }
        };
        let old_content = old.as_deref().and_then(|row| Entry::decode(row).ok()).and_then(|entry| match entry.body {
            Body::File { content, .. } => Some(content),
            _ => None,
        });
        let content = match std::mem::replace(&mut read.content, read::Content::None) {
            read::Content::None if keep_content => old_content,
            read::Content::None => None,
            read::Content::Inline(bytes) => {
                self.figures.bytes_read += bytes.len() as u64;
                Some(Content::Inline(bytes))
            }
            read::Content::Pieces(pieces) => {
                let mut like = old_content.and_then(|content| Resemblance::new(content, self.reader, self.extents));
                let mut list = ExtentList::default();
                for piece in pieces {
                    self.figures.bytes_read += piece.bytes.len() as u64;
                    let like = like.as_mut().and_then(|like| like.to(&piece));
                    list.push(&mut self.run.writer, piece, like)?;
                }
                Some(list.finish(&mut self.run.writer, read.stat.size)?)
            }
            read::Content::Stream(pieces) => match self.streamed(&pieces, old_content)? {
                Ok((stat, changed, content)) => {
                    (read.stat, read.changed) = (stat, changed);
                    Some(content)
                }
                Err(error) => {
                    self.problem(&path(), &error);
                    return Ok(());
                }
            },
        };
        if read.changed {
            self.skip(&path(), "changed each time it was read; stored as it was read last");
        }
        let size = read.stat.size;
        let stat = read.stat.clone();
        let row = match (self.row_of(read, content)?, &old) {
            (row, Some(old)) if leads && is_but_for_times(&row, old) => old.clone(),
            (row, _) => row,
        };
        let change = match &old {
            None => Change::New,
            Some(old) if *old == row => Change::Unmodified,
            Some(_) => Change::Changed,
        };
        self.figures.count(stat.kind, size, change);
        if first_name {
            self.links.read(&stat, &row);
        }
        let _: Pushed = self.builder.push(&mut self.run.writer, key, &row)?;
        self.row = row;
        self.tick(1, size)
    }

    /// Stores a large file as its pieces come.
    fn streamed(
        &mut self,
        pieces: &Receiver<Streamed>,
        old: Option<Content>,
    ) -> Result<io::Result<(Stat, bool, Content)>> {
        let older = match &old {
            Some(Content::Tree(tree)) => Root::from(tree.clone()),
            _ => Root::empty(Extents.code()),
        };
        self.run.writer.resemble(self.extents, &older);
        let mut like = old.and_then(|content| Resemblance::new(content, self.reader, self.extents));
        let mut list = ExtentList::default();
        let before = self.bytes;
        loop {
            match pieces.recv().map_err(|_| read::ended())? {
                Streamed::Piece(piece) => {
                    let bytes = piece.bytes.len() as u64;
                    self.figures.bytes_read += bytes;
                    let like = like.as_mut().and_then(|like| like.to(&piece));
                    list.push(&mut self.run.writer, piece, like)?;
                    self.tick(0, bytes)?;
                }
                Streamed::Again => {
                    list = ExtentList::default();
                    like.iter_mut().for_each(Resemblance::again);
                    self.rewind(before);
                }
                Streamed::End(end) => {
                    // The file counts when its row does.
                    self.rewind(before);
                    let (stat, changed) = match end {
                        Ok(end) => end,
                        Err(error) => return Ok(Err(error)),
                    };
                    let content = list.finish(&mut self.run.writer, stat.size)?;
                    return Ok(Ok((stat, changed, content)));
                }
            }
        }
    }

    /// The row of what was read.
    fn row_of(&mut self, read: Read, content: Option<Content>) -> Result<Vec<u8>> {
        let owner = self.names.owner(read.stat.uid, read.stat.gid);
        let mut chunks = Vec::new();
        let keys = self.run.writer.repository().keys().clone();
        let with_atime = self.options.with_atime;
        let entry = entry::entry(&read.stat, read.metadata, owner, content, with_atime, &keys, &mut chunks);
        for (id, value) in chunks {
            self.run.writer.write_hashed_chunk(id, value, None)?;
        }
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        entry.encode_to(&mut row);
        Ok(row)
    }

    /// Gives another name of a file the row of the first, if that still holds.
    fn another_name(&mut self, found: Found, last: bool, old: Option<Vec<u8>>) -> Result<()> {
        let row = self.links.take(&found.stat, last);
        let row = row.filter(|row| Head::parse(row).is_ok_and(|head| same::is_same_inode(&found, &head)));
        let Some(row) = row else {
            let key = found.key.clone();
            let answer = self.pool.read_now(Task { found, content: true });
            let read = answer.recv().ok().and_then(|answers| answers.into_iter().next()).ok_or_else(read::ended)?;
            return self.was_read(&key, read, old, false, false, false);
        };
        let change = match &old {
            None => Change::New,
            Some(old) if *old == row => Change::Unmodified,
            Some(_) => Change::Changed,
        };
        self.figures.count(found.stat.kind, found.stat.size, change);
        let _: Pushed = self.builder.push(&mut self.run.writer, &found.key, &row)?;
        self.tick(1, found.stat.size)
    }

    /// So much more was stored: tells it, and saves a partial snapshot when it is time.
    fn tick(&mut self, paths: u64, bytes: u64) -> Result<()> {
        self.paths += paths;
        self.bytes += bytes;
        let (paths_before, bytes_before) = self.ticked;
        if self.paths - paths_before < PATHS_PER_TICK && self.bytes.saturating_sub(bytes_before) < BYTES_PER_TICK {
            return Ok(());
        }
        self.ticked = (self.paths, self.bytes);
        self.run.observer.event(Event::Files { files: self.figures.files(), bytes: self.bytes });
        let builder = &self.builder;
        self.run.maybe_partial(|writer| Ok(vec![mark::named(FILES, builder.checkpoint(writer)?, Vec::new())]))
    }

    /// Bytes that were told of do not count after all.
    fn rewind(&mut self, bytes: u64) {
        self.bytes = bytes;
        self.ticked.1 = self.ticked.1.min(bytes);
    }

    /// A path that could not be read; one that was found and is gone by now is only mentioned: there is nothing to be missed.
    fn problem(&mut self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound && self.paths_given.iter().all(|given| given != path) {
            let message = format!("{}: vanished while the backup ran", path.display());
            self.run.observer.event(Event::Note(&message));
            return;
        }
        self.skip(path, &error.to_string());
    }

    fn skip(&mut self, path: &Path, message: &str) {
        let path = path.display().to_string();
        self.run.observer.event(Event::Problem { object: &path, message });
        self.skipped_count += 1;
        if self.skipped.len() < SKIPPED_NAMED {
            self.skipped.push((path, message.to_owned()));
        }
    }

    fn finish(self) -> Result<Done> {
        self.run.observer.event(Event::Files { files: self.figures.files(), bytes: self.bytes });
        Ok(Done {
            root: self.builder.finish(&mut self.run.writer)?,
            figures: self.figures,
            removed: self.parents.removed()?,
            skipped: self.skipped,
            skipped_count: self.skipped_count,
        })
    }
}

/// Whether two rows differ in nothing but times and inodes. Those of a directory that only leads to what was asked for change
/// with files that nobody asked for, as in `/tmp`, and are no reason for a new tree.
fn is_but_for_times(row: &[u8], old: &[u8]) -> bool {
    let (Ok(new), Ok(old)) = (Entry::decode(row), Entry::decode(old)) else { return false };
    let atime = new.atime.and(old.atime);
    Entry { mtime: old.mtime, ctime: old.ctime, atime, inode: old.inode, ..new } == old
}

/// Whether what an entry refers to is still known, so that a repository that has lost some of it gets it again.
fn is_known(writer: &Writer, head: &Head<'_>, references: &mut Vec<Reference>) -> Result<bool> {
    references.clear();
    head.references(references).map_err(|e| Error::damaged("entry", e))?;
    Ok(references.iter().all(|reference| match reference {
        Reference::Chunk(id) | Reference::List(id) => writer.is_known(id),
        Reference::Tree(tree) => writer.is_known(&tree.id),
    }))
}
