//! The loop: catch up, follow, fold; begin anew when something fails that may pass.

use std::time::{Duration, Instant};

use super::chain::{adopt, remaining};
use super::changes::{Changed, Changes, Followed, Step};
use super::retry::{Backoff, TICK, may_pass};
use super::stream::{KEY_MAX_BYTES, Stream};
use super::{Stop, SyncEvent, SyncObserver, SyncOptions, SyncSummary};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Snapshot};
use crate::id::SnapshotId;
use crate::progress::Silent;
use crate::repository::machine::Machine;
use crate::repository::{Chain, Repository, WriterOptions};

/// The longest that a call waits before it looks whether it is to stop, while trees are being made.
const FOLDING_TICK: Duration = Duration::from_millis(20);
/// Segments after which they are folded, so that a restore need not read more.
const MAX_SEGMENTS: u64 = 10_000;
/// Who closed our session shows within this time that it follows the same database.
const RIVAL_SHOWS: Duration = Duration::from_secs(3);

/// Why following ended without an error.
enum End {
    Stopped,
    Lost(String),
}

struct Follower<'a> {
    repository: &'a Repository,
    options: &'a SyncOptions,
    stop: &'a Stop,
    observer: &'a dyn SyncObserver,
    summary: SyncSummary,
    /// How long the last backup took.
    caught_up_in: Duration,
}

pub(super) fn follow(
    repository: &Repository,
    followed: &mut dyn Followed,
    options: &SyncOptions,
    stop: &Stop,
    observer: &dyn SyncObserver,
) -> Result<SyncSummary> {
    let mut follower =
        Follower { repository, options, stop, observer, summary: SyncSummary::default(), caught_up_in: Duration::ZERO };
    let mut backoff = Backoff::new(options.retry_max_wait);
    loop {
        let durable = follower.summary.segments;
        match follower.attempt(followed) {
            Ok(End::Stopped) => return Ok(follower.summary),
            Ok(End::Lost(reason)) => {
                observer.event(SyncEvent::Lost { reason: &reason });
                // Where it is lost with every change, at most half of the time goes into backups.
                stop.sleep(follower.caught_up_in.min(options.retry_max_wait));
            }
            Err(error) if follower.may_pass(&error) && !stop.is_asked() => {
                if follower.summary.segments > durable {
                    backoff.reset();
                }
                observer.event(SyncEvent::Retrying { error: &error, wait: backoff.wait() });
                backoff.sleep(stop);
                if error.kind() == ErrorKind::Busy {
                    follower.give_way_to_rivals()?;
                }
            }
            Err(error) => return Err(error),
        }
        follower.summary.restarts += 1;
    }
}

impl Follower<'_> {
    /// From catching up to the end.
    fn attempt(&mut self, followed: &mut dyn Followed) -> Result<End> {
        let base = self.catch_up(followed)?;
        if self.options.once || self.stop.is_asked() {
            return Ok(End::Stopped);
        }
        let mut changes = followed.changes(self.repository, &base)?;
        let mut stream = Stream::open(self.repository, base, self.writer_options())?;
        self.observer.event(SyncEvent::Following { snapshot: stream.base() });
        let end = self.watch(&mut *changes, &mut stream);
        match end {
            Ok(end) => {
                stream.close()?;
                Ok(end)
            }
            Err(error) => {
                // Of a session with a chain this does nothing; another one would keep pruners waiting. It is the error that
                // says what is wrong.
                let _ = stream.close();
                Err(error)
            }
        }
    }

    /// Makes a snapshot of what an earlier run left, and one of what the database holds now.
    fn catch_up(&mut self, followed: &mut dyn Followed) -> Result<Snapshot> {
        let location = followed.location();
        let backup = &self.options.backup;
        let host = backup.host.clone().unwrap_or_else(|| Machine::this().host);
        let label = backup.label.clone().unwrap_or(location);
        let stream = self.repository.keys().stream_id(&host, &label);
        for (chain, is_orphaned) in remaining(self.repository, self.repository.chains_of(stream)?)? {
            if !is_orphaned {
                refuse_living_rival(self.repository, chain.session)?;
            }
            self.recover(&chain)?;
        }
        let started = Instant::now();
        let snapshot = followed.back_up(self.repository, backup, &Silent)?;
        self.caught_up_in = started.elapsed();
        self.summary.t = snapshot.properties.iter().find(|(name, _)| name == "max-t").and_then(|(_, t)| t.parse().ok());
        self.summary.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }

    fn recover(&mut self, chain: &Chain) -> Result<()> {
        if let Some(snapshot) = adopt(self.repository, chain, &self.writer_options())? {
            self.observer.event(SyncEvent::Recovered { snapshot: &snapshot });
        }
        Ok(())
    }

    fn watch(&mut self, changes: &mut dyn Changes, stream: &mut Stream) -> Result<End> {
        let mut held: Option<Changed> = None;
        // Something may have changed since the backup.
        let mut noticed = Some(Instant::now());
        let mut look = true;
        loop {
            if look {
                match changes.next()? {
                    Step::Unchanged => noticed = noticed.filter(|_| held.is_some()),
                    Step::Changed(changed) if changed.longest_key() > KEY_MAX_BYTES => {
                        // What the cursor would be of is not in the trees.
                        self.finish(None, stream, held, noticed)?;
                        return Ok(End::Lost("a value is too long for a segment".to_owned()));
                    }
                    Step::Changed(changed) => match &mut held {
                        Some(held) => held.then(changed),
                        None => held = Some(changed),
                    },
                    Step::Lost(reason) => {
                        self.finish(Some(changes), stream, held, noticed)?;
                        return Ok(End::Lost(reason));
                    }
                }
            }
            if self.stop.is_asked() {
                self.finish(Some(changes), stream, held, noticed)?;
                return Ok(End::Stopped);
            }
            let waited = noticed.map_or(Duration::ZERO, |at| at.elapsed());
            let is_due = held.as_ref().is_some_and(|held| {
                waited >= self.options.interval || held.transactions >= self.options.batch_transactions
            });
            // The cursor of a snapshot is of the newest state that was seen, so all of that must be in it. Asked once: the
            // trees may be made at any moment.
            let is_fold_ready = stream.is_fold_ready();
            if is_due || is_fold_ready {
                self.append(stream, held.take(), noticed.take())?;
            }
            if is_fold_ready {
                self.end_fold(Some(&mut *changes), stream)?;
            } else {
                self.fold_if_due(stream);
            }
            stream.renew(self.options.renew_every)?;
            let tick = if stream.is_folding() { FOLDING_TICK } else { TICK };
            let patience = held.as_ref().map_or(tick, |_| self.options.interval.saturating_sub(waited).min(tick));
            look = changes.wait(patience)?;
            if look {
                noticed.get_or_insert_with(Instant::now);
            }
        }
    }

    fn append(&mut self, stream: &mut Stream, held: Option<Changed>, noticed: Option<Instant>) -> Result<()> {
        let Some(changed) = held else { return Ok(()) };
        let (t, transactions) = (changed.t, changed.transactions);
        let mut backoff = Backoff::new(self.options.retry_max_wait);
        let appended = stream.append(changed, &mut |error| {
            if self.stop.is_asked() {
                let message = "asked to stop while the repository cannot be written";
                return Err(Error::new(ErrorKind::Interrupted, error.object(), message));
            }
            self.observer.event(SyncEvent::Retrying { error, wait: backoff.wait() });
            backoff.sleep(self.stop);
            Ok(())
        })?;
        self.summary.t = Some(t);
        self.summary.transactions += transactions;
        self.summary.segments += appended.segments;
        self.summary.bytes += appended.bytes;
        self.observer.event(SyncEvent::Durable {
            t,
            transactions,
            put: appended.put,
            removed: appended.removed,
            segments: appended.segments,
            bytes: appended.bytes,
            lag: noticed.map_or(Duration::ZERO, |at| at.elapsed()),
        });
        Ok(())
    }

    fn fold_if_due(&self, stream: &mut Stream) {
        let (bytes, segments, age) = stream.unfolded();
        let due = age >= self.options.fold_every || bytes >= self.options.fold_bytes || segments >= MAX_SEGMENTS;
        if due {
            stream.begin_fold();
        }
    }

    /// Without `changes` the snapshot gets no cursor: the next backup reads everything.
    fn end_fold(&mut self, mut changes: Option<&mut dyn Changes>, stream: &mut Stream) -> Result<()> {
        let before = stream.segments();
        let snapshot = stream.end_fold(&mut |roots| {
            changes.as_mut().map_or_else(Vec::new, |changes| changes.cursor(self.repository, roots))
        })?;
        self.summary.folds += 1;
        self.observer.event(SyncEvent::Folded { snapshot: &snapshot, segments: before });
        self.summary.snapshot = Some(snapshot);
        Ok(())
    }

    /// Makes durable what is held, and folds everything.
    fn finish(
        &mut self,
        changes: Option<&mut dyn Changes>,
        stream: &mut Stream,
        held: Option<Changed>,
        noticed: Option<Instant>,
    ) -> Result<()> {
        self.append(stream, held, noticed)?;
        stream.begin_fold();
        if stream.is_folding() {
            self.end_fold(changes, stream)?;
        }
        Ok(())
    }

    fn may_pass(&self, error: &Error) -> bool {
        let was_reached = self.summary.snapshot.is_some();
        match error.kind() {
            ErrorKind::Busy => was_reached,
            kind => !self.options.once && may_pass(kind, was_reached),
        }
    }

    /// Stops where somebody else follows the same database: two would close each other's sessions for ever.
    fn give_way_to_rivals(&self) -> Result<()> {
        self.stop.sleep(RIVAL_SHOWS);
        let Some(snapshot) = &self.summary.snapshot else { return Ok(()) };
        let stream = self.repository.keys().stream_id(&snapshot.host, &snapshot.label);
        let sessions = self.repository.open_sessions()?;
        for chain in self.repository.chains_of(stream)? {
            let session = sessions.iter().find(|session| session.id == chain.session);
            if session.is_some_and(|session| !session.is_dead()) && self.repository.outcome(chain.session)?.is_none() {
                let path = ObjectPath::session(chain.session, 0);
                let message = "follows the same database under the same host and label, and has taken over";
                return Err(Error::new(ErrorKind::Busy, path, message));
            }
        }
        Ok(())
    }

    fn writer_options(&self) -> WriterOptions {
        let backup = &self.options.backup;
        WriterOptions {
            compression_level: backup.compression_level,
            class: backup.class,
            delta: backup.delta,
            dry_run: false,
        }
    }
}

/// Refuses to take over from a process of this machine that certainly runs.
fn refuse_living_rival(repository: &Repository, session: SnapshotId) -> Result<()> {
    let sessions = repository.open_sessions()?;
    let Some(open) = sessions.iter().find(|open| open.id == session) else { return Ok(()) };
    let (Some(record), this) = (&open.record, Machine::this()) else { return Ok(()) };
    let is_here = record.host == this.host && record.boot_id == this.boot && !this.boot.is_empty();
    if is_here && record.process_id != this.process && !open.is_dead() {
        let message = format!("process {} of this machine follows the same database already", record.process_id);
        return Err(Error::new(ErrorKind::Busy, ObjectPath::session(session, 0), message));
    }
    Ok(())
}
