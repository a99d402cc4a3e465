//! One run of a migration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::apply::{datom_changes, state_changes};
use super::catch_up::between;
use super::{MigrateEnd, MigrateEvent, MigrateObserver, MigrateOptions, MigrateSummary, Place};
use crate::datahike::{Home, MAIN_BRANCH, Store, StoreKey, home};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Outcome, Snapshot, TreeChanges};
use crate::id::{SnapshotId, hex};
use crate::ops::backup::DatahikeSource;
use crate::ops::datoms::{KeyChanges, branch_properties, root_names};
use crate::ops::restore::{DatabaseOptions, restore_database};
use crate::ops::sync::{Changed, Changes, Followed, FollowedDatahike, Step, Stop, is_passing};
use crate::ops::verify_database::{CompareOptions, compare_database};
use crate::ops::{BackupOptions, Parent};
use crate::progress::{Observer, Silent};
use crate::repository::Repository;
use crate::repository::machine::{Machine, now_ms};
use crate::target::datahike::{
    BranchEdit, Committed, Editor, Guard, Migration, Phase, Rewrite, of_databases, reachable, unneeded,
};

/// The longest that a call waits before it looks whether it is to stop.
const TICK: Duration = Duration::from_millis(250);
/// How often it is looked whether another run has taken over.
const LOOK_AT_RUN: Duration = Duration::from_secs(1);
/// How long a run that may be writing is given to end: longer than it takes to notice.
const GIVE_WAY: Duration = Duration::from_secs(3);
/// The first wait before a failed attempt is repeated; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// How often the source may have changed while the target was compared with it, before a cut-over fails.
const ROUNDS: u32 = 5;

/// Why following ended without an error.
enum End {
    Ended(MigrateEnd),
    Lost(String),
}

/// Transactions that wait for a commit.
struct Held {
    t: i64,
    transactions: u64,
    properties: Vec<(String, String)>,
    changes: BTreeMap<String, KeyChanges>,
}

impl Held {
    fn of(branches: Vec<String>, changed: Changed) -> Self {
        let Changed { trees, t, transactions, properties, .. } = changed;
        Self { t, transactions, properties, changes: by_branch(branches, trees) }
    }

    /// Takes in what came later; what is undone disappears.
    fn then(&mut self, later: Self) {
        self.t = later.t;
        self.transactions += later.transactions;
        self.properties.extend(later.properties);
        for (branch, changes) in later.changes {
            let earlier = self.changes.remove(&branch).unwrap_or_default();
            self.changes.insert(branch, earlier.then(changes));
        }
    }
}

pub(super) struct Run<'a> {
    repository: &'a Repository,
    followed: Box<dyn Followed>,
    place: Place,
    options: MigrateOptions,
    stop: Stop,
    observer: Arc<dyn MigrateObserver>,
    progress: Arc<dyn Observer>,
    /// The name of this run.
    name: String,
    /// What the target says, when this run has begun to write to it.
    migration: Option<Migration>,
    looked_at: Instant,
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
        let name = run_name();
        let (migration, caught_up_in) = (None, Duration::ZERO);
        let looked_at = Instant::now();
        Self {
            repository,
            followed,
            place,
            options,
            stop,
            observer,
            progress,
            name,
            migration,
            looked_at,
            caught_up_in,
            summary,
        }
    }

    pub(super) fn run(mut self) -> Result<MigrateSummary> {
        let mut wait = FIRST_WAIT;
        loop {
            let commits = self.summary.commits;
            match self.attempt() {
                Ok(End::Ended(end)) => {
                    self.summary.end = end;
                    if end == MigrateEnd::Stopped {
                        self.release()?;
                    }
                    return Ok(self.summary);
                }
                Ok(End::Lost(reason)) => {
                    self.observer.event(MigrateEvent::Lost { reason: &reason });
                    // Where it is lost with every change, at most half of the time goes into comparing.
                    self.sleep(self.caught_up_in.min(self.options.retry_max_wait));
                }
                Err(_) if self.migration.is_some() && matches!(self.is_ours(), Ok(false)) => {
                    self.summary.end = MigrateEnd::TakenOver;
                    return Ok(self.summary);
                }
                Err(error) if self.may_pass(&error) && !self.stop.is_asked() => {
                    if self.summary.commits > commits {
                        wait = FIRST_WAIT;
                    }
                    self.observer.event(MigrateEvent::Retrying { error: &error, wait });
                    self.sleep(wait);
                    wait = (wait * 2).min(self.options.retry_max_wait);
                }
                Err(error) => {
                    // It is the error that says what is wrong.
                    let _ = self.release();
                    return Err(error);
                }
            }
            if self.stop.is_asked() {
                self.release()?;
                return Ok(self.summary);
            }
            self.summary.restarts += 1;
        }
    }

    /// From catching up to the end.
    fn attempt(&mut self) -> Result<End> {
        match self.migration {
            None => self.begin()?,
            Some(_) => self.require_ours()?,
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
        let mut editor = match Editor::open(Arc::clone(&self.place.home), &self.place.location) {
            Err(error) if error.kind() == ErrorKind::Damaged => {
                let migration = Migration { heads: None, ..self.migration()?.clone() };
                self.write(migration)?;
                return Ok(End::Lost(error.to_string()));
            }
            editor => editor?,
        };
        self.observer.event(MigrateEvent::Following);
        let mut properties = snapshot.properties.iter().cloned().collect();
        let end = self.follow(&mut *changes, &mut editor, &mut properties);
        match self.clean(&mut editor) {
            // Of two errors the first says what is wrong.
            Err(error) if end.is_ok() => Err(error),
            _ => end,
        }
    }

    /// Finds out whose the target is, and says that this run writes to it.
    fn begin(&mut self) -> Result<()> {
        let place = Arc::clone(&self.place.home);
        let home = &place;
        let source = self.followed.location();
        let source = match source.strip_prefix("datahike:") {
            Some(location) => format!("datahike:{}", home::absolute(location)),
            None => source,
        };
        let repository = self.repository.id().to_string();
        let mut migration = match Migration::read(home)? {
            Some(migration) => migration,
            None if home.get(StoreKey::keyword(MAIN_BRANCH))?.is_some() => {
                let message = "holds a database that no migration has written";
                return Err(Error::new(ErrorKind::AlreadyExists, home.name(), message));
            }
            None => Migration {
                source: source.clone(),
                repository: repository.clone(),
                phase: Phase::Restoring,
                run: None,
                alone: home.list()?.is_empty(),
                snapshot: None,
                heads: None,
                at: 0,
            },
        };
        if migration.phase == Phase::CutOver {
            let message = format!("was cut over from {}: it belongs to its users now", migration.source);
            return Err(Error::new(ErrorKind::AlreadyExists, home.name(), message));
        }
        if migration.source != source {
            let message = format!("is being migrated from {}, not from {source}", migration.source);
            return Err(Error::new(ErrorKind::AlreadyExists, home.name(), message));
        }
        if migration.repository != repository {
            let message =
                format!("is being migrated through the repository {}, not {repository}", migration.repository);
            return Err(Error::new(ErrorKind::AlreadyExists, home.name(), message));
        }
        let other = migration.run.take().filter(|other| *other != self.name && !is_dead(other));
        if let Some(other) = &other
            && !self.options.cut_over
            && let Some(process) = process_here(other)
        {
            let message = format!("process {process} of this machine is migrating to it");
            return Err(Error::new(ErrorKind::Busy, home.name(), message));
        }
        migration.run = Some(self.name.clone());
        self.write(migration)?;
        self.require_ours()?;
        if let Some(other) = other {
            self.observer.event(MigrateEvent::TakingOver { run: &other, wait: GIVE_WAY });
            let until = Instant::now() + GIVE_WAY;
            while Instant::now() < until && !is_dead(&other) {
                thread::sleep(TICK);
            }
        }
        Ok(())
    }

    fn back_up_source(&mut self) -> Result<Snapshot> {
        self.followed.back_up(self.repository, &self.options.backup, &Silent)
    }

    /// The snapshot that the target is known to be, where nothing has been committed to it since.
    fn known_target(&self) -> Result<Option<Snapshot>> {
        let Migration { snapshot: Some(snapshot), heads: Some(known), .. } = self.migration()? else { return Ok(None) };
        let Ok(id) = snapshot.parse::<SnapshotId>() else { return Ok(None) };
        if heads(&self.place.home)? != *known {
            return Ok(None);
        }
        match self.repository.outcome(id)? {
            Some(Outcome::Committed(snapshot)) => Ok(Some(snapshot)),
            _ => Ok(None),
        }
    }

    /// Backs up the target as it is.
    fn back_up_target(&self) -> Result<Snapshot> {
        let options = BackupOptions { label: None, parent: Parent::Latest, ..self.options.backup.clone() };
        let mut source = DatahikeSource::new(self.place.location.clone(), None);
        source.full_every = 0;
        FollowedDatahike::new(source).back_up(self.repository, &options, &Silent)
    }

    /// Makes the target what a snapshot is.
    fn catch_up(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.require_ours()?;
        let has_head = self.place.home.get(StoreKey::keyword(MAIN_BRANCH))?.is_some();
        let changes = match has_head {
            false => {
                self.remove_leftovers()?;
                self.write_whole(snapshot, None)?;
                None
            }
            true => match self.reconcile(snapshot)? {
                Ok(changes) => Some(changes),
                Err(reason) => {
                    self.write_whole(snapshot, Some(&reason))?;
                    None
                }
            },
        };
        self.require_ours()?;
        let mut migration = self.migration()?.clone();
        migration.phase = Phase::Following;
        migration.snapshot = Some(snapshot.id.to_string());
        migration.heads = Some(heads(&self.place.home)?);
        self.write(migration)?;
        self.summary.snapshot = Some(snapshot.id);
        self.observer.event(MigrateEvent::CaughtUp { snapshot, changes });
        Ok(())
    }

    /// Puts into the target what differs from a snapshot; how many datoms came and went, or why it is to be written whole.
    fn reconcile(&mut self, snapshot: &Snapshot) -> Result<std::result::Result<(u64, u64), String>> {
        if has_no_history(snapshot) {
            // A state is stored as what it adds to the history of its parent, so trees cannot be compared.
            return match self.first_difference(snapshot) {
                Ok(None) => Ok(Ok((0, 0))),
                Ok(Some(_)) => Ok(Err("the database keeps no history".to_owned())),
                Err(error) if error.kind() == ErrorKind::Damaged => Ok(Err(error.to_string())),
                Err(error) => Err(error),
            };
        }
        let known = self.known_target();
        let target = match known.and_then(|known| known.map_or_else(|| self.back_up_target(), Ok)) {
            Ok(target) => target,
            Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Data) => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let changes = match between(self.repository, &target, snapshot)? {
            Ok(changes) => changes,
            Err(why) => return Ok(Err(why)),
        };
        if changes.iter().all(|(_, changes)| changes.is_empty()) {
            return Ok(Ok((0, 0)));
        }
        let count = |put: bool| {
            let of_branch =
                |(_, changes): &(String, KeyChanges)| changes.log.iter().filter(|(_, is)| *is == put).count();
            changes.iter().map(of_branch).sum::<usize>() as u64
        };
        let counts = (count(true), count(false));
        let properties = snapshot.properties.iter().cloned().collect();
        let mut editor = match Editor::open(Arc::clone(&self.place.home), &self.place.location) {
            Err(error) if error.kind() == ErrorKind::Damaged => return Ok(Err(error.to_string())),
            editor => editor?,
        };
        let applied = self.apply(&mut editor, changes, &properties);
        self.clean(&mut editor)?;
        Ok(applied?.map(|_| counts))
    }

    /// Commits changes to the target, or says why it is to be written whole.
    fn apply(
        &mut self,
        editor: &mut Editor,
        changes: Vec<(String, KeyChanges)>,
        properties: &BTreeMap<String, String>,
    ) -> Result<std::result::Result<Committed, String>> {
        match self.edit(editor, changes, properties) {
            Err(error) if error.kind() == ErrorKind::Damaged => Ok(Err(error.to_string())),
            applied => applied,
        }
    }

    fn edit(
        &mut self,
        editor: &mut Editor,
        changes: Vec<(String, KeyChanges)>,
        properties: &BTreeMap<String, String>,
    ) -> Result<std::result::Result<Committed, String>> {
        let mut edits = Vec::new();
        for (branch, changes) in changes {
            let changes = match editor.keeps_history(&branch) {
                true => datom_changes(editor, &branch, &changes)?,
                false => state_changes(editor, &branch, &changes)?,
            };
            let Some(changes) = changes else {
                return Ok(Err("the target is not what it was last".to_owned()));
            };
            let properties = branch_properties(properties.iter(), Some(&branch));
            edits.push(BranchEdit { branch, properties, changes });
        }
        match editor.commit(edits, now_ms(), Some(&self.guard()))? {
            Ok(committed) => {
                self.summary.commits += 1;
                Ok(Ok(committed))
            }
            Err(Rewrite(why)) => Ok(Err(why)),
        }
    }

    /// Writes the target anew; what it held goes when it is replaced.
    fn write_whole(&mut self, snapshot: &Snapshot, reason: Option<&str>) -> Result<()> {
        self.observer.event(MigrateEvent::Writing { snapshot, reason });
        let home = Arc::clone(&self.place.home);
        // What cannot be read cannot be found, and stays: Datahike's own collector removes it.
        let before = if reason.is_some() { reachable(&home).unwrap_or_default() } else { BTreeSet::new() };
        let had = if reason.is_some() { branch_keys(&home).unwrap_or_default() } else { Vec::new() };
        self.require_ours()?;
        let options = DatabaseOptions {
            memory_bytes: self.options.backup.memory_bytes,
            temporary: self.options.backup.temporary.clone(),
            replace: true,
            guard: Some(self.guard()),
            ..DatabaseOptions::default()
        };
        let (location, progress) = (self.place.location.clone(), Arc::clone(&self.progress));
        let restored = restore_database(self.repository, snapshot.id, Arc::clone(&home), location, options, progress);
        self.repository.store().runtime().clone().block_on(restored)?;
        self.summary.rewrites += 1;
        self.require_ours()?;
        if reason.is_some() {
            let now = reachable(&home)?;
            let gone: Vec<_> = before.difference(&now).map(StoreKey::address).collect();
            home.remove_many(&gone)?;
            let has = branch_keys(&home)?;
            let heads: Vec<_> = had.into_iter().filter(|key| !has.contains(key)).collect();
            home.remove_many(&heads)?;
        }
        Ok(())
    }

    /// Removes what a run left that was killed before there was a database, where nothing else was there.
    fn remove_leftovers(&mut self) -> Result<()> {
        if !self.migration()?.alone {
            return Ok(());
        }
        let mut left = self.place.home.list()?;
        left.retain(|key| *key != Migration::key());
        let left = of_databases(&self.place.home, &left)?;
        self.require_ours()?;
        self.place.home.remove_many(&left)
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
            if self.looked_at.elapsed() >= LOOK_AT_RUN && !self.is_ours()? {
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
        let committed = match self.apply(editor, changes, properties)? {
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
            let difference = match self.difference(&snapshot) {
                Err(error) if error.kind() == ErrorKind::Damaged => Some(error.to_string()),
                difference => difference?,
            };
            if let Some(difference) = difference {
                if !is_new {
                    is_new = true;
                    self.write_whole(&snapshot, Some(&difference))?;
                    continue;
                }
                let message = format!("is not what snapshot {} of the source is: {difference}", snapshot.id.short());
                return Err(Error::new(ErrorKind::Damaged, self.place.home.name(), message));
            }
            let now = self.back_up_source()?;
            if now.id == snapshot.id {
                self.require_ours()?;
                let mut migration = self.migration()?.clone();
                if migration.alone {
                    // What killed runs left.
                    let left = unneeded(&self.place.home)?;
                    self.require_ours()?;
                    self.place.home.remove_many(&left)?;
                }
                migration.phase = Phase::CutOver;
                migration.run = None;
                self.write(migration)?;
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

    /// What is different about the target, if anything.
    fn difference(&self, snapshot: &Snapshot) -> Result<Option<String>> {
        if !self.options.quick || has_no_history(snapshot) {
            if let Some(difference) = self.first_difference(snapshot)? {
                return Ok(Some(difference));
            }
            return Editor::open(Arc::clone(&self.place.home), &self.place.location)?.different();
        }
        let target = self.back_up_target()?;
        Ok(match between(self.repository, &target, snapshot)? {
            Err(why) => Some(why),
            Ok(changes) if changes.iter().all(|(_, changes)| changes.is_empty()) => None,
            Ok(_) => Some("some of its datoms are different".to_owned()),
        })
    }

    /// Reads the whole target; one of the datoms that are different, in words.
    fn first_difference(&self, snapshot: &Snapshot) -> Result<Option<String>> {
        let options = CompareOptions {
            differences: 1,
            memory_bytes: self.options.backup.memory_bytes,
            temporary: self.options.backup.temporary.clone(),
        };
        let source = DatahikeSource::new(self.place.location.clone(), None);
        let compared = compare_database(self.repository, snapshot.id, source, options, Arc::new(Silent));
        let compared = self.repository.store().runtime().clone().block_on(compared)?;
        let different = compared.into_iter().find(|branch| !branch.equal);
        Ok(different.map(|branch| {
            let example = branch.differences.first();
            let example = example.map_or_else(String::new, |found| format!(", for one {:?}", found.datom));
            format!("branch :{} differs in {} datoms{example}", branch.branch, branch.differences_count)
        }))
    }

    /// Refuses to go on when another run has taken over.
    fn require_ours(&mut self) -> Result<()> {
        self.looked_at = Instant::now();
        require_run(&self.place.home, &self.name)
    }

    /// The same, asked right before heads are written.
    fn guard(&self) -> Guard {
        let (home, name) = (Arc::clone(&self.place.home), self.name.clone());
        Guard::new(move || require_run(&home, &name))
    }

    /// Removes what the editor has replaced, if nobody else may have built on it.
    fn clean(&mut self, editor: &mut Editor) -> Result<()> {
        if self.is_ours()? {
            editor.clean()?;
        }
        Ok(())
    }

    /// Whether no other run has taken over.
    fn is_ours(&mut self) -> Result<bool> {
        self.looked_at = Instant::now();
        let there = Migration::read(&self.place.home)?;
        Ok(there.is_some_and(|there| there.run.as_deref() == Some(&self.name)))
    }

    /// Says that no run writes to the target.
    fn release(&mut self) -> Result<()> {
        let Some(migration) = self.migration.clone() else { return Ok(()) };
        if self.is_ours()? {
            self.write(Migration { run: None, ..migration })?;
        }
        Ok(())
    }

    fn write(&mut self, migration: Migration) -> Result<()> {
        let migration = Migration { at: now_ms(), ..migration };
        migration.write(&*self.place.home)?;
        self.migration = Some(migration);
        Ok(())
    }

    fn migration(&self) -> Result<&Migration> {
        let lost = || Error::new(ErrorKind::Failed, self.place.home.name(), "the migration was not begun");
        self.migration.as_ref().ok_or_else(lost)
    }

    /// Before the source was reached for the first time only what is sure to pass is tried again.
    fn may_pass(&self, error: &Error) -> bool {
        if self.options.once || self.options.cut_over {
            return false;
        }
        match error.kind() {
            ErrorKind::Transient | ErrorKind::Throttled => true,
            kind => self.summary.snapshot.is_some() && (is_passing(kind) || kind == ErrorKind::NotFound),
        }
    }

    /// Sleeps unless it is to stop.
    fn sleep(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.stop.is_asked() {
            thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }
}

fn require_run(home: &Arc<dyn Home>, name: &str) -> Result<()> {
    match Migration::read(home)?.and_then(|there| there.run) {
        Some(run) if run == name => Ok(()),
        _ => Err(Error::new(ErrorKind::Busy, home.name(), "another run has taken over")),
    }
}

/// Whether a snapshot holds states only.
fn has_no_history(snapshot: &Snapshot) -> bool {
    let is_view = |name: &str| name == "view" || (name.starts_with("branch/") && name.ends_with("/view"));
    snapshot.properties.iter().any(|(name, value)| is_view(name) && value == "current")
}

/// The changes of trees by the branches whose trees they are.
fn by_branch(branches: Vec<String>, trees: Vec<TreeChanges>) -> BTreeMap<String, KeyChanges> {
    let mut trees: BTreeMap<String, TreeChanges> = trees.into_iter().map(|tree| (tree.name.clone(), tree)).collect();
    let mut keys = |name: &str| {
        let TreeChanges { put, removed, .. } = trees.remove(name).unwrap_or_default();
        let removed = removed.into_iter().map(|key| (key, false));
        let mut all: Vec<_> = put.into_iter().map(|key| (key, true)).chain(removed).collect();
        all.sort_unstable();
        all
    };
    let mut all = BTreeMap::new();
    for branch in branches {
        let (log, exceptions) = root_names(Some(&branch));
        let changes = KeyChanges { log: keys(&log), exceptions: keys(&exceptions) };
        if !changes.is_empty() {
            all.insert(branch, changes);
        }
    }
    all
}

/// The blobs of all heads.
fn branch_keys(home: &Arc<dyn Home>) -> Result<Vec<StoreKey>> {
    let store = Store::new(Arc::clone(home), None);
    Ok(store.branches()?.iter().map(|branch| StoreKey::keyword(branch)).collect())
}

/// What changes with every commit to a database.
fn heads(home: &Arc<dyn Home>) -> Result<String> {
    let store = Store::new(Arc::clone(home), None);
    let mut all = Vec::new();
    for branch in store.branches()? {
        all.extend_from_slice(branch.as_bytes());
        all.extend_from_slice(&store.head(&branch)?.bytes_hash);
    }
    Ok(hex(blake3::hash(&all).as_bytes()))
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
