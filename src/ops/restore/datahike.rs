//! Restoring databases: every branch of a snapshot, or one of them, to a store that Datahike opens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::datoms::{Restore, RestoreOptions, Shape, View};
use crate::datahike::{Home, MAIN_BRANCH};
use crate::error::Result;
use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::ops::datoms::{Merged, TimePoint, ViewOrder, Window, branches, find_roots, log_key};
use crate::ops::values;
use crate::progress::{Event, Observer};
use crate::record::datom::number_bound;
use crate::repository::Repository;
use crate::target::datahike::{Description, Membership, Options, Target};

/// How often progress is told.
const DATOMS_PER_TICK: u64 = 1 << 16;

/// Which state of which branches, and how the store is written.
#[derive(Clone, Debug, Default)]
pub struct DatabaseOptions {
    /// Only this branch, given without its colon, and as the main one; all branches by default.
    pub branch: Option<String>,
    /// The database as of this point: nothing later.
    pub as_of: Option<TimePoint>,
    /// Only what was true at the end, as if it had always been so.
    pub current: bool,
    /// Whether addresses are hashes of content; by default as in the database that was backed up.
    pub crypto_hash: Option<bool>,
    /// Children of a node, at most; Datahike's default of 512 where 0.
    pub branching_factor: usize,
    /// Anonymous memory that sorting may take, roughly; 128 MiB where 0.
    pub memory_bytes: usize,
    /// Where sorted runs are spilled; the system's temporary folder by default.
    pub temporary: Option<PathBuf>,
}

/// What was restored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseSummary {
    /// The snapshot it is from.
    pub snapshot: SnapshotId,
    /// Branches, without their colons, the main one first.
    pub branches: Vec<String>,
    /// Datoms, each once for each branch.
    pub datoms: u64,
    /// Blobs written.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// What the store holds otherwise than the database did: what, and how often.
    pub notes: BTreeMap<String, u64>,
}

/// Writes a database to `home`, which must not hold one. `location` says where that is, in the words of the database's
/// configuration. Every byte is verified before it is written; the heads, which make the store a database, come last.
pub async fn restore_database(
    repository: &Repository,
    snapshot: SnapshotId,
    home: Arc<dyn Home>,
    location: String,
    options: DatabaseOptions,
    observer: Arc<dyn Observer>,
) -> Result<DatabaseSummary> {
    let repository = repository.clone();
    crate::ops::blocking(move || {
        let snapshot = crate::ops::open_snapshot(&repository, snapshot)?;
        let chosen = chosen_branches(&snapshot, options.branch.as_deref())?;
        let memory_bytes = if options.memory_bytes == 0 { 128 << 20 } else { options.memory_bytes };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut target_options = Options {
            crypto_hash: options.crypto_hash,
            memory_bytes: memory_bytes / 2,
            temporary: options.temporary.clone(),
            now: i64::try_from(since_1970.as_millis()).unwrap_or(0),
            ..Options::default()
        };
        if options.branching_factor > 0 {
            target_options.branching_factor = options.branching_factor;
        }
        let mut target = Target::create(home, &location, target_options)?;
        let restore = RestoreOptions {
            as_of: options.as_of,
            memory_bytes: memory_bytes / 2,
            temporary: options.temporary.clone(),
            ..RestoreOptions::default()
        };
        for (name, branch) in &chosen {
            write_branch(&repository, &snapshot, (name, branch), &options, &restore, &mut target, &*observer)?;
        }
        observer.event(Event::Stage { name: "writing heads", total: None });
        let written = target.finish()?;
        Ok(DatabaseSummary {
            snapshot: snapshot.id,
            branches: chosen.into_iter().map(|(name, _)| name.to_owned()).collect(),
            datoms: written.datoms,
            blobs: written.blobs,
            bytes: written.bytes,
            notes: written.notes,
        })
    })
    .await
}

/// Branches of the snapshot, each with the name it will have, the main one first.
fn chosen_branches<'s>(snapshot: &'s Snapshot, only: Option<&'s str>) -> Result<Vec<(&'s str, &'s str)>> {
    if let Some(branch) = only {
        find_roots(snapshot, only)?;
        return Ok(vec![(MAIN_BRANCH, branch)]);
    }
    find_roots(snapshot, None)?;
    Ok(branches(snapshot).into_iter().map(|branch| (branch, branch)).collect())
}

fn write_branch(
    repository: &Repository,
    snapshot: &Snapshot,
    (name, branch): (&str, &str),
    options: &DatabaseOptions,
    restore: &RestoreOptions,
    target: &mut Target,
    observer: &dyn Observer,
) -> Result<()> {
    let roots = find_roots(snapshot, Some(branch))?;
    let restore = Restore::of_roots(repository, snapshot, roots, restore, observer)?;
    let keep_history = !restore.backed_up_as(View::Current);
    let mut properties: BTreeMap<String, String> = snapshot.properties.iter().cloned().collect();
    let as_of = restore.as_of()?;
    let mut window = Window::all();
    if let Some(t) = as_of {
        window = window.until(t);
    }
    // What a snapshot says of its latest transaction is said of its main branch, and of now.
    if as_of.is_some() || branch != MAIN_BRANCH {
        properties.remove("max-t");
    }
    if branch != MAIN_BRANCH {
        properties.remove("max-eid");
    }

    observer.event(Event::Stage { name: "sorting history", total: Some(restore.records()) });
    let mut log = ViewOrder::new(restore.sorter(2));
    restore.each_log(window, &mut |key| log.push(key))?;
    let mut exceptions = ViewOrder::new(restore.sorter(4));
    // Before the first transaction there is nothing, whatever the exceptions say.
    if window.bounds().is_some() {
        restore.each_exception(&mut |key| exceptions.push(key))?;
    }
    let past = match restore.past(window)? {
        Shape::Past(t) => Some(number_bound(t)),
        Shape::Now | Shape::Part => None,
    };
    let mut merged = Merged::new(log.finish()?, exceptions.finish()?, past);

    observer.event(Event::Stage { name: "sorting indices", total: Some(restore.records()) });
    let mut branch = target.branch(Description { branch: name.to_owned(), keep_history, properties });
    let (mut key, mut done) = (Vec::new(), 0_u64);
    while let Some((view, parts)) = merged.next()? {
        let membership = match (parts.history && !options.current, parts.current) {
            _ if options.current && parts.current && keep_history => Membership::Both,
            (true, true) => Membership::Both,
            (false, true) => Membership::Current,
            (true, false) => Membership::History,
            (false, false) => continue,
        };
        log_key(view, &mut key)?;
        branch.put(&values::datom(restore.reader(), &key)?, membership)?;
        done += 1;
        if done.is_multiple_of(DATOMS_PER_TICK) {
            observer.event(Event::Progress { done });
        }
    }
    drop(merged);
    observer.event(Event::Stage { name: "writing indices", total: None });
    branch.finish()
}
