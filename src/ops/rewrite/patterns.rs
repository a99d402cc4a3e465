//! Which paths are taken out: patterns as `backup` leaves them out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::record::entry::path_of_key;
use crate::source::files;

/// Compiled patterns.
pub(super) struct Patterns(files::Patterns);

impl Patterns {
    /// Of patterns, patterns without regard to upper and lower case, and files of patterns.
    pub(super) fn new(patterns: &[String], any_case: &[String], files: &[PathBuf]) -> Result<Self> {
        Ok(Self(files::Patterns::new(files, patterns, any_case)?))
    }

    /// Whether there is no pattern at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the entry of a key goes: it or a directory above it matches. It follows from the key alone, so that it does
    /// not matter which other entries there are.
    pub(super) fn takes(&self, key: &[u8], is_directory: bool) -> bool {
        let path = path_of_key(key);
        let bytes = path.as_os_str().as_bytes();
        let slashes = bytes.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        let mut above = slashes.map(|(end, _)| Path::new(OsStr::from_bytes(&bytes[..end])));
        above.any(|directory| self.0.matches(directory, true)) || self.0.matches(&path, is_directory)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::error::ErrorKind;
    use crate::record::entry::key_of_path;

    fn takes(patterns: &[&str], any_case: &[&str], path: &str, is_directory: bool) -> bool {
        let owned = |list: &[&str]| list.iter().map(|&p| p.to_owned()).collect::<Vec<_>>();
        let patterns = Patterns::new(&owned(patterns), &owned(any_case), &[]).unwrap();
        patterns.takes(&key_of_path(Path::new(path)).unwrap(), is_directory)
    }

    #[test]
    fn a_directory_takes_everything_below_it() {
        for (pattern, path, is_directory, expected) in [
            ("*.tmp", "/a/b.tmp", false, true),
            ("*.tmp", "/a/b.txt", false, false),
            ("/a", "/a/b/c", false, true),
            ("/a", "/b/a", true, false),
            ("cache/", "/x/cache", false, false),
            ("cache/", "/x/cache", true, true),
            ("cache/", "/x/cache/y", false, true),
            ("/x/**/z", "/x/y/y/z", false, true),
            ("*", "/", true, false),
        ] {
            assert_eq!(takes(&[pattern], &[], path, is_directory), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn exceptions_and_case() {
        assert!(!takes(&["*.log", "!keep.log"], &[], "/a/keep.log", false));
        assert!(takes(&["/a", "!/a/keep.log"], &[], "/a/keep.log", false), "what is above it goes");
        assert!(takes(&[], &["*.JPG"], "/a/b.jpg", false));
        assert!(!takes(&["*.JPG"], &[], "/a/b.jpg", false));
        assert!(Patterns::new(&[], &[], &[]).unwrap().is_empty());
        assert_eq!(Patterns::new(&["[".to_owned()], &[], &[]).map(|_| ()).unwrap_err().kind(), ErrorKind::Usage);
    }
}
