//! One repository in several places: the *first* decides the protocol, *mirrors* hold the same sealed objects.
//!
//! Everything is written to the first place alone, and deleted there alone, except that packs go to mirrors of mode
//! [`MirrorMode::Sync`] at the same time. All else reaches a mirror by a sync (the uppermost floor has it), which first makes
//! sure that what an object needs is there: so a mirror that missed something of an earlier run is old, never wrong.
//!
//! A mirror that fails is left out for the rest of the run and the run goes on. When the first place cannot be reached, all
//! listings and control objects come from one mirror from then on, and everything that would write is refused: a protocol
//! must not be decided on an older view. After anything was written that way back is closed.

mod access;
mod unreachable;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;

use crate::backend::{Answer, Backend, ObjectStat, PutNew, Thaw, ThawOrder, Traffic};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{MirrorMode, ObjectPath, Sealed};

use access::{Access, Attempts};
pub use unreachable::Unreachable;

/// A place that holds a copy.
#[derive(Clone)]
pub struct Mirror {
    /// Its name in the repository's list.
    pub name: String,
    /// When it is written.
    pub mode: MirrorMode,
    /// Where it is.
    pub backend: Arc<dyn Backend>,
}

/// A mirror, and why it is left out for the rest of the run.
struct Attached {
    mirror: Mirror,
    left_out: Mutex<Option<String>>,
}

/// A backend and its mirrors, which may become known after it was opened.
pub struct Mirrored {
    first: Arc<dyn Backend>,
    others: RwLock<Vec<Arc<Attached>>>,
    access: Mutex<Access>,
    changed: AtomicBool,
    suspects: Mutex<BTreeSet<ObjectPath>>,
    mended: Mutex<BTreeMap<ObjectPath, String>>,
}

impl Mirrored {
    /// A place without mirrors.
    pub fn new(first: Arc<dyn Backend>) -> Self {
        Self {
            first,
            others: RwLock::default(),
            access: Mutex::new(Access::Undecided),
            changed: AtomicBool::new(false),
            suspects: Mutex::default(),
            mended: Mutex::default(),
        }
    }

    /// Takes these mirrors in place of those it has.
    pub fn attach(&self, mirrors: Vec<Mirror>) {
        let attached = mirrors.into_iter().map(|mirror| Arc::new(Attached { mirror, left_out: Mutex::default() }));
        *self.others.write().unwrap_or_else(PoisonError::into_inner) = attached.collect();
    }

    /// From now on everything that would write is refused, for this reason.
    pub fn refuse_writes(&self, reason: impl Into<String>) {
        *self.access() = Access::ReadOnly(reason.into());
    }

    /// From now on listings and control objects come from the first place or not at all.
    ///
    /// # Errors
    /// When they have come from a mirror already.
    pub fn insist(&self) -> Result<()> {
        self.access().insist(&self.first.location())
    }

    /// The place that decides, as it is.
    pub fn first(&self) -> &Arc<dyn Backend> {
        &self.first
    }

    /// The mirrors.
    pub fn mirrors(&self) -> Vec<Mirror> {
        self.attached().iter().map(|attached| attached.mirror.clone()).collect()
    }

    /// The mirrors that failed in this run, and why.
    pub fn left_out(&self) -> Vec<(String, String)> {
        let why = |attached: &Arc<Attached>| Some((attached.mirror.name.clone(), attached.left_out().clone()?));
        self.attached().iter().filter_map(why).collect()
    }

    /// The mirror that everything is read from because the first place could not be reached, and why that was.
    pub fn reads_from(&self) -> Option<(String, String)> {
        match &*self.access() {
            Access::Mirror { from, why } => Some((from.mirror.name.clone(), why.clone())),
            _ => None,
        }
    }

    /// Whether anything that mirrors should have was written or removed since this was last asked.
    pub fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    /// Notes that the first place does not hold this object as it should.
    pub fn suspect(&self, path: &ObjectPath) {
        self.lock_suspects().insert(path.clone());
    }

    /// The objects that were noted since this was last asked.
    pub fn take_suspects(&self) -> BTreeSet<ObjectPath> {
        std::mem::take(&mut *self.lock_suspects())
    }

    /// Notes that an object of the first place was mended while it was read, from this mirror.
    pub fn mended(&self, path: ObjectPath, mirror: String) {
        self.mended.lock().unwrap_or_else(PoisonError::into_inner).insert(path, mirror);
    }

    /// What was mended since this was last asked, and from where.
    pub fn take_mended(&self) -> BTreeMap<ObjectPath, String> {
        std::mem::take(&mut *self.mended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn attached(&self) -> Vec<Arc<Attached>> {
        self.others.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_suspects(&self) -> MutexGuard<'_, BTreeSet<ObjectPath>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_write(&self, path: &ObjectPath) -> Result<()> {
        self.access().begin_write(&self.first.location())?;
        if !["sessions/", "sync/"].iter().any(|folder| path.as_str().starts_with(folder)) {
            self.changed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The places to ask for a listing or a control object, in order.
    fn attempts(&self) -> Attempts {
        match &*self.access() {
            Access::Primary => Attempts { first: true, others: Vec::new() },
            Access::Mirror { from, .. } => Attempts { first: false, others: vec![Arc::clone(from)] },
            Access::Undecided | Access::ReadOnly(_) => Attempts { first: true, others: self.attached() },
        }
    }

    /// Reads from `attached` from now on; false when something was written meanwhile.
    fn turn_to(&self, attached: &Arc<Attached>, why: &Error) -> bool {
        self.access().turn_to(attached, why)
    }

    /// A listing, or an object that is not named by its hash: from one place for the whole run.
    async fn control<T, F>(&self, ask: F) -> Result<T>
    where
        F: for<'b> Fn(&'b dyn Backend) -> Answer<'b, T>,
    {
        let attempts = self.attempts();
        let mut failure = None;
        if attempts.first {
            match ask(&*self.first).await {
                Err(error) if is_elsewhere(error.kind()) => failure = Some(error),
                answer => return answer,
            }
        }
        for attached in &attempts.others {
            match ask(&*attached.mirror.backend).await {
                Err(error) if is_elsewhere(error.kind()) => {
                    failure.get_or_insert(error);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                answer => {
                    if let Some(why) = &failure
                        && !self.turn_to(attached, why)
                    {
                        break;
                    }
                    return answer;
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Failed, self.first.location(), "no place was asked")))
    }

    /// Puts a pack into every mirror that is written during the run and has not failed in it, all at once.
    async fn copy(&self, path: &ObjectPath, body: &Sealed) {
        let mut copies = Vec::new();
        for attached in self.attached() {
            if attached.mirror.mode == MirrorMode::Sync && attached.left_out().is_none() {
                let (path, body) = (path.clone(), body.clone());
                copies.push(tokio::spawn(async move { attached.put(&path, body).await }));
            }
        }
        for copy in copies {
            // What did not get there, for whatever reason, is found missing by the next sync.
            let _ = copy.await;
        }
    }

    /// A pack or an index object: its readers see whether it is the right one, so any place will do.
    async fn content(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Bytes> {
        let (from, may_be_gone) = match &*self.access() {
            Access::Mirror { from, .. } => (Some(Arc::clone(from)), false),
            // Who reads the index must hear that an object of it is gone, to list it again.
            _ => (None, path.as_str().starts_with("index/")),
        };
        let nearest = from.as_ref().map_or(&self.first, |from| &from.mirror.backend);
        let failure = match nearest.get(path, range.clone()).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound && may_be_gone => return Err(error),
            Err(error) if matches!(error.kind(), ErrorKind::Usage | ErrorKind::Interrupted) => return Err(error),
            Err(error) => error,
        };
        for attached in self.attached() {
            if from.as_ref().is_some_and(|from| Arc::ptr_eq(from, &attached)) {
                continue;
            }
            let Ok(bytes) = attached.mirror.backend.get(path, range.clone()).await else { continue };
            match failure.kind() {
                // One that cannot be read, for whatever reason, may be written anew.
                ErrorKind::NotFound | ErrorKind::Damaged | ErrorKind::Failed => self.suspect(path),
                _ if from.is_none() => drop(self.turn_to(&attached, &failure)),
                _ => {}
            }
            return Ok(bytes);
        }
        Err(failure)
    }
}

impl Attached {
    fn left_out(&self) -> MutexGuard<'_, Option<String>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, path: &ObjectPath, body: Sealed) {
        if let Err(error) = self.mirror.backend.put(path, body).await {
            self.left_out().get_or_insert_with(|| error.to_string());
        }
    }
}

impl Backend for Mirrored {
    fn location(&self) -> String {
        self.first.location()
    }

    fn is_local(&self) -> bool {
        self.first.is_local()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move {
            self.begin_write(path)?;
            // An index object is not for them: it may list packs that an earlier run could not store there.
            if !path.as_str().starts_with("packs/") {
                return self.first.put(path, body).await;
            }
            let (stored, ()) = tokio::join!(self.first.put(path, body.clone()), self.copy(path, &body));
            stored
        })
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(async move {
            self.begin_write(path)?;
            self.first.put_new(path, body).await
        })
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move {
            self.begin_write(path)?;
            self.first.replace(path, body).await
        })
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            if is_content(path) {
                return self.content(path, range).await;
            }
            let path = path.clone();
            self.control(move |backend| owned_get(backend, path.clone(), range.clone())).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        let prefix = prefix.to_owned();
        Box::pin(async move { self.control(move |backend| owned_list(backend, prefix.clone())).await })
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        let path = path.clone();
        Box::pin(async move { self.control(move |backend| owned_stat(backend, path.clone())).await })
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(async move {
            self.begin_write(path)?;
            self.first.delete(path).await
        })
    }

    fn thaw<'a>(&'a self, path: &'a ObjectPath, order: Option<&'a ThawOrder>) -> Answer<'a, Thaw> {
        self.first.thaw(path, order)
    }

    fn traffic(&self) -> Traffic {
        let mut all = self.first.traffic();
        for attached in self.attached() {
            all.add(&attached.mirror.backend.traffic());
        }
        all
    }

    fn doubt(&self, path: &ObjectPath) {
        self.first.doubt(path);
    }

    fn clean_uploads(&self, older_than: Duration) -> Answer<'_, u64> {
        self.first.clean_uploads(older_than)
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        self.first.list_unknown()
    }

    fn mirrored(&self) -> Option<&Mirrored> {
        Some(self)
    }
}

fn owned_get(backend: &dyn Backend, path: ObjectPath, range: Option<Range<u64>>) -> Answer<'_, Bytes> {
    Box::pin(async move { backend.get(&path, range).await })
}

fn owned_list(backend: &dyn Backend, prefix: String) -> Answer<'_, Vec<(ObjectPath, ObjectStat)>> {
    Box::pin(async move { backend.list(&prefix).await })
}

fn owned_stat(backend: &dyn Backend, path: ObjectPath) -> Answer<'_, Option<ObjectStat>> {
    Box::pin(async move { backend.stat(&path).await })
}

/// Whether the object's name is the hash of its bytes.
fn is_content(path: &ObjectPath) -> bool {
    path.as_str().starts_with("packs/") || path.as_str().starts_with("index/")
}

/// Whether another place may have an answer when one failed like this.
fn is_elsewhere(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Transient | ErrorKind::Throttled | ErrorKind::Failed | ErrorKind::NoRepository)
}
