//! What is left out.

use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};

use super::{Kind, Options, Patterns, Stat};
use crate::error::{Error, ErrorKind, Result};

/// The file that marks a directory of caches.
const CACHE_TAG: &str = "CACHEDIR.TAG";
/// What it begins with, as <https://bford.info/cachedir/> has it.
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Patterns and rules of [`Options`], compiled.
#[derive(Debug)]
pub struct Excludes {
    patterns: Patterns,
    larger_than: u64,
    tags: Vec<Tag>,
}

/// A file whose presence leaves out everything else in its directory.
#[derive(Debug)]
struct Tag {
    name: Vec<u8>,
    header: Vec<u8>,
}

impl Excludes {
    /// Compiles the options.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] names the pattern that is none.
    pub fn new(options: &Options) -> Result<Self> {
        let patterns = Patterns::new(&options.exclude_files, &options.excludes, &options.iexcludes)?;
        let caches = Tag { name: CACHE_TAG.into(), header: CACHE_SIGNATURE.to_vec() };
        let mut tags: Vec<Tag> = options.exclude_caches.then_some(caches).into_iter().collect();
        for text in &options.exclude_if_present {
            let (name, header) = text.split_once(':').unwrap_or((text, ""));
            if name.is_empty() || name.contains('/') {
                return Err(Error::new(ErrorKind::Usage, text, "does not begin with the name of a file"));
            }
            tags.push(Tag { name: name.into(), header: header.into() });
        }
        Ok(Self { patterns, larger_than: options.exclude_larger_than.unwrap_or(u64::MAX), tags })
    }

    /// Whether patterns leave out this absolute path, which is in a directory that they do not leave out.
    pub fn match_path(&self, path: &Path, is_directory: bool) -> bool {
        self.patterns.matches(path, is_directory)
    }

    /// Whether patterns leave out this absolute path or a directory that it is in.
    pub fn match_path_or_parents(&self, path: &Path, is_directory: bool) -> bool {
        self.patterns.match_path_or_parents(path, is_directory)
    }

    /// Whether there are patterns at all.
    pub(super) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    pub(super) fn is_too_large(&self, stat: &Stat) -> bool {
        stat.kind == Kind::File && stat.size > self.larger_than
    }

    /// Whether a file of this name may leave out the others of its directory.
    pub(super) fn may_be_tag(&self, name: &[u8]) -> bool {
        self.tags.iter().any(|tag| tag.name == name)
    }

    /// Whether the file of this name in `directory` leaves out the others there.
    pub(super) fn is_tag(&self, directory: BorrowedFd<'_>, name: &[u8]) -> bool {
        self.tags.iter().any(|tag| tag.name == name && (tag.header.is_empty() || begins(directory, name, &tag.header)))
    }
}

fn begins(directory: BorrowedFd<'_>, name: &[u8], header: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(directory, name, flags, Mode::empty()) else { return false };
    // Another thing than a file could keep the walk waiting for ever.
    if !fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile) {
        return false;
    }
    let mut start = vec![0; header.len()];
    std::fs::File::from(file).read_exact(&mut start).is_ok() && start == header
}
