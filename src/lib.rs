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
//! | 3 | `backend` `index` `sorter` `source` `target` | the world: where objects are kept, what is read, what is written |
//! | 4 | `repository` | an open repository: keys, sessions, reading and writing blobs |
//! | 5 | `ops` | what users ask for: backup, restore, check, prune and the others |

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
pub mod source;
pub mod target;

pub mod repository;

pub mod ops;

pub use error::{Error, ErrorKind, Result};
