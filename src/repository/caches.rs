//! The caches of all repositories on this machine, as `cache` shows and cleans them.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::known_place::KnownPlace;
use super::{cache_file, object_cache};
use crate::error::{Error, Result};
use crate::id::RepositoryId;

/// The file whose time says when a repository was last opened.
const USED_FILE: &str = "used";

/// The local cache of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheInfo {
    /// The repository.
    pub repository: RepositoryId,
    /// Where it was opened, as shown to people; empty where that is not remembered, as for repositories on this machine.
    pub locations: Vec<String>,
    /// What its files take.
    pub size_bytes: u64,
    /// When the repository was last opened: milliseconds since 1970.
    pub used_ms: i64,
}

/// The caches in a folder, the one used last first. There are none where there is no folder.
pub fn caches(folder: &Path) -> Result<Vec<CacheInfo>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| Error::io(folder.display(), e))?,
    };
    let known = KnownPlace::all(folder);
    let mut caches = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(folder.display(), e))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(Ok(repository)) = name.map(str::parse::<RepositoryId>) else { continue };
        let files = object_cache::files_below(&path);
        let marked = fs::metadata(path.join(USED_FILE)).and_then(|metadata| metadata.modified()).ok();
        let used = marked.or_else(|| files.iter().map(|file| file.used).max()).unwrap_or(UNIX_EPOCH);
        let since = used.duration_since(UNIX_EPOCH).unwrap_or_default();
        let here = known.iter().filter(|(_, known)| known.repository == repository);
        let mut locations: Vec<String> = here.map(|(_, known)| known.location.clone()).collect();
        locations.sort();
        caches.push(CacheInfo {
            repository,
            locations,
            size_bytes: files.iter().map(|file| file.bytes).sum(),
            used_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        });
    }
    caches.sort_by_key(|cache| (std::cmp::Reverse(cache.used_ms), cache.repository));
    Ok(caches)
}

/// Removes the cache of one repository, and what it knows of the locations where it was opened.
pub fn remove_cache(folder: &Path, repository: RepositoryId) -> Result<()> {
    for (path, known) in KnownPlace::all(folder) {
        if known.repository == repository {
            fs::remove_file(&path).map_err(|e| Error::io(path.display(), e))?;
        }
    }
    let path = folder.join(repository.to_string());
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path.display(), error)),
        _ => Ok(()),
    }
}

/// Notes that a repository was opened now.
pub(super) fn note_use(folder: &Path) {
    let written = cache_file::create_folder(folder).and_then(|()| fs::File::create(folder.join(USED_FILE)));
    if let Ok(file) = written {
        let _ = file.set_modified(SystemTime::now());
    }
}
