//! Index objects from the backend or the local cache into memory.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::random::random;
use super::store::Listing;
use super::{GcRecords, Repository};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{IndexContent, ObjectPath};
use crate::id::IndexId;

/// How often a listing is repeated when an object of it is gone on reading.
const LISTINGS: usize = 5;
/// Index objects that are on their way or in memory at once; they may be long.
const READ_AT_ONCE: usize = 16;

impl Repository {
    /// Brings the index in memory in line with the backend: new objects are read (from the local cache where it has
    /// them), removed ones dropped, condemned packs hidden.
    pub fn load_index(&self, gc: &GcRecords) -> Result<()> {
        for _ in 0..LISTINGS {
            if self.try_load_index()? {
                let condemned: Vec<_> = gc.condemned.iter().copied().collect();
                self.index().write().unwrap_or_else(PoisonError::into_inner).condemn(&condemned);
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Transient, "index", "changes faster than it can be read"))
    }

    /// Writes an index object and takes it into the index in memory.
    pub fn put_index(&self, content: IndexContent) -> Result<IndexId> {
        let level = level(&content);
        let packs = content.packs.clone();
        let (id, body) = content.seal(self.keys(), &random());
        self.store().put(&ObjectPath::index(level, id), body)?;
        self.index().write().unwrap_or_else(PoisonError::into_inner).add_object(id, &packs)?;
        Ok(id)
    }

    /// Every index object with its path.
    pub fn list_index(&self) -> Result<Vec<(ObjectPath, IndexId)>> {
        Ok(index_objects(self.store().list("index/")?))
    }

    /// Content of an index object.
    pub fn read_index(&self, path: &ObjectPath, id: IndexId) -> Result<IndexContent> {
        let object = self.store().get(path, None)?;
        self.open_index(path, id, object)
    }

    /// Content of an index object that was read; where it is damaged it is read once more, then sought in mirrors.
    fn open_index(&self, path: &ObjectPath, id: IndexId, object: Bytes) -> Result<IndexContent> {
        let open = |bytes: Bytes| IndexContent::open(self.keys(), id, &bytes).map_err(|e| Error::damaged(path, e));
        self.store().open_or_read_again(path, object, open).or_else(|error| {
            if error.kind() != ErrorKind::Damaged {
                return Err(error);
            }
            let (_, bytes) = self.find_elsewhere(path).ok_or(error)?;
            let content = open(bytes)?;
            self.mirrored()?.suspect(path);
            Ok(content)
        })
    }

    /// False when an object vanished between listing and reading.
    fn try_load_index(&self) -> Result<bool> {
        let listed = match self.looked_ahead(|look| look.index.take()) {
            Some(listing) => index_objects(listing?),
            None => self.list_index()?,
        };
        let present: HashSet<IndexId> = listed.iter().map(|(_, id)| *id).collect();
        let mut index = self.index().write().unwrap_or_else(PoisonError::into_inner);
        let is_first = index.known_objects().is_empty();
        let gone: Vec<IndexId> = index.known_objects().iter().filter(|id| !present.contains(id)).copied().collect();
        let mut missing = Vec::new();
        for (path, id) in listed {
            if !index.load_cached(id)? {
                missing.push((path, id));
            }
        }
        let paths = missing.iter().map(|(path, _)| path.clone()).collect();
        let keys = Arc::clone(self.keys());
        let missing = Arc::new(missing);
        let named = Arc::clone(&missing);
        let open = move |n: usize, answer: Result<Bytes>| {
            let (_, id) = &named[n];
            let object = answer?;
            let opened = IndexContent::open(&keys, *id, &object).map_err(|_| object);
            Ok((n, opened))
        };
        let read = self.store().read_each(paths, READ_AT_ONCE, open, |opened: Result<(usize, Opened)>| {
            let (n, opened) = opened?;
            let (path, id) = &missing[n];
            let content = match opened {
                Ok(content) => content,
                Err(object) => self.open_index(path, *id, object)?,
            };
            index.add_object(*id, &content.packs)
        });
        match read {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        for id in gone {
            index.remove_object(&id)?;
        }
        if is_first {
            index.clean_cache()?;
        }
        Ok(true)
    }
}

fn index_objects(listing: Listing) -> Vec<(ObjectPath, IndexId)> {
    listing.into_iter().filter_map(|(path, _)| path.name().parse().ok().map(|id| (path, id))).collect()
}

/// Content of an index object, or the object when it does not open.
type Opened = std::result::Result<IndexContent, Bytes>;

/// Fresh objects are on level 0, merged ones on level 1.
fn level(content: &IndexContent) -> u8 {
    u8::from(!content.replaces.is_empty())
}
