//! konserve's file stores: one flat directory, one file per blob.
//!
//! Writers create a file empty, fill another one beside it and rename that one over it. So a reader that takes no lock,
//! opens once and reads to the end sees one version of a blob or none; an empty file is no blob yet.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind as Io, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use bytes::Bytes;

use super::counters::Counters;
use super::{Home, POLL_EVERY, Stamp, StoreKey, Traffic, head_key, poll_for_change};
use crate::error::{Error, ErrorKind, Result};

/// Files are at most this large.
const BLOB_LIMIT: u64 = 1 << 31;
/// Files written at once: more make disks hardly faster.
const WRITERS: usize = 8;
/// How many names are looked at to tell what a directory is.
const LOOK_AT: usize = 10_000;

/// A store in a directory.
#[derive(Debug)]
pub struct FileHome {
    path: PathBuf,
    counters: Counters,
}

impl FileHome {
    /// The store in an existing directory; one that holds none is refused.
    pub fn open(path: PathBuf) -> Result<Self> {
        let metadata = fs::metadata(&path).map_err(|e| Error::io(path.display(), e))?;
        if !metadata.is_dir() {
            let message = "not a directory: a file store of Datahike is one";
            return Err(Error::new(ErrorKind::Data, path.display(), message));
        }
        if !path.join(head_key().file_name()).is_file() {
            look(&path)?;
        }
        Ok(Self::at(path))
    }

    /// A store in a directory that is made, or holds nothing but blobs, as writing that was interrupted leaves them; none
    /// of which may be the head of a database.
    pub fn create(path: PathBuf) -> Result<Self> {
        let failed = |e| Error::io(path.display(), e);
        let refuse = |message: &str| Err(Error::new(ErrorKind::AlreadyExists, path.display(), message));
        fs::create_dir_all(&path).map_err(failed)?;
        if path.join(head_key().file_name()).exists() {
            return refuse("holds a Datahike database already");
        }
        for entry in fs::read_dir(&path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy();
            if StoreKey::from_file_name(name.strip_suffix(".new").unwrap_or(&name)).is_none() {
                return refuse("the directory is not empty");
            }
        }
        Ok(Self::at(path))
    }

    fn at(path: PathBuf) -> Self {
        Self { path, counters: Counters::default() }
    }

    fn read(&self, key: StoreKey) -> Result<Option<(Stamp, Bytes)>> {
        self.counters.request();
        let path = self.path.join(key.file_name());
        let failed = |e| Error::io(path.display(), e);
        let file = match File::open(&path) {
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.len() > BLOB_LIMIT {
            return Err(Error::new(ErrorKind::Damaged, path.display(), "too large for a blob"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        file.take(BLOB_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        let bytes = self.counters.read(bytes.into());
        Ok((!bytes.is_empty()).then(|| (stamp(&metadata), bytes)))
    }

    fn new_path(&self, key: StoreKey) -> PathBuf {
        self.path.join(format!("{key}.ksv.new"))
    }

    /// Writes contents beside their blobs, durably, several at once: the disk takes together what is asked of it together.
    fn write_new(&self, blobs: &[(StoreKey, Bytes)]) -> Result<()> {
        let next = AtomicUsize::new(0);
        let write = || {
            while let Some((key, content)) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.write_one(*key, content) {
                    next.store(blobs.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            // As many as there can be: this thread does what others do not.
            let start = |_| thread::Builder::new().name("datahike".to_owned()).spawn_scoped(scope, write).ok();
            let others: Vec<_> = (1..WRITERS.min(blobs.len())).filter_map(start).collect();
            let mine = write();
            let join = |other: ScopedJoinHandle<'_, _>| other.join().unwrap_or_else(|panic| resume_unwind(panic));
            others.into_iter().map(join).fold(mine, Result::and)
        })
    }

    fn write_one(&self, key: StoreKey, content: &Bytes) -> Result<()> {
        self.counters.request();
        let path = self.new_path(key);
        let failed = |e| Error::io(path.display(), e);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).map_err(failed)?;
        file.write_all(content).map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    /// Makes durable which names there are.
    fn sync_directory(&self) -> Result<()> {
        self.counters.request();
        let failed = |e| Error::io(self.path.display(), e);
        File::open(&self.path).map_err(failed)?.sync_all().map_err(failed)
    }
}

/// Refuses a directory that is no store of blobs, saying what it is.
fn look(path: &Path) -> Result<()> {
    let refuse = |message: &str| Err(Error::new(ErrorKind::Data, path.display(), message));
    let old = "a konserve store from before version 0.6: open it once with a newer konserve, which migrates it, then back \
               it up";
    let mut any = false;
    for entry in fs::read_dir(path).map_err(|e| Error::io(path.display(), e))?.take(LOOK_AT) {
        let entry = entry.map_err(|e| Error::io(path.display(), e))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if StoreKey::from_file_name(&name).is_some() {
            return Ok(());
        }
        let bare = name.strip_prefix("B_").unwrap_or(&name);
        let named_by_uuid = StoreKey::from_file_name(&format!("{bare}.ksv")).is_some();
        if named_by_uuid || matches!(name.as_ref(), "meta" | "data") && entry.path().is_dir() {
            return refuse(old);
        }
        if matches!(name.as_ref(), "roots" | "values" | "owner") && entry.path().is_dir() {
            return refuse("a backup of Datomic, which is not read: restore it, and back up its log as lines");
        }
        any = true;
    }
    if any {
        refuse("not a file store of Datahike: no file is named <uuid>.ksv")
    } else {
        refuse("an empty directory, not a file store of Datahike")
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    let mut version = Vec::with_capacity(40);
    version.extend_from_slice(&metadata.mtime().to_be_bytes());
    version.extend_from_slice(&metadata.mtime_nsec().to_be_bytes());
    version.extend_from_slice(&metadata.size().to_be_bytes());
    version.extend_from_slice(&metadata.ino().to_be_bytes());
    Stamp::of(&version)
}

impl Home for FileHome {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn get(&self, key: StoreKey) -> Result<Option<Bytes>> {
        Ok(self.read(key)?.map(|(_, blob)| blob))
    }

    fn get_stamped(&self, keys: &[StoreKey]) -> Result<Vec<Option<(Stamp, Bytes)>>> {
        keys.iter().map(|key| self.read(*key)).collect()
    }

    fn stamps(&self, keys: &[StoreKey]) -> Result<Vec<Option<Stamp>>> {
        keys.iter().for_each(|_| self.counters.request());
        let one = |key: &StoreKey| {
            let path = self.path.join(key.file_name());
            match fs::metadata(&path) {
                Ok(metadata) if metadata.len() == 0 => Ok(None),
                Ok(metadata) => Ok(Some(stamp(&metadata))),
                Err(error) if error.kind() == Io::NotFound => Ok(None),
                Err(error) => Err(Error::io(path.display(), error)),
            }
        };
        keys.iter().map(one).collect()
    }

    fn put_many(&self, blobs: Vec<(StoreKey, Bytes)>) -> Result<()> {
        // Of several under one name the last one stays.
        let blobs: Vec<_> = blobs.into_iter().collect::<HashMap<_, _>>().into_iter().collect();
        if blobs.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.write_new(&blobs) {
            // A full disk gets its room back.
            blobs.iter().for_each(|(key, _)| drop(fs::remove_file(self.new_path(*key))));
            return Err(error);
        }
        for (key, content) in &blobs {
            let path = self.path.join(key.file_name());
            fs::rename(self.new_path(*key), &path).map_err(|e| Error::io(path.display(), e))?;
            self.counters.written(content);
        }
        self.sync_directory()
    }

    fn remove_many(&self, keys: &[StoreKey]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        for key in keys {
            self.counters.request();
            let path = self.path.join(key.file_name());
            match fs::remove_file(&path) {
                Err(error) if error.kind() != Io::NotFound => return Err(Error::io(path.display(), error)),
                _ => {}
            }
        }
        // Also where nothing was left to remove: whoever removed it may have been stopped before this.
        self.sync_directory()
    }

    fn is_empty(&self, key: StoreKey) -> Result<bool> {
        self.counters.request();
        let path = self.path.join(key.file_name());
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len() == 0),
            Err(error) if error.kind() == Io::NotFound => Ok(false),
            Err(error) => Err(Error::io(path.display(), error)),
        }
    }

    fn list(&self) -> Result<Vec<StoreKey>> {
        self.counters.request();
        let failed = |e| Error::io(self.path.display(), e);
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(key) = entry.file_name().to_str().and_then(StoreKey::from_file_name) else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.len() > 0 => keys.push(key),
                Ok(_) => {}
                // A writer may have replaced it and a collector removed it since.
                Err(error) if error.kind() == Io::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(keys)
    }

    fn wait_for_change(&self, key: StoreKey, seen: Option<Stamp>, timeout: Duration) -> Result<bool> {
        #[cfg(target_os = "linux")]
        if let Ok(watch) = notify::Watch::new(&self.path) {
            return watch.wait(self, key, seen, timeout);
        }
        poll_for_change(self, key, seen, timeout, POLL_EVERY)
    }

    fn traffic(&self) -> Traffic {
        self.counters.traffic()
    }
}

#[cfg(target_os = "linux")]
mod notify {
    //! The kernel's word that a file of the directory was put in place.

    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use rustix::io::Errno;

    use super::{Error, FileHome, Home as _, Result, Stamp, StoreKey};

    /// The longest silence believed: network file systems tell nothing of what other machines do.
    const BELIEVE: Duration = Duration::from_secs(1);

    pub(super) struct Watch(OwnedFd);

    impl Watch {
        pub(super) fn new(directory: &Path) -> Result<Self, Errno> {
            let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let events = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE;
            inotify::add_watch(&watch, directory, events)?;
            Ok(Self(watch))
        }

        pub(super) fn wait(
            self,
            home: &FileHome,
            key: StoreKey,
            seen: Option<Stamp>,
            timeout: Duration,
        ) -> Result<bool> {
            let until = Instant::now() + timeout;
            let name = key.file_name();
            loop {
                if home.stamps(&[key])?.first() != Some(&seen) {
                    return Ok(true);
                }
                let silent_until = until.min(Instant::now() + BELIEVE);
                loop {
                    let left = silent_until.saturating_duration_since(Instant::now());
                    if left.is_zero() || self.told_of(&name, left).map_err(|e| Error::io(home.name(), e.into()))? {
                        break;
                    }
                }
                if until <= Instant::now() {
                    return Ok(home.stamps(&[key])?.first() != Some(&seen));
                }
            }
        }

        /// Waits for events; whether one is about that file.
        fn told_of(&self, name: &str, timeout: Duration) -> Result<bool, Errno> {
            let timeout = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => return Ok(false),
                ready => ready?,
            };
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(&self.0, &mut buffer);
            let mut told = false;
            loop {
                match events.next() {
                    // An event without a name says that some were lost.
                    Ok(event) => told |= event.file_name().is_none_or(|file| file.to_bytes() == name.as_bytes()),
                    Err(Errno::AGAIN) => return Ok(told),
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn key(n: u8) -> StoreKey {
        StoreKey([n; 16])
    }

    #[test]
    fn what_is_removed_is_gone_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let home = FileHome::create(folder.path().join("store")).unwrap();
        home.put_many((0..9).map(|n| (key(n), vec![n; 100].into())).collect()).unwrap();
        fs::write(home.path.join("note"), "of somebody else").unwrap();
        let before = home.traffic();
        home.remove_many(&[key(3), key(77), key(5), key(3)]).unwrap();
        assert_eq!(home.traffic().requests - before.requests, 5, "four names and the directory");
        let mut listed = home.list().unwrap();
        listed.sort();
        assert_eq!(listed, [0, 1, 2, 4, 6, 7, 8].map(key));
        assert_eq!(home.get(key(5)).unwrap(), None);
        assert_eq!(home.get(key(4)).unwrap().unwrap(), [4; 100][..]);
        assert!(home.path.join("note").exists());
        let before = home.traffic();
        home.remove_many(&[]).unwrap();
        assert_eq!(home.traffic(), before);
    }

    #[test]
    fn many_are_written_at_once_and_of_those_with_one_name_the_last_stays() {
        let folder = tempfile::tempdir().unwrap();
        let home = FileHome::create(folder.path().join("store")).unwrap();
        let content = |n: u8, round: u8| Bytes::from(vec![n ^ round; 1000 + usize::from(n)]);
        let blobs = (0..=255).flat_map(|n| [(key(n), content(n, 0)), (key(n), content(n, 77))]).collect();
        home.put_many(blobs).unwrap();
        let keys: Vec<_> = (0..=255).map(key).collect();
        let expected: Vec<_> = (0..=255).map(|n| Some(content(n, 77))).collect();
        assert_eq!(home.get_many(&keys).unwrap(), expected);
        assert_eq!(fs::read_dir(&home.path).unwrap().count(), 256, "nothing is left beside the blobs");
        assert_eq!(home.traffic().blobs_written, 256);
        home.put_many(vec![(key(3), content(3, 1))]).unwrap();
        assert_eq!(home.get(key(3)).unwrap(), Some(content(3, 1)));
    }

    #[test]
    fn of_a_batch_that_cannot_be_written_nothing_is_seen_or_left() {
        let folder = tempfile::tempdir().unwrap();
        let home = FileHome::create(folder.path().join("store")).unwrap();
        home.put_many(vec![(key(7), Bytes::from_static(b"before"))]).unwrap();
        fs::create_dir(home.new_path(key(40))).unwrap();
        let error = home.put_many((0..80).map(|n| (key(n), vec![n; 100].into())).collect()).unwrap_err();
        assert!(error.object().ends_with(&format!("{}.ksv.new", key(40))), "{error}");
        assert_eq!(home.list().unwrap(), [key(7)]);
        assert_eq!(home.get(key(7)).unwrap().unwrap(), b"before"[..]);
        assert_eq!(fs::read_dir(&home.path).unwrap().count(), 2, "the blob, and what is in the way");
    }

    #[test]
    fn what_cannot_be_removed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let home = FileHome::create(folder.path().join("store")).unwrap();
        fs::create_dir(home.path.join(key(1).file_name())).unwrap();
        let error = home.remove_many(&[key(1)]).unwrap_err();
        assert!(error.object().ends_with(&key(1).file_name()), "{error}");
    }
}
