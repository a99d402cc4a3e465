//! What a path must be to be found.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use crate::error::{Error, ErrorKind, Result};
use crate::record::entry::{self, Body, Entry, Time};
use crate::tree::KeyRange;

/// What a path must be; everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Criteria {
    /// Its name, or its path where the pattern has a slash, matches one of these; any when there are none.
    pub patterns: Vec<Pattern>,
    /// It is a regular file of such a size, by each of these.
    pub sizes: Vec<SizeTest>,
    /// Its content last changed then or later.
    pub oldest: Option<Time>,
    /// Its content last changed then or earlier.
    pub newest: Option<Time>,
}

/// A glob: `*` and `?` within a name, `[...]`, `{a,b}`, and `**` for any number of directories.
///
/// Without a slash it is compared with names; with one, with the ends of paths, or with whole paths when it begins with
/// the slash.
#[derive(Clone, Debug)]
pub struct Pattern {
    glob: GlobMatcher,
    of_path: bool,
    /// The directory that everything it matches is in.
    within: Vec<u8>,
}

impl Pattern {
    /// From its text.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it is not a glob.
    pub fn parse(text: &str, case: Case) -> Result<Self> {
        let of_path = text.contains('/');
        let shown = if !of_path || text.starts_with('/') { text.to_owned() } else { format!("**/{text}") };
        let glob = GlobBuilder::new(&shown)
            .literal_separator(true)
            .case_insensitive(case == Case::Ignored)
            .build()
            .map_err(|why| Error::new(ErrorKind::Usage, text, "not a pattern").because(why))?;
        let within = match case {
            Case::Matters if text.starts_with('/') => fixed_directory(text),
            _ => Vec::new(),
        };
        Ok(Self { glob: glob.compile_matcher(), of_path, within })
    }

    fn matches(&self, key: &[u8]) -> bool {
        match self.of_path {
            true => self.glob.is_match(entry::path_of_key(key)),
            false => self.glob.is_match(Path::new(OsStr::from_bytes(entry::name_of(key)))),
        }
    }
}

/// Whether upper and lower case differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// They do.
    Matters,
    /// They do not.
    Ignored,
}

/// The key of the directory that a pattern names before its first special character.
fn fixed_directory(text: &str) -> Vec<u8> {
    let special = text.find(['*', '?', '[', '{', '\\']).unwrap_or(text.len());
    let directory = text[..special].rfind('/').map_or("/", |slash| &text[..=slash]);
    entry::key_of_path(Path::new(directory)).unwrap_or_default()
}

/// What the size of a file must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeTest {
    /// More bytes than this.
    Above(u64),
    /// Fewer bytes than this.
    Below(u64),
    /// As many bytes.
    Exactly(u64),
}

impl SizeTest {
    fn allows(self, size: u64) -> bool {
        match self {
            Self::Above(bytes) => size > bytes,
            Self::Below(bytes) => size < bytes,
            Self::Exactly(bytes) => size == bytes,
        }
    }
}

impl Criteria {
    /// Whether a path of this key may match.
    pub(super) fn may_name(&self, key: &[u8]) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(key))
    }

    /// Whether what is there matches.
    pub(super) fn match_entry(&self, entry: &Entry) -> bool {
        let sized = matches!(entry.body, Body::File { .. }) || self.sizes.is_empty();
        sized
            && self.sizes.iter().all(|test| test.allows(entry.size()))
            && self.oldest.is_none_or(|oldest| entry.mtime >= oldest)
            && self.newest.is_none_or(|newest| entry.mtime <= newest)
    }

    /// The keys of all that may match.
    pub(super) fn range(&self) -> KeyRange {
        let mut directories = self.patterns.iter().map(|pattern| pattern.within.as_slice());
        let Some(first) = directories.next() else { return KeyRange::all() };
        // Whole names that all of them begin with.
        let shared = directories.fold(first, |shared, other| {
            let both = shared.split(|&b| b == 0).zip(other.split(|&b| b == 0));
            let len: usize = both.take_while(|(a, b)| a == b).map(|(name, _)| name.len() + 1).sum();
            &shared[..len.saturating_sub(1).min(shared.len())]
        });
        let (from, to) = entry::subtree(shared);
        KeyRange { from, to }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn key(path: &str) -> Vec<u8> {
        entry::key_of_path(Path::new(path)).unwrap()
    }

    fn check(pattern: &str, case: Case, path: &str, expected: bool) {
        let criteria = Criteria { patterns: vec![Pattern::parse(pattern, case).unwrap()], ..Criteria::default() };
        let key = key(path);
        assert_eq!(criteria.may_name(&key), expected, "{pattern} {path}");
        let range = criteria.range();
        let in_range = key >= range.from && range.to.is_none_or(|to| key < to);
        assert!(in_range || !expected, "{pattern} {path}");
    }

    #[test]
    fn names_and_paths_are_matched() {
        for (pattern, path, expected) in [
            ("b", "/a/b", true),
            ("b", "/b/a", false),
            ("*.txt", "/a/b.txt", true),
            ("*.TXT", "/a/b.txt", false),
            ("a/*", "/x/a/b", true),
            ("a/*", "/a/b", true),
            ("a/*", "/a/b/c", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/x/a/b", false),
            ("/a/**", "/a/b/c", true),
            ("/a/b", "/a/b", true),
            ("/a/b/", "/a/b", false),
            ("{a,b}?", "/x/bz", true),
            ("*", "/x", true),
        ] {
            check(pattern, Case::Matters, path, expected);
        }
        check("*.TXT", Case::Ignored, "/a/b.txt", true);
        check("/A/b", Case::Ignored, "/a/b", true);
        assert_eq!(Pattern::parse("a[", Case::Matters).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn the_range_is_what_all_patterns_share() {
        let from = |patterns: &[&str]| {
            let patterns = patterns.iter().map(|text| Pattern::parse(text, Case::Matters).unwrap()).collect();
            Criteria { patterns, ..Criteria::default() }.range().from
        };
        assert_eq!(from(&["/a/b/*.c"]), key("/a/b"));
        assert_eq!(from(&["/a/b/*.c", "/a/bc/x"]), key("/a"));
        assert_eq!(from(&["/a/b/*.c", "/a/b/d/x"]), key("/a/b"));
        assert_eq!(from(&["/a/b/*.c", "x"]), key("/"));
        assert_eq!(from(&["/a", "/b"]), key("/"));
        assert_eq!(from(&["/a/b*/c"]), key("/a"));
        assert_eq!(from(&[]), key("/"));
    }
}
