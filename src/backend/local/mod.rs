//! The durable local backend: a folder that holds each object at its path.
//!
//! Objects are written to `tmp/`, synced, then given their name (`linkat` where the name must be new, `rename` elsewhere),
//! and the folder of the name is synced before the call returns. `tmp/` also keeps a reserve of one mebibyte of real
//! blocks, given up when the disk is full so that small control objects, and with them `prune`, still get through.

mod disk;
mod reserve;

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backend::foreign::{CONFIG_MAGIC, detect_foreign, read_head};
use crate::backend::{Answer, Backend, ObjectStat, PutNew};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

use disk::{Disk, Naming};

/// A repository's folder on this machine or on a mounted file system.
#[derive(Clone, Debug)]
pub struct LocalBackend {
    disk: Arc<Disk>,
}

impl LocalBackend {
    /// Lays out the folders of a new repository at `path`, creating it and its parents.
    ///
    /// Without a `config` it is not yet a repository; a call that was cut short may be repeated.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when a repository or anything else is there, [`ErrorKind::Foreign`] for that of another
    /// program.
    pub async fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        blocking(move || {
            if let Some(program) = detect_foreign(&path) {
                return Err(foreign(&path, program));
            }
            if path.join("config").exists() {
                return Err(Error::new(ErrorKind::AlreadyExists, path.display(), "a repository is already there"));
            }
            let disk = Disk::lay_out(path)?;
            Ok(Self { disk: Arc::new(disk) })
        })
        .await
    }

    /// The repository at `path`. Whether its `config` can be understood is for its reader to say.
    ///
    /// # Errors
    /// [`ErrorKind::NoRepository`] when there is none, [`ErrorKind::Foreign`] for that of another program,
    /// [`ErrorKind::Failed`] when this user may not look.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        blocking(move || {
            let config = path.join("config");
            if let Err(error) = File::open(&config)
                && error.kind() == std::io::ErrorKind::PermissionDenied
            {
                return Err(Error::io(config.display(), error));
            }
            let ours = read_head(&config).is_some_and(|head| head.starts_with(CONFIG_MAGIC));
            if !ours {
                if let Some(program) = detect_foreign(&path) {
                    return Err(foreign(&path, program));
                }
                // With packs beside it, a config of other bytes is a damaged one: reading it will say so.
                if !(config.is_file() && path.join("packs").is_dir()) {
                    return Err(Error::new(ErrorKind::NoRepository, path.display(), "no repository here"));
                }
            }
            Ok(Self { disk: Arc::new(Disk::at(path)) })
        })
        .await
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.disk.root()
    }

    /// Files and links below the folder whose names are not those of objects, in path order; temporaries do not count.
    pub async fn unknown_files(&self) -> Result<Vec<PathBuf>> {
        let disk = Arc::clone(&self.disk);
        blocking(move || disk.unknown_files()).await
    }

    /// Removes what crashed writers left in `tmp/` when it was last written more than `older_than` ago; returns how many.
    pub async fn clean_temporaries(&self, older_than: Duration) -> Result<u64> {
        let disk = Arc::clone(&self.disk);
        blocking(move || disk.clean_temporaries(older_than)).await
    }

    /// Sets the reserve aside again after a full disk used it up; returns whether it was missing.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`] when there is still no room for it.
    pub async fn restore_reserve(&self) -> Result<bool> {
        let disk = Arc::clone(&self.disk);
        blocking(move || reserve::restore(&disk)).await
    }

    fn store<'a>(&self, path: &'a ObjectPath, body: Sealed, naming: Naming) -> Answer<'a, PutNew> {
        let (disk, path) = (Arc::clone(&self.disk), path.clone());
        Box::pin(blocking(move || {
            let first = disk.write(&path, body.bytes(), naming);
            let full = first.as_ref().is_err_and(|error| error.kind() == ErrorKind::NoSpace);
            if full && reserve::may_use(&path, body.len(), naming) && reserve::free(&disk) {
                return disk.write(&path, body.bytes(), naming);
            }
            first
        }))
    }
}

impl Backend for LocalBackend {
    fn location(&self) -> String {
        self.disk.root().display().to_string()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        let stored = self.store(path, body, Naming::Unique);
        Box::pin(async move { stored.await.map(drop) })
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        self.store(path, body, Naming::New)
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        let stored = self.store(path, body, Naming::Over);
        Box::pin(async move { stored.await.map(drop) })
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        let (disk, path) = (Arc::clone(&self.disk), path.clone());
        Box::pin(blocking(move || disk.read(&path, range)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        let (disk, prefix) = (Arc::clone(&self.disk), prefix.to_owned());
        Box::pin(blocking(move || disk.list(&prefix)))
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        let (disk, path) = (Arc::clone(&self.disk), path.clone());
        Box::pin(blocking(move || disk.stat(&path)))
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        let (disk, path) = (Arc::clone(&self.disk), path.clone());
        Box::pin(blocking(move || disk.delete(&path)))
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move {
            let unknown = self.unknown_files().await?;
            let shown = |path: &PathBuf| path.strip_prefix(self.path()).unwrap_or(path).display().to_string();
            Ok(unknown.iter().map(shown).collect())
        })
    }
}

fn foreign(path: &Path, program: &str) -> Error {
    Error::new(ErrorKind::Foreign, path.display(), format_args!("this is a repository of {program}"))
}

/// Runs file system work where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let answer = tokio::task::spawn_blocking(work).await;
    answer
        .unwrap_or_else(|panic| Err(Error::new(ErrorKind::Failed, "", "a file system task ended early").because(panic)))
}
