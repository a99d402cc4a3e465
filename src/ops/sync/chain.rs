//! Chains that nobody goes on with: told from those that somebody writes, made snapshots, removed.

use std::collections::HashSet;
use std::time::Duration;

use super::fold::apply;
use super::net::Net;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, ObjectPath, Opening, Outcome, Segment, Snapshot};
use crate::id::{BlobId, SnapshotId};
use crate::ops::edit::Sink;
use crate::ops::mark::{self, Reached};
use crate::repository::{Chain, Commit, Leftovers, OpenSession, Reader, Repository, Writer, WriterOptions, machine};
use crate::tree::{ReadNode, WriteNode};

/// How often a commit is tried when pruners close the session in between.
const ATTEMPTS: u32 = 3;

/// What is to become of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Fate {
    /// A snapshot contains it, or it was never acknowledged: it may go.
    Contained,
    /// Its session has no outcome: somebody may be writing it.
    Open,
    /// Its session was closed before a snapshot contained it.
    Orphaned,
}

/// The fate of a chain; `live` are the snapshots that were listed after it.
pub(in crate::ops) fn fate(repository: &Repository, chain: &Chain, live: &[&Snapshot]) -> Result<Fate> {
    let contained = live.iter().any(|snapshot| Chain::contained_in(snapshot) == Some(chain.session));
    Ok(match repository.outcome(chain.session)? {
        Some(Outcome::Committed(_) | Outcome::Forgotten { .. }) => Fate::Contained,
        _ if contained => Fate::Contained,
        None => Fate::Open,
        // Without its opening nothing was acknowledged, or its removal was interrupted.
        Some(Outcome::Fenced { .. }) if !chain.is_open() => Fate::Contained,
        Some(Outcome::Fenced { .. }) => Fate::Orphaned,
    })
}

/// Makes snapshots of the chains of sessions that are dead, idle for too long or closed, and removes chains that snapshots
/// contain; returns the new ones. To be done before anything is condemned. Where nobody can be fenced, sessions that were idle
/// for too long end only if the user vouches for it.
pub(in crate::ops) fn settle(repository: &Repository, idle: Duration, leftovers: Leftovers) -> Result<Vec<SnapshotId>> {
    let mut folded = Vec::new();
    let chains = repository.chains()?;
    if chains.is_empty() {
        return Ok(folded);
    }
    let sessions = repository.open_sessions()?;
    let idle_ms = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
    for (chain, is_orphaned) in remaining(repository, chains)? {
        let abandoned = is_orphaned || is_abandoned(&chain, &sessions, idle_ms);
        if abandoned && !repository.can_fence() && leftovers == Leftovers::Remove {
            // Whoever writes it still acknowledges nothing once this is gone.
            remove_session(repository, chain.session)?;
        }
        if abandoned && let Some(snapshot) = adopt(repository, &chain, &WriterOptions::default())? {
            folded.push(snapshot.id);
        }
    }
    Ok(folded)
}

/// Removes those of the chains that snapshots contain; of the others, whether their sessions are closed.
pub(super) fn remaining(repository: &Repository, chains: Vec<Chain>) -> Result<Vec<(Chain, bool)>> {
    let mut remaining = Vec::new();
    if chains.is_empty() {
        return Ok(remaining);
    }
    let snapshots = repository.snapshots()?;
    for chain in chains {
        match fate(repository, &chain, &snapshots.live())? {
            Fate::Contained => repository.remove_chain(&chain)?,
            Fate::Open => remaining.push((chain, false)),
            Fate::Orphaned => remaining.push((chain, true)),
        }
    }
    Ok(remaining)
}

fn is_abandoned(chain: &Chain, sessions: &[OpenSession], idle_ms: i64) -> bool {
    let session = sessions.iter().find(|session| session.id == chain.session);
    let alive_ms = session.map_or(chain.last_written_ms, |session| session.last_alive_ms.max(chain.last_written_ms));
    session.is_some_and(OpenSession::is_dead) || machine::now_ms().saturating_sub(alive_ms) > idle_ms
}

/// Sessions that were closed while their chains are in no snapshot: what those chains need must stay.
pub(in crate::ops) fn unsettled(repository: &Repository) -> Result<Vec<SnapshotId>> {
    let mut unsettled = Vec::new();
    for chain in repository.chains()?.into_iter().filter(Chain::is_open) {
        // Which snapshots contain chains is not looked up: the next pruner removes those that are contained.
        if matches!(repository.outcome(chain.session)?, None | Some(Outcome::Fenced { .. })) {
            unsettled.push(chain.session);
        }
    }
    Ok(unsettled)
}

/// What a chain holds: the state it starts from, and the changes up to its last whole transaction.
pub(super) struct Content {
    pub(super) opening: Opening,
    pub(super) net: Net,
}

/// Reads a chain; `None` when it has no opening.
pub(super) fn read(repository: &Repository, chain: &Chain) -> Result<Option<Content>> {
    let Some((opening, hash)) = repository.read_opening(chain)? else { return Ok(None) };
    let (mut net, mut unfinished) = (Net::default(), Vec::<Segment>::new());
    repository.read_segments(chain, hash, &mut |segment, _| {
        let ends = segment.ends;
        unfinished.push(segment);
        if ends {
            unfinished.drain(..).for_each(|segment| net.take_segment(segment));
        }
        Ok(())
    })?;
    Ok(Some(Content { opening, net }))
}

/// Closes a chain's session and commits what the chain holds as a snapshot of a session of its own; then the chain goes. None
/// when there was nothing in it.
///
/// # Errors
/// [`ErrorKind::Busy`] where sessions cannot be closed and this one may still run.
pub(super) fn adopt(repository: &Repository, chain: &Chain, options: &WriterOptions) -> Result<Option<Snapshot>> {
    if !close(repository, chain.session)? {
        repository.remove_chain(chain)?;
        return Ok(None);
    }
    // Only now is it settled what was acknowledged: whoever wrote a segment looked for the fence afterwards.
    let Some(chain) = repository.find_chain(chain.session)? else { return Ok(None) };
    let content = match read(repository, &chain) {
        // Somebody else has made a snapshot of it, and removes it.
        Err(error) if is_gone(&error) && !is_open(repository, chain.session)? => None,
        content => content?,
    };
    let Some(Content { opening, net }) = content else {
        repository.remove_chain(&chain)?;
        return Ok(None);
    };
    if net.is_empty() {
        repository.remove_chain(&chain)?;
        return Ok(None);
    }
    let base = opening.base;
    let mut writer = repository.writer(options.clone())?;
    let is_live = writer.snapshots().live().iter().any(|snapshot| snapshot.id == base.id);
    if !is_live || base.gc_checked != writer.gc_checked() {
        store_again(&mut writer, &base.roots)?;
    }
    let reader = repository.reader();
    let roots = apply(&reader, &mut Sink::Packs(&mut writer), &base.roots, &net)?;
    let mut snapshot = net.snapshot(&base, roots);
    Chain::mark_contained(&mut snapshot, chain.session);
    snapshot.program = machine::program();
    snapshot.previous = repository.snapshot_hash(base.id)?;
    for _ in 0..ATTEMPTS {
        if writer.must_check() {
            store_again(&mut writer, &snapshot.roots)?;
        }
        snapshot.id = writer.id();
        snapshot.gc_checked = writer.gc_checked();
        if let Commit::Done = writer.commit(&snapshot)? {
            repository.remove_chain(&chain)?;
            remove_session(repository, chain.session)?;
            return Ok(Some(snapshot));
        }
    }
    Err(Error::new(ErrorKind::Busy, "session", "closed by a pruner each time it was about to commit"))
}

/// Whether a chain lacks something, which may be because it is being removed.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotFound)
}

/// Whether the chain of a session is there with its opening.
fn is_open(repository: &Repository, session: SnapshotId) -> Result<bool> {
    Ok(repository.find_chain(session)?.is_some_and(|chain| chain.is_open()))
}

/// Makes sure that a session can acknowledge nothing any more. False when its own snapshot contains everything.
fn close(repository: &Repository, session: SnapshotId) -> Result<bool> {
    if repository.can_fence() {
        return Ok(matches!(repository.fence(session)?, Outcome::Fenced { .. }));
    }
    if let Some(outcome) = repository.outcome(session)? {
        return Ok(matches!(outcome, Outcome::Fenced { .. }));
    }
    match repository.open_sessions()?.into_iter().find(|open| open.id == session) {
        Some(open) if !open.is_dead() => {
            let path = ObjectPath::session(session, 0);
            Err(Error::new(ErrorKind::Busy, path, "may still write, and cannot be closed on this store"))
        }
        _ => remove_session(repository, session).map(|()| true),
    }
}

fn remove_session(repository: &Repository, session: SnapshotId) -> Result<()> {
    let open = repository.open_sessions()?.into_iter().find(|open| open.id == session);
    open.map_or(Ok(()), |open| repository.store().delete_all(open.objects))
}

/// Stores again what these trees reach and only condemned packs hold, so that the session may refer to all of it.
pub(super) fn store_again(writer: &mut Writer, roots: &[NamedRoot]) -> Result<()> {
    struct Again<'a> {
        writer: &'a mut Writer,
        reader: Reader,
        seen: HashSet<BlobId>,
    }
    impl Reached for Again<'_> {
        fn blob(&mut self, id: BlobId) -> Result<bool> {
            if !self.seen.insert(id) {
                return Ok(false);
            }
            if !self.writer.is_known(&id) {
                match self.reader.chunk(id) {
                    Ok(content) => drop(self.writer.write_chunk(content)?),
                    Err(_) => drop(self.writer.write_node(self.reader.read_node(id)?.as_ref().clone())?),
                }
            }
            Ok(true)
        }

        fn unreadable(&mut self, _: BlobId, error: Error) -> Result<()> {
            Err(error)
        }
    }
    let reader = writer.repository().reader();
    let mut again = Again { reader: reader.clone(), seen: HashSet::new(), writer };
    roots.iter().try_for_each(|root| mark::walk_root(&reader, root, &mut again))?;
    writer.flush()?;
    writer.checked();
    Ok(())
}
