//! The target, and how it is made what a snapshot is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::apply::{datom_changes, state_changes};
use super::catch_up::between;
use super::claim::Claim;
use super::{MigrateEvent, MigrateObserver, MigrateOptions, Place};
use crate::datahike::{Home, MAIN_BRANCH, Store, StoreKey};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Outcome, Snapshot};
use crate::id::{SnapshotId, hex};
use crate::ops::backup::DatahikeSource;
use crate::ops::datoms::{KeyChanges, branch_properties};
use crate::ops::restore::{DatabaseOptions, restore_database};
use crate::ops::sync::{Followed, FollowedDatahike};
use crate::ops::verify_database::{CompareOptions, compare_database};
use crate::ops::{BackupOptions, Parent};
use crate::progress::{Observer, Silent};
use crate::repository::Repository;
use crate::repository::machine::now_ms;
use crate::source::datahike::database_id;
use crate::target::datahike::{
    BranchEdit, Committed, Editor, Migration, Phase, Rewrite, of_databases, reachable, unneeded,
};

/// The store that a database is moved to.
pub(super) struct Replica<'a> {
    repository: &'a Repository,
    place: Place,
    options: MigrateOptions,
    observer: Arc<dyn MigrateObserver>,
    progress: Arc<dyn Observer>,
    /// This run's claim to it.
    pub(super) claim: Claim,
    /// Commits made.
    pub(super) commits: u64,
    /// How often it was written whole.
    pub(super) rewrites: u64,
}

impl<'a> Replica<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        place: Place,
        options: MigrateOptions,
        observer: Arc<dyn MigrateObserver>,
        progress: Arc<dyn Observer>,
    ) -> Self {
        let claim = Claim::new(Arc::clone(&place.home));
        Self { repository, place, options, observer, progress, claim, commits: 0, rewrites: 0 }
    }

    /// Where it is, without secrets.
    pub(super) fn name(&self) -> String {
        self.place.home.name()
    }

    /// For transactions to be put into it.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when it cannot be edited and is to be written whole.
    pub(super) fn editor(&self) -> Result<Editor> {
        Editor::open(Arc::clone(&self.place.home), &self.place.location)
    }

    /// Notes that it may be anything, so that the next run reads it whole.
    pub(super) fn forget(&mut self) -> Result<()> {
        let migration = Migration { heads: None, ..self.claim.migration()?.clone() };
        self.claim.write(migration)
    }

    /// Leaves it to its users.
    pub(super) fn hand_over(&mut self) -> Result<()> {
        self.claim.require()?;
        let mut migration = self.claim.migration()?.clone();
        if migration.alone {
            // What killed runs left.
            let left = unneeded(&self.place.home)?;
            self.claim.require()?;
            self.place.home.remove_many(&left)?;
        }
        migration.phase = Phase::CutOver;
        migration.run = None;
        self.claim.write(migration)
    }

    /// The snapshot that the target is known to be, where nothing has been committed to it since.
    fn known_target(&self) -> Result<Option<Snapshot>> {
        let Migration { snapshot: Some(snapshot), heads: Some(known), .. } = self.claim.migration()? else {
            return Ok(None);
        };
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
    pub(super) fn catch_up(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.claim.require()?;
        let has_head = self.place.home.get(StoreKey::keyword(MAIN_BRANCH))?.is_some();
        self.require_same_database(snapshot)?;
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
        self.claim.require()?;
        let mut migration = self.claim.migration()?.clone();
        migration.phase = Phase::Following;
        migration.snapshot = Some(snapshot.id.to_string());
        migration.heads = Some(heads(&self.place.home)?);
        self.claim.write(migration)?;
        self.observer.event(MigrateEvent::CaughtUp { snapshot, changes });
        Ok(())
    }

    /// Refuses a target in which somebody has made another database since a run ended that wrote none.
    fn require_same_database(&self, snapshot: &Snapshot) -> Result<()> {
        if self.claim.migration()?.snapshot.is_some() {
            return Ok(());
        }
        // A damaged head is written anew.
        let Ok(head) = Store::new(Arc::clone(&self.place.home), None).head(MAIN_BRANCH) else { return Ok(()) };
        match (head.database_id(), database_id(&snapshot.properties)) {
            (Some(there), Some(id)) if there != id => {
                let message = "holds a database that no migration has written";
                Err(Error::new(ErrorKind::AlreadyExists, self.name(), message))
            }
            _ => Ok(()),
        }
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
        if counts.1 > 0 {
            self.observer.event(MigrateEvent::Undoing { snapshot: &target, datoms: counts.1 });
        }
        let properties = snapshot.properties.iter().cloned().collect();
        let mut editor = match self.editor() {
            Err(error) if error.kind() == ErrorKind::Damaged => return Ok(Err(error.to_string())),
            editor => editor?,
        };
        let applied = self.apply(&mut editor, changes, &properties);
        self.clean(&mut editor)?;
        Ok(applied?.map(|_| counts))
    }

    /// Commits changes to the target, or says why it is to be written whole.
    pub(super) fn apply(
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
        match editor.commit(edits, now_ms(), Some(&self.claim.guard()))? {
            Ok(committed) => {
                self.commits += 1;
                Ok(Ok(committed))
            }
            Err(Rewrite(why)) => Ok(Err(why)),
        }
    }

    /// Writes the target anew; what it held goes when it is replaced.
    pub(super) fn write_whole(&mut self, snapshot: &Snapshot, reason: Option<&str>) -> Result<()> {
        self.observer.event(MigrateEvent::Writing { snapshot, reason });
        let home = Arc::clone(&self.place.home);
        let before = if reason.is_some() { if_sound(reachable(&home))? } else { BTreeSet::new() };
        let had = if reason.is_some() { if_sound(branch_keys(&home))? } else { Vec::new() };
        self.claim.require()?;
        let options = DatabaseOptions {
            memory_bytes: self.options.backup.memory_bytes,
            temporary: self.options.backup.temporary.clone(),
            replace: true,
            guard: Some(self.claim.guard()),
            ..DatabaseOptions::default()
        };
        let (location, progress) = (self.place.location.clone(), Arc::clone(&self.progress));
        let restored = restore_database(self.repository, snapshot.id, Arc::clone(&home), location, options, progress);
        self.repository.store().runtime().clone().block_on(restored)?;
        self.rewrites += 1;
        self.claim.require()?;
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
        if !self.claim.migration()?.alone {
            return Ok(());
        }
        let mut left = self.place.home.list()?;
        left.retain(|key| *key != Migration::key());
        let left = of_databases(&self.place.home, &left)?;
        self.claim.require()?;
        self.place.home.remove_many(&left)
    }

    /// What is different about the target, if anything.
    pub(super) fn difference(&self, snapshot: &Snapshot) -> Result<Option<String>> {
        if !self.options.quick || has_no_history(snapshot) {
            if let Some(difference) = self.first_difference(snapshot)? {
                return Ok(Some(difference));
            }
            return self.editor()?.different();
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

    /// Removes what the editor has replaced, if nobody else may have built on it.
    pub(super) fn clean(&mut self, editor: &mut Editor) -> Result<()> {
        if self.claim.holds()? {
            editor.clean()?;
        }
        Ok(())
    }
}

/// Whether a snapshot holds states only.
fn has_no_history(snapshot: &Snapshot) -> bool {
    let is_view = |name: &str| name == "view" || (name.starts_with("branch/") && name.ends_with("/view"));
    snapshot.properties.iter().any(|(name, value)| is_view(name) && value == "current")
}

/// What can be found of a store; nothing where that is damaged: what is not found stays, and Datahike's own collector
/// removes it.
fn if_sound<T: Default>(found: Result<T>) -> Result<T> {
    match found {
        Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Data | ErrorKind::NotFound) => {
            Ok(T::default())
        }
        found => found,
    }
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
