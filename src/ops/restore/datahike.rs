//! Restoring databases: every branch of a snapshot, or one of them, to a store that Datahike opens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::datoms::{Restore, RestoreOptions, Shape};
use crate::datahike::encode_node::BRANCHING_FACTOR;
use crate::datahike::{Home, MAIN_BRANCH};
use crate::error::Result;
use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::ops::datoms::{Merged, TimePoint, ViewOrder, Window, branches, log_key};
use crate::ops::values;
use crate::progress::{Event, Observer};
use crate::record::datom::number_bound;
use crate::repository::Repository;
use crate::target::datahike::{Description, Guard, Membership, Migration, Options, Target};

/// How often progress is told.
const DATOMS_PER_TICK: u64 = 1 << 16;

/// Which state of which branches, and how the store is written.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// Only this branch, given without its colon, and as the main one; all branches by default.
    pub branch: Option<String>,
    /// The database as of this point: nothing later.
    pub as_of: Option<TimePoint>,
    /// Only what was true at the end, as if it had always been so.
    pub current: bool,
    /// Whether addresses are hashes of content; by default as in the database that was backed up.
    pub crypto_hash: Option<bool>,
    /// Children of a node, at most; Datahike's own number by default. At least 4.
    pub branching_factor: usize,
    /// Anonymous memory that sorting may take, roughly.
    pub memory_bytes: usize,
    /// Where sorted runs are spilled; the system's temporary folder by default.
    pub temporary: Option<PathBuf>,
    /// A database that is there is replaced, when the new one is complete.
    pub replace: bool,
    /// Asked before heads are written.
    pub guard: Option<Guard>,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            branch: None,
            as_of: None,
            current: false,
            crypto_hash: None,
            branching_factor: BRANCHING_FACTOR,
            memory_bytes: 128 << 20,
            temporary: None,
            replace: false,
            guard: None,
        }
    }
}

/// What was restored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatabaseSummary {
    /// The snapshot it is from.
    pub snapshot: SnapshotId,
    /// Branches, without their colons, the main one first.
    pub branches: Vec<String>,
    /// Datoms of the history, or current ones where none is kept, of all branches.
    pub datoms: u64,
    /// Blobs written.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// What the store holds otherwise than the database did: what, and how often.
    pub notes: BTreeMap<String, u64>,
}

/// Writes a database to `home`, which must not hold one unless it is to be replaced. `location` says where that is, in the
/// words of the database's configuration. Every byte is verified before it is written; the heads, which make the store a
/// database, come last.
///
/// # Errors
/// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) when there is a database that is not to be replaced,
/// [`NotFound`](crate::ErrorKind::NotFound) when there is no such snapshot or branch, [`Data`](crate::ErrorKind::Data) when
/// a datom is none that a store can hold.
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
        let branches = chosen_branches(&snapshot, options.branch.as_deref());
        let target_options = Options {
            crypto_hash: options.crypto_hash,
            branching_factor: options.branching_factor,
            memory_bytes: options.memory_bytes / 2,
            temporary: options.temporary.clone(),
            replace: options.replace,
            guard: options.guard.clone(),
            ..Options::default()
        };
        let mut target = Target::create(Arc::clone(&home), &location, target_options)?;
        if options.guard.is_none() && home.get(Migration::key())?.is_some() {
            // Left by a migration that wrote no database: none is to go on with this one.
            home.remove_many(&[Migration::key()])?;
        }
        for (name, branch) in &branches {
            let of_branch = RestoreOptions {
                branch: Some(branch.clone()),
                as_of: options.as_of,
                memory_bytes: options.memory_bytes / 2,
                temporary: options.temporary.clone(),
                ..RestoreOptions::default()
            };
            let restore = Restore::new(&repository, &snapshot, &of_branch, &*observer)?;
            write_branch(&restore, name, options.current, &mut target, &*observer)?;
        }
        observer.event(Event::Stage { name: "writing heads", total: None });
        let written = target.finish()?;
        Ok(DatabaseSummary {
            snapshot: snapshot.id,
            branches: branches.into_iter().map(|(name, _)| name).collect(),
            datoms: written.datoms,
            blobs: written.blobs,
            bytes: written.bytes,
            notes: written.notes,
        })
    })
    .await
}

/// Branches: the names they will have and their names in the snapshot, the main one first.
fn chosen_branches(snapshot: &Snapshot, only: Option<&str>) -> Vec<(String, String)> {
    if let Some(branch) = only {
        return vec![(MAIN_BRANCH.to_owned(), branch.to_owned())];
    }
    // A database has a main branch: where the snapshot has none, that is what is wrong with it.
    let others = branches(snapshot).into_iter().filter(|branch| *branch != MAIN_BRANCH);
    std::iter::once(MAIN_BRANCH).chain(others).map(|name| (name.to_owned(), name.to_owned())).collect()
}

fn write_branch(
    restore: &Restore<'_>,
    name: &str,
    current: bool,
    target: &mut Target,
    observer: &dyn Observer,
) -> Result<()> {
    let mut properties = restore.properties();
    let keep_history = properties.get("view").is_none_or(|view| view != "current");
    let as_of = restore.as_of()?;
    restore.tell_if_empty(as_of)?;
    let mut window = Window::all();
    if let Some(t) = as_of {
        window = window.until(t);
        // What the snapshot says of its latest transaction it says of its own end.
        properties.remove("max-t");
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
    let mut branch =
        target.branch(Description { branch: name.to_owned(), keep_history, properties, ..Description::default() });
    let (mut key, mut done) = (Vec::new(), 0_u64);
    while let Some((view, parts)) = merged.next()? {
        let membership = match (parts.history && !current, parts.current) {
            _ if current && parts.current && keep_history => Membership::Both,
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
