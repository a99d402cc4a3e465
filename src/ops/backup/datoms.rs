//! Datoms into the trees `log` and `exceptions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::log::{RootNames, from_history, from_state};
use super::run::{RECORDS_PER_TICK, Run, Stored};
use crate::chunker::Chunker;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, SourceDescription};
use crate::id::BlobId;
use crate::progress::Event;
use crate::record::datom::{self, Datom, Digest, Value, ValueReference};
use crate::repository::Writer;
use crate::sorter::{Sorted, Sorter};
use crate::source::datoms::{self as source, Location, Reading, View};

/// A database as datoms.
#[derive(Clone, Debug)]
pub struct DatomsSource {
    /// Where its datoms are: the history, or the current state when there is no history.
    pub location: Location,
    /// How to read them.
    pub options: source::Options,
    /// Whether they are history or current state; by default what the format says, else history if a retraction is met.
    pub view: Option<View>,
    /// The current view beside the history, where the one cannot be derived from the other.
    pub current_view: Option<Location>,
}

impl DatomsSource {
    /// Datoms at a location, everything else by default.
    pub fn new(location: Location) -> Self {
        Self { location, options: source::Options::default(), view: None, current_view: None }
    }

    pub(super) fn location(&self) -> String {
        spell(&self.location)
    }

    pub(super) fn can_be_read_again(&self) -> bool {
        self.location != Location::Stdin && self.current_view != Some(Location::Stdin)
    }
}

fn spell(location: &Location) -> String {
    match location {
        Location::Path(path) => format!("datoms:{}", path.display()),
        Location::Stdin => "datoms:-".to_owned(),
    }
}

/// A source read to its end: its datoms as keys in order, each followed by its hash.
struct Read {
    sorted: Sorted,
    reading: Reading,
}

pub(super) fn store(run: &mut Run<'_>, source: &DatomsSource) -> Result<Stored> {
    let current = match &source.current_view {
        Some(location) => Some(read(run, location, &source.options, 2, "reading the current view")?),
        None => None,
    };
    let parts = 1 + u32::from(current.is_some());
    let read = read(run, &source.location, &source.options, parts, "reading datoms")?;
    let view = source.view.unwrap_or(read.reading.view);
    let names = RootNames::main();
    let trees = match (view, current) {
        (View::History, current) => from_history(run, &names, read.sorted, current.map(|c| c.sorted))?,
        (View::Current, Some(_)) => {
            return Err(Error::new(ErrorKind::Usage, spell(&source.location), "a current view beside a current view"));
        }
        (View::Unstated, Some(current)) => from_history(run, &names, read.sorted, Some(current.sorted))?,
        (View::Current | View::Unstated, None) => from_state(run, &names, read.sorted, view, (&read.reading).into())?,
    };
    Ok(summary(source, read.reading, trees))
}

/// What became of a source's datoms.
pub(super) struct Trees {
    pub(super) log: NamedRoot,
    pub(super) exceptions: NamedRoot,
    /// What a restore gives by default.
    pub(super) view: View,
    pub(super) duplicates: u64,
    pub(super) added: u64,
    pub(super) removed: u64,
}

fn read(run: &mut Run<'_>, location: &Location, options: &source::Options, parts: u32, stage: &str) -> Result<Read> {
    run.observer.event(Event::Stage { name: stage, total: None });
    let mut sorter = Sorter::new(run.sorter_options(parts));
    let mut key = Vec::new();
    let mut count = 0_u64;
    let (writer, observer) = (&mut run.writer, run.observer);
    let reading = source::open(location, options)?.read(&mut |datom| {
        sort_key(writer, datom, &mut key)?;
        count += 1;
        if count.is_multiple_of(RECORDS_PER_TICK) {
            observer.event(Event::Progress { done: count });
        }
        sorter.push(&key)
    })?;
    for (object, message) in &reading.problems {
        observer.event(Event::Problem { object, message });
    }
    Ok(Read { sorted: sorter.finish()?, reading })
}

/// The key of a datom, followed by its hash; a long value is stored, and the key refers to it.
pub(super) fn sort_key(writer: &mut Writer, datom: &Datom<'_>, key: &mut Vec<u8>) -> Result<()> {
    let inline = writer.repository().config().inline_value_max_bytes as usize;
    let hash = Digest::hash(datom);
    key.clear();
    match datom::long_value(&datom.v, inline).map_err(|e| cannot_represent(datom, e))? {
        None => datom::encode_key(datom, key),
        Some(long) => {
            let v = Value::Stored(store_value(writer, &long)?);
            datom::encode_key(&Datom { e: datom.e, a: datom.a.clone(), v, t: datom.t, added: datom.added }, key)
        }
    }
    .map_err(|e| cannot_represent(datom, e))?;
    key.extend_from_slice(&hash.to_be_bytes());
    Ok(())
}

/// Stores the canonical encoding of a long value: as one chunk, or cut, with a chunk that lists the chunks.
pub(in crate::ops) fn store_value(writer: &mut Writer, encoded: &[u8]) -> Result<ValueReference> {
    let chunker = Arc::clone(writer.chunker());
    cut_value(&chunker, encoded, &mut |chunk| writer.write_chunk(chunk))
}

/// The reference to a long value, whose chunks go to `write`, which returns their ids.
pub(in crate::ops) fn cut_value(
    chunker: &Chunker,
    encoded: &[u8],
    write: &mut dyn FnMut(Bytes) -> Result<BlobId>,
) -> Result<ValueReference> {
    let start = encoded[..encoded.len().min(datom::STORED_START_LEN)].to_vec();
    let length = encoded.len() as u64;
    if encoded.len() <= chunker.sizes().max_bytes {
        let id = write(Bytes::copy_from_slice(encoded))?;
        return Ok(ValueReference { start, id, listed: false, length });
    }
    let mut list = Vec::new();
    let mut rest = encoded;
    while let Some(length) = chunker.cut(rest, true) {
        let (chunk, tail) = rest.split_at(length);
        list.extend_from_slice(write(Bytes::copy_from_slice(chunk))?.as_bytes());
        rest = tail;
    }
    let id = write(list.into())?;
    Ok(ValueReference { start, id, listed: true, length })
}

fn cannot_represent(datom: &Datom<'_>, why: impl std::fmt::Display) -> Error {
    let mut text = Vec::new();
    datom::edn::print_datom(datom, &mut text);
    text.truncate(200);
    Error::new(ErrorKind::Data, format!("datom {}", String::from_utf8_lossy(&text)), why)
}

fn summary(source: &DatomsSource, reading: Reading, trees: Trees) -> Stored {
    let mut options = vec![("format".to_owned(), reading.format.to_string())];
    options.extend(source.current_view.iter().map(|l| ("current-view".to_owned(), spell(l))));
    let mut properties: BTreeMap<String, String> = reading.properties;
    let view = if trees.view == View::Current { "current" } else { "history" };
    properties.insert("view".to_owned(), view.to_owned());
    let consistency_point = properties.get("max-t").map(|t| format!("t {t}")).unwrap_or_default();
    Stored {
        sources: vec![SourceDescription { location: source.location(), options, consistency_point, atomic: true }],
        properties: properties.into_iter().collect(),
        skipped: reading.problems,
        skipped_count: reading.problems_count,
        notes: reading.notes.into_iter().collect(),
        bytes_read: reading.bytes,
        records_new: trees.added,
        records_removed: trees.removed,
        records_unmodified: trees.log.records - trees.added.min(trees.log.records),
        duplicates: trees.duplicates,
        figures: Vec::new(),
        roots: vec![trees.log, trees.exceptions],
    }
}
