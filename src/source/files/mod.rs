//! Directory trees: every path below some roots, in the order of keys (see [`crate::record::entry`]).

mod excludes;
mod metadata;
mod names;
mod paths_from;
mod patterns;
mod place;
mod reading;
mod roots;
mod stream;
#[cfg(test)]
mod tests;
mod walk;
mod xattrs;

use std::path::PathBuf;

pub use excludes::Excludes;
pub use metadata::{Kind, Metadata, Stat};
pub use names::Names;
pub use paths_from::{paths_from_patterns, paths_from_raw, paths_from_verbatim};
pub use patterns::Patterns;
pub use reading::Reading;
pub use stream::Stream;
pub use walk::Walk;

/// What of the trees is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Stay on the file system of each root; a mount point is kept as an empty directory.
    pub one_file_system: bool,
    /// Patterns of what is left out, in the syntax of `.gitignore`.
    pub excludes: Vec<String>,
    /// The same, without regard to upper and lower case.
    pub iexcludes: Vec<String>,
    /// Files of such patterns.
    pub exclude_files: Vec<PathBuf>,
    /// Leave out what is in directories with a valid `CACHEDIR.TAG`, but for the tag.
    pub exclude_caches: bool,
    /// Leave out what is in directories that have such a file, but for that file: `NAME`, or `NAME:HEADER` for one that begins
    /// with `HEADER`.
    pub exclude_if_present: Vec<String>,
    /// Leave out regular files of more bytes than this.
    pub exclude_larger_than: Option<u64>,
    /// Patterns of files, as those of `excludes`, that consist of pages although nothing in them says so, such as images of
    /// disks.
    pub page_files: Vec<String>,
    /// Keep times of last reading too.
    pub with_atime: bool,
    /// A file may have another inode than it had in the parent and still be unchanged.
    pub ignore_inode: bool,
    /// A file may have another ctime than it had in the parent and still be unchanged.
    pub ignore_ctime: bool,
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
    /// Whether it is a directory that only leads to a path that was asked for.
    pub leads: bool,
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
