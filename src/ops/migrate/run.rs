//! One run of a migration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::held::Held;
use super::replica::Replica;
use super::{MigrateEnd, MigrateEvent, MigrateObserver, MigrateOptions, MigrateSummary, Place};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Snapshot;
use crate::ops::sync::{Backoff, Changes, Followed, Step, Stop, TICK, may_pass};
use crate::progress::{Observer, Silent};
use crate::repository::Repository;
use crate::target::datahike::Editor;

/// How often the source may have changed while the target was compared with it, before a cut-over fails.
const ROUNDS: u32 = 5;

/// Why following ended without an error.
enum End {
    Ended(MigrateEnd),
    Lost(String),
}

pub(super) struct Run<'a> {
    repository: &'a Repository,
    followed: Box<dyn Followed>,
    replica: Replica<'a>,
    options: MigrateOptions,
    stop: Stop,
    observer: Arc<dyn MigrateObserver>,
    caught_up_in: Duration,
    summary: MigrateSummary,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        followed: Box<dyn Followed>,
        place: Place,
        options: MigrateOptions,
        stop: Stop,
        observer: Arc<dyn MigrateObserver>,
        progress: Arc<dyn Observer>,
    ) -> Self {
        let summary = MigrateSummary {
            end: MigrateEnd::Stopped,
            snapshot: None,
            t: None,
            transactions: 0,
            commits: 0,
            rewrites: 0,
            restarts: 0,
        };
        let replica = Replica::new(repository, place, options.clone(), Arc::clone(&observer), progress);
        let caught_up_in = Duration::ZERO;
        Self { repository, followed, replica, options, stop, observer, caught_up_in, summary }
    }

    pub(super) fn run(mut self) -> Result<MigrateSummary> {
        let mut backoff = Backoff::new(self.options.retry_max_wait);
        loop {
            let commits = self.replica.commits;
            match self.attempt() {
                Ok(End::Ended(end)) => {
                    if end == MigrateEnd::Stopped {
                        self.replica.claim.release()?;
                    }
                    return Ok(self.ended(end));
                }
                Ok(End::Lost(reason)) => {
                    self.observer.event(MigrateEvent::Lost { reason: &reason });
                    // Where it is lost with every change, at most half of the time goes into comparing.
                    self.stop.sleep(self.caught_up_in.min(self.options.retry_max_wait));
                }
                Err(_) if self.replica.claim.has_begun() && matches!(self.replica.claim.holds(), Ok(false)) => {
                    return Ok(self.ended(MigrateEnd::TakenOver));
                }
                Err(error) if self.may_pass(&error) && !self.stop.is_asked() => {
                    if self.replica.commits > commits {
                        backoff.reset();
                    }
                    self.observer.event(MigrateEvent::Retrying { error: &error, wait: backoff.wait() });
                    backoff.sleep(&self.stop);
                }
                Err(error) => {
                    // It is the error that says what is wrong.
                    let _ = self.replica.claim.release();
                    return Err(error);
                }
            }
            if self.stop.is_asked() {
                self.replica.claim.release()?;
                return Ok(self.ended(MigrateEnd::Stopped));
            }
            self.summary.restarts += 1;
        }
    }

    fn ended(self, end: MigrateEnd) -> MigrateSummary {
        let Replica { commits, rewrites, .. } = self.replica;
        MigrateSummary { end, commits, rewrites, ..self.summary }
    }

    /// From catching up to the end.
    fn attempt(&mut self) -> Result<End> {
        match self.replica.claim.has_begun() {
            // A source that cannot be read leaves no trace in the target.
            false => self.begin()?,
            true => self.replica.claim.require()?,
        }
        let started = Instant::now();
        let snapshot = self.back_up_source()?;
        self.catch_up(&snapshot)?;
        self.caught_up_in = started.elapsed();
        if self.options.cut_over {
            return self.cut_over(snapshot);
        }
        if self.options.once || self.stop.is_asked() {
            return Ok(End::Ended(MigrateEnd::Stopped));
        }
        let mut changes = self.followed.changes(self.repository, &snapshot)?;
        let mut editor = match self.replica.editor() {
            Err(error) if error.kind() == ErrorKind::Damaged => {
                self.replica.forget()?;
                return Ok(End::Lost(error.to_string()));
            }
            editor => editor?,
        };
        self.observer.event(MigrateEvent::Following);
        let mut properties = snapshot.properties.iter().cloned().collect();
        let end = self.follow(&mut *changes, &mut editor, &mut properties);
        match self.replica.clean(&mut editor) {
            // Of two errors the first says what is wrong.
            Err(error) if end.is_ok() => Err(error),
            _ => end,
        }
    }

    fn begin(&mut self) -> Result<()> {
        let (source, repository) = (self.followed.location(), self.repository.id().to_string());
        self.replica.claim.look(&source, &repository, self.options.cut_over)?;
        self.back_up_source()?;
        self.replica.claim.begin(&source, &repository, self.options.cut_over, &*self.observer)
    }

    fn back_up_source(&mut self) -> Result<Snapshot> {
        self.followed.back_up(self.repository, &self.options.backup, &Silent)
    }

    fn catch_up(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.replica.catch_up(snapshot)?;
        self.summary.snapshot = Some(snapshot.id);
        let max_t = snapshot.properties.iter().find(|(name, _)| name == "max-t");
        self.summary.t = max_t.and_then(|(_, t)| t.parse().ok());
        Ok(())
    }

    fn follow(
        &mut self,
        changes: &mut dyn Changes,
        editor: &mut Editor,
        properties: &mut BTreeMap<String, String>,
    ) -> Result<End> {
        let mut held: Option<Held> = None;
        let branches: Vec<String> = editor.branches().map(str::to_owned).collect();
        // Something may have changed since the backup.
        let mut noticed = Some(Instant::now());
        let mut look = true;
        loop {
            let mut lost = None;
            if look {
                match changes.next()? {
                    Step::Unchanged => noticed = noticed.filter(|_| held.is_some()),
                    Step::Changed(changed) => {
                        let changed = Held::of(branches.clone(), changed);
                        match &mut held {
                            Some(held) => held.then(changed),
                            None => held = Some(changed),
                        }
                    }
                    Step::Lost(reason) => lost = Some(reason),
                }
            }
            let is_asked = self.stop.is_asked();
            let waited = noticed.map_or(Duration::ZERO, |at| at.elapsed());
            let is_due = is_asked || lost.is_some() || waited >= self.options.interval;
            if !self.replica.claim.held_lately()? {
                return Ok(End::Ended(MigrateEnd::TakenOver));
            }
            if let Some(held) = held.take_if(|_| is_due)
                && let Err(why) = self.take_over(editor, held, properties, noticed.take())?
            {
                return Ok(End::Lost(why));
            }
            if is_asked {
                return Ok(End::Ended(MigrateEnd::Stopped));
            }
            if let Some(reason) = lost {
                return Ok(End::Lost(reason));
            }
            let patience = held.as_ref().map_or(TICK, |_| self.options.interval.saturating_sub(waited).min(TICK));
            look = changes.wait(patience)?;
            if look {
                noticed.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Puts transactions into the target.
    fn take_over(
        &mut self,
        editor: &mut Editor,
        held: Held,
        properties: &mut BTreeMap<String, String>,
        noticed: Option<Instant>,
    ) -> Result<std::result::Result<(), String>> {
        let Held { t, transactions, properties: changed, changes } = held;
        properties.extend(changed);
        let changes: Vec<_> = changes.into_iter().collect();
        let datoms = changes.iter().map(|(_, changes)| changes.log.len() as u64).sum();
        let committed = match self.replica.apply(editor, changes, properties)? {
            Ok(committed) => committed,
            Err(why) => return Ok(Err(why)),
        };
        self.summary.t = Some(t);
        self.summary.transactions += transactions;
        self.observer.event(MigrateEvent::Applied {
            t,
            transactions,
            datoms,
            bytes: committed.bytes,
            lag: noticed.map_or(Duration::ZERO, |at| at.elapsed()),
        });
        Ok(Ok(()))
    }

    /// Catches up until nothing comes any more, compares, and lets go of the target.
    fn cut_over(&mut self, mut snapshot: Snapshot) -> Result<End> {
        let mut is_new = false;
        for _ in 0..ROUNDS {
            self.observer.event(MigrateEvent::Comparing);
            let difference = match self.replica.difference(&snapshot) {
                Err(error) if error.kind() == ErrorKind::Damaged => Some(error.to_string()),
                difference => difference?,
            };
            if let Some(difference) = difference {
                if !is_new {
                    is_new = true;
                    self.replica.write_whole(&snapshot, Some(&difference))?;
                    continue;
                }
                let message = format!("is not what snapshot {} of the source is: {difference}", snapshot.id.short());
                return Err(Error::new(ErrorKind::Damaged, self.replica.name(), message));
            }
            let now = self.back_up_source()?;
            if now.id == snapshot.id {
                self.replica.hand_over()?;
                return Ok(End::Ended(MigrateEnd::CutOver));
            }
            if self.stop.is_asked() {
                return Ok(End::Ended(MigrateEnd::Stopped));
            }
            snapshot = now;
            self.catch_up(&snapshot)?;
        }
        let message = "is still being written to: stop its writers, then cut over";
        Err(Error::new(ErrorKind::Busy, self.followed.location(), message))
    }

    fn may_pass(&self, error: &Error) -> bool {
        let keeps_on = !self.options.once && !self.options.cut_over;
        keeps_on && may_pass(error.kind(), self.summary.snapshot.is_some())
    }
}
