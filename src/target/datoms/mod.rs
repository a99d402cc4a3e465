//! Datoms to files and streams: `datoms:PATH` and `datoms:-`.

pub mod dump;
pub mod flat_cbor;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Result;
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
