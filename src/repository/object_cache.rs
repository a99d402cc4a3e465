//! Sealed frames of nodes in the local cache, bounded, the ones not used for longest dropped first.
//!
//! A frame lies there as it lies in its pack, so that the cache tells no more than the repository does. How much there is
//! is counted once per process, when it first adds something; processes that share a cache may exceed the limit together by
//! what each adds until it counts again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::cache_file;
use crate::id::PackId;

/// Times of use are noted this exactly.
const USE_NOTED_EVERY: Duration = Duration::from_secs(3600);
/// After dropping, this part of the limit is left, so that the next frames find room.
const KEPT: (u64, u64) = (7, 8);
/// What a file costs beside its bytes.
const FILE_OVERHEAD_BYTES: u64 = 2048;

/// The frames that one repository's folder of the local cache holds.
#[derive(Debug)]
pub(super) struct ObjectCache {
    /// The repository's folder.
    folder: PathBuf,
    key: [u8; 32],
    limit_bytes: u64,
    /// Bytes of the whole folder, once counted.
    used_bytes: Mutex<Option<u64>>,
}

impl ObjectCache {
    pub(super) fn new(folder: PathBuf, key: [u8; 32], limit_bytes: u64) -> Self {
        Self { folder, key, limit_bytes, used_bytes: Mutex::new(None) }
    }

    /// Whether there is something for this offset of a pack.
    pub(super) fn has(&self, pack: PackId, offset: u64) -> bool {
        self.path(pack, offset).exists()
    }

    /// The sealed frame at this offset of a pack, as it was kept.
    pub(super) fn find(&self, pack: PackId, offset: u64) -> Option<Bytes> {
        let path = self.path(pack, offset);
        let bytes = cache_file::read(&path, &self.key)?;
        note_use(&path);
        Some(bytes.into())
    }

    /// Keeps a sealed frame for later runs, if there is room.
    pub(super) fn keep(&self, pack: PackId, offset: u64, frame: &[u8]) {
        if (frame.len() as u64) > self.limit_bytes / 8 {
            return;
        }
        let mut used = self.used_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = used.unwrap_or_else(|| files_below(&self.folder).iter().map(|file| file.bytes).sum());
        *used = Some(before);
        match cache_file::write(&self.path(pack, offset), &self.key, frame) {
            Ok(bytes) => {
                let now = before + bytes + FILE_OVERHEAD_BYTES;
                *used = Some(if now > self.limit_bytes { self.drop_oldest() } else { now });
            }
            Err(error) => tracing::debug!("the local cache keeps nothing: {error}"),
        }
    }

    /// Drops frames until there is room; returns what is left in the folder.
    fn drop_oldest(&self) -> u64 {
        let total: u64 = files_below(&self.folder).iter().map(|file| file.bytes).sum();
        let aim = self.limit_bytes / KEPT.1 * KEPT.0;
        let mut frames = files_below(&self.folder.join("frames"));
        frames.sort_by_key(|file| file.used);
        let mut left = total;
        for file in frames {
            if left <= aim {
                break;
            }
            // Another process may have been faster.
            let _ = fs::remove_file(&file.path);
            left -= file.bytes;
        }
        left
    }

    fn path(&self, pack: PackId, offset: u64) -> PathBuf {
        let pack = pack.to_string();
        self.folder.join("frames").join(&pack[..2]).join(format!("{pack}-{offset}"))
    }
}

/// A file of the cache.
pub(super) struct CachedFile {
    pub(super) path: PathBuf,
    /// What it takes, roughly.
    pub(super) bytes: u64,
    pub(super) used: SystemTime,
}

/// Every file below a folder; none when it cannot be read.
pub(super) fn files_below(folder: &Path) -> Vec<CachedFile> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push(CachedFile { path: entry.path(), bytes: metadata.len() + FILE_OVERHEAD_BYTES, used });
            }
        }
    }
    files
}

/// Notes in the file's time that it was used now.
pub(super) fn note_use(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let now = SystemTime::now();
    if modified.is_ok_and(|then| now.duration_since(then).is_ok_and(|ago| ago > USE_NOTED_EVERY)) {
        let _ = file.set_modified(now);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn pack(n: u8) -> PackId {
        PackId::new([n; 32])
    }

    fn cache(folder: &Path, limit_bytes: u64) -> ObjectCache {
        ObjectCache::new(folder.to_owned(), [3; 32], limit_bytes)
    }

    #[test]
    fn what_was_kept_is_found_by_the_next_process_and_what_was_spoilt_is_not() {
        let folder = tempfile::tempdir().unwrap();
        cache(folder.path(), 1 << 20).keep(pack(1), 17, b"a frame");
        let next = cache(folder.path(), 1 << 20);
        assert_eq!(next.find(pack(1), 17).unwrap(), &b"a frame"[..]);
        assert!(next.find(pack(1), 18).is_none() && next.find(pack(2), 17).is_none());
        let path = next.path(pack(1), 17);
        fs::copy(&path, next.path(pack(1), 18)).unwrap();
        assert!(next.find(pack(1), 18).is_none(), "a frame of another place");
        fs::write(&path, b"something").unwrap();
        assert!(next.find(pack(1), 17).is_none() && !path.exists());
    }

    #[test]
    fn it_stays_below_its_limit_and_drops_what_was_not_used_for_longest() {
        let folder = tempfile::tempdir().unwrap();
        let limit = 400_000;
        let cache = cache(folder.path(), limit);
        let day = Duration::from_secs(24 * 3600);
        for n in 0..100 {
            cache.keep(pack(n), 0, &[n; 20_000]);
            // The first is used again and again, the others grow old in the order of their numbers.
            if n > 0 {
                let age = day * (200 - u32::from(n));
                let file = File::options().write(true).open(cache.path(pack(n), 0));
                if let Ok(file) = file {
                    file.set_modified(SystemTime::now() - age).unwrap();
                }
                assert!(cache.find(pack(0), 0).is_some(), "after {n}");
            }
            let used: u64 = files_below(folder.path()).iter().map(|file| file.bytes).sum();
            assert!(used <= limit, "{used} after {n}");
        }
        assert!(cache.find(pack(1), 0).is_none() && cache.find(pack(99), 0).is_some());
        cache.keep(pack(200), 0, &vec![0; 60_000]);
        assert!(cache.find(pack(200), 0).is_none(), "an eighth of the limit at most");
    }
}
