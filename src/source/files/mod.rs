//! Directory trees: every path below some roots, in the order of keys (see [`crate::record::entry`]).

mod metadata;
mod walk;

use std::path::PathBuf;

pub use metadata::{Kind, Metadata, Stat};
pub use walk::Walk;

/// What of the trees is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keep times of last reading too.
    pub with_atime: bool,
}

/// A path that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its key.
    pub key: Vec<u8>,
    /// Where it is.
    pub path: PathBuf,
    /// What `lstat` says of it.
    pub stat: Stat,
}

/// What a walk comes across.
#[derive(Debug)]
pub enum Step {
    /// A path that belongs to the backup.
    Found(Found),
    /// Something that could not be read; the walk goes on without it and all below.
    Problem {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}
