//! Datoms from files and streams, in any of the formats people have: `datoms:PATH` and `datoms:-`.

mod correct;
pub mod datacamp;
mod datalevin;
mod datomic;
pub mod dump;
mod facts;
pub mod flat_cbor;
mod forms;
mod input;
mod lines;
pub mod manifest;
mod notation;
mod replay;
mod sequence;
mod serializable;
mod shapes;
mod sniff;
mod storage;
mod tally;

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
    /// DataScript's serializable form, a JSON object.
    Serializable,
    /// A DataScript database printed as EDN, `#datascript/DB {...}`.
    DataScript,
    /// DataScript's storage: a folder of EDN files, or an SQLite database such as Logseq's.
    Storage,
    /// Datalevin's text dump.
    Datalevin,
    /// Transactions, `{:t n :data [[e a v tx added] ...]}`, as Datomic's log has them; EDN or Transit.
    Log,
    /// Datoms, transactions or a DataScript database in Transit's JSON.
    Transit,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Edn => "edn",
            Self::Json => "json",
            Self::FlatCbor => "cbor",
            Self::Dump => "dump",
            Self::Datacamp => "datacamp",
            Self::Serializable => "datascript-json",
            Self::DataScript => "datascript",
            Self::Storage => "datascript-storage",
            Self::Datalevin => "datalevin",
            Self::Log => "log",
            Self::Transit => "transit",
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
    /// Give the entities of a transaction log ids that Datahike can have, where they are Datomic's; what they were is kept
    /// as datoms of `:packstone/original-id`.
    pub remap_ids: bool,
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
    /// The format has no transactions: what t its datoms have says nothing, and a state is one transaction of its own.
    pub timeless: bool,
    /// What the source says about the data: `schema`, `config`, `max-t`, `max-eid`, ... as text.
    pub properties: BTreeMap<String, String>,
}

impl Reading {
    /// What is told before anything was read.
    fn of(format: Format) -> Self {
        Self {
            format,
            view: View::Unstated,
            datoms: 0,
            bytes: 0,
            retractions: 0,
            problems: Vec::new(),
            problems_count: 0,
            notes: BTreeMap::new(),
            timeless: false,
            properties: BTreeMap::new(),
        }
    }
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
        Location::Stdin => open_stream(input::Input::stdin()?, None, options),
        Location::Path(path) if path.is_dir() => open_directory(path, options),
        Location::Path(path) => {
            let mut input = input::Input::open(path)?;
            let is_sqlite = input.peek(storage::SQLITE.len())?.starts_with(storage::SQLITE);
            match options.format {
                None | Some(Format::Storage) if is_sqlite => {
                    require_log(options, Format::Storage, path.display())?;
                    storage::open_sqlite(path, options)
                }
                _ => open_stream(input, Some(path), options),
            }
        }
    }
}

fn open_stream(mut input: input::Input, path: Option<&Path>, options: &Options) -> Result<Box<dyn DatomSource>> {
    let format = match options.format {
        Some(format) => format,
        None => sniff::stream(&mut input)?,
    };
    require_log(options, format, input.name())?;
    let path = path.map(Path::to_owned);
    match format {
        Format::Edn | Format::Json => Ok(Box::new(lines::Lines::stream(input, format, options))),
        Format::FlatCbor => {
            let name = input.name().to_owned();
            flat_cbor::open(Box::new(input), name, options)
        }
        Format::Serializable => serializable::open(input, path, options),
        Format::DataScript | Format::Log | Format::Transit => shapes::open(input, path, format, options),
        Format::Datalevin => Ok(datalevin::open(input, options)),
        Format::Dump | Format::Datacamp => {
            Err(Error::new(ErrorKind::Usage, input.name(), "a file or stream, where this format is a directory"))
        }
        Format::Storage => {
            let message = "a file or stream, where this format is a directory or an SQLite database";
            Err(Error::new(ErrorKind::Usage, input.name(), message))
        }
    }
}

/// New ids can only be given where it is known which values are references.
fn require_log(options: &Options, format: Format, name: impl std::fmt::Display) -> Result<()> {
    if options.remap_ids && !matches!(format, Format::Log | Format::Transit) {
        let message = format!("in the format `{format}`; ids can be renumbered in transaction logs (`log`, `transit`)");
        return Err(Error::new(ErrorKind::Usage, name, message));
    }
    Ok(())
}

fn open_directory(path: &Path, options: &Options) -> Result<Box<dyn DatomSource>> {
    let found = match options.format {
        Some(format @ (Format::Dump | Format::Datacamp | Format::Storage)) => sniff::Directory::Whole(format),
        Some(Format::Edn | Format::Json) | None => sniff::directory(path)?,
        Some(_) => {
            return Err(Error::new(ErrorKind::Usage, path.display(), "a directory, where this format is a file"));
        }
    };
    match (found, options.format) {
        (sniff::Directory::Files(files, others), _) => {
            require_log(options, options.format.unwrap_or(Format::Edn), path.display())?;
            Ok(Box::new(lines::Lines::files(files, others, options)?))
        }
        (sniff::Directory::Whole(_), Some(Format::Edn | Format::Json)) => {
            Err(Error::new(ErrorKind::Usage, path.display(), "a dump or backup, not EDN or JSON files"))
        }
        (sniff::Directory::Whole(format), _) => {
            require_log(options, format, path.display())?;
            match format {
                Format::Datacamp => datacamp::open(path, options),
                Format::Storage => Ok(storage::open_folder(path, options)),
                _ => dump::open(path, options),
            }
        }
    }
}

#[cfg(test)]
mod tests;
