//! Threads that read what has changed: metadata, and the content of files cut into chunks with their ids.

use std::io;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;

use super::chunks::{Cutter, Cutting, Piece, Stop};
use crate::chunker::{PageRuns, STRUCTURE_HEAD_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::record::entry::INLINE_CONTENT_MAX;
use crate::source::files::{Found, Kind, Metadata, Patterns, Reading, Stat};

/// How often a file is read that changes meanwhile.
const ATTEMPTS: usize = 3;
/// Bytes of pieces of large files that may wait, all together.
const WAITING_BYTES: usize = 16 << 20;

/// A path of which more is to be known than its stat.
pub(super) struct Task {
    pub(super) found: Found,
    /// Whether its content is to be read, if it is a file.
    pub(super) content: bool,
}

/// What was read of a path.
pub(super) struct Read {
    /// Its stat, of when it was read.
    pub(super) stat: Stat,
    pub(super) metadata: Metadata,
    pub(super) content: Content,
    /// Whether it changed each time it was read.
    pub(super) changed: bool,
}

/// What was read of a file's content.
pub(super) enum Content {
    /// Nothing: not asked for, or not a file.
    None,
    /// All of it, short enough to be part of the entry.
    Inline(Vec<u8>),
    /// All of it.
    Pieces(Vec<Piece>),
    /// Its pieces will come.
    Stream(Receiver<Streamed>),
}

/// A part of a large file.
pub(super) enum Streamed {
    /// The next piece.
    Piece(Piece),
    /// What came so far does not count: the file has changed and is read again.
    Again,
    /// That was all, of a file with this stat; whether it changed each time it was read.
    End(io::Result<(Stat, bool)>),
}

/// What became of the tasks of a batch, in their order.
pub(super) type Answers = Vec<io::Result<Read>>;

/// Threads that take batches in the order in which they were handed over.
///
/// They end when this and all that they answer to are dropped.
pub(super) struct Pool {
    jobs: Sender<Job>,
    reader: FileReader,
}

struct Job {
    tasks: Vec<Task>,
    answers: SyncSender<Answers>,
}

impl Pool {
    /// Files that `pages` matches are cut at pages, whatever they look like.
    pub(super) fn start(cutter: &Cutter, threads: NonZero<usize>, pages: Arc<Patterns>) -> Self {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let waiting = WAITING_BYTES / threads / cutter.chunker.sizes().max_bytes;
        let reader = FileReader { cutter: cutter.clone(), waiting: waiting.clamp(1, 8), pages };
        for _ in 0..threads.get() {
            let (queue, reader) = (Arc::clone(&queue), reader.clone());
            thread::spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = next else { return };
                    reader.work(job);
                }
            });
        }
        Self { jobs, reader }
    }

    /// Hands over a batch. Answers must be received in the order of batches, each with its streams.
    pub(super) fn submit(&self, tasks: Vec<Task>) -> Result<Receiver<Answers>> {
        let (answers, receiver) = sync_channel(1);
        self.jobs.send(Job { tasks, answers }).map_err(|_| ended())?;
        Ok(receiver)
    }

    /// Has a path read out of turn, which those in turn cannot hold up.
    pub(super) fn read_now(&self, task: Task) -> Receiver<Answers> {
        let (answers, receiver) = sync_channel(1);
        let reader = self.reader.clone();
        thread::spawn(move || reader.work(Job { tasks: vec![task], answers }));
        receiver
    }
}

/// The error that a reading thread is no more; it has panicked.
pub(super) fn ended() -> Error {
    Error::new(ErrorKind::Failed, "", "the reading threads have ended")
}

#[derive(Clone)]
struct FileReader {
    cutter: Cutter,
    /// Pieces of a large file that may wait.
    waiting: usize,
    pages: Arc<Patterns>,
}

/// A large file that is read after the rest of its batch.
struct Large {
    found: Found,
    reading: Reading,
    pieces: SyncSender<Streamed>,
}

impl FileReader {
    fn work(&self, job: Job) {
        let mut large = Vec::new();
        let answers = job.tasks.into_iter().map(|task| self.read(task, &mut large)).collect();
        // Nobody waits for answers or pieces after an error elsewhere.
        if job.answers.send(answers).is_ok() {
            for file in large {
                self.stream(file);
            }
        }
    }

    fn read(&self, Task { mut found, content }: Task, large: &mut Vec<Large>) -> io::Result<Read> {
        if found.stat.kind != Kind::File || !content {
            let metadata = Metadata::read(&found)?;
            return Ok(Read { stat: found.stat, metadata, content: Content::None, changed: false });
        }
        let mut attempt = 1;
        loop {
            let mut reading = match Reading::open(&found) {
                Ok(reading) => reading,
                Err(error) => match successor(&found) {
                    Some(stat) if attempt < ATTEMPTS => {
                        (found.stat, attempt) = (stat, attempt + 1);
                        continue;
                    }
                    _ => return Err(error),
                },
            };
            let metadata = Metadata::read(&found)?;
            if !self.is_small(&reading)? {
                let (pieces, receiver) = sync_channel(self.waiting);
                let stat = reading.stat().clone();
                large.push(Large { found, reading, pieces });
                return Ok(Read { stat, metadata, content: Content::Stream(receiver), changed: false });
            }
            let mut bytes = Vec::new();
            reading.read_whole(&mut bytes)?;
            let mut stat = reading.stat().clone();
            let changed = bytes.len() as u64 != stat.size || reading.has_changed()?;
            if changed && attempt < ATTEMPTS {
                attempt += 1;
                continue;
            }
            // One byte more than there was says that the file has grown.
            bytes.truncate(usize::try_from(stat.size).unwrap_or(usize::MAX));
            stat.size = bytes.len() as u64;
            let content = match bytes.len() {
                0..=INLINE_CONTENT_MAX => Content::Inline(bytes),
                _ => {
                    let cutting = self.cutting(&found, &bytes, stat.size);
                    Content::Pieces(self.cutter.whole(&Bytes::from(bytes), cutting))
                }
            };
            return Ok(Read { stat, metadata, content, changed });
        }
    }

    /// Whether a file is read whole: no longer than a chunk, and without holes that would have to be kept.
    fn is_small(&self, reading: &Reading) -> io::Result<bool> {
        let size = reading.stat().size;
        let short = size <= self.cutter.chunker.sizes().max_bytes as u64;
        Ok(size <= INLINE_CONTENT_MAX as u64 || short && reading.data_from(0)? == Some(0..size))
    }

    /// How a file that begins like this is cut.
    fn cutting(&self, found: &Found, head: &[u8], size: u64) -> Cutting {
        match self.pages.matches(&found.path, false) {
            true => Cutting::Pages(PageRuns::new()),
            false => Cutting::of(head, size),
        }
    }

    fn stream(&self, Large { found, mut reading, pieces }: Large) {
        let mut attempt = 1;
        let end = loop {
            let size = match self.pieces(&found, &reading, &pieces) {
                Ok(size) => size,
                Err(Stop::Io(error)) => break Err(error),
                Err(Stop::Gone) => return,
            };
            let mut stat = reading.stat().clone();
            let changed = match reading.has_changed() {
                Ok(changed) => changed || size != stat.size,
                Err(error) => break Err(error),
            };
            if changed && attempt < ATTEMPTS {
                attempt += 1;
                reading = match Reading::open(&found) {
                    Ok(reading) => reading,
                    Err(error) => break Err(error),
                };
                if pieces.send(Streamed::Again).is_err() {
                    return;
                }
                continue;
            }
            stat.size = size;
            break Ok((stat, changed));
        };
        // Nobody waits for it after an error elsewhere.
        let _: std::result::Result<(), _> = pieces.send(Streamed::End(end));
    }

    /// Sends the pieces of all ranges that are not holes; returns the size of what was there.
    fn pieces(
        &self,
        found: &Found,
        reading: &Reading,
        pieces: &SyncSender<Streamed>,
    ) -> std::result::Result<u64, Stop> {
        let mut head = vec![0; STRUCTURE_HEAD_BYTES];
        let len = reading.read_at(&mut head, 0)?;
        let cutting = Some(self.cutting(found, &head[..len], reading.stat().size));
        let mut offset = 0;
        while let Some(range) = reading.data_from(offset)? {
            let end = range.end;
            let mut read_at = |buffer: &mut [u8], offset| reading.read_at(buffer, offset);
            let mut take = |piece| pieces.send(Streamed::Piece(piece)).map_err(|_| Stop::Gone);
            let reached = self.cutter.range(cutting, range, &mut read_at, &mut take)?;
            if reached < end {
                return Ok(reached);
            }
            offset = end;
        }
        Ok(reading.stat().size)
    }
}

/// The stat of another file that has taken the place of the one that was found.
fn successor(found: &Found) -> Option<Stat> {
    let stat = Stat::of(&found.path).ok().filter(|stat| stat.kind == Kind::File)?;
    let is_other = (stat.device, stat.inode) != (found.stat.device, found.stat.inode);
    is_other.then_some(stat)
}
