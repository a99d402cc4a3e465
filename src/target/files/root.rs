//! The directory below which everything is done.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, Mode, OFlags};

use super::Directory;

/// Directories kept open. Processes may usually have 1024 files open.
const OPEN_DIRECTORIES: usize = 256;

/// The directory below which everything is done, with those opened last below it.
pub struct Root {
    path: PathBuf,
    top: Directory,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_key: HashMap<Vec<u8>, (Directory, u64)>,
    clock: u64,
}

impl Root {
    /// The directory at a path of the user's, in which links are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = Directory(Arc::new(rustix::fs::openat(CWD, path, flags, Mode::empty())?));
        Ok(Self { path: path.to_owned(), top, open: Mutex::default() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory at a key (components joined by NUL) below this one; the empty key is this one. An error when a link
    /// or anything else but a directory is on the way.
    pub fn directory(&self, key: &[u8]) -> io::Result<Directory> {
        // From the deepest one that is open already.
        let mut at = key.len();
        let mut directory = loop {
            if at == 0 {
                break self.top.clone();
            }
            if let Some(directory) = self.recall(&key[..at]) {
                break directory;
            }
            at = key[..at].iter().rposition(|&byte| byte == 0).unwrap_or(0);
        };
        while at < key.len() {
            let start = if at == 0 { 0 } else { at + 1 };
            let end = key[start..].iter().position(|&byte| byte == 0).map_or(key.len(), |length| start + length);
            directory = directory.directory(&key[start..end])?;
            self.remember(&key[..end], &directory);
            at = end;
        }
        Ok(directory)
    }

    /// Forgets open directories after one was removed.
    pub fn forget(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).by_key.clear();
    }

    fn recall(&self, key: &[u8]) -> Option<Directory> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let now = open.clock;
        let (directory, used) = open.by_key.get_mut(key)?;
        *used = now;
        Some(directory.clone())
    }

    fn remember(&self, key: &[u8], directory: &Directory) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.by_key.len() >= OPEN_DIRECTORIES {
            let mut used: Vec<u64> = open.by_key.values().map(|(_, used)| *used).collect();
            let middle = used.len() / 2;
            let (_, median, _) = used.select_nth_unstable(middle);
            let median = *median;
            open.by_key.retain(|_, (_, used)| *used > median);
        }
        let now = open.clock;
        open.by_key.insert(key.to_vec(), (directory.clone(), now));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        std::fs::create_dir_all(inside.join("a/b")).unwrap();
        std::fs::create_dir_all(outside.join("b")).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        let root = Root::open(&inside).unwrap();
        root.directory(b"a\0b").unwrap().create_file(b"new").unwrap();
        assert!(inside.join("a/b/new").exists());
        for key in [&b"link"[..], b"link\0b", b"a\0b\0new"] {
            assert!(root.directory(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn any_depth_and_any_number_can_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let mut key = Vec::new();
        for depth in 0..1000 {
            let parent = root.directory(&key).unwrap();
            if depth > 0 {
                key.push(0);
            }
            key.extend_from_slice(b"component");
            parent.create_directory(b"component", false).unwrap();
        }
        assert!(key.len() > 9000);
        root.directory(&key).unwrap().create_file(b"file").unwrap();
        root.forget();
        assert!(root.directory(&key).unwrap().find(b"file").unwrap().is_some());
        assert!(root.open.lock().unwrap().by_key.len() <= OPEN_DIRECTORIES);
        // Deeper than the system removes in one piece.
        while let Some(at) = key.iter().rposition(|&byte| byte == 0) {
            let parent = root.directory(&key[..at]).unwrap();
            let here = parent.directory(b"component").unwrap();
            let _ = here.remove(b"file");
            parent.remove_directory(b"component").unwrap();
            root.forget();
            key.truncate(at);
        }
    }
}
