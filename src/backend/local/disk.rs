//! The blocking file system calls of the local backend.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, RenameFlags};
use rustix::io::Errno;

use crate::backend::local::reserve;
use crate::backend::{ObjectStat, PutNew};
use crate::error::{Error, ErrorKind, Result};
use crate::format::ObjectPath;

/// Below the root: what is being written, and the reserve. No object is ever here.
const TEMPORARIES: &str = "tmp";

/// Folders that every repository has.
const FOLDERS: [&str; 7] = ["tmp", "packs", "keys", "index", "sessions", "snapshots", "gc"];

/// Folders below these are removed with their last object.
const SHORT_LIVED: [&str; 2] = ["sessions", "sync"];

/// What an object's name may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Naming {
    /// Nobody else uses the name.
    Unique,
    /// Nothing may be there.
    New,
    /// What is there goes.
    Over,
}

/// A root folder.
#[derive(Debug)]
pub(in crate::backend) struct Disk {
    root: PathBuf,
    /// Folders that are known to survive a crash and are never removed.
    durable: Mutex<HashSet<PathBuf>>,
}

/// A synced file in `tmp/`, removed when dropped unless it was renamed.
pub(in crate::backend) struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Disk {
    pub(in crate::backend) fn at(root: PathBuf) -> Self {
        Self { root, durable: Mutex::new(HashSet::new()) }
    }

    /// Creates the root with its folders and the reserve.
    pub(in crate::backend) fn lay_out(root: PathBuf) -> Result<Self> {
        let named = |error| Error::io(root.display(), error);
        create_folders_durably(&root).map_err(named)?;
        for entry in fs::read_dir(&root).map_err(named)? {
            let name = entry.map_err(named)?.file_name();
            let name = name.to_string_lossy();
            if !(FOLDERS.contains(&&*name) || name.starts_with('.') || name == "lost+found") {
                let message = format_args!("the folder is not empty: it holds {name}");
                return Err(Error::new(ErrorKind::AlreadyExists, root.display(), message));
            }
        }
        for folder in FOLDERS {
            create_folder(&root.join(folder)).map_err(named)?;
        }
        for byte in 0..=255u8 {
            create_folder(&root.join("packs").join(format!("{byte:02x}"))).map_err(named)?;
        }
        sync_folder(&root.join("packs")).map_err(named)?;
        sync_folder(&root).map_err(named)?;
        let disk = Self::at(root);
        reserve::restore(&disk)?;
        Ok(disk)
    }

    pub(in crate::backend) fn root(&self) -> &Path {
        &self.root
    }

    pub(in crate::backend) fn reserve_path(&self) -> PathBuf {
        self.root.join(TEMPORARIES).join("reserve")
    }

    fn locate(&self, path: &ObjectPath) -> Result<PathBuf> {
        if is_temporary(path.as_str()) {
            return Err(Error::new(ErrorKind::Usage, path, "no object may be stored there"));
        }
        Ok(self.root.join(path.as_str()))
    }

    /// Stores an object; durable when it returns.
    pub(in crate::backend) fn write(&self, path: &ObjectPath, body: &[u8], naming: Naming) -> Result<PutNew> {
        let target = self.locate(path)?;
        let named = |error| Error::io(path, error);
        let folder = target.parent().expect("an object lies below the root");
        let mut temporary = self.write_temporary(body).map_err(named)?;
        // Somebody may remove the folder between its creation and the naming; of a session's folder this is expected.
        for _ in 0..16 {
            self.ensure_durable(folder).map_err(named)?;
            let outcome = match naming {
                Naming::New => temporary.link_to(&target),
                Naming::Unique | Naming::Over => temporary.try_rename(&target).map(|()| PutNew::Created),
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::NotFound && temporary.path.exists() => {
                    self.durable().clear()
                }
                // What is there may be what this caller wrote before an answer was lost, so it must be durable as well.
                outcome => return outcome.and_then(|put| sync_folder(folder).map(|()| put)).map_err(named),
            }
        }
        Err(Error::new(ErrorKind::Transient, path, "its folder keeps vanishing"))
    }

    /// A new synced file in `tmp/`. Any failure, also of the sync, is final for the file: it is removed. Where the root has no
    /// configuration nothing is begun: a disk that is not mounted leaves an empty folder behind.
    pub(in crate::backend) fn write_temporary(&self, body: &[u8]) -> io::Result<Temporary> {
        let folder = self.root.join(TEMPORARIES);
        let (temporary, mut file) = match Temporary::create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.has_configuration() => {
                create_folder(&folder)?;
                Temporary::create(&folder)?
            }
            created => created?,
        };
        file.write_all(body)?;
        file.sync_all()?;
        Ok(temporary)
    }

    fn has_configuration(&self) -> bool {
        self.root.join(ObjectPath::config().as_str()).is_file()
    }

    /// Makes sure that the folder exists and that a crash does not take it away.
    fn ensure_durable(&self, folder: &Path) -> io::Result<()> {
        let mut unknown = Vec::new();
        for step in folder.ancestors().take_while(|step| step.starts_with(&self.root) && *step != self.root) {
            if self.durable().contains(step) {
                break;
            }
            unknown.push(step);
        }
        for step in unknown.into_iter().rev() {
            create_folder(step)?;
            sync_folder(step.parent().expect("a step lies below the root"))?;
            // Of a session anybody may remove the folder and create it again; below `sync` each folder has one writer.
            if step.parent() != Some(&self.root.join(SHORT_LIVED[0])) {
                self.durable().insert(step.to_owned());
            }
        }
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object's bytes.
    pub(in crate::backend) fn read(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Bytes> {
        let named = |error| Error::io(path, error);
        let mut file = File::open(self.locate(path)?).map_err(named)?;
        let size_bytes = file.metadata().map_err(named)?.len();
        let range = range.unwrap_or(0..size_bytes);
        if range.start > range.end {
            return Err(Error::new(ErrorKind::Usage, path, "range ends before it starts"));
        }
        let short = || {
            let message = format_args!("{size_bytes} bytes long, but bytes up to {} were expected", range.end);
            Error::new(ErrorKind::Damaged, path, message)
        };
        if range.end > size_bytes {
            return Err(short());
        }
        let len = range.end - range.start;
        let capacity = usize::try_from(len).map_err(|_| Error::new(ErrorKind::Usage, path, "range over memory"))?;
        let mut bytes = Vec::with_capacity(capacity);
        file.seek(SeekFrom::Start(range.start)).map_err(named)?;
        file.take(len).read_to_end(&mut bytes).map_err(named)?;
        if bytes.len() < capacity {
            return Err(short());
        }
        Ok(bytes.into())
    }

    /// What is known of an object.
    pub(in crate::backend) fn stat(&self, path: &ObjectPath) -> Result<Option<ObjectStat>> {
        match fs::symlink_metadata(self.locate(path)?) {
            Ok(meta) if meta.is_file() => Ok(Some(object_stat(&meta))),
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Error::io(path, error)),
        }
    }

    /// Removes an object durably, and a session's folder with its last object.
    pub(in crate::backend) fn delete(&self, path: &ObjectPath) -> Result<()> {
        let target = self.locate(path)?;
        let folder = target.parent().expect("an object lies below the root");
        let removed = absent_is_fine(fs::remove_file(&target));
        // Also when it is gone already: whoever removed it may have crashed before syncing.
        removed.and_then(|()| absent_is_fine(sync_folder(folder))).map_err(|error| Error::io(path, error))?;
        for folder in folder.ancestors().take_while(|folder| self.is_short_lived(folder)) {
            // Best effort: it fails while other objects are there, and an empty folder harms nobody.
            if fs::remove_dir(folder).is_err() {
                break;
            }
            self.durable().remove(folder);
        }
        Ok(())
    }

    /// Whether a folder goes with its last object.
    fn is_short_lived(&self, folder: &Path) -> bool {
        SHORT_LIVED.iter().any(|top| folder.strip_prefix(self.root.join(top)).is_ok_and(|rest| rest != Path::new("")))
    }

    /// The objects whose paths start with `prefix`, in path order.
    pub(in crate::backend) fn list(&self, prefix: &str) -> Result<Vec<(ObjectPath, ObjectStat)>> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.is_empty() && ObjectPath::parse(folder).is_none() {
            return Err(Error::new(ErrorKind::Usage, prefix, "not a path of objects"));
        }
        let mut objects = Vec::new();
        self.walk(folder, &mut |found, path| {
            let Some(object) = found.filter(|object| object.as_str().starts_with(prefix)) else { return Ok(()) };
            match fs::symlink_metadata(path) {
                Ok(meta) => objects.push((object, object_stat(&meta))),
                // Removed since the folder was read.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(Error::io(object, error)),
            }
            Ok(())
        })?;
        objects.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(objects)
    }

    /// Files that are neither objects nor temporaries.
    pub(in crate::backend) fn unknown_files(&self) -> Result<Vec<PathBuf>> {
        let mut unknown = Vec::new();
        self.walk("", &mut |found, path| {
            if found.is_none() {
                unknown.push(path.to_owned());
            }
            Ok(())
        })?;
        unknown.sort_unstable();
        Ok(unknown)
    }

    /// Shows every file below `folder`, with its object path if it can be an object.
    fn walk(&self, folder: &str, seen: &mut dyn FnMut(Option<ObjectPath>, &Path) -> Result<()>) -> Result<()> {
        let mut folders = vec![self.root.join(folder)];
        while let Some(folder) = folders.pop() {
            let named = |error| Error::io(folder.display(), error);
            let entries = match fs::read_dir(&folder) {
                // The root itself must be there: an unmounted disk is not an empty repository.
                Err(error) if is_absent(&error) && folder != self.root && self.root.is_dir() => continue,
                entries => entries.map_err(named)?,
            };
            for entry in entries {
                let entry = entry.map_err(named)?;
                let path = entry.path();
                let relative = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
                if relative.is_some_and(is_temporary) {
                    continue;
                }
                let kind = entry.file_type().map_err(named)?;
                if kind.is_dir() {
                    folders.push(path);
                } else {
                    seen(relative.filter(|_| kind.is_file()).and_then(ObjectPath::parse), &path)?;
                }
            }
        }
        Ok(())
    }

    /// Removes temporaries last written longer than `older_than` ago.
    pub(in crate::backend) fn clean_temporaries(&self, older_than: Duration) -> Result<u64> {
        let folder = self.root.join(TEMPORARIES);
        let named = |error| Error::io(folder.display(), error);
        let entries = match fs::read_dir(&folder) {
            Err(error) if is_absent(&error) => return Ok(0),
            entries => entries.map_err(named)?,
        };
        let mut removed_count = 0;
        for entry in entries {
            let path = entry.map_err(named)?.path();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let age = meta.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            if path != self.reserve_path() && meta.is_file() && age.is_some_and(|age| age >= older_than) {
                absent_is_fine(fs::remove_file(&path)).map_err(named)?;
                removed_count += 1;
            }
        }
        Ok(removed_count)
    }
}

impl Temporary {
    fn create(folder: &Path) -> io::Result<(Self, File)> {
        loop {
            let mut name = [0; 12];
            getrandom::fill(&mut name).map_err(|error| io::Error::other(error.to_string()))?;
            let path = folder.join(crate::id::hex(&name));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => return Ok((Self { path, renamed: false }, file?)),
            }
        }
    }

    /// Gives the file a second name unless that is taken.
    fn link_to(&mut self, target: &Path) -> io::Result<PutNew> {
        match rustix::fs::linkat(CWD, &self.path, CWD, target, AtFlags::empty()) {
            Ok(()) => Ok(PutNew::Created),
            Err(Errno::EXIST) => Ok(PutNew::Exists),
            // File systems without hard links, and full ones: a second name takes room, another name does not.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOSPC | Errno::DQUOT) => {
                self.rename_if_new(target)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn rename_if_new(&mut self, target: &Path) -> io::Result<PutNew> {
        match rustix::fs::renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.renamed = true;
                Ok(PutNew::Created)
            }
            Err(Errno::EXIST) => Ok(PutNew::Exists),
            Err(error) => Err(error.into()),
        }
    }

    fn try_rename(&mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }

    /// Gives the file its name, over whatever has it; not yet durable.
    pub(in crate::backend) fn rename_to(mut self, target: &Path) -> io::Result<()> {
        self.try_rename(target)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // A leftover is found by `clean_temporaries`.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_temporary(relative: &str) -> bool {
    relative == TEMPORARIES || relative.strip_prefix(TEMPORARIES).is_some_and(|rest| rest.starts_with('/'))
}

fn object_stat(meta: &fs::Metadata) -> ObjectStat {
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    ObjectStat { size_bytes: meta.len(), modified_ms: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX) }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if is_absent(&error) { Ok(()) } else { Err(error) })
}

fn create_folder(path: &Path) -> io::Result<()> {
    loop {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::symlink_metadata(path) {
                // Somebody removed it in between.
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue,
                _ if path.is_dir() => return Ok(()),
                Ok(found) if found.is_dir() => continue,
                _ => return Err(error),
            },
            created => return created,
        }
    }
}

/// Creates the folder and its parents and syncs the parent of each that was missing.
fn create_folders_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_folders_durably(parent)?;
    create_folder(path)?;
    sync_folder(parent)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some network file systems do not sync folders and keep them durable by themselves.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_folder_that_others_remove_meanwhile_can_be_created() {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("shared");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = fs::remove_dir(&shared);
                }
            });
            let created: Vec<_> = (0..50_000).map(|_| create_folder(&shared)).filter(Result::is_err).collect();
            done.store(true, Ordering::Relaxed);
            assert!(created.is_empty(), "{} failed: {:?}", created.len(), created[0]);
        });
        // The other thread may have removed it last.
        create_folder(&shared).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(create_folder(&folder.path().join("file")).is_err(), "a file in the way");
        rustix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        assert!(create_folder(&folder.path().join("link")).is_err(), "a link to nothing in the way");
    }
}
