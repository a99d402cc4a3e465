//! The list of placements, and what other placements are good for: an object that is damaged here.

use std::sync::Arc;

use bytes::Bytes;

use super::around::lock;
use super::random::random;
use super::{Repository, Store};
use crate::backend::{Backend, Mirrored, PutNew};
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::{self, FrameEntry, MirrorList, MirrorMark, ObjectPath};
use crate::id::PackId;

/// What a repository says about its placements.
#[derive(Clone, Debug, Default)]
pub struct Mirrors {
    /// The newest list.
    pub list: Option<MirrorList>,
    /// What makes this place a mirror.
    pub mark: Option<MirrorMark>,
}

impl Repository {
    /// The newest list of placements and the mark of a mirror. One request where there never was a mirror.
    pub fn mirrors(&self) -> Result<Mirrors> {
        let asked = lock(&self.0.around.mirror_list).take();
        let first = match asked {
            Some(asked) => self.store().wait(asked)?,
            None => self.store().find(&ObjectPath::mirror_list(1))?,
        };
        let Some(first) = first else { return Ok(Mirrors::default()) };
        let (mut newest, mut mark) = (1, None);
        for (path, _) in self.store().list("mirrors/")? {
            if path == ObjectPath::mirror_mark() {
                let open = |object: Bytes| MirrorMark::open(self.keys(), &object).map_err(|e| Error::damaged(&path, e));
                mark = Some(self.store().get_and_open(&path, None, open)?);
            }
            newest = path.name().parse().map_or(newest, |n: u64| newest.max(n));
        }
        let path = ObjectPath::mirror_list(newest);
        let open = |object: Bytes| MirrorList::open(self.keys(), newest, &object).map_err(|e| Error::damaged(&path, e));
        let list = match newest {
            1 => self.store().open_or_read_again(&path, first, open)?,
            _ => self.store().get_and_open(&path, None, open)?,
        };
        Ok(Mirrors { list: Some(list), mark })
    }

    /// Publishes a list of placements; `false` when its number is taken.
    pub fn put_mirror_list(&self, list: &MirrorList) -> Result<bool> {
        let path = ObjectPath::mirror_list(list.n);
        Ok(self.store().put_new(&path, list.seal(self.keys(), &random()))? == PutNew::Created)
    }

    /// Blocking calls on one place of the repository.
    pub fn place(&self, backend: Arc<dyn Backend>) -> Store {
        Store::new(backend, self.store().runtime().clone())
    }

    /// The repository's places.
    ///
    /// # Errors
    /// When it was opened on a backend without [`Mirrored`].
    pub fn mirrored(&self) -> Result<&Mirrored> {
        let missing = || Error::new(ErrorKind::Usage, self.location(), "was opened without its mirrors");
        self.store().mirrored().ok_or_else(missing)
    }

    /// What a frame of a pack holds. Where these bytes do not open see [`Repository::recover_frame`].
    pub fn open_frame(
        &self,
        pack: PackId,
        entry: &FrameEntry,
        sealed: &[u8],
        base: Option<&[u8]>,
    ) -> Result<Vec<u8>, DecodeError> {
        let opened = format::open_frame(self.keys(), entry, sealed, base);
        opened.or_else(|why| self.recover_frame(pack, entry, base, why))
    }

    /// What a frame holds of which the bytes that were read did not open. What came over a wire is read once more, since no
    /// checksum goes with it; then, where a mirror has better bytes, those are taken and the pack is mended here.
    pub fn recover_frame(
        &self,
        pack: PackId,
        entry: &FrameEntry,
        base: Option<&[u8]>,
        why: DecodeError,
    ) -> Result<Vec<u8>, DecodeError> {
        let path = ObjectPath::pack(pack);
        if !self.store().is_local()
            && let Ok(sealed) = self.store().get_again(&path, Some(entry.range()))
            && let Ok(raw) = format::open_frame(self.keys(), entry, &sealed, base)
        {
            return Ok(raw);
        }
        let Some((name, whole)) = self.find_elsewhere(&path) else { return Err(why) };
        let range = entry.range();
        let place = |at: u64| usize::try_from(at).map_err(|_| DecodeError::TooLarge("pack"));
        let sealed = whole.get(place(range.start)?..place(range.end)?).ok_or(why)?;
        let raw = format::open_frame(self.keys(), entry, sealed, base)?;
        if let Some(mirrored) = self.store().mirrored() {
            match self.put_back(&path, whole) {
                Ok(true) => mirrored.mended(path, name),
                Ok(false) => {}
                Err(_) => mirrored.suspect(&path),
            }
        }
        Ok(raw)
    }

    /// An object that is named by its hash, whole and as it should be, and the mirror that has it.
    pub fn find_elsewhere(&self, path: &ObjectPath) -> Option<(String, Bytes)> {
        let mirrors = self.store().mirrored()?.mirrors();
        mirrors.into_iter().find_map(|mirror| {
            let bytes = self.place(mirror.backend).get(path, None).ok()?;
            is_intact(path, &bytes).then_some((mirror.name, bytes))
        })
    }

    /// Makes the first place hold a pack or an index object as it should; the mirror that had it, `None` when there was
    /// nothing to do: it is whole, or condemned.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when no mirror has it either.
    pub fn mend(&self, path: &ObjectPath) -> Result<Option<String>> {
        let first = self.place(Arc::clone(self.mirrored()?.first()));
        match first.find(path) {
            Ok(Some(bytes)) if is_intact(path, &bytes) => return Ok(None),
            // An index object that has gone was replaced.
            Ok(None) if path.as_str().starts_with("index/") => return Ok(None),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Failed) => {}
            Err(error) => return Err(error),
        }
        let nowhere = || Error::new(ErrorKind::Damaged, path, "no mirror holds it whole");
        let (name, bytes) = self.find_elsewhere(path).ok_or_else(nowhere)?;
        Ok(self.put_back(path, bytes)?.then_some(name))
    }

    /// Stores an object in the first place again; false for a pack that is condemned, which stays dead.
    fn put_back(&self, path: &ObjectPath, bytes: Bytes) -> Result<bool> {
        if let Ok(pack) = path.name().parse::<PackId>()
            && path.as_str().starts_with("packs/")
            && self.gc_records()?.condemned.contains(&pack)
        {
            return Ok(false);
        }
        let first = self.place(Arc::clone(self.mirrored()?.first()));
        first.put(path, format::Sealed::from_stored(bytes))?;
        Ok(true)
    }
}

/// Whether these bytes are those of the object of this name, which is their hash.
pub fn is_intact(path: &ObjectPath, bytes: &[u8]) -> bool {
    blake3::hash(bytes).to_hex().as_str() == path.name()
}
