//! Comparing a database with a snapshot of one: reading its store, and writing nothing.
//!
//! A dry backup says which roots the database would give; those are hashes of all that is below them. Only where they
//! differ is the database read again, sorted and merged with what the snapshot holds, to say what differs.

use std::sync::Arc;

use super::backup::{BackupOptions, DatahikeSource, Parent, Source, backup};
use super::datoms::{Merged, Parts, ViewOrder, branches, log_key, root_names};
use super::{mark, values};
use crate::datahike::Head as DatabaseHead;
use crate::error::{Error, Result};
use crate::format::{NamedRoot, Snapshot};
use crate::id::{BlobId, SnapshotId};
use crate::progress::{Event, Observer};
use crate::record::datom::{self, Datom, Datoms};
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

/// What the comparison of a branch came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BranchComparison {
    /// Its name, without the colon.
    pub branch: String,
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
    source: DatahikeSource,
    options: CompareOptions,
    observer: Arc<dyn Observer>,
) -> Result<Vec<BranchComparison>> {
    // What a snapshot knew of the store proves nothing about what is there now.
    let source = DatahikeSource { full: true, ..source };
    let opened = repository.clone();
    let snapshot = super::blocking(move || super::open_snapshot(&opened, snapshot)).await?;
    let current = snapshot.properties.iter().any(|(name, value)| name == "view" && value == "current");
    let dry = BackupOptions {
        dry_run: true,
        // A state is stored as what it adds to the parent's history; a history is what it is.
        parent: if current { Parent::Snapshot(snapshot.id) } else { Parent::None },
        label: Some(snapshot.label.clone()),
        memory_bytes: options.memory_bytes,
        temporary: options.temporary.clone(),
        ..BackupOptions::default()
    };
    let given = backup(repository, Source::Datahike(source.clone()), dry, Arc::clone(&observer)).await?.snapshot;
    let repository = repository.clone();
    super::blocking(move || {
        let mut compared = Vec::new();
        let wanted = &source.options.branches;
        let all = branches_of_any(&[&snapshot, &given]).into_iter();
        for branch in all.filter(|branch| wanted.is_empty() || wanted.contains(branch)) {
            compared.push(compare_branch(&repository, (&snapshot, &given), &branch, &source, &options, &*observer)?);
        }
        Ok(compared)
    })
    .await
}

/// The branches any of the snapshots has, the main one first.
fn branches_of_any(snapshots: &[&Snapshot]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for branch in snapshots.iter().flat_map(|snapshot| branches(snapshot)) {
        if !names.iter().any(|name| name == branch) {
            names.push(branch.to_owned());
        }
    }
    names
}

fn compare_branch(
    repository: &Repository,
    (snapshot, given): (&Snapshot, &Snapshot),
    branch: &str,
    source: &DatahikeSource,
    options: &CompareOptions,
    observer: &dyn Observer,
) -> Result<BranchComparison> {
    let (log, exceptions) = root_names(Some(branch));
    let find = |snapshot: &Snapshot, name: &str| snapshot.roots.iter().find(|root| root.name == name).cloned();
    let pairs = [log, exceptions].map(|name| (find(snapshot, &name), find(given, &name)));
    let id = |root: &Option<NamedRoot>| root.as_ref().and_then(|root| root.id);
    let equal = pairs.iter().all(|(was, is)| was.is_some() == is.is_some() && id(was) == id(is));
    let mut comparison = BranchComparison {
        branch: branch.to_owned(),
        snapshot_root: id(&pairs[0].0),
        database_root: id(&pairs[0].1),
        equal,
        differences: Vec::new(),
        differences_count: 0,
    };
    if equal {
        return Ok(comparison);
    }
    observer.event(Event::Stage { name: "looking for differences", total: None });
    let in_snapshot = match &pairs {
        [(Some(log), _), (Some(exceptions), _)] => of_snapshot(repository, log, exceptions, options)?,
        _ => sorter(options).finish()?,
    };
    let database = Datahike::open(&source.location, source.options.clone())?;
    let in_database = match pairs[0].1.is_some() {
        true => of_database(&database, branch, options)?,
        false => sorter(options).finish()?,
    };
    // A database without history has none to differ in.
    let mask = match snapshot.properties.iter().any(|(name, value)| name == "view" && value == "current") {
        true => CURRENT,
        false => CURRENT | HISTORY,
    };
    merge(Rows::new(in_snapshot, mask)?, Rows::new(in_database, mask)?, options, &mut comparison)?;
    Ok(comparison)
}

const HISTORY: u8 = 1;
const CURRENT: u8 = 2;

fn sorter(options: &CompareOptions) -> Sorter {
    let directory = options.temporary.clone();
    Sorter::new(SorterOptions { memory_bytes: options.memory_bytes / 4, directory })
}

fn push(rows: &mut Sorter, row: &mut Vec<u8>, datom: &Datom<'_>, flags: u8) -> Result<()> {
    let mut key = Vec::new();
    datom::encode_key(datom, &mut key).map_err(|e| Error::damaged("datom", e))?;
    row.clear();
    datom::to_view_key(&key, row).map_err(|e| Error::damaged("datom", e))?;
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
            let datom = datom::decode_key(&log).map_err(|e| Error::damaged("datom", e))?.into_owned();
            let parts = |flags: u8| (flags & HISTORY != 0, flags & CURRENT != 0);
            comparison.differences.push(DatomDifference { datom, in_snapshot: parts(was), in_database: parts(is) });
        }
    }
    Ok(())
}
