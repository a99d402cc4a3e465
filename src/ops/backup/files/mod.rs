//! Directory trees into the tree `files`.
//!
//! One thread merges the walk with the rows of the parent snapshot and pushes every row in order; what has changed is read by
//! others, ahead of it ([`read`]), in a queue bounded in bytes ([`store`]).

mod chunks;
mod entry;
mod extents;
mod figures;
mod like;
mod links;
mod parents;
mod read;
mod same;
mod store;
mod stream;

use std::path::PathBuf;

use super::run::{Run, Stored};
use crate::error::{ErrorKind, Result};
use crate::format::{Snapshot, SourceDescription};
use crate::ops::mark;
use crate::progress::Event;
use crate::record::entry::Time;
use crate::repository::machine;
use crate::source::files as source;

pub(super) use stream::store as store_stream;
pub use stream::{StreamInput, StreamSource};

/// Name of the root.
pub(in crate::ops) const FILES: &str = "files";

/// Directory trees.
#[derive(Clone, Debug)]
pub struct FilesSource {
    /// Where they are: absolute paths.
    pub paths: Vec<PathBuf>,
    /// How to read them.
    pub options: source::Options,
}

impl FilesSource {
    /// These paths, everything else by default.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, options: source::Options::default() }
    }

    pub(super) fn location(&self) -> String {
        let mut paths: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        paths.sort();
        paths.dedup();
        paths.join(", ")
    }

    pub(super) fn descriptions(&self) -> Vec<SourceDescription> {
        let options = options(&self.options);
        let describe = |path: &PathBuf| SourceDescription {
            location: path.display().to_string(),
            options: options.clone(),
            consistency_point: String::new(),
            atomic: false,
        };
        self.paths.iter().map(describe).collect()
    }
}

/// The options that change what is read, for people.
fn options(options: &source::Options) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
    options.excludes.iter().for_each(|pattern| add("exclude", pattern.clone()));
    options.iexcludes.iter().for_each(|pattern| add("iexclude", pattern.clone()));
    options.exclude_files.iter().for_each(|path| add("exclude-file", path.display().to_string()));
    options.page_files.iter().for_each(|pattern| add("pages", pattern.clone()));
    options.exclude_if_present.iter().for_each(|name| add("exclude-if-present", name.clone()));
    options.exclude_larger_than.iter().for_each(|bytes| add("exclude-larger-than", bytes.to_string()));
    for (name, set) in [
        ("exclude-caches", options.exclude_caches),
        ("one-file-system", options.one_file_system),
        ("with-atime", options.with_atime),
        ("ignore-ctime", options.ignore_ctime),
        ("ignore-inode", options.ignore_inode),
    ] {
        if set {
            add(name, "true".to_owned());
        }
    }
    all
}

pub(super) fn store(run: &mut Run<'_>, source: &FilesSource) -> Result<Stored> {
    run.observer.event(Event::Stage { name: "backing up files", total: None });
    run.keep_cursor(machine::now_ms().to_be_bytes().to_vec());
    let (complete, partial) = (usable(run, run.parent.clone())?, usable(run, run.interrupted.clone())?);
    let done = store::store(run, source, (complete.as_ref(), partial.as_ref()))?;
    let (records_new, records_unmodified) = done.figures.records();
    Ok(Stored {
        roots: vec![mark::named(FILES, done.root, Vec::new())],
        sources: source.descriptions(),
        properties: Vec::new(),
        skipped: done.skipped,
        skipped_count: done.skipped_count,
        notes: Vec::new(),
        bytes_read: done.figures.bytes_read,
        records_new,
        records_removed: done.removed,
        records_unmodified,
        duplicates: 0,
        figures: done.figures.list(),
    })
}

/// A parent whose rows may be taken over unread: everything it reaches is known.
fn usable(run: &mut Run<'_>, parent: Option<Snapshot>) -> Result<Option<Snapshot>> {
    let Some(parent) = parent else { return Ok(None) };
    if parent.gc_checked == run.writer.gc_checked() {
        return Ok(Some(parent));
    }
    // None of it may be in a pack condemned since.
    match mark::require_known(&mut run.writer, &parent.roots) {
        Ok(()) => Ok(Some(parent)),
        Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Damaged) => {
            run.observer.event(Event::Note(&parents::unreadable(&error)));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// When the backup that made a snapshot began to read files, by the clock of its machine.
fn began(snapshot: &Snapshot) -> Time {
    let ms = snapshot.cursor.as_slice().try_into().map_or(snapshot.time_ms, i64::from_be_bytes);
    let nanos = u32::try_from(ms.rem_euclid(1000)).expect("a remainder of 1000 is below it") * 1_000_000;
    Time { seconds: ms.div_euclid(1000), nanos }
}
