//! Datoms from files and streams, in any of the formats people have: `datoms:PATH` and `datoms:-`.

mod correct;
pub mod datacamp;
pub mod dump;
pub mod flat_cbor;
mod input;
mod lines;
pub mod manifest;
mod sequence;
mod sniff;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::Datom;

/// Where datoms are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file or directory.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

/// A format that datoms come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `[e a v t op]` a line.
    Edn,
    /// A JSON array or object a line.
    Json,
    /// Datahike's flat CBOR sequence (`export-db` up to 0.8.1775), section D.1.
    FlatCbor,
    /// Datahike's verifiable dump directory, section D.2.
    Dump,
    /// A datacamp backup directory, section E.
    Datacamp,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Edn => "edn",
            Self::Json => "json",
            Self::FlatCbor => "cbor",
            Self::Dump => "dump",
            Self::Datacamp => "datacamp",
        })
    }
}

/// Whether the datoms of a source are its history or its current state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Every datom ever, with retractions.
    History,
    /// What is true now.
    Current,
    /// The format does not say.
    Unstated,
}

/// What to do about a datom that cannot be represented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Stop with an error that names it.
    #[default]
    Abort,
    /// List it, leave it out and go on.
    Collect,
}

/// How to read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Instead of recognising the format.
    pub format: Option<Format>,
    /// What to do about a datom that cannot be represented.
    pub on_error: OnError,
    /// Read a backup that was never finished or lost parts, reporting what is missing.
    pub allow_incomplete: bool,
}

/// What a source tells after it was read to its end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reading {
    /// Which format it was.
    pub format: Format,
    /// History or current state.
    pub view: View,
    /// Datoms handed over.
    pub datoms: u64,
    /// Bytes read, as stored in the files.
    pub bytes: u64,
    /// Retractions among the datoms.
    pub retractions: u64,
    /// Datoms left out: where they stand and why, the first 1,000.
    pub problems: Vec<(String, String)>,
    /// How many were left out.
    pub problems_count: u64,
    /// What the format had lost and was corrected or could not be: what, and how often.
    pub notes: BTreeMap<String, u64>,
    /// What the source says about the data: `schema`, `config`, `max-t`, `max-eid`, ... as text.
    pub properties: BTreeMap<String, String>,
}

/// A source of datoms.
pub trait DatomSource: Send {
    /// Reads all datoms in the source's own order. An error of `sink` ends the reading and is handed back.
    fn read(&mut self, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<Reading>;
}

/// Opens a source, recognising its format unless `options` names it.
///
/// Files and streams may be compressed with gzip or zstd. A directory is a dump, a backup, or holds EDN and JSON files,
/// which are read in the order of their names.
pub fn open(location: &Location, options: &Options) -> Result<Box<dyn DatomSource>> {
    match location {
        Location::Stdin => open_stream(input::Input::stdin()?, options),
        Location::Path(path) if path.is_dir() => open_directory(path, options),
        Location::Path(path) => open_stream(input::Input::open(path)?, options),
    }
}

fn open_stream(mut input: input::Input, options: &Options) -> Result<Box<dyn DatomSource>> {
    let format = match options.format {
        Some(format) => format,
        None => sniff::stream(&mut input)?,
    };
    match format {
        Format::Edn | Format::Json => Ok(Box::new(lines::Lines::stream(input, format, options))),
        Format::FlatCbor => {
            let name = input.name().to_owned();
            flat_cbor::open(Box::new(input), name, options)
        }
        Format::Dump | Format::Datacamp => {
            Err(Error::new(ErrorKind::Usage, input.name(), "a file or stream, where this format is a directory"))
        }
    }
}

fn open_directory(path: &Path, options: &Options) -> Result<Box<dyn DatomSource>> {
    let found = match options.format {
        Some(format @ (Format::Dump | Format::Datacamp)) => sniff::Directory::Whole(format),
        Some(Format::FlatCbor) => {
            return Err(Error::new(ErrorKind::Usage, path.display(), "a directory, where this format is a file"));
        }
        Some(Format::Edn | Format::Json) | None => sniff::directory(path)?,
    };
    match (found, options.format) {
        (sniff::Directory::Files(files, others), _) => Ok(Box::new(lines::Lines::files(files, others, options)?)),
        (sniff::Directory::Whole(_), Some(Format::Edn | Format::Json)) => {
            Err(Error::new(ErrorKind::Usage, path.display(), "a dump or backup, not EDN or JSON files"))
        }
        (sniff::Directory::Whole(Format::Datacamp), _) => datacamp::open(path, options),
        (sniff::Directory::Whole(_), _) => dump::open(path, options),
    }
}

#[cfg(test)]
mod tests;
