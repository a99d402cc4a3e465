//! Paths as keys.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::DecodeError;

/// Between two components.
const SEPARATOR: u8 = 0;

/// The key of an absolute path without `.` and `..`; `None` for any other.
pub fn key_of_path(path: &Path) -> Option<Vec<u8>> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.first() != Some(&b'/') || bytes.contains(&SEPARATOR) {
        return None;
    }
    let mut key = Vec::with_capacity(bytes.len());
    for name in bytes.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        if name == b"." || name == b".." {
            return None;
        }
        if !key.is_empty() {
            key.push(SEPARATOR);
        }
        key.extend_from_slice(name);
    }
    Some(key)
}

/// Refuses a key that is no path: a component that is empty, `.` or `..`, or holds a slash. The first `checked` bytes are the
/// start of a key that was not refused.
pub(super) fn check_after(key: &[u8], checked: usize) -> Result<(), DecodeError> {
    if key.is_empty() {
        return Ok(());
    }
    let start = key.iter().take(checked).rposition(|&byte| byte == SEPARATOR).map_or(0, |at| at + 1);
    for name in key.get(start..).unwrap_or_default().split(|&byte| byte == SEPARATOR) {
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(DecodeError::Invalid("name in a path"));
        }
    }
    Ok(())
}

/// The absolute path that a key stands for.
pub fn path_of_key(key: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(key.len() + 1);
    path.push(b'/');
    path.extend(key.iter().map(|&byte| if byte == SEPARATOR { b'/' } else { byte }));
    PathBuf::from(OsStr::from_bytes(&path))
}

/// The key of `name` in the directory `parent`.
pub fn child_key(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(parent.len() + 1 + name.len());
    key.extend_from_slice(parent);
    if !parent.is_empty() {
        key.push(SEPARATOR);
    }
    key.extend_from_slice(name);
    key
}

/// The key of the directory that a path is in; `None` for the root directory.
pub fn parent_of(key: &[u8]) -> Option<&[u8]> {
    if key.is_empty() {
        return None;
    }
    Some(key.iter().rposition(|&byte| byte == SEPARATOR).map_or(&[], |at| &key[..at]))
}

/// The last component; empty for the root directory.
pub fn name_of(key: &[u8]) -> &[u8] {
    key.iter().rposition(|&byte| byte == SEPARATOR).map_or(key, |at| &key[at + 1..])
}

/// The keys from `from` on and below `to`: a path and everything below it. `None` as `to` is everything.
pub fn subtree(key: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    if key.is_empty() {
        return (Vec::new(), None);
    }
    (key.to_vec(), Some(bounded(key, SEPARATOR + 1)))
}

/// The keys of everything below a directory, without itself; bounds as of [`subtree`].
pub fn children(key: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    if key.is_empty() {
        return (vec![SEPARATOR + 1], None);
    }
    (bounded(key, SEPARATOR), Some(bounded(key, SEPARATOR + 1)))
}

// Between a directory's last descendant and `key ‖ 1` lies nothing: siblings that begin with `key` go on with a byte of 1 or
// more.
fn bounded(key: &[u8], end: u8) -> Vec<u8> {
    let mut bound = Vec::with_capacity(key.len() + 1);
    bound.extend_from_slice(key);
    bound.push(end);
    bound
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn key(path: &str) -> Vec<u8> {
        key_of_path(Path::new(path)).unwrap()
    }

    #[test]
    fn paths_come_back() {
        for path in ["/", "/a", "/a/b", "/a b/c\u{1}/d"] {
            assert_eq!(path_of_key(&key(path)), Path::new(path));
        }
        assert_eq!(key("//a///b/"), key("/a/b"));
        for bad in ["", "a", "/a/../b", "/./a", "/a\0b"] {
            assert_eq!(key_of_path(Path::new(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn a_directory_is_a_range_of_keys() {
        let paths = ["/", "/a", "/a/b", "/a/b/c", "/a/z", "/a\u{1}", "/a!", "/a.b", "/b"];
        assert!(paths.map(key).is_sorted());
        let within = |(from, to): (Vec<u8>, Option<Vec<u8>>)| {
            paths.iter().filter(|p| key(p) >= from && to.as_ref().is_none_or(|to| key(p) < *to)).count()
        };
        assert_eq!((within(subtree(&key("/a"))), within(children(&key("/a")))), (4, 3));
        assert_eq!((within(subtree(&key("/"))), within(children(&key("/")))), (9, 8));
        assert_eq!((within(subtree(&key("/a/b"))), within(children(&key("/b")))), (2, 0));
    }

    #[test]
    fn parents_and_names() {
        assert_eq!((parent_of(&key("/a/b")), name_of(&key("/a/b"))), (Some(&b"a"[..]), &b"b"[..]));
        assert_eq!((parent_of(&key("/a")), name_of(&key("/a"))), (Some(&b""[..]), &b"a"[..]));
        assert_eq!((parent_of(b""), name_of(b"")), (None, &b""[..]));
        assert_eq!(child_key(b"", b"a"), key("/a"));
        assert_eq!(child_key(b"a", b"b"), key("/a/b"));
    }
}
