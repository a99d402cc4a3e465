//! What an open repository remembers of its surroundings: the last look, a look on its way, frames in the local cache.
//!
//! A repository on this machine has none of it: reading it costs no more than reading a cache.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::look::{LastLook, Look, Looking, Wanted};
use super::object_cache::ObjectCache;
use super::{Repository, Session};
use crate::error::Result;
use crate::format::{BlobKind, FrameEntry};
use crate::id::{PackId, SnapshotId};
use crate::index::BlobLocation;

/// The name of the file that holds the last look.
pub(super) const LOOK_FILE: &str = "look";

/// What one open repository remembers; shared by its clones.
#[derive(Default)]
pub(super) struct Around {
    pub(super) last: Mutex<Remembered>,
    pub(super) ahead: Mutex<Ahead>,
    /// A session that was registered while the repository was opened.
    pub(super) registered: Registered,
    /// The first list of placements, asked for while the repository was opened.
    pub(super) mirror_list: Mutex<Option<JoinHandle<Result<Option<Bytes>>>>>,
    /// Snapshots that were listed for somebody who reads and not asked for since; `None` where that is not to serve.
    pub(super) just_listed: Mutex<Option<HashSet<SnapshotId>>>,
    pub(super) frames: Option<Arc<ObjectCache>>,
    /// Whether anything is remembered at all.
    pub(super) is_far: bool,
}

/// The last look, here and in the local cache.
#[derive(Default)]
pub(super) struct Remembered {
    pub(super) look: Arc<LastLook>,
    /// Where it is kept, and the key of its hash.
    pub(super) file: Option<(PathBuf, [u8; 32])>,
    is_unwritten: bool,
}

impl Remembered {
    pub(super) fn new(look: LastLook, file: Option<(PathBuf, [u8; 32])>) -> Self {
        Self { look: Arc::new(look), file, is_unwritten: false }
    }

    fn write(&mut self) {
        if let Some((path, key)) = self.file.as_ref().filter(|_| self.is_unwritten) {
            self.look.write(path, key);
        }
        self.is_unwritten = false;
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        self.write();
    }
}

/// A look that was begun before anybody asked.
#[derive(Default)]
pub(super) enum Ahead {
    #[default]
    Nothing,
    OnItsWay(JoinHandle<Look>),
    Found(Box<Look>),
}

/// A session that nobody has asked for yet. It ends when nobody ever does.
#[derive(Default)]
pub(super) struct Registered(pub(super) Mutex<Option<Session>>);

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(session) = lock(&self.0).take() {
            session.close_unseen();
        }
    }
}

impl Repository {
    /// Looks around, now; what is found serves the next call of each of `gc_records`, `snapshots` and `load_index`.
    pub(super) fn look_around(&self) {
        if !self.0.around.is_far {
            return;
        }
        let last = self.last_look();
        let looking = Looking::start(self.store(), Wanted::Everything, last.gc.is_some());
        let look = self.store().block_on(looking.finish(self.store().clone(), last));
        *lock(&self.0.around.ahead) = Ahead::Found(Box::new(look));
    }

    /// Goes on with a look that was begun while the repository was opened.
    pub(super) fn look_on(&self, looking: Looking) {
        let look = self.store().runtime().spawn(looking.finish(self.store().clone(), self.last_look()));
        *lock(&self.0.around.ahead) = Ahead::OnItsWay(look);
    }

    /// What was seen until now serves nobody any more.
    pub(super) fn forget_look(&self) {
        *lock(&self.0.around.ahead) = Ahead::Nothing;
        if let Some(listed) = &mut *lock(&self.0.around.just_listed) {
            listed.clear();
        }
    }

    /// A part of the look that was begun before, if there is one.
    pub(super) fn looked_ahead<T>(&self, part: impl FnOnce(&mut Look) -> Option<T>) -> Option<T> {
        let mut ahead = lock(&self.0.around.ahead);
        if let Ahead::OnItsWay(look) = &mut *ahead {
            // One that was cancelled has found nothing.
            *ahead = self.store().block_on(look).map_or(Ahead::Nothing, |look| Ahead::Found(Box::new(look)));
        }
        match &mut *ahead {
            Ahead::Found(look) => part(look),
            _ => None,
        }
    }

    /// What was seen last.
    pub(super) fn last_look(&self) -> Arc<LastLook> {
        Arc::clone(&lock(&self.0.around.last).look)
    }

    /// Changes what is remembered of the last look, here and for later runs.
    pub(super) fn remember(&self, change: impl FnOnce(&mut LastLook)) {
        if !self.0.around.is_far {
            return;
        }
        let mut last = lock(&self.0.around.last);
        change_look(&mut last, change);
        last.write();
    }

    /// The same for a change of which many follow one another: it is written with the next one, or in the end.
    pub(super) fn remember_later(&self, change: impl FnOnce(&mut LastLook)) {
        if self.0.around.is_far {
            change_look(&mut lock(&self.0.around.last), change);
        }
    }

    pub(super) fn take_registered(&self) -> Option<Session> {
        lock(&self.0.around.registered.0).take()
    }

    pub(super) fn just_listed(&self, ids: impl Iterator<Item = SnapshotId>) {
        if let Some(listed) = &mut *lock(&self.0.around.just_listed) {
            listed.extend(ids);
        }
    }

    pub(super) fn was_just_listed(&self, id: SnapshotId) -> bool {
        lock(&self.0.around.just_listed).as_mut().is_some_and(|listed| listed.remove(&id))
    }

    /// Whether the local cache seems to have a frame of nodes.
    pub(super) fn has_cached_frame(&self, location: &BlobLocation) -> bool {
        let frames = self.0.around.frames.as_ref().filter(|_| location.blob().kind == BlobKind::Node);
        frames.is_some_and(|frames| frames.has(location.pack(), location.frame().offset))
    }

    /// A sealed frame of nodes from the local cache.
    pub fn cached_frame(&self, location: &BlobLocation) -> Option<Bytes> {
        let frames = self.0.around.frames.as_ref().filter(|_| location.blob().kind == BlobKind::Node)?;
        let entry = location.frame();
        frames.find(location.pack(), entry.offset).filter(|sealed| sealed.len() as u64 == u64::from(entry.sealed_len))
    }

    /// Keeps a sealed frame in the local cache if it holds nodes. It must have been found to open.
    pub fn cache_read_frame(&self, location: &BlobLocation, sealed: &[u8]) {
        if let Some(frames) = self.0.around.frames.as_ref().filter(|_| location.blob().kind == BlobKind::Node) {
            frames.keep(location.pack(), location.frame().offset, sealed);
        }
    }

    /// Keeps a frame of a pack of nodes that this process has made in the local cache.
    pub(super) fn cache_frame(&self, pack: PackId, frame: &FrameEntry, object: &[u8]) {
        let Some(frames) = &self.0.around.frames else { return };
        let Ok(start) = usize::try_from(frame.offset) else { return };
        if let Some(sealed) = object.get(start..start.saturating_add(frame.sealed_len as usize)) {
            frames.keep(pack, frame.offset, sealed);
        }
    }
}

fn change_look(last: &mut Remembered, change: impl FnOnce(&mut LastLook)) {
    let mut new = LastLook::clone(&last.look);
    change(&mut new);
    if new != *last.look {
        last.look = Arc::new(new);
        last.is_unwritten = true;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
