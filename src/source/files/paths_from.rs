//! Lists of paths in files.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::error::{Error, ErrorKind, Result};

/// The paths that the patterns in a text stand for, a pattern a line.
///
/// Blank space around a line, empty lines and those that begin with `#` do not count. `*`, `?` and `[...]` match within a name,
/// hidden ones too, and `\` takes the meaning from the next character. A pattern that matches nothing is given as a path, so
/// that it is missed when it is walked.
pub fn paths_from_patterns(text: &[u8]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        no_nul(line)?;
        let mut matched = expand(line)?;
        match matched.is_empty() {
            true => paths.push(PathBuf::from(OsStr::from_bytes(line))),
            false => paths.append(&mut matched),
        }
    }
    Ok(paths)
}

/// The paths in a text, a path a line, as they stand there. Empty lines do not count.
pub fn paths_from_verbatim(text: &[u8]) -> Result<Vec<PathBuf>> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| no_nul(line).map(|()| PathBuf::from(OsStr::from_bytes(line)))).collect()
}

/// The paths in bytes, each ended by a NUL, as `find -print0` writes them.
pub fn paths_from_raw(bytes: &[u8]) -> Result<Vec<PathBuf>> {
    let Some(bytes) = bytes.strip_suffix(&[0]) else {
        return match bytes.is_empty() {
            true => Ok(Vec::new()),
            false => Err(Error::new(ErrorKind::Usage, "list of paths", "the last path is not ended by a NUL")),
        };
    };
    let paths: Vec<PathBuf> = bytes.split(|&byte| byte == 0).map(|path| OsStr::from_bytes(path).into()).collect();
    match paths.iter().any(|path| path.as_os_str().is_empty()) {
        true => Err(Error::new(ErrorKind::Usage, "list of paths", "an empty path")),
        false => Ok(paths),
    }
}

fn no_nul(line: &[u8]) -> Result<()> {
    match line.contains(&0) {
        true => Err(Error::new(ErrorKind::Usage, "list of paths", "a NUL in a line: are the paths ended by NULs?")),
        false => Ok(()),
    }
}

/// What a pattern matches, ascending.
fn expand(pattern: &[u8]) -> Result<Vec<PathBuf>> {
    let mut paths = vec![PathBuf::from(if pattern.starts_with(b"/") { "/" } else { "" })];
    for component in pattern.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
        if component.iter().any(|byte| b"*?[".contains(byte)) {
            let glob = compile(component)?;
            paths = paths.iter().flat_map(|path| names_matching(path, &glob)).collect();
        } else {
            let name = unescape(component);
            paths.iter_mut().for_each(|path| path.push(OsStr::from_bytes(&name)));
        }
    }
    paths.retain(|path| fs::symlink_metadata(path).is_ok());
    Ok(paths)
}

fn compile(component: &[u8]) -> Result<GlobMatcher> {
    let name = String::from_utf8_lossy(component);
    let unusable = |why: &dyn std::fmt::Display| Error::new(ErrorKind::Usage, format_args!("pattern {name:?}"), why);
    let text = std::str::from_utf8(component).map_err(|_| unusable(&"must be UTF-8"))?;
    let glob = GlobBuilder::new(&without_alternatives(text)).literal_separator(true).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| unusable(&error.kind()))
}

/// Braces mean something to globset alone.
fn without_alternatives(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let (mut is_escaped, mut is_in_class) = (false, false);
    for letter in pattern.chars() {
        if !is_escaped && !is_in_class && matches!(letter, '{' | '}') {
            plain.push('\\');
        }
        is_in_class = if is_escaped { is_in_class } else { letter == '[' || (is_in_class && letter != ']') };
        is_escaped = !is_escaped && letter == '\\';
        plain.push(letter);
    }
    plain
}

fn names_matching(directory: &Path, glob: &GlobMatcher) -> Vec<PathBuf> {
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    // What cannot be listed matches nothing, and then the pattern is missed.
    let Ok(listing) = fs::read_dir(listed) else { return Vec::new() };
    let mut names: Vec<Vec<u8>> = listing.flatten().map(|entry| entry.file_name().into_vec()).collect();
    names.retain(|name| glob.is_match(OsStr::from_bytes(name)));
    names.sort_unstable();
    names.iter().map(|name| directory.join(OsStr::from_bytes(name))).collect()
}

fn unescape(component: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(component.len());
    let mut bytes = component.iter();
    while let Some(&byte) = bytes.next() {
        name.push(if byte == b'\\' { bytes.next().copied().unwrap_or(byte) } else { byte });
    }
    name
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn paths(paths: &[&str]) -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn patterns_are_expanded_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.c", "b.c", ".c", "b.h", "st*r", "a b", "{x}"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/a.c"), "").unwrap();
        let from = |patterns: &str| -> Vec<String> {
            let text: String =
                patterns.split('\n').map(|line| line.replace('@', folder.path().to_str().unwrap()) + "\n").collect();
            let prefix = folder.path().to_str().unwrap().to_owned() + "/";
            let found = paths_from_patterns(text.as_bytes()).unwrap();
            found.iter().map(|path| path.to_str().unwrap().replace(&prefix, "")).collect()
        };
        let table: [(&str, &[&str]); 11] = [
            ("@/*.c", &[".c", "a.c", "b.c"]),
            ("@/[ab].?\n\n# @/b.h\n", &["a.c", "b.c", "b.h"]),
            ("  @/b.h\t", &["b.h"]),
            ("@/*/a.c", &["d/a.c"]),
            ("@/a b", &["a b"]),
            (r"@/st\*r", &["st*r"]),
            (r"@/s?\*[r]", &["st*r"]),
            ("@/{?}", &["{x}"]),
            (r"@/\{[xy]}", &["{x}"]),
            ("@/[{]x*", &["{x}"]),
            ("@/none\n@/*.none", &["none", "*.none"]),
        ];
        for (patterns, expected) in table {
            assert_eq!(from(patterns), expected, "{patterns}");
        }
        assert_eq!(paths_from_patterns(b"[a").unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn lines_and_raw_paths_are_taken_as_they_stand() {
        assert_eq!(paths_from_verbatim(b"# a\n\n *.c \n/x").unwrap(), paths(&["# a", " *.c ", "/x"]));
        assert_eq!(paths_from_raw(b"a\nb\0#c\0").unwrap(), paths(&["a\nb", "#c"]));
        assert_eq!(paths_from_raw(b"").unwrap(), paths(&[]));
        assert_eq!(paths_from_raw(b"\xff\0").unwrap()[0].as_os_str().as_bytes(), b"\xff");
        for bad in [&b"a"[..], b"a\0b", b"\0", b"a\0\0"] {
            assert_eq!(paths_from_raw(bad).unwrap_err().kind(), ErrorKind::Usage, "{bad:?}");
        }
        assert!(paths_from_verbatim(b"a\0b\n").is_err() && paths_from_patterns(b"a\0b\n").is_err());
    }
}
