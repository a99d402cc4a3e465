//! Sessions: a client announces itself before it reads the index, and stays alive by heartbeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::machine::{Machine, now_ms, program};
use super::random::random;
use super::{Repository, Store};
use crate::backend::PutNew;
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

/// A session that somebody registered and that has no outcome yet.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// The session.
    pub id: SnapshotId,
    /// Who registered it; `None` when the record does not open.
    pub record: Option<SessionRecord>,
    /// When it last showed life, by the store's clock: milliseconds since 1970.
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

    /// Removes the session's objects, after its outcome is decided.
    pub fn close(self) -> Result<()> {
        self.heart.abort();
        for n in (0..=self.beats.load(Ordering::SeqCst)).rev() {
            self.store.delete(&ObjectPath::session(self.id, n))?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl Repository {
    /// Registers a new session: the first step of everything that writes.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while somebody works alone on a store where nobody can be fenced.
    pub fn register_session(&self) -> Result<Session> {
        let id = SnapshotId::new(random());
        let machine = Machine::this();
        let record = SessionRecord {
            id,
            host: machine.host,
            process_id: machine.process,
            boot_id: machine.boot,
            started_ms: now_ms(),
            program: program(),
            nonce: random(),
        };
        let path = ObjectPath::session(id, 0);
        let body = record.seal(self.keys(), &random());
        if self.store().put_new(&path, body)? == PutNew::Exists {
            return Err(Error::new(ErrorKind::Failed, path, "a session of this random id exists already"));
        }
        let beats = Arc::new(AtomicU32::new(0));
        let heart = self.start_heart(id, Arc::clone(&beats));
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
        for (path, stat) in self.store().list("sessions/")? {
            let Some(id) = path.as_str().split('/').nth(1).and_then(|id| id.parse().ok()) else { continue };
            let known = sessions.iter().position(|s| s.id == id);
            let i = known.unwrap_or_else(|| {
                sessions.push(OpenSession {
                    id,
                    record: None,
                    last_alive_ms: i64::MIN,
                    acknowledged_gc: 0,
                    objects: Vec::new(),
                });
                sessions.len() - 1
            });
            let session = &mut sessions[i];
            session.last_alive_ms = session.last_alive_ms.max(stat.modified_ms);
            let Some(bytes) = self.store().find(&path)? else { continue };
            let n = path.name().parse().unwrap_or(0);
            if n == 0 {
                session.record = SessionRecord::open(self.keys(), id, &bytes).ok();
            } else if let Ok(beat) = Heartbeat::open(self.keys(), id, n, &bytes) {
                session.acknowledged_gc = session.acknowledged_gc.max(beat.acknowledged_gc);
            }
            session.objects.push(path);
        }
        Ok(sessions)
    }

    fn start_heart(&self, id: SnapshotId, beats: Arc<AtomicU32>) -> JoinHandle<()> {
        let repository = self.clone();
        self.store().runtime().spawn(async move {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let n = beats.load(Ordering::SeqCst) + 1;
                let path = ObjectPath::session(id, n);
                // Nothing is acknowledged, so pruners wait for the commit or for the idle limit.
                let beat = Heartbeat { n, time_ms: now_ms(), acknowledged_gc: 0 };
                let body = beat.seal(repository.keys(), id, &random());
                let blocking = repository.clone();
                let put = tokio::task::spawn_blocking(move || blocking.store().put_new(&path, body));
                if matches!(put.await, Ok(Ok(_))) {
                    beats.store(n, Ordering::SeqCst);
                }
            }
        })
    }
}
