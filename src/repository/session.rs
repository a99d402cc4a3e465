//! Sessions: a client announces itself before it reads the index, and stays alive by heartbeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::machine::{Machine, now_ms, program};
use super::random::random;
use super::{Repository, Store};
use crate::backend::PutNew;
use crate::crypto::Keys;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Heartbeat, ObjectPath, SessionRecord};
use crate::id::SnapshotId;

/// How often a session shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(600);

/// A registered session. Dropping it stops the heartbeats and leaves its objects for a pruner to fence.
pub struct Session {
    id: SnapshotId,
    beats: Arc<AtomicU32>,
    heart: JoinHandle<()>,
    store: Store,
}

/// A session whose registration is on its way.
pub(super) struct Registering {
    id: SnapshotId,
    request: JoinHandle<Result<PutNew>>,
}

/// A session that somebody registered and that has no outcome yet.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// The session.
    pub id: SnapshotId,
    /// Who registered it; `None` when the record does not open.
    pub record: Option<SessionRecord>,
    /// When it was registered, by the store's clock: milliseconds since 1970; the earliest time there is where that is gone.
    pub registered_ms: i64,
    /// When it last showed life, by the same clock.
    pub last_alive_ms: i64,
    /// The newest gc record it has promised not to reference.
    pub acknowledged_gc: u64,
    /// Its objects.
    pub objects: Vec<ObjectPath>,
}

impl OpenSession {
    /// Whether its process certainly does not run any more.
    pub fn is_dead(&self) -> bool {
        self.record.as_ref().is_some_and(|r| Machine::is_dead(&r.host, &r.boot_id, r.process_id))
    }
}

impl Session {
    /// The id of the session and of the snapshot it may commit.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Promises that the session will commit no reference into a pack condemned by this gc record or an earlier one: pruners
    /// need not wait for it to remove those.
    pub(super) fn acknowledge(&self, keys: &Keys, gc: u64) -> Result<()> {
        let n = self.beats.load(Ordering::SeqCst) + 1;
        let beat = Heartbeat { n, time_ms: now_ms(), acknowledged_gc: gc };
        // Refused: a heartbeat has just been sent under this number, and pruners wait, which harms nobody.
        if self.store.put_new(&ObjectPath::session(self.id, n), beat.seal(keys, self.id, &random()))? == PutNew::Created
        {
            self.beats.store(n, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Removes the session's objects, after its outcome is decided.
    pub fn close(self) -> Result<()> {
        self.heart.abort();
        self.store.delete_all(self.objects())
    }

    /// The same without waiting for it: if it comes to nothing, a pruner will see to it.
    pub(super) fn close_unseen(self) {
        self.heart.abort();
        for path in self.objects() {
            let store = self.store.clone();
            self.store.runtime().spawn_blocking(move || store.delete(&path));
        }
    }

    fn objects(&self) -> Vec<ObjectPath> {
        (0..=self.beats.load(Ordering::SeqCst)).map(|n| ObjectPath::session(self.id, n)).collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

/// Who this process is, under a new id.
pub(super) fn own_record() -> SessionRecord {
    let machine = Machine::this();
    SessionRecord {
        id: SnapshotId::new(random()),
        host: machine.host,
        process_id: machine.process,
        boot_id: machine.boot,
        started_ms: now_ms(),
        program: program(),
        nonce: random(),
    }
}

impl Repository {
    /// Registers a new session: the first step of everything that writes. What was seen before it does not count.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while somebody works alone on a store where nobody can be fenced.
    pub fn register_session(&self) -> Result<Session> {
        self.forget_look();
        match self.take_registered() {
            Some(session) => Ok(session),
            None => self.wait_registered(self.start_registering()),
        }
    }

    /// Sends the registration and returns at once.
    pub(super) fn start_registering(&self) -> Registering {
        let record = own_record();
        let id = record.id;
        let body = record.seal(self.keys(), &random());
        let store = self.store().clone();
        let request = self.store().runtime().spawn_blocking(move || store.put_new(&ObjectPath::session(id, 0), body));
        Registering { id, request }
    }

    /// Waits until the store has it; from then on the session lives.
    pub(super) fn wait_registered(&self, registering: Registering) -> Result<Session> {
        let Registering { id, request } = registering;
        if self.store().wait(request)? == PutNew::Exists {
            let path = ObjectPath::session(id, 0);
            return Err(Error::new(ErrorKind::Failed, path, "a session of this random id exists already"));
        }
        let beats = Arc::new(AtomicU32::new(0));
        let heart = start_heart(self.store().clone(), Arc::clone(self.keys()), id, Arc::clone(&beats));
        let session = Session { id, beats, heart, store: self.store().clone() };
        // The order is load-bearing: the session is registered, now markers are listed.
        if !self.can_fence()
            && let Err(busy) = self.wait_for_exclusive()
        {
            session.close()?;
            return Err(busy);
        }
        Ok(session)
    }

    /// Sessions without an outcome that are registered now.
    pub fn open_sessions(&self) -> Result<Vec<OpenSession>> {
        let mut sessions: Vec<OpenSession> = Vec::new();
        let listed = self.store().list("sessions/")?;
        let paths = listed.iter().map(|(path, _)| path.clone()).collect();
        let bodies = self.store().block_on(self.store().find_all(paths));
        for ((path, stat), body) in listed.into_iter().zip(bodies) {
            let Some(id) = path.as_str().split('/').nth(1).and_then(|id| id.parse().ok()) else { continue };
            let known = sessions.iter().position(|s| s.id == id);
            let i = known.unwrap_or_else(|| {
                sessions.push(OpenSession {
                    id,
                    record: None,
                    registered_ms: i64::MIN,
                    last_alive_ms: i64::MIN,
                    acknowledged_gc: 0,
                    objects: Vec::new(),
                });
                sessions.len() - 1
            });
            let session = &mut sessions[i];
            session.last_alive_ms = session.last_alive_ms.max(stat.modified_ms);
            let Some(bytes) = body? else { continue };
            let n = path.name().parse().unwrap_or(0);
            if n == 0 {
                session.registered_ms = stat.modified_ms;
                session.record = SessionRecord::open(self.keys(), id, &bytes).ok();
            } else if let Ok(beat) = Heartbeat::open(self.keys(), id, n, &bytes) {
                session.acknowledged_gc = session.acknowledged_gc.max(beat.acknowledged_gc);
            }
            session.objects.push(path);
        }
        Ok(sessions)
    }
}

fn start_heart(store: Store, keys: Arc<Keys>, id: SnapshotId, beats: Arc<AtomicU32>) -> JoinHandle<()> {
    let runtime = store.runtime().clone();
    runtime.spawn(async move {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            let n = beats.load(Ordering::SeqCst) + 1;
            let path = ObjectPath::session(id, n);
            // Nothing is acknowledged, so pruners wait for the commit or for the idle limit.
            let beat = Heartbeat { n, time_ms: now_ms(), acknowledged_gc: 0 };
            let body = beat.seal(&keys, id, &random());
            let store = store.clone();
            let put = tokio::task::spawn_blocking(move || store.put_new(&path, body));
            if matches!(put.await, Ok(Ok(_))) {
                beats.store(n, Ordering::SeqCst);
            }
        }
    })
}
