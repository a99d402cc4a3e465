//! A stream of bytes as the only file of a tree: standard input, or what a command writes.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rustix::process::{getgid, getuid};

use super::chunks::{Cutter, Piece, Stop};
use super::extents::ExtentList;
use super::figures::{Change, Figures};
use super::like::Resemblance;
use super::parents::Parents;
use super::read::{Streamed, ended};
use super::{FILES, usable};
use crate::error::{Error, ErrorKind, Result};
use crate::format::SourceDescription;
use crate::ops::backup::run::{Run, Stored};
use crate::ops::mark;
use crate::progress::Event;
use crate::record::entry::{Body, Content, Entry, Owner, Time, key_of_path, parent_of};
use crate::record::{Entries, Extents};
use crate::repository::machine;
use crate::source::files::{Kind, Names, Stream};
use crate::tree::{Builder, Pushed};

/// Pieces that may wait to be stored.
const WAITING_PIECES: usize = 4;
/// So often, in bytes, progress is told.
const BYTES_PER_TICK: u64 = 8 << 20;

/// A stream of bytes that becomes one file.
#[derive(Clone, Debug)]
pub struct StreamSource {
    /// Where the bytes come from.
    pub input: StreamInput,
    /// What the file is called: an absolute path.
    pub name: PathBuf,
}

/// Where a stream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamInput {
    /// Standard input of this process.
    Stdin,
    /// What a command writes to its standard output; the first word is the program. If it fails, so does the backup.
    Command(Vec<OsString>),
}

impl StreamSource {
    pub(in crate::ops::backup) fn location(&self) -> String {
        self.name.display().to_string()
    }

    pub(in crate::ops::backup) fn descriptions(&self) -> Vec<SourceDescription> {
        let (name, value) = match &self.input {
            StreamInput::Stdin => ("stdin", "true".to_owned()),
            StreamInput::Command(words) => ("command", words.join(OsStr::new(" ")).to_string_lossy().into_owned()),
        };
        vec![SourceDescription {
            location: self.location(),
            options: vec![(name.to_owned(), value)],
            consistency_point: String::new(),
            atomic: false,
        }]
    }
}

pub(in crate::ops::backup) fn store(run: &mut Run<'_>, source: &StreamSource) -> Result<Stored> {
    let key = key_of_path(&source.name).filter(|key| !key.is_empty());
    let key =
        key.ok_or_else(|| Error::new(ErrorKind::Usage, source.name.display(), "not an absolute path of a file"))?;
    run.observer.event(Event::Stage { name: "backing up a stream", total: None });
    let stream = match &source.input {
        StreamInput::Stdin => Stream::stdin(),
        StreamInput::Command(words) => Stream::command(words)?,
    };
    let now_ms = machine::now_ms();
    let parent = usable(run, run.parent.clone())?;
    let repository = run.writer.repository().clone();
    let reader = run.writer.reader().clone();
    let (entries, extents) = (repository.tree_parameters(&Entries), repository.tree_parameters(&Extents));
    let mut parents = Parents::new(&reader, &entries, (parent.as_ref(), None), run.observer)?;
    let mut builder = Builder::new(&entries);
    let mut figures = Figures::default();

    let time = Time { seconds: now_ms.div_euclid(1000), nanos: 0 };
    let owner = Names::new().owner(getuid().as_raw(), getgid().as_raw());
    for directory in ancestors(&key) {
        let fresh = Entry { mode: 0o755, ..plain(Body::Directory, time, &owner) };
        let (row, change) = match parents.find(directory)? {
            Some(old) if Entry::decode(old.value).is_ok_and(|old| is_same(&old, &fresh)) => {
                (old.value.to_vec(), Change::Unmodified)
            }
            Some(_) => (fresh.encode(), Change::Changed),
            None => (fresh.encode(), Change::New),
        };
        figures.count(Kind::Directory, 0, change);
        let _: Pushed = builder.push(&mut run.writer, directory, &row)?;
    }
    let old = parents.find(&key)?.and_then(|row| Some((row.value.to_vec(), Entry::decode(row.value).ok()?)));
    let old_content = old.as_ref().and_then(|(_, entry)| match &entry.body {
        Body::File { content, .. } => Some(content.clone()),
        _ => None,
    });
    let like = old_content.and_then(|content| Resemblance::new(content, &reader, &extents));
    let cutter = Cutter { chunker: run.writer.chunker().clone(), keys: repository.keys().clone() };
    let (size, content) = read(run, cutter, stream, like)?;
    figures.bytes_read = size;
    let fresh = plain(Body::File { size, content }, time, &owner);
    // The same content as before keeps its time: that of its last change.
    let (row, change) = match old {
        Some((row, entry)) if is_same(&entry, &fresh) => (row, Change::Unmodified),
        Some(_) => (fresh.encode(), Change::Changed),
        None => (fresh.encode(), Change::New),
    };
    figures.count(Kind::File, size, change);
    let _: Pushed = builder.push(&mut run.writer, &key, &row)?;
    let root = builder.finish(&mut run.writer)?;
    let (records_new, records_unmodified) = figures.records();
    Ok(Stored {
        roots: vec![mark::named(FILES, root, Vec::new())],
        sources: source.descriptions(),
        properties: Vec::new(),
        skipped: Vec::new(),
        skipped_count: 0,
        notes: Vec::new(),
        bytes_read: size,
        records_new,
        records_removed: parents.removed()?,
        records_unmodified,
        duplicates: 0,
        figures: figures.list(),
    })
}

/// Stores a stream to its end, and returns its length and content.
fn read(
    run: &mut Run<'_>,
    cutter: Cutter,
    stream: Stream,
    mut like: Option<Resemblance<'_>>,
) -> Result<(u64, Content)> {
    let (pieces, receiver) = sync_channel(WAITING_PIECES);
    // Not to be joined after an error elsewhere: the stream may have no end.
    let thread = thread::spawn(move || send(&cutter, stream, &pieces));
    let mut list = ExtentList::default();
    let (mut size, mut told) = (0, 0);
    for piece in received(&receiver) {
        size = piece.end();
        let like = like.as_mut().and_then(|like| like.to(&piece));
        list.push(&mut run.writer, piece, like)?;
        if size - told >= BYTES_PER_TICK {
            told = size;
            run.observer.event(Event::Files { files: 0, bytes: size });
        }
    }
    thread.join().map_err(|_| ended())??;
    Ok((size, list.finish(&mut run.writer, size)?))
}

fn received(receiver: &Receiver<Streamed>) -> impl Iterator<Item = Piece> {
    receiver.iter().filter_map(|streamed| match streamed {
        Streamed::Piece(piece) => Some(piece),
        Streamed::Again | Streamed::End(_) => None,
    })
}

/// Cuts a stream and sends its pieces; then a command must have ended well.
fn send(cutter: &Cutter, mut stream: Stream, pieces: &SyncSender<Streamed>) -> Result<()> {
    let mut fill = |buffer: &mut [u8], _: u64| {
        let mut done = 0;
        while done < buffer.len() {
            match stream.read(&mut buffer[done..]) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    };
    let mut take = |piece| pieces.send(Streamed::Piece(piece)).map_err(|_| Stop::Gone);
    match cutter.range(None, 0..u64::MAX, &mut fill, &mut take) {
        Ok(_) => stream.finish(),
        Err(Stop::Io(error)) => Err(Error::io("stream", error)),
        Err(Stop::Gone) => Ok(()),
    }
}

/// The keys of the directories that lead to a key, from the root.
fn ancestors(key: &[u8]) -> Vec<&[u8]> {
    let mut all: Vec<_> = std::iter::successors(parent_of(key), |key| parent_of(key)).collect();
    all.reverse();
    all
}

/// An entry of this process's own making.
fn plain(body: Body, time: Time, owner: &Owner) -> Entry {
    Entry {
        body,
        mode: 0o600,
        owner: owner.clone(),
        mtime: time,
        ctime: time,
        atime: None,
        inode: 0,
        link: None,
        xattrs: Vec::new(),
    }
}

/// Whether two entries differ in nothing but times.
fn is_same(old: &Entry, fresh: &Entry) -> bool {
    Entry { mtime: fresh.mtime, ctime: fresh.ctime, ..old.clone() } == *fresh
}
