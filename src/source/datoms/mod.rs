//! Datoms from files and streams, in any of the formats people have: `datoms:PATH` and `datoms:-`.

mod correct;
pub mod datacamp;
pub mod dump;
pub mod flat_cbor;
pub mod manifest;
mod sequence;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Result;
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
