//! Comparing a database with a snapshot of one: reading its store, and writing nothing.
//!
//! A store that has only the main branch may be what a restore of another branch made: asked for that branch, it is its
//! main one that is compared.
//!
//! A dry backup says which roots the database would give; those are hashes of all that is below them. Only where they
//! differ is the database read again, sorted and merged with what the snapshot holds, to say what differs.

use std::sync::Arc;

use super::backup::{BackupOptions, DatahikeSource, Parent, Source, backup};
use super::datoms::{self, Merged, Parts, ViewOrder, log_key, root_names};
use super::{mark, values};
use crate::datahike::{Head as DatabaseHead, MAIN_BRANCH, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, Snapshot};
use crate::id::{BlobId, SnapshotId};
use crate::progress::{Event, Observer};
use crate::record::datom::{Datom, Datoms, decode_key, encode_key, to_view_key};
use crate::repository::Repository;
use crate::sorter::{Sorted, Sorter, SorterOptions};
use crate::source::datahike::{Datahike, Part, Sink};
use crate::tree::{KeyRange, Walker};

/// How to compare.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Differences that are told, at most; all are counted.
    pub differences: usize,
    /// Anonymous memory that sorting may take, roughly.
    pub memory_bytes: usize,
    /// Where sorted runs are spilled; the system's temporary folder by default.
    pub temporary: Option<std::path::PathBuf>,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self { differences: 10, memory_bytes: 128 << 20, temporary: None }
    }
}

/// What is different about a datom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatomDifference {
    /// The datom.
    pub datom: Datom<'static>,
    /// What it is part of in the snapshot, as (history, current).
    pub in_snapshot: (bool, bool),
    /// What it is part of in the database.
    pub in_database: (bool, bool),
}

/// Where a branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchFound {
    /// On both sides.
    InBoth,
    /// In the snapshot alone.
    InSnapshot,
    /// In the database alone.
    InDatabase,
}

/// What the comparison of a branch came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BranchComparison {
    /// Its name in the snapshot, without the colon.
    pub branch: String,
    /// Its name in the database: another one where the database is what a restore of this branch alone makes.
    pub database_branch: String,
    /// Who has it; only where both do is anything compared.
    pub found: BranchFound,
    /// The top node of its log in the snapshot; nothing where the log is empty or there is none.
    pub snapshot_root: Option<BlobId>,
    /// The one the database gives.
    pub database_root: Option<BlobId>,
    /// Whether log and exceptions are the same.
    pub equal: bool,
    /// The first differences, by entity.
    pub differences: Vec<DatomDifference>,
    /// How many there are.
    pub differences_count: u64,
}

/// Compares a database with a snapshot, branch by branch; only the branches that the source means.
///
/// The database is read once, as for a backup, and a branch that differs a second time, to find the datoms. What is written
/// between the two is among the differences.
///
/// # Errors
/// [`NotFound`](crate::ErrorKind::NotFound) when there is no such snapshot, database or branch,
/// [`Data`](crate::ErrorKind::Data) when the database is of a kind that cannot be read.
pub async fn compare_database(
    repository: &Repository,
    snapshot: SnapshotId,
    mut source: DatahikeSource,
    options: CompareOptions,
    observer: Arc<dyn Observer>,
) -> Result<Vec<BranchComparison>> {
    let (opened, asked) = (repository.clone(), source.clone());
    let (snapshot, as_main) = super::blocking(move || {
        let snapshot = super::open_snapshot(&opened, snapshot)?;
        let as_main = restored_as_main(&snapshot, &asked)?;
        Ok((snapshot, as_main))
    })
    .await?;
    // What a snapshot knew of the store proves nothing about what is there now.
    source.full = true;
    if as_main.is_some() {
        source.options.branches.clear();
    }
    let current = is_current(&snapshot);
    let dry = BackupOptions {
        dry_run: true,
        // A state is stored as what it adds to the parent's history; a history is what it is.
        parent: if current && as_main.is_none() { Parent::Snapshot(snapshot.id) } else { Parent::None },
        label: Some(snapshot.label.clone()),
        memory_bytes: options.memory_bytes,
        temporary: options.temporary.clone(),
        ..BackupOptions::default()
    };
    let given = backup(repository, Source::Datahike(source.clone()), dry, Arc::clone(&observer)).await?.snapshot;
    let repository = repository.clone();
    super::blocking(move || {
        let wanted = &source.options.branches;
        let pairs: Vec<(&str, &str)> = match &as_main {
            Some(branch) => vec![(branch, MAIN_BRANCH)],
            None => {
                let all = branches(&[&snapshot, &given]).into_iter();
                all.filter(|branch| wanted.is_empty() || wanted.iter().any(|name| name == branch))
                    .map(|branch| (branch, branch))
                    .collect()
            }
        };
        let compare = |pair| compare_branch(&repository, (&snapshot, &given), pair, &source, &options, &*observer);
        pairs.into_iter().map(compare).collect()
    })
    .await
}

/// The one branch that is asked for, where the snapshot has it and the store, which has only a main branch, may be what
/// was restored of it.
fn restored_as_main(snapshot: &Snapshot, source: &DatahikeSource) -> Result<Option<String>> {
    let held = datoms::branches(snapshot);
    if held.is_empty() {
        return Err(Error::new(ErrorKind::Usage, format!("snapshot {}", snapshot.id.short()), "holds no datoms"));
    }
    let [branch] = source.options.branches.as_slice() else { return Ok(None) };
    if branch == MAIN_BRANCH || !held.contains(&branch.as_str()) {
        return Ok(None);
    }
    let store = Store::open(&source.location, source.options.secret.clone())?;
    Ok((store.branches()? == [MAIN_BRANCH]).then(|| branch.clone()))
}

/// The branches any of the snapshots has, the main one first.
fn branches<'s>(snapshots: &[&'s Snapshot]) -> Vec<&'s str> {
    let mut names: Vec<&str> = Vec::new();
    for name in snapshots.iter().flat_map(|snapshot| datoms::branches(snapshot)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn compare_branch(
    repository: &Repository,
    (snapshot, given): (&Snapshot, &Snapshot),
    (branch, database_branch): (&str, &str),
    source: &DatahikeSource,
    options: &CompareOptions,
    observer: &dyn Observer,
) -> Result<BranchComparison> {
    let (was, is) = (roots(snapshot, branch), roots(given, database_branch));
    let ids = |roots: &Option<(NamedRoot, NamedRoot)>| roots.as_ref().map(|(log, exceptions)| (log.id, exceptions.id));
    let equal = ids(&was) == ids(&is);
    let mut comparison = BranchComparison {
        branch: branch.to_owned(),
        database_branch: database_branch.to_owned(),
        found: match (&was, &is) {
            (Some(_), None) => BranchFound::InSnapshot,
            (None, Some(_)) => BranchFound::InDatabase,
            _ => BranchFound::InBoth,
        },
        snapshot_root: ids(&was).and_then(|(log, _)| log),
        database_root: ids(&is).and_then(|(log, _)| log),
        equal,
        differences: Vec::new(),
        differences_count: 0,
    };
    let (Some((log, exceptions)), Some(_), false) = (&was, &is, equal) else { return Ok(comparison) };
    observer.event(Event::Stage { name: "looking for differences", total: None });
    let in_snapshot = of_snapshot(repository, log, exceptions, options)?;
    let database = Datahike::open(&source.location, source.options.clone())?;
    let in_database = of_database(&database, database_branch, options)?;
    // A database without history has none to differ in.
    let current = is_current(snapshot);
    let mask = if current { CURRENT } else { CURRENT | HISTORY };
    merge(Rows::new(in_snapshot, mask)?, Rows::new(in_database, mask)?, options, &mut comparison)?;
    if current && branch != database_branch {
        // What earlier snapshots added to the log, a state that was restored does not have.
        comparison.equal = comparison.differences_count == 0;
    }
    Ok(comparison)
}

/// Whether a snapshot is of a database without history.
fn is_current(snapshot: &Snapshot) -> bool {
    snapshot.properties.iter().any(|(name, value)| name == "view" && value == "current")
}

/// Log and exceptions of a branch, where there is such a branch.
fn roots(snapshot: &Snapshot, branch: &str) -> Option<(NamedRoot, NamedRoot)> {
    let (log, exceptions) = root_names(Some(branch));
    let find = |name: &str| snapshot.roots.iter().find(|root| root.name == name).cloned();
    Some((find(&log)?, find(&exceptions)?))
}

const HISTORY: u8 = 1;
const CURRENT: u8 = 2;

fn sorter(options: &CompareOptions) -> Sorter {
    let directory = options.temporary.clone();
    Sorter::new(SorterOptions { memory_bytes: options.memory_bytes / 4, directory })
}

fn push(rows: &mut Sorter, row: &mut Vec<u8>, datom: &Datom<'_>, flags: u8) -> Result<()> {
    let mut key = Vec::new();
    encode_key(datom, &mut key).map_err(|e| Error::damaged("datom", e))?;
    row.clear();
    to_view_key(&key, row).map_err(|e| Error::damaged("datom", e))?;
    row.push(flags);
    rows.push(row)
}

fn of_snapshot(
    repository: &Repository,
    log: &NamedRoot,
    exceptions: &NamedRoot,
    options: &CompareOptions,
) -> Result<Sorted> {
    let reader = repository.reader();
    let parameters = repository.tree_parameters(&Datoms);
    let in_view_order = |root: &NamedRoot| {
        let directory = options.temporary.clone();
        let mut order = ViewOrder::new(SorterOptions { memory_bytes: options.memory_bytes / 8, directory });
        let mut walker = Walker::new(&reader, &parameters, &mark::root(root), KeyRange::all())?;
        while let Some((key, _)) = walker.next_record()? {
            order.push(key)?;
        }
        order.finish()
    };
    let mut merged = Merged::new(in_view_order(log)?, in_view_order(exceptions)?, None);
    let (mut rows, mut row, mut key) = (sorter(options), Vec::new(), Vec::new());
    while let Some((view, Parts { history, current })) = merged.next()? {
        log_key(view, &mut key)?;
        let flags = if history { HISTORY } else { 0 } | if current { CURRENT } else { 0 };
        push(&mut rows, &mut row, &values::datom(&reader, &key)?, flags)?;
    }
    rows.finish()
}

fn of_database(database: &Datahike, branch: &str, options: &CompareOptions) -> Result<Sorted> {
    struct Collect<'o> {
        options: &'o CompareOptions,
        rows: Sorter,
        row: Vec<u8>,
    }
    impl Sink for Collect<'_> {
        fn start(&mut self, _head: &DatabaseHead) -> Result<()> {
            self.rows = sorter(self.options);
            Ok(())
        }

        fn datom(&mut self, part: Part, datom: &Datom<'_>) -> Result<()> {
            let flags = match part {
                Part::Current => CURRENT,
                Part::CurrentAndHistory => CURRENT | HISTORY,
                Part::History => HISTORY,
            };
            push(&mut self.rows, &mut self.row, datom, flags)
        }
    }
    let mut collect = Collect { options, rows: sorter(options), row: Vec::new() };
    database.read(branch, &mut collect)?;
    collect.rows.finish()
}

/// Rows of one side: a view key, and behind it what the datom is part of.
struct Rows {
    rows: Sorted,
    next: Option<(Vec<u8>, u8)>,
    mask: u8,
}

impl Rows {
    fn new(rows: Sorted, mask: u8) -> Result<Self> {
        let mut all = Self { rows, next: None, mask };
        all.next = all.read()?;
        Ok(all)
    }

    fn read(&mut self) -> Result<Option<(Vec<u8>, u8)>> {
        while let Some(row) = self.rows.next()? {
            if let Some((flags, key)) = row.split_last()
                && flags & self.mask != 0
            {
                return Ok(Some((key.to_vec(), flags & self.mask)));
            }
        }
        Ok(None)
    }

    /// What the datom is part of, in all its rows; moves past it.
    fn take(&mut self, key: &[u8]) -> Result<u8> {
        let mut all = 0;
        while let Some((_, flags)) = self.next.take_if(|(next, _)| next == key) {
            all |= flags;
            self.next = self.read()?;
        }
        Ok(all)
    }
}

fn merge(
    mut snapshot: Rows,
    mut database: Rows,
    options: &CompareOptions,
    comparison: &mut BranchComparison,
) -> Result<()> {
    while let Some(key) = [&snapshot.next, &database.next].into_iter().flatten().map(|(key, _)| key).min().cloned() {
        let (was, is) = (snapshot.take(&key)?, database.take(&key)?);
        if was == is {
            continue;
        }
        comparison.differences_count += 1;
        if comparison.differences.len() < options.differences {
            let mut log = Vec::new();
            log_key(&key, &mut log)?;
            let datom = decode_key(&log).map_err(|e| Error::damaged("datom", e))?.into_owned();
            let parts = |flags: u8| (flags & HISTORY != 0, flags & CURRENT != 0);
            comparison.differences.push(DatomDifference { datom, in_snapshot: parts(was), in_database: parts(is) });
        }
    }
    Ok(())
}
