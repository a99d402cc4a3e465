//! Which paths to back up: from the command line and from lists.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;
use packstone::Error;

use crate::exit::{Failure, Result};

/// A path from the root, without `.` and `..`, which leads to the same place. A link that it ends with stays one.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    let about = |error| Failure::from(Error::io(path.display(), error));
    let whole = std::path::absolute(path).map_err(about)?;
    let steps_up = |path: &Path| path.components().any(|part| part == Component::ParentDir);
    if !steps_up(&whole) {
        return Ok(whole.components().collect());
    }
    // What `..` leads to depends on the links before it.
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize().map_err(about)?.join(name)),
        _ => whole.canonicalize().map_err(about),
    }
}

/// The lines of a list of paths; blank lines and those that begin with `#` do not count. Wildcards stand for what they match.
pub fn patterns(list: &OsStr, note: &dyn Fn(&str)) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in read(list)?.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let found = expand(line)?;
        if found.is_empty() {
            note(&format!("{}: nothing matches {}", list.display(), String::from_utf8_lossy(line)));
        }
        paths.extend(found);
    }
    Ok(paths)
}

/// The lines of a list of paths, each as it is; empty lines do not count.
pub fn verbatim(list: &OsStr) -> Result<Vec<PathBuf>> {
    Ok(split(&read(list)?, b'\n'))
}

/// The parts of a list of paths, each ended by a NUL.
pub fn raw(list: &OsStr) -> Result<Vec<PathBuf>> {
    Ok(split(&read(list)?, b'\0'))
}

fn split(list: &[u8], separator: u8) -> Vec<PathBuf> {
    let parts = list.split(|&byte| byte == separator).filter(|part| !part.is_empty());
    parts.map(|part| PathBuf::from(OsStr::from_bytes(part))).collect()
}

/// A list from a file, or `-` from standard input.
fn read(list: &OsStr) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match list.as_bytes() {
        b"-" => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        _ => std::fs::read(list).map(|content| bytes = content),
    };
    read.map_err(|e| Error::io(list.display(), e))?;
    Ok(bytes)
}

/// The paths that a pattern stands for; without a wildcard that is itself, whether it exists or not.
fn expand(pattern: &[u8]) -> Result<Vec<PathBuf>> {
    let has_wildcard = |part: &[u8]| part.iter().any(|byte| b"*?[".contains(byte));
    if !has_wildcard(pattern) {
        return Ok(vec![PathBuf::from(OsString::from_vec(pattern.to_vec()))]);
    }
    let start = if pattern.starts_with(b"/") { "/" } else { "" };
    let mut found = vec![PathBuf::from(start)];
    for part in pattern.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
        if !has_wildcard(part) {
            found.iter_mut().for_each(|path| path.push(OsStr::from_bytes(part)));
            found.retain(|path| path.symlink_metadata().is_ok());
            continue;
        }
        let text = String::from_utf8_lossy(part);
        let glob = GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).build();
        let matcher = glob.map_err(|e| Failure::usage(&text, e))?.compile_matcher();
        let mut next = Vec::new();
        for folder in found {
            let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            // As in a shell: what cannot be listed has nothing that matches.
            let Ok(entries) = listed.read_dir() else { continue };
            let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
            next.extend(names.filter(|name| matcher.is_match(name)).map(|name| folder.join(name)));
        }
        next.sort();
        found = next;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn paths_become_absolute_without_following_the_last_link() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink("a/b", root.join("link")).unwrap();
        for (path, expected) in
            [("a/./b/", "a/b"), ("a/b/../c", "a/c"), ("link/../b", "a/b"), ("a/../link", "link"), ("link/..", "a")]
        {
            assert_eq!(absolute(&root.join(path)).unwrap(), root.join(expected), "{path}");
        }
        assert!(absolute(Path::new("x")).unwrap().is_absolute());
    }

    #[test]
    fn lists_are_read_in_three_ways() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["one.txt", "two.txt", ".three.txt", "a*b"] {
            std::fs::write(root.join(name), "").unwrap();
        }
        let list = root.join("list");
        let text = format!("# comment\n\n  {0}/*.txt  \n{0}/gone\n{0}/nothing*\n", root.display());
        std::fs::write(&list, text).unwrap();
        let notes = std::cell::RefCell::new(Vec::new());
        let found = patterns(list.as_os_str(), &|text| notes.borrow_mut().push(text.to_owned())).unwrap();
        assert_eq!(found, [".three.txt", "one.txt", "two.txt", "gone"].map(|name| root.join(name)));
        assert_eq!(notes.borrow().len(), 1);
        std::fs::write(&list, "/a*b\n\n# c \n").unwrap();
        assert_eq!(verbatim(list.as_os_str()).unwrap(), ["/a*b", "# c "].map(PathBuf::from));
        std::fs::write(&list, b"/a\nb\0/c\0").unwrap();
        assert_eq!(raw(list.as_os_str()).unwrap(), ["/a\nb", "/c"].map(PathBuf::from));
    }
}
