//! Which blobs a repository holds, and where.
//!
//! The [`Index`] keeps a sorted flat file (a *shard*) per index object in a cache that may be lost at any time, and maps
//! it: about 22 bytes per blob to search, a filter of about nine bits per blob in front of it that answers for nearly all
//! blobs that are not there, and the pack directories behind it, decoded when asked for. What counts as memory of this
//! process is little more than the packs written since the last index object.

mod builder;
mod directories;
mod location;
mod lookup;
mod map;
mod marks;
mod pending;
mod shard;

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::format::IndexedPack;
use crate::id::{IndexId, PackId};

pub use location::BlobLocation;
pub use lookup::{BlobCopy, Packs};
pub use marks::MarkSet;

use directories::Directories;
use pending::Pending;
use shard::Shard;

/// Shards of about one size that are merged into one.
const MERGE_FAN_IN: usize = 16;

/// Shards with more entries than this are not merged any more.
const MERGE_MAX_ENTRIES: u64 = 4 << 20;

/// The same for shards in the cache: what is merged of them is merged again in every run.
const MERGE_MAX_CACHED_ENTRIES: u64 = 1 << 16;

/// A file of the cache that was begun this long ago and not finished never will be.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The blobs of a repository as its index objects, and the packs of this session, tell them.
///
/// Looking up takes `&self` and may be done from several threads at once.
#[derive(Debug)]
pub struct Index {
    cache: Option<PathBuf>,
    shards: Vec<Shard>,
    shards_made: u64,
    pending: Pending,
    pending_limit_bytes: usize,
    condemned: HashSet<PackId>,
    known: HashSet<IndexId>,
    directories: Directories,
}

impl Index {
    /// An empty one.
    ///
    /// `cache` is a folder for this repository alone, created if need be; without one, shards live in unlinked temporary
    /// files. About `memory_limit_bytes` of memory are used for new packs and decoded directories; mapped files do not
    /// count.
    pub fn new(cache: Option<PathBuf>, memory_limit_bytes: u64) -> Result<Self> {
        let cache = cache.map(|cache| cache.join("index"));
        if let Some(folder) = &cache {
            let created = DirBuilder::new().mode(0o700).recursive(true).create(folder);
            created.map_err(|error| Error::io(folder.display(), error))?;
        }
        let memory_limit_bytes = usize::try_from(memory_limit_bytes).unwrap_or(usize::MAX);
        Ok(Self {
            cache,
            shards: Vec::new(),
            shards_made: 0,
            pending: Pending::default(),
            pending_limit_bytes: memory_limit_bytes / 4,
            condemned: HashSet::new(),
            known: HashSet::new(),
            directories: Directories::new(memory_limit_bytes / 4),
        })
    }

    /// The index objects that have been added or loaded.
    pub fn known_objects(&self) -> &HashSet<IndexId> {
        &self.known
    }

    /// Takes in the content of an index object, and caches it for later runs. Pending packs that it lists are pending no
    /// longer.
    pub fn add_object(&mut self, id: IndexId, packs: &[IndexedPack]) -> Result<()> {
        if !self.known.contains(&id) {
            let shard = match self.cached_path(&id) {
                Some(path) => {
                    let file = self.write_file(|file| builder::build(file, Some(id), packs))?;
                    let file = file.persist(&path).map_err(|error| Error::io(path.display(), error.error))?;
                    self.map(file, Some(path))?
                }
                None => self.unlinked(|file| builder::build(file, Some(id), packs))?,
            };
            self.known.insert(id);
            self.push(shard)?;
        }
        let listed: HashSet<PackId> = packs.iter().map(|pack| pack.id).collect();
        self.pending.remove(&listed);
        for shard in &mut self.shards {
            shard.remove_unlisted(&listed);
        }
        Ok(())
    }

    /// Whether an earlier run seems to have cached this index object.
    pub fn has_cached(&self, id: &IndexId) -> bool {
        self.cached_path(id).is_some_and(|path| path.is_file())
    }

    /// Takes in an index object from the cache. `false` when it is not there; one that is damaged is removed and not there.
    pub fn load_cached(&mut self, id: IndexId) -> Result<bool> {
        if self.known.contains(&id) {
            return Ok(true);
        }
        let Some(path) = self.cached_path(&id) else { return Ok(false) };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file.map_err(|error| Error::io(path.display(), error))?,
        };
        match self.map(file, Some(path.clone())) {
            Ok(shard) if shard.objects().eq([id]) && shard.directories_are_whole() => {
                self.known.insert(id);
                self.push(shard)?;
                Ok(true)
            }
            _ => {
                remove_if_there(&path)?;
                Ok(false)
            }
        }
    }

    /// Forgets what an index object listed, also in the cache; packs that other objects list stay.
    pub fn remove_object(&mut self, id: &IndexId) -> Result<()> {
        self.known.remove(id);
        for shard in &mut self.shards {
            shard.remove_object(id);
        }
        self.shards.retain(|shard| !shard.is_void());
        self.cached_path(id).map_or(Ok(()), |path| remove_if_there(&path))
    }

    /// Removes from the cache what belongs to no known object, and what killed processes left behind; returns how many files.
    pub fn clean_cache(&self) -> Result<u64> {
        let Some(folder) = &self.cache else { return Ok(0) };
        let named = |error| Error::io(folder.display(), error);
        let kept: HashSet<PathBuf> = self.known.iter().filter_map(|id| self.cached_path(id)).collect();
        let mut removed_count = 0;
        for entry in fs::read_dir(folder).map_err(named)? {
            let path = entry.map_err(named)?.path();
            let is_shard = path.extension().is_some_and(|extension| extension == "shard");
            if is_shard && !kept.contains(&path) || !is_shard && is_left_over(&path) {
                remove_if_there(&path)?;
                removed_count += 1;
            }
        }
        Ok(removed_count)
    }

    /// Adds a pack that this session has stored and that no index object lists yet; found at once.
    pub fn add_pending(&mut self, pack: IndexedPack) -> Result<()> {
        self.pending.add(Arc::new(pack));
        if self.pending.memory_bytes() > self.pending_limit_bytes {
            self.flush_pending()?;
        }
        Ok(())
    }

    /// Packs from gc records: from now on their blobs are not known.
    pub fn condemn(&mut self, packs: &[PackId]) {
        self.condemned.extend(packs);
        for shard in &mut self.shards {
            shard.condemn(packs.iter());
        }
    }

    /// Whether the pack has been condemned.
    pub fn is_condemned(&self, pack: &PackId) -> bool {
        self.condemned.contains(pack)
    }

    /// Moves pending packs out of memory into a shard of their own.
    fn flush_pending(&mut self) -> Result<()> {
        let packs = std::mem::take(&mut self.pending).into_packs();
        let shard = self.unlinked(|file| builder::build(file, None, &packs))?;
        self.push(shard)
    }

    fn push(&mut self, mut shard: Shard) -> Result<()> {
        shard.condemn(self.condemned.iter());
        self.shards.push(shard);
        self.merge_alike()
    }

    /// Merges shards of about one size when there are many, so that a look-up has few to ask.
    fn merge_alike(&mut self) -> Result<()> {
        loop {
            let Some(newest) = self.shards.last().filter(|shard| may_merge(shard)) else { return Ok(()) };
            let tier = newest.tier();
            let alike = |shard: &Shard| may_merge(shard) && shard.tier() == tier;
            if self.shards.iter().filter(|shard| alike(shard)).count() < MERGE_FAN_IN {
                return Ok(());
            }
            let (merged, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.shards).into_iter().partition(alike);
            self.shards = kept;
            match self.unlinked(|file| builder::merge(file, &merged)) {
                Ok(mut shard) => {
                    shard.condemn(self.condemned.iter());
                    self.shards.push(shard);
                }
                Err(error) => {
                    self.shards.extend(merged);
                    return Err(error);
                }
            }
        }
    }

    fn cached_path(&self, id: &IndexId) -> Option<PathBuf> {
        self.cache.as_ref().map(|folder| folder.join(format!("{id}.shard")))
    }

    fn folder(&self) -> PathBuf {
        self.cache.clone().unwrap_or_else(std::env::temp_dir)
    }

    fn write_file(&self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<tempfile::NamedTempFile> {
        let folder = self.folder();
        let named = |error| Error::io(folder.display(), error);
        let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(named)?;
        write(file.as_file_mut()).map_err(named)?;
        Ok(file)
    }

    fn unlinked(&mut self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<Shard> {
        let folder = self.folder();
        let named = |error| Error::io(folder.display(), error);
        let mut file = tempfile::tempfile_in(&folder).map_err(named)?;
        write(&mut file).map_err(named)?;
        self.map(file, None)
    }

    fn map(&mut self, file: File, path: Option<PathBuf>) -> Result<Shard> {
        self.shards_made += 1;
        let place = path.as_deref().unwrap_or(Path::new("index shard")).display().to_string();
        Shard::map(&file, path, self.shards_made).map_err(|error| Error::io(place, error))
    }
}

/// Another process that uses the cache may have been faster.
fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path.display(), error)),
        _ => Ok(()),
    }
}

/// Whether nobody has written to the file for so long that whoever began it is gone.
fn is_left_over(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|then| then.elapsed().is_ok_and(|age| age > LEFT_OVER_AFTER))
}

fn may_merge(shard: &Shard) -> bool {
    let limit = if shard.is_cached() { MERGE_MAX_CACHED_ENTRIES } else { MERGE_MAX_ENTRIES };
    shard.entries_count() <= limit
}
