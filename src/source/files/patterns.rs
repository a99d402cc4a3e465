//! Patterns of paths, with one meaning wherever a user gives them.

use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::{Error, ErrorKind, Result};

/// Compiled patterns.
///
/// A pattern is as in `.gitignore` with absolute paths: one that begins with `/` matches the whole path, any other also from
/// the middle of it on, be there a `/` inside or not. The last pattern that matches counts, and `!` re-includes; the order is
/// that of files, then of patterns, then of those that do not regard case.
#[derive(Debug)]
pub struct Patterns {
    matcher: Gitignore,
}

impl Patterns {
    /// Of files of patterns, patterns, and patterns that do not regard upper and lower case.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] names the pattern that is none.
    pub fn new<S: AsRef<str>>(files: &[PathBuf], exact: &[S], any_case: &[S]) -> Result<Self> {
        let mut builder = GitignoreBuilder::new("/");
        builder.allow_unclosed_class(false);
        for path in files {
            let text = std::fs::read(path).map_err(|error| Error::io(path.display(), error))?;
            let text = String::from_utf8(text)
                .map_err(|_| Error::new(ErrorKind::Usage, path.display(), "patterns must be UTF-8"))?;
            for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
                add(&mut builder, line)?;
            }
        }
        for (patterns, insensitive) in [(exact, false), (any_case, true)] {
            builder.case_insensitive(insensitive).map_err(|error| unusable("patterns", &error))?;
            for pattern in patterns.iter().map(AsRef::as_ref) {
                if pattern.trim().is_empty() {
                    return Err(Error::new(ErrorKind::Usage, "pattern", "empty"));
                }
                // Only lines of files can be comments.
                let escape = if pattern.starts_with('#') { "\\" } else { "" };
                add(&mut builder, &format!("{escape}{pattern}"))?;
            }
        }
        Ok(Self { matcher: builder.build().map_err(|error| unusable("patterns", &error))? })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.matcher.is_empty()
    }

    /// What they say of an absolute path itself: matched, re-included by `!`, or nothing.
    pub fn verdict(&self, path: &Path, is_directory: bool) -> Option<bool> {
        // The root directory has no name to match.
        if path == Path::new("/") {
            return None;
        }
        match self.matcher.matched(path, is_directory) {
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
            Match::None => None,
        }
    }

    /// Whether they match an absolute path itself.
    pub fn matches(&self, path: &Path, is_directory: bool) -> bool {
        self.verdict(path, is_directory) == Some(true)
    }

    /// Whether they match an absolute path or a directory that it is in.
    pub fn match_path_or_parents(&self, path: &Path, is_directory: bool) -> bool {
        self.matcher.matched_path_or_any_parents(path, is_directory).is_ignore()
    }
}

// `foo/bar` means the same everywhere, as to users of other backup programs, where git has it mean `/foo/bar`.
fn add(builder: &mut GitignoreBuilder, line: &str) -> Result<()> {
    let (sign, pattern) = line.strip_prefix('!').map_or(("", line), |pattern| ("!", pattern));
    let inside = pattern.trim_end().trim_end_matches('/');
    let anywhere = !line.starts_with('#') && !pattern.starts_with('/') && inside.contains('/');
    let line = if anywhere { &format!("{sign}**/{pattern}") } else { line };
    builder.add_line(None, line).map(|_| ()).map_err(|error| match error {
        ignore::Error::Glob { err, .. } => unusable(pattern, &err),
        other => unusable(pattern, &other),
    })
}

fn unusable(pattern: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Usage, format_args!("pattern {pattern:?}"), error)
}
