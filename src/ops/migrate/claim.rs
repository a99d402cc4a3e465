//! Whose the target is: the migration that it belongs to, and the run that writes to it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{MigrateEvent, MigrateObserver};
use crate::datahike::{Home, MAIN_BRANCH, StoreKey, home};
use crate::error::{Error, ErrorKind, Result};
use crate::repository::machine::{Machine, now_ms};
use crate::target::datahike::{Guard, Migration, Phase};

/// How often a run looks whether another has taken over.
const LOOK: Duration = Duration::from_secs(1);
/// How long a run that may be writing is given to end: longer than it takes to notice.
const GIVE_WAY: Duration = Duration::from_secs(3);
/// How often it is looked whether it has.
const TICK: Duration = Duration::from_millis(250);

/// One run's claim to a target.
pub(super) struct Claim {
    home: Arc<dyn Home>,
    /// The name of this run.
    run: String,
    /// What the target says, when this run has begun to write to it.
    migration: Option<Migration>,
    looked_at: Instant,
}

impl Claim {
    pub(super) fn new(home: Arc<dyn Home>) -> Self {
        Self { home, run: run_name(), migration: None, looked_at: Instant::now() }
    }

    /// Whether this run has begun to write to the target.
    pub(super) fn has_begun(&self) -> bool {
        self.migration.is_some()
    }

    /// What the target says of its migration.
    pub(super) fn migration(&self) -> Result<&Migration> {
        let lost = || Error::new(ErrorKind::Failed, self.home.name(), "the migration was not begun");
        self.migration.as_ref().ok_or_else(lost)
    }

    /// Refuses a target that is not this migration's, and writes nothing.
    pub(super) fn look(&self, source: &str, repository: &str, cut_over: bool) -> Result<()> {
        self.find(source, repository, cut_over).map(drop)
    }

    /// Finds out whose the target is, and says that this run writes to it. To cut over it takes over from whatever run.
    pub(super) fn begin(
        &mut self,
        source: &str,
        repository: &str,
        cut_over: bool,
        observer: &dyn MigrateObserver,
    ) -> Result<()> {
        let (mut migration, other) = self.find(source, repository, cut_over)?;
        migration.run = Some(self.run.clone());
        self.write(migration)?;
        self.require()?;
        if let Some(other) = other {
            observer.event(MigrateEvent::TakingOver { run: &other, wait: GIVE_WAY });
            let until = Instant::now() + GIVE_WAY;
            while Instant::now() < until && !is_dead(&other) {
                thread::sleep(TICK);
            }
        }
        Ok(())
    }

    /// What the target says of its migration, or is to say, and the run that may be writing to it.
    fn find(&self, source: &str, repository: &str, cut_over: bool) -> Result<(Migration, Option<String>)> {
        let source = match source.strip_prefix("datahike:") {
            Some(location) => format!("datahike:{}", home::absolute(location)),
            None => source.to_owned(),
        };
        let has_head = self.home.get(StoreKey::keyword(MAIN_BRANCH))?.is_some();
        let mut migration = match Migration::read(&self.home)? {
            // Nothing was written yet, and nobody is about to: it may be migrated from elsewhere just as well.
            Some(migration) if !has_head && migration.run.as_deref().is_none_or(is_dead) => {
                let (source, repository) = (source.clone(), repository.to_owned());
                Migration { source, repository, phase: Phase::Restoring, snapshot: None, heads: None, ..migration }
            }
            Some(migration) => migration,
            None if has_head => return Err(self.refused("holds a database that no migration has written")),
            None => Migration {
                source: source.clone(),
                repository: repository.to_owned(),
                phase: Phase::Restoring,
                run: None,
                alone: self.home.list()?.is_empty(),
                snapshot: None,
                heads: None,
                at: 0,
            },
        };
        if migration.phase == Phase::CutOver {
            let from = &migration.source;
            return Err(self.refused(format!("was cut over from {from}: it belongs to its users now")));
        }
        if migration.source != source {
            let from = &migration.source;
            return Err(self.refused(format!("is being migrated from {from}, not from {source}")));
        }
        if migration.repository != repository {
            let through = &migration.repository;
            let message = format!("is being migrated through the repository {through}, not {repository}");
            return Err(self.refused(message));
        }
        let other = migration.run.take().filter(|other| *other != self.run && !is_dead(other));
        if let Some(other) = &other
            && !cut_over
            && let Some(process) = process_here(other)
        {
            let message = format!("process {process} of this machine is migrating to it");
            return Err(Error::new(ErrorKind::Busy, self.home.name(), message));
        }
        Ok((migration, other))
    }

    fn refused(&self, message: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::AlreadyExists, self.home.name(), message)
    }

    /// Refuses to go on when another run has taken over.
    pub(super) fn require(&mut self) -> Result<()> {
        self.looked_at = Instant::now();
        require_run(&self.home, &self.run)
    }

    /// The same, asked right before heads are written.
    pub(super) fn guard(&self) -> Guard {
        let (home, run) = (Arc::clone(&self.home), self.run.clone());
        Guard::new(move || require_run(&home, &run))
    }

    /// Whether no other run has taken over.
    pub(super) fn holds(&mut self) -> Result<bool> {
        self.looked_at = Instant::now();
        let there = Migration::read(&self.home)?;
        Ok(there.is_some_and(|there| there.run.as_deref() == Some(&self.run)))
    }

    /// The same, without looking again so soon.
    pub(super) fn held_lately(&mut self) -> Result<bool> {
        Ok(self.looked_at.elapsed() < LOOK || self.holds()?)
    }

    /// Says that no run writes to the target.
    pub(super) fn release(&mut self) -> Result<()> {
        let Some(migration) = self.migration.clone() else { return Ok(()) };
        if self.holds()? {
            self.write(Migration { run: None, ..migration })?;
        }
        Ok(())
    }

    /// Writes down how far the migration is.
    pub(super) fn write(&mut self, migration: Migration) -> Result<()> {
        let migration = Migration { at: now_ms(), ..migration };
        migration.write(&*self.home)?;
        self.migration = Some(migration);
        Ok(())
    }
}

fn require_run(home: &Arc<dyn Home>, name: &str) -> Result<()> {
    match Migration::read(home)?.and_then(|there| there.run) {
        Some(run) if run == name => Ok(()),
        _ => Err(Error::new(ErrorKind::Busy, home.name(), "another run has taken over")),
    }
}

/// What tells this run from others: where it runs, and when it began.
fn run_name() -> String {
    let Machine { host, boot, process } = Machine::this();
    format!("{host} {boot} {process} {}", now_ms())
}

/// The machine and the process of a run.
fn machine(run: &str) -> Option<Machine> {
    let mut parts = run.split(' ');
    let (host, boot) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    Some(Machine { host, boot, process: parts.next()?.parse().ok()? })
}

/// Whether a run has certainly ended: also one that had the number this process has now.
fn is_dead(run: &str) -> bool {
    machine(run).is_some_and(|of| of == Machine::this() || Machine::is_dead(&of.host, &of.boot, of.process))
}

/// The process of a run, if it is on this machine.
fn process_here(run: &str) -> Option<u32> {
    let (of, this) = (machine(run)?, Machine::this());
    ((&of.host, &of.boot) == (&this.host, &this.boot)).then_some(of.process)
}
