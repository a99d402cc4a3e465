//! Datoms to files and streams: `datoms:PATH` and `datoms:-`.

pub mod dump;
pub mod flat_cbor;
mod lines;
mod output;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::Datom;

/// Where datoms are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file, or a directory for formats that are one.
    Path(PathBuf),
    /// Standard output.
    Stdout,
}

/// A format that datoms are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `[e a v t op]` a line.
    Edn,
    /// A JSON array a line.
    Json,
    /// Datahike's flat CBOR sequence, section D.1.
    FlatCbor,
    /// Datahike's verifiable dump directory, section D.2.
    Dump,
}

/// The order in which a target wants its datoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// (t, e, a, v, op), the order of the log.
    Transaction,
    /// (t, `:db/txInstant` first, e, a, retractions first, v), the order of D.2.
    Dump,
    /// (e, a, v, t, op).
    Entity,
}

/// How to write.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which format; by default EDN lines, or what the path's ending says (`.edn`, `.json`, `.jsonl`, `.cbor`, a directory).
    pub format: Option<Format>,
    /// Replace what is there.
    pub overwrite: bool,
    /// Datoms in a chunk of D.2 (Datahike's default is 100,000 unless the format helper found otherwise).
    pub dump_chunk_datoms: u64,
    /// Gzip the chunks of D.2.
    pub dump_gzip: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { format: None, overwrite: false, dump_chunk_datoms: 100_000, dump_gzip: true }
    }
}

/// What is about to be written.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// History, as opposed to current state.
    pub history: bool,
    /// Properties of the snapshot as its source stated them.
    pub properties: BTreeMap<String, String>,
}

/// What was written.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Written {
    /// Datoms.
    pub datoms: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// What the format cannot hold: what, and how often.
    pub notes: BTreeMap<String, u64>,
}

/// A target of datoms. Dropped without `finish` it leaves nothing that looks complete.
pub trait DatomTarget: Send {
    /// The order it wants.
    fn order(&self) -> Order;

    /// Takes the next datom.
    fn put(&mut self, datom: &Datom<'_>) -> Result<()>;

    /// Makes everything durable under its final name.
    fn finish(self: Box<Self>) -> Result<Written>;
}

/// Creates a target in the format that `options` names, or else the location: what the name ends in, apart from `.gz`;
/// a directory is a dump; anything else and standard output are EDN lines.
pub fn create(location: &Location, options: &Options, description: &Description) -> Result<Box<dyn DatomTarget>> {
    let format = options.format.unwrap_or_else(|| format_of(location));
    match (format, location) {
        (Format::Edn, _) => Ok(Box::new(lines::Lines::edn(open_output(location, options)?))),
        (Format::Json, _) => Ok(Box::new(lines::Lines::json(open_output(location, options)?))),
        (Format::FlatCbor, _) => flat_cbor::create(location, options, description),
        (Format::Dump, Location::Stdout) => {
            Err(Error::new(ErrorKind::Usage, "standard output", "a stream, where this format is a directory"))
        }
        (Format::Dump, Location::Path(_)) => dump::create(location, options, description),
    }
}

fn format_of(location: &Location) -> Format {
    let Location::Path(path) = location else { return Format::Edn };
    let name = path.to_string_lossy();
    if path.is_dir() || name.ends_with('/') {
        return Format::Dump;
    }
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    match Path::new(plain).extension().and_then(|extension| extension.to_str()) {
        Some("json" | "jsonl" | "ndjson") => Format::Json,
        Some("cbor") => Format::FlatCbor,
        _ => Format::Edn,
    }
}

fn open_output(location: &Location, options: &Options) -> Result<output::Output> {
    match location {
        Location::Path(path) => output::Output::file(path, options.overwrite),
        Location::Stdout => Ok(output::Output::stdout()),
    }
}

#[cfg(test)]
mod tests;
