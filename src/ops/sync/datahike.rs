//! A Datahike database that is followed: the heads of its branches are watched, and what changed in its indices is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::changes::{Changed, Changes, Followed, Step, tree_changes};
use crate::datahike::{Stamp, StoreKey};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, Outcome, Snapshot};
use crate::ops::backup::increment::known_state;
use crate::ops::backup::{self, BackupOptions, DatahikeSource, Source, cursor};
use crate::ops::datoms::{
    KeyChanges, KnownState, branch_property, consistency_point, find_roots, key_changes, root_names,
};
use crate::progress::{Observer, Silent};
use crate::repository::Repository;
use crate::source::datahike::{
    Datahike, Difference, FullReason, IncrementOptions, Increments, LeafTable, Next, state_properties,
};

/// The blob that names the branches.
const BRANCHES: &str = "branches";

/// A Datahike database in its store.
#[derive(Clone, Debug)]
pub struct FollowedDatahike {
    source: DatahikeSource,
}

impl FollowedDatahike {
    /// All branches that the source means.
    pub fn new(source: DatahikeSource) -> Self {
        Self { source }
    }
}

impl Followed for FollowedDatahike {
    fn location(&self) -> String {
        Source::Datahike(self.source.clone()).location()
    }

    fn back_up(&mut self, repository: &Repository, options: &BackupOptions, _: &dyn Observer) -> Result<Snapshot> {
        let options = BackupOptions { skip_if_unchanged: true, ..options.clone() };
        let runtime = repository.store().runtime().clone();
        let source = Source::Datahike(self.source.clone());
        let summary = runtime.block_on(backup::backup(repository, source, options, std::sync::Arc::new(Silent)))?;
        if summary.committed {
            return Ok(summary.snapshot);
        }
        let parent = summary.snapshot.parent.map(|id| repository.outcome(id)).transpose()?.flatten();
        match parent {
            // Its own cursor may be of what is not at hand here, or empty where it was made of segments.
            Some(Outcome::Committed(snapshot)) => Ok(Snapshot { cursor: summary.snapshot.cursor, ..snapshot }),
            _ => Err(Error::new(ErrorKind::Busy, "snapshot", "was forgotten while it was compared with")),
        }
    }

    fn changes(&mut self, repository: &Repository, since: &Snapshot) -> Result<Box<dyn Changes>> {
        let database = Datahike::open(&self.source.location, self.source.options.clone())?;
        // Stamps before anything is read: what changes from here on is noticed.
        let branches = database.branches()?;
        let mut keys: Vec<StoreKey> = branches.iter().map(|branch| StoreKey::keyword(branch)).collect();
        keys.push(StoreKey::keyword(BRANCHES));
        let stamps = database.store().home().stamps(&keys)?;
        let mut tables = cursor::tables(repository, since);
        let mut followed = Vec::with_capacity(branches.len());
        for name in branches {
            let attempts = self.source.options.attempts;
            let options = IncrementOptions { branch: name.clone(), attempts, ..IncrementOptions::default() };
            let table = tables.remove(&name);
            let state = match &table {
                Some(table) if table.temporal.is_none() => {
                    let (log, exceptions) = find_roots(since, Some(&name))?;
                    known_state(repository, log, exceptions)?
                }
                _ => None,
            };
            let t = table.as_ref().map_or(0, |table| table.head.max_tx);
            let increments = Increments::new(database.store().clone(), options, table);
            followed.push(Branch { name, increments, state, t });
        }
        let properties = since.properties.iter().cloned().collect();
        let increments = cursor::Cursor::decode(&since.cursor).map_or(0, |cursor| cursor.increments);
        Ok(Box::new(DatahikeChanges {
            database,
            branches: followed,
            keys,
            stamps,
            others_asked: Instant::now(),
            increments,
            properties,
            is_untold: false,
        }))
    }
}

/// One branch and how far it was told.
struct Branch {
    name: String,
    increments: Increments,
    /// What the trees say beside the datoms, where no history is kept.
    state: Option<KnownState>,
    t: i64,
}

impl Branch {
    /// What the difference changes in the trees, or why that cannot be told.
    fn key_changes(&mut self, difference: &Difference) -> Result<std::result::Result<KeyChanges, String>> {
        let Difference { head, facts, .. } = difference;
        let changes = match &mut self.state {
            _ if head.keeps_history() => return key_changes(facts).map(Ok),
            None => Err(FullReason::TooMany),
            Some(known) => known.changes(facts, head.max_tx)?.map_err(FullReason::State),
        };
        Ok(changes.map_err(|reason| format!("branch :{}: {reason}", self.name)))
    }
}

struct DatahikeChanges {
    database: Datahike,
    branches: Vec<Branch>,
    /// The heads of the branches, the first of which is watched, and the blob that names them.
    keys: Vec<StoreKey>,
    stamps: Vec<Option<Stamp>>,
    /// When all but the first of these were asked for, as far as nothing had changed.
    others_asked: Instant,
    /// In a row, none of which was compared with a full read.
    increments: u64,
    /// As the last state has them.
    properties: BTreeMap<String, String>,
    /// Whether a branch has moved on over changes that were not handed out, because something failed after that.
    is_untold: bool,
}

impl Changes for DatahikeChanges {
    fn wait(&mut self, timeout: Duration) -> Result<bool> {
        let (Some(main), Some(seen)) = (self.keys.first(), self.stamps.first()) else { return Ok(false) };
        let home = self.database.store().home();
        if home.wait_for_change(*main, *seen, timeout)? {
            return Ok(true);
        }
        // The others are not watched but asked for, no more often than the first.
        let now = Instant::now();
        if now.duration_since(self.others_asked) < home.poll_every() {
            return Ok(false);
        }
        self.others_asked = now;
        Ok(home.stamps(&self.keys[1..])? != self.stamps[1..])
    }

    fn next(&mut self) -> Result<Step> {
        if self.is_untold {
            return Ok(Step::Lost("what changed last was not told".to_owned()));
        }
        let stamps = self.database.store().home().stamps(&self.keys)?;
        if stamps.last() != self.stamps.last() {
            let names: Vec<_> = self.branches.iter().map(|branch| branch.name.clone()).collect();
            if self.database.branches()? != names {
                return Ok(Step::Lost("the database has other branches than before".to_owned()));
            }
        }
        let mut changed = Changed::default();
        let mut any = false;
        for branch in &mut self.branches {
            let difference = match branch.increments.next()? {
                Next::Unchanged(_) => continue,
                Next::Full(reason) => return Ok(Step::Lost(format!("branch :{}: {reason}", branch.name))),
                Next::Changed(difference) => difference,
            };
            self.is_untold = true;
            any = true;
            let KeyChanges { log, exceptions } = match branch.key_changes(&difference)? {
                Ok(changes) => changes,
                Err(reason) => return Ok(Step::Lost(reason)),
            };
            changed.transactions += transactions(&log, branch.t);
            branch.t = difference.head.max_tx;
            let (log_name, exceptions_name) = root_names(Some(&branch.name));
            for (name, keys) in [(log_name, log), (exceptions_name, exceptions)] {
                if !keys.is_empty() {
                    changed.trees.push(tree_changes(name, keys));
                }
            }
            for (name, text) in state_properties(&difference.head, &difference.schema) {
                let name = branch_property(&branch.name, &name);
                if self.properties.get(&name) != Some(&text) {
                    self.properties.insert(name.clone(), text.clone());
                    changed.properties.push((name, text));
                }
            }
        }
        self.stamps = stamps;
        if !any {
            return Ok(Step::Unchanged);
        }
        self.is_untold = false;
        changed.trees.sort_by(|a, b| a.name.cmp(&b.name));
        changed.properties.sort();
        // The main branch comes first.
        changed.t = self.branches.first().map_or(0, |branch| branch.t);
        let points = self.branches.iter().map(|branch| (branch.name.as_str(), branch.t));
        changed.consistency_point = consistency_point(points);
        Ok(Step::Changed(changed))
    }

    fn cursor(&mut self, repository: &Repository, roots: &[NamedRoot]) -> Vec<u8> {
        if self.is_untold {
            return Vec::new();
        }
        let table = |branch: &Branch| Some((branch.name.clone(), branch.increments.table()?.clone()));
        let tables: BTreeMap<String, LeafTable> = self.branches.iter().filter_map(table).collect();
        // What was folded counts like an increment that was backed up: every so often a backup reads everything.
        self.increments = self.increments.saturating_add(1);
        cursor::keep(repository, &tables, roots, self.increments)
    }
}

/// How many transactions later than `t` the keys put into a log are of.
fn transactions(log: &[(Vec<u8>, bool)], t: i64) -> u64 {
    let known = crate::record::datom::number_bound(t);
    let mut last: Option<&[u8]> = None;
    let mut count = 0;
    for (key, _) in log.iter().filter(|(_, put)| *put) {
        let of = key.get(..8);
        if of != last && of > Some(&known[..]) {
            count += 1;
            last = of;
        }
    }
    count
}
