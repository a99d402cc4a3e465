//! packstone: a content-addressed, deduplicating, encrypted backup repository.
//!
//! # Floors
//!
//! A module uses strictly lower floors; siblings do not see each other. Floors 0 to 2 are pure: bytes in, values out, no
//! async, no I/O, no clock, no randomness. `tests/architecture.rs` reads this table.
//!
//! | floor | modules | what they are |
//! |---|---|---|
//! | 0 | `error` `id` `progress` | vocabulary |
//! | 1 | `chunker` `crypto` `compression` `retention` `record` | algorithms; records and their encodings |
//! | 2 | `format` `tree` | the bytes of the repository; ordered Merkle trees |
//! | 3 | `backend` `index` `sorter` | the world: where objects are kept, where they are found, what does not fit in memory |
//! | 4 | `datahike` | stores of Datahike: blobs and where they are kept, heads, nodes of indices |
//! | 5 | `source` `target` | what is read, what is written |
//! | 6 | `repository` | an open repository: keys, sessions, reading and writing blobs |
//! | 7 | `ops` | what users ask for: backup, restore, check, prune and the others |
//!
//! # The way of the data
//!
//! A [`source`] yields records; the writer of a [`repository`] stores their long values as chunks and a [`tree`] builder
//! turns the rest into nodes; blobs that are not known go into frames, frames into packs, packs to a [`backend`]. A
//! snapshot names the roots. A restore walks the trees and hands the records to a [`target`]. `format-spec/` has every byte.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use packstone::backend::LocalBackend;
//! use packstone::ops::{self, BackupOptions, CheckOptions, DatomsSource, RestoreOptions, Source};
//! use packstone::progress::Silent;
//! use packstone::repository::{CreateOptions, Repository, Secret};
//! use packstone::{source, target};
//!
//! # #[tokio::main(flavor = "multi_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! std::fs::write(folder.join("log.edn"), "[1 :user/name \"Ada\" 536870913 true]\n")?;
//!
//! // Create a repository; `Repository::open` takes the same backend and secret later.
//! let backend = LocalBackend::create(folder.join("repository")).await?;
//! let secret = Secret::key_file(vec![7; 32]);
//! let repository = Repository::create(Arc::new(backend), secret, CreateOptions::default()).await?;
//!
//! // Back up a source.
//! let source = Source::Datoms(DatomsSource::new(source::datoms::Location::Path(folder.join("log.edn"))));
//! let backup = ops::backup(&repository, source, BackupOptions::default(), Arc::new(Silent)).await?;
//! assert_eq!(backup.snapshot.statistics.records_new, 1);
//!
//! // List, restore, check.
//! let listed = repository.clone();
//! let snapshots = tokio::task::spawn_blocking(move || listed.snapshots()?.into_live()).await??;
//! assert_eq!(snapshots.len(), 1);
//! let to = target::datoms::Location::Path(folder.join("restored.edn"));
//! ops::restore(&repository, snapshots[0].id, to, RestoreOptions::default(), Arc::new(Silent)).await?;
//! assert_eq!(std::fs::read(folder.join("restored.edn"))?, std::fs::read(folder.join("log.edn"))?);
//! assert!(ops::check(&repository, CheckOptions::default(), Arc::new(Silent)).await?.is_sound());
//! # Ok(())
//! # }
//! ```

pub mod error;
pub mod id;
pub mod progress;

pub mod chunker;
pub mod compression;
pub mod crypto;
pub mod record;
pub mod retention;

pub mod format;
pub mod tree;

pub mod backend;
pub mod index;
pub mod sorter;

pub mod datahike;

pub mod source;
pub mod target;

pub mod repository;

pub mod ops;

pub use error::{Error, ErrorKind, Result};
