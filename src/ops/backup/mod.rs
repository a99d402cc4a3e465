//! Backing up: a source into a snapshot.

pub(in crate::ops) mod cursor;
mod datahike;
mod datoms;
pub(super) mod files;
pub(in crate::ops) mod increment;
mod log;
mod run;

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use datahike::DatahikeSource;
pub use datoms::DatomsSource;
pub(super) use datoms::{cut_value, store_value};
pub use files::{FilesSource, StreamInput, StreamSource};

use crate::error::{Error, ErrorKind, Result};
use crate::format::{RetentionClass, Snapshot, SourceDescription};
use crate::id::SnapshotId;
use crate::progress::Observer;
use crate::repository::{Delta, Repository};

/// How often a backup starts over when pruners keep closing its session.
const ATTEMPTS: usize = 3;

/// What to back up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// Datoms of a database.
    Datoms(DatomsSource),
    /// A Datahike database, in its store.
    Datahike(DatahikeSource),
    /// Directory trees.
    Files(FilesSource),
    /// A stream of bytes as a file.
    Stream(StreamSource),
}

/// The snapshot to compare with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Parent {
    /// The newest of the same host and label.
    #[default]
    Latest,
    /// None: everything counts as new. What is stored is not stored again all the same.
    None,
    /// This one.
    Snapshot(SnapshotId),
}

/// How to back up.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    /// Name of the machine; this one's by default.
    pub host: Option<String>,
    /// Name of the user; this process's by default.
    pub user: Option<String>,
    /// Name of the backup job; the location of the source by default.
    pub label: Option<String>,
    /// Free tags.
    pub tags: Vec<String>,
    /// Time of the snapshot, milliseconds since 1970; now by default.
    pub time_ms: Option<i64>,
    /// The snapshot to compare with.
    pub parent: Parent,
    /// How long the data is meant to live.
    pub class: RetentionClass,
    /// zstd level.
    pub compression_level: i32,
    /// Whether what changed a little is stored as a difference.
    pub delta: Delta,
    /// Files that are read at the same time; as many as there are processors by default.
    pub read_concurrency: Option<NonZero<usize>>,
    /// Anonymous memory that sorting may take, roughly.
    pub memory_bytes: usize,
    /// Where sorted runs are spilled; the system's temporary folder by default.
    pub temporary: Option<PathBuf>,
    /// A partial snapshot is written this often ...
    pub partial_every: Duration,
    /// ... and after this many bytes were stored.
    pub partial_every_bytes: u64,
    /// Read and compare, but store nothing.
    pub dry_run: bool,
    /// Publish no snapshot when nothing differs from the parent.
    pub skip_if_unchanged: bool,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            host: None,
            user: None,
            label: None,
            tags: Vec::new(),
            time_ms: None,
            parent: Parent::Latest,
            class: RetentionClass::Standard,
            compression_level: 3,
            delta: Delta::Auto,
            read_concurrency: None,
            memory_bytes: 128 << 20,
            temporary: None,
            partial_every: Duration::from_secs(300),
            partial_every_bytes: 1 << 30,
            dry_run: false,
            skip_if_unchanged: false,
        }
    }
}

/// What a backup did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupSummary {
    /// The snapshot as it was, or would have been, committed.
    pub snapshot: Snapshot,
    /// Whether it was committed: not in a dry run, nor when nothing changed and that was to be skipped.
    pub committed: bool,
    /// What the source's format had lost and was corrected or could not be: what, and how often.
    pub notes: Vec<(String, u64)>,
}

/// Reads a source and stores it as a new snapshot.
///
/// When this returns `Ok` with `committed`, the snapshot is durable and stays restorable until it is forgotten. An error
/// leaves no snapshot, or a partial one that says so; running again continues with what was stored.
pub async fn backup(
    repository: &Repository,
    source: Source,
    options: BackupOptions,
    observer: Arc<dyn Observer>,
) -> Result<BackupSummary> {
    let repository = repository.clone();
    super::blocking(move || {
        for attempt in 1.. {
            match run::run(&repository, &source, &options, &*observer) {
                Err(error) if error.kind() == ErrorKind::Busy && attempt < ATTEMPTS && source.can_be_read_again() => {}
                result => return result,
            }
        }
        Err(Error::new(ErrorKind::Busy, "", "the session was closed by a pruner each time"))
    })
    .await
}

impl Source {
    /// As the user would write it.
    pub fn location(&self) -> String {
        match self {
            Self::Datoms(source) => source.location(),
            Self::Datahike(source) => source.location(),
            Self::Files(source) => source.location(),
            Self::Stream(source) => source.location(),
        }
    }

    fn descriptions(&self) -> Vec<SourceDescription> {
        match self {
            Self::Datoms(source) => vec![SourceDescription {
                location: source.location(),
                options: Vec::new(),
                consistency_point: String::new(),
                atomic: false,
            }],
            Self::Datahike(source) => vec![SourceDescription {
                location: source.location(),
                options: Vec::new(),
                consistency_point: String::new(),
                atomic: true,
            }],
            Self::Files(source) => source.descriptions(),
            Self::Stream(source) => source.descriptions(),
        }
    }

    fn can_be_read_again(&self) -> bool {
        match self {
            Self::Datoms(source) => source.can_be_read_again(),
            Self::Datahike(_) | Self::Files(_) => true,
            // Not even a command: what it does besides writing is its own affair.
            Self::Stream(_) => false,
        }
    }
}
