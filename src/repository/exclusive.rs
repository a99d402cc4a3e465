//! Working alone on a store where nobody can be fenced.
//!
//! Whoever prunes there writes a marker and *then* lists the sessions; whoever writes registers a session and *then* lists
//! the markers. So of the two at least one sees the other and gives way (format-spec, chapter write order, without
//! `put_new`).

use std::time::Duration;

use super::machine::Machine;
use super::random::random;
use super::session::own_record;
use super::{OpenSession, Repository, Store};
use crate::backend::PutNew;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Config, ObjectPath, SessionRecord};
use crate::id::SnapshotId;

/// A pruner that has to give way is gone after a moment.
const PATIENCE: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// The right to work alone. Dropping it without [`Exclusive::end`] leaves the marker, which stops everybody else.
pub struct Exclusive {
    path: ObjectPath,
    store: Store,
}

/// A marker that was found.
#[derive(Clone, Debug)]
pub struct ExclusiveMarker {
    /// Where it is.
    pub path: ObjectPath,
    /// Who left it; `None` when it does not open.
    pub record: Option<SessionRecord>,
}

/// What is done about sessions and markers that nobody may be behind any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leftovers {
    /// Those of dead processes of this machine go, any other is respected.
    #[default]
    Respect,
    /// The user vouches that nothing else runs: all go.
    Remove,
}

impl ExclusiveMarker {
    fn is_dead(&self) -> bool {
        self.record.as_ref().is_some_and(|r| Machine::is_dead(&r.host, &r.boot_id, r.process_id))
    }

    fn holder(&self) -> String {
        self.record
            .as_ref()
            .map_or_else(|| "somebody".to_owned(), |r| format!("process {} of {}", r.process_id, r.host))
    }
}

impl Exclusive {
    /// Lets the others in again.
    pub fn end(self) -> Result<()> {
        self.store.delete(&self.path)
    }
}

impl Repository {
    /// Whether sessions can be fenced, because the store was found to honour `put_new`.
    pub fn can_fence(&self) -> bool {
        self.config().conditional_put
    }

    /// Says in `config` that the store does not honour `put_new`. Whoever has opened the repository before goes by what it
    /// said then, so nobody may.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a session is open.
    pub fn weaken(&self) -> Result<()> {
        if let Some(session) = self.open_sessions()?.iter().find(|session| !session.is_dead()) {
            return Err(busy(&ObjectPath::session(session.id, 0), "a session is open"));
        }
        let config = Config { conditional_put: false, ..self.config().clone() };
        self.store().replace(&ObjectPath::config(), config.encode(self.keys()))
    }

    /// Takes the right to work alone.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when a session is open or somebody else works alone.
    pub fn work_alone(&self, leftovers: Leftovers) -> Result<Exclusive> {
        let record = own_record();
        let path = ObjectPath::exclusive(record.id);
        if self.store().put_new(&path, record.seal_exclusive(self.keys(), &random()))? == PutNew::Exists {
            return Err(Error::new(ErrorKind::Failed, path, "a marker of this random id exists already"));
        }
        let alone = Exclusive { path, store: self.store().clone() };
        // The order is load-bearing: the marker is out, now sessions and other markers are listed.
        match self.make_way(&alone.path, leftovers) {
            Ok(()) => Ok(alone),
            Err(busy) => {
                alone.end()?;
                Err(busy)
            }
        }
    }

    /// Everybody who has the right to work alone, or died having it.
    pub fn exclusive_markers(&self) -> Result<Vec<ExclusiveMarker>> {
        let mut markers = Vec::new();
        for (path, _) in self.store().list("exclusive/")? {
            let Ok(id) = path.name().parse::<SnapshotId>() else { continue };
            let Some(bytes) = self.store().find(&path)? else { continue };
            let record = SessionRecord::open_exclusive(self.keys(), id, &bytes).ok();
            markers.push(ExclusiveMarker { path, record });
        }
        Ok(markers)
    }

    /// Returns once nobody works alone; to be called after a session was registered.
    pub(super) fn wait_for_exclusive(&self) -> Result<()> {
        for patience in PATIENCE.into_iter().map(Some).chain([None]) {
            let Some(holder) = self.other_marker(None, Leftovers::Respect)? else { return Ok(()) };
            match patience {
                Some(patience) => std::thread::sleep(patience),
                None => return Err(busy(&holder.path, &format!("{} prunes, alone", holder.holder()))),
            }
        }
        Ok(())
    }

    fn make_way(&self, own: &ObjectPath, leftovers: Leftovers) -> Result<()> {
        if let Some(other) = self.other_marker(Some(own), leftovers)? {
            return Err(busy(&other.path, &format!("{} prunes already, alone", other.holder())));
        }
        let mut first = None;
        for session in self.open_sessions()? {
            let is_over = session.is_dead() || leftovers == Leftovers::Remove || self.outcome(session.id)?.is_some();
            if is_over {
                self.remove_session(&session)?;
            } else {
                first = first.or(Some(session));
            }
        }
        let Some(session) = first else { return Ok(()) };
        let of =
            session.record.as_ref().map_or_else(String::new, |r| format!(" of process {} on {}", r.process_id, r.host));
        Err(busy(
            &ObjectPath::session(session.id, 0),
            &format!("a session{of} is open, and on this store nobody may prune meanwhile"),
        ))
    }

    /// A marker of somebody else; those of dead processes of this machine are removed.
    fn other_marker(&self, own: Option<&ObjectPath>, leftovers: Leftovers) -> Result<Option<ExclusiveMarker>> {
        for marker in self.exclusive_markers()? {
            if Some(&marker.path) == own {
                continue;
            }
            if !marker.is_dead() && leftovers == Leftovers::Respect {
                return Ok(Some(marker));
            }
            self.store().delete(&marker.path)?;
        }
        Ok(None)
    }

    fn remove_session(&self, session: &OpenSession) -> Result<()> {
        session.objects.iter().rev().try_for_each(|path| self.store().delete(path))
    }
}

fn busy(path: &ObjectPath, message: &str) -> Error {
    Error::new(ErrorKind::Busy, path, message)
}
