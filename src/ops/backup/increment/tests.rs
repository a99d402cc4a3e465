//! Increments over stores that change, and the trees that they give.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;
use crate::backend::LocalBackend;
use crate::datahike::StoreKey;
use crate::ops::datoms::TimePoint;
use crate::ops::{BackupOptions, BackupSummary, Parent, RestoreOptions, Source, backup, restore};
use crate::progress::Observer;
use crate::repository::{CreateOptions, OpenOptions, Repository, Secret};
use crate::source::datahike::increment::testing::{ATTRIBUTES, Action, Database, Garbage, Manner, Row, keyword};
use crate::target::datoms as target;

/// Hears notes and problems.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Note(note) => self.0.lock().unwrap().push(note.to_owned()),
            Event::Problem { message, .. } => self.0.lock().unwrap().push(format!("problem: {message}")),
            _ => {}
        }
    }
}

/// A database that commits whenever something is said, and hears it.
struct Busy {
    notes: Notes,
    folder: std::path::PathBuf,
    database: Mutex<(Database, BTreeMap<StoreKey, u64>)>,
}

impl Observer for Busy {
    fn event(&self, event: Event<'_>) {
        let (database, written) = &mut *self.database.lock().unwrap();
        let n = database.t;
        database.transact(&[Action::Add(1, 0, n), Action::Add(n % 20, 1, n)]);
        database.write_to(&self.folder, written);
        self.notes.event(event);
    }
}

/// A store in a folder, and a repository with a local cache.
struct World {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    repository: Repository,
    database: Database,
    written: std::collections::BTreeMap<StoreKey, u64>,
    notes: Vec<String>,
}

impl World {
    fn new(manner: Manner) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("store")).unwrap();
        let place = folder.path().join("repository");
        let secret = || Secret::key_file(vec![7; 32]);
        let options = OpenOptions { cache: Some(folder.path().join("cache")), ..OpenOptions::default() };
        let repository = runtime.block_on(async {
            let backend = Arc::new(LocalBackend::create(&place).await.unwrap());
            Repository::create(backend, secret(), CreateOptions::default()).await.unwrap();
            let backend = Arc::new(LocalBackend::open(&place).await.unwrap());
            Repository::open(backend, secret(), options).await.unwrap()
        });
        let database = Database::new(manner);
        Self { runtime, folder, repository, database, written: BTreeMap::new(), notes: Vec::new() }
    }

    fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    fn cache(&self) -> &Path {
        self.repository.cache().unwrap()
    }

    fn source(&mut self) -> DatahikeSource {
        let store = self.store();
        self.database.write_to(&store, &mut self.written);
        DatahikeSource::new(store.to_string_lossy(), None)
    }

    fn run(&mut self, source: DatahikeSource, options: BackupOptions) -> BackupSummary {
        self.try_run(source, options).unwrap()
    }

    fn try_run(&mut self, source: DatahikeSource, options: BackupOptions) -> Result<BackupSummary> {
        let notes = Arc::new(Notes::default());
        let source = Source::Datahike(source);
        let observer = Arc::clone(&notes) as Arc<dyn Observer>;
        let summary = self.runtime.block_on(backup(&self.repository, source, options, observer));
        self.notes = notes.0.lock().unwrap().clone();
        summary
    }

    /// Backs up while the database commits whenever something is said.
    fn run_busy(&mut self, source: DatahikeSource, options: BackupOptions) -> BackupSummary {
        let idle = Database::new(self.database.manner);
        let busy = Arc::new(Busy {
            notes: Notes::default(),
            folder: self.store(),
            database: Mutex::new((std::mem::replace(&mut self.database, idle), self.written.clone())),
        });
        let observer = Arc::clone(&busy) as Arc<dyn Observer>;
        let done = self.runtime.block_on(backup(&self.repository, Source::Datahike(source), options, observer));
        let Some(busy) = Arc::into_inner(busy) else { panic!("the observer is still in use") };
        (self.database, self.written) = busy.database.into_inner().unwrap();
        self.notes = busy.notes.0.into_inner().unwrap();
        done.unwrap()
    }

    fn increment(&mut self) -> BackupSummary {
        let source = self.source();
        self.run(source, BackupOptions::default())
    }

    /// The roots that reading everything gives, without any parent.
    fn whole(&mut self) -> Vec<NamedRoot> {
        let source = self.source();
        let options = BackupOptions { parent: Parent::None, dry_run: true, ..BackupOptions::default() };
        self.run(source, options).snapshot.roots
    }

    /// The roots that reading everything gives on top of the newest snapshot.
    fn whole_after_parent(&mut self) -> Vec<NamedRoot> {
        let source = DatahikeSource { full: true, ..self.source() };
        let options = BackupOptions { dry_run: true, ..BackupOptions::default() };
        let roots = self.run(source, options).snapshot.roots;
        assert!(!self.says("problem"), "{:?}", self.notes);
        roots
    }

    /// The current datoms of a snapshot, now or as they were at a t.
    fn restored(&self, snapshot: &crate::format::Snapshot, as_of: Option<i64>) -> BTreeSet<Row> {
        let out = self.folder.path().join("out.edn");
        let target = target::Options { overwrite: true, format: Some(target::Format::Edn), ..Default::default() };
        let options = RestoreOptions {
            view: crate::ops::View::Current,
            as_of: as_of.map(TimePoint::T),
            target,
            ..RestoreOptions::default()
        };
        let to = target::Location::Path(out.clone());
        let observer = Arc::new(crate::progress::Silent);
        self.runtime.block_on(restore(&self.repository, snapshot.id, to, options, observer)).unwrap();
        let text = std::fs::read_to_string(out).unwrap();
        text.lines().map(parse_row).collect()
    }

    fn says(&self, text: &str) -> bool {
        self.notes.iter().any(|note| note.contains(text))
    }
}

fn manner(garbage: Garbage) -> Manner {
    Manner { garbage, slot_rows: 2, fused: false, history: true }
}

fn without_history(garbage: Garbage) -> Manner {
    Manner { history: false, ..manner(garbage) }
}

/// `[e :a v t true]`.
fn parse_row(line: &str) -> Row {
    let datom = datom::edn::parse_datom_line(line.as_bytes()).unwrap();
    let datom::Attribute::Keyword(name) = &datom.a else { panic!("{line}") };
    let v = match datom.v {
        datom::Value::Long(v) => v,
        _ => panic!("{line}"),
    };
    let a = ATTRIBUTES.iter().position(|known| known == name).unwrap();
    (datom.e, a, v, datom.t, datom.added)
}

fn actions() -> impl Strategy<Value = Action> {
    let (e, a, v) = (1_i64..30, 0_usize..3, 0_i64..4);
    prop_oneof![
        8 => (e.clone(), a.clone(), v.clone()).prop_map(|(e, a, v)| Action::Add(e, a, v)),
        3 => (e.clone(), a, v).prop_map(|(e, a, v)| Action::Retract(e, a, v)),
        1 => e.clone().prop_map(Action::Purge),
        2 => e.prop_map(Action::Again),
    ]
}

#[test]
fn increments_give_the_roots_that_reading_everything_gives() {
    let transactions = prop::collection::vec(prop::collection::vec(actions(), 0..12), 1..3);
    let histories = prop::collection::vec(transactions, 8..12);
    let mut runner = TestRunner::deterministic();
    let mut told = 0;
    for garbage in [Garbage::Kept, Garbage::Kept, Garbage::Reused] {
        let history = histories.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(manner(garbage));
        for transactions in history {
            transactions.iter().for_each(|actions| world.database.transact(actions));
            let roots = world.increment().snapshot.roots;
            told += usize::from(world.says("since its parent"));
            assert_eq!(roots, world.whole(), "{:?}", world.notes);
        }
    }
    assert!(told >= 14, "{told} increments: the test means little otherwise");
}

#[test]
fn increments_without_history_give_the_roots_that_reading_everything_gives_and_every_state_stays() {
    let transactions = prop::collection::vec(prop::collection::vec(actions(), 0..12), 1..3);
    let histories = prop::collection::vec(transactions, 8..12);
    let mut runner = TestRunner::deterministic();
    let mut told = 0;
    for garbage in [Garbage::Kept, Garbage::Kept, Garbage::Reused] {
        let history = histories.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(without_history(garbage));
        let mut states = Vec::new();
        for transactions in history {
            transactions.iter().for_each(|actions| world.database.transact(actions));
            let whole = world.whole_after_parent();
            let snapshot = world.increment().snapshot;
            told += usize::from(world.says("since its parent"));
            assert_eq!(snapshot.roots, whole, "{:?}", world.notes);
            assert_eq!(world.restored(&snapshot, None), world.database.current);
            states.push((world.database.t, world.database.current.clone(), snapshot));
        }
        let last = &states.last().unwrap().2;
        for (t, state, _) in &states {
            assert_eq!(&world.restored(last, Some(*t)), state, "as of {t}");
        }
    }
    assert!(told >= 14, "{told} increments: the test means little otherwise");
}

#[test]
fn a_database_without_history_that_goes_back_is_compared_as_a_whole_until_it_is_ahead_again() {
    let mut world = World::new(without_history(Garbage::Kept));
    world.database.transact(&[Action::Add(1, 0, 1), Action::Add(2, 1, 2)]);
    let (current, t) = (world.database.current.clone(), world.database.t);
    world.increment();
    world.database.transact(&[Action::Add(1, 0, 3), Action::Retract(2, 1, 2)]);
    world.database.transact(&[Action::Add(5, 0, 3)]);
    world.increment();
    assert!(world.says("since its parent"), "{:?}", world.notes);
    // As when a copy of yesterday's store is put in its place.
    (world.database.current, world.database.t) = (current, t);
    world.database.commit();
    let mut reasons = Vec::new();
    for n in 0..6 {
        let whole = world.whole_after_parent();
        let snapshot = world.increment().snapshot;
        assert_eq!(snapshot.roots, whole, "{:?}", world.notes);
        assert_eq!(world.restored(&snapshot, None), world.database.current);
        reasons.push(world.says("is read from its beginning"));
        world.database.transact(&[Action::Add(1, 0, 10 + n), Action::Add(n, 1, n)]);
    }
    assert_eq!((reasons[0], reasons[5]), (true, false), "{reasons:?}");
}

#[test]
fn history_that_is_kept_from_now_on_or_no_longer_wants_everything_read() {
    for manner in [manner(Garbage::Kept), without_history(Garbage::Kept)] {
        let mut world = World::new(manner);
        world.database.transact(&[Action::Add(1, 0, 1)]);
        world.increment();
        world.database.manner.history = !manner.history;
        world.database.transact(&[Action::Add(1, 0, 2)]);
        let snapshot = world.increment().snapshot;
        assert!(world.says("of a time when history was kept, or not"), "{:?}", world.notes);
        assert_eq!(world.restored(&snapshot, None), world.database.current);
    }
}

#[test]
fn what_was_purged_is_in_the_old_snapshot_only() {
    let mut world = World::new(manner(Garbage::Kept));
    world.database.transact(&[Action::Add(1, 0, 1), Action::Add(2, 1, 2)]);
    world.database.transact(&[Action::Add(1, 0, 3)]);
    let before = world.increment().snapshot;
    world.database.transact(&[Action::Purge(1)]);
    let after = world.increment().snapshot;
    assert!(world.says("since its parent"), "{:?}", world.notes);
    assert_eq!(after.roots, world.whole());
    assert_eq!(after.statistics.records_removed, 3, "two assertions and a retraction");
    let log = |snapshot: &crate::format::Snapshot| snapshot.roots[0].records;
    assert_eq!(log(&after), log(&before) - 3 + 1, "and the transaction's own datom is new");
}

#[test]
fn every_nth_increment_reads_everything_and_compares() {
    let mut world = World::new(manner(Garbage::Kept));
    world.database.transact(&[Action::Add(1, 0, 1)]);
    world.increment();
    let mut compared = Vec::new();
    for n in 1..=7 {
        world.database.transact(&[Action::Add(1, 0, n)]);
        let source = DatahikeSource { full_every: 3, ..world.source() };
        world.run(source, BackupOptions::default());
        assert!(!world.says("problem"), "{:?}", world.notes);
        compared.push(world.says("gives the same"));
    }
    assert_eq!(compared, [false, false, true, false, false, true, false]);
}

#[test]
fn a_busy_database_is_compared_too() {
    let mut world = World::new(manner(Garbage::Kept));
    world.database.transact(&[Action::Add(1, 0, 1)]);
    world.increment();
    let mut compared = Vec::new();
    for n in 1..=6 {
        world.database.transact(&[Action::Add(1, 0, -n)]);
        let source = DatahikeSource { full_every: 3, ..world.source() };
        let t = world.database.t;
        let summary = world.run_busy(source, BackupOptions::default());
        assert!(!world.says("problem"), "{:?}", world.notes);
        assert!(n % 3 > 0 || world.database.t > t + 2, "the test means nothing otherwise: {:?}", world.notes);
        assert!(summary.snapshot.sources[0].consistency_point < format!("t {}", world.database.t));
        compared.push(world.says("gives the same"));
    }
    assert_eq!(compared, [false, false, true, false, false, true]);
}

#[test]
fn what_cannot_be_compared_is_said_aloud_and_compared_the_next_time() {
    let mut world = World::new(manner(Garbage::Kept));
    let increments = |summary: &BackupSummary| Cursor::decode(&summary.snapshot.cursor).unwrap().increments;
    for n in 0..3 {
        world.database.transact(&[Action::Add(1, 0, n)]);
        world.increment();
    }
    let source = DatahikeSource { full_every: 3, ..world.source() };
    world.database.manner.garbage = Garbage::Deleted;
    let summary = world.run_busy(source.clone(), BackupOptions::default());
    assert!(world.says("could not be compared"), "{:?}", world.notes);
    assert_eq!(increments(&summary), 2, "still due");
    world.database.manner.garbage = Garbage::Kept;
    world.run(source.clone(), BackupOptions::default());
    assert!(world.says("everything is read and compared"), "{:?}", world.notes);
}

#[test]
fn a_schema_that_went_is_looked_for_again_from_the_head_on() {
    let mut world = World::new(manner(Garbage::Kept));
    world.database.schema_apart = true;
    world.database.transact(&[Action::Add(1, 0, 1)]);
    world.increment();
    world.database.home.remove(Database::schema_key());
    let source = world.source();
    let error = world.try_run(source, BackupOptions::default()).unwrap_err();
    assert!(error.kind() == ErrorKind::Damaged && error.to_string().contains("schema"), "{error}");
    assert!(world.says("is read from its beginning"), "{:?}", world.notes);
}

#[test]
fn a_list_of_branches_that_is_none_is_refused() {
    let mut world = World::new(manner(Garbage::Kept));
    world.database.branches = vec!["other"];
    world.database.commit();
    let refused = |world: &mut World, source| {
        let error = world.try_run(source, BackupOptions::default()).unwrap_err();
        assert!(error.kind() == ErrorKind::Damaged && error.to_string().contains(":branches"), "{error}");
    };
    let source = world.source();
    std::fs::write(world.store().join(StoreKey::keyword("branches").file_name()), []).unwrap();
    refused(&mut world, source);
    world.database.put_branches(&keyword("db"));
    let source = world.source();
    refused(&mut world, source);
}

#[test]
fn a_branch_that_has_gone_since_the_parent_is_noted() {
    let mut world = World::new(manner(Garbage::Kept));
    world.database.branches = vec!["other"];
    world.database.transact(&[Action::Add(1, 0, 1)]);
    let noted = |summary: &BackupSummary| summary.notes.iter().any(|(note, _)| note.contains(":other"));
    assert!(!noted(&world.increment()));
    assert!(!noted(&world.increment()));
    let mut only_main = world.source();
    only_main.options.branches = vec!["db".to_owned()];
    world.database.branches.clear();
    world.database.commit();
    world.database.home.remove(StoreKey::keyword("other"));
    let summary = world.increment();
    assert!(noted(&summary), "{:?}", summary.notes);
    assert!(!noted(&world.increment()), "once");
    let summary = world.run(only_main, BackupOptions::default());
    assert!(!noted(&summary));
}

#[test]
fn a_parent_that_missed_something_is_said_aloud_and_put_right() {
    let mut world = World::new(manner(Garbage::Kept));
    world.database.transact(&[Action::Add(1, 0, 1), Action::Add(2, 0, 2)]);
    world.increment();
    world.database.transact(&[Action::Add(9, 0, 4)]);
    let right = world.increment().snapshot;
    let tables = cursor::tables(&world.repository, &right);
    assert_eq!(tables["db"].head.max_tx, world.database.t);
    // A snapshot whose trees lack a datom that its table has.
    let mut lacking = right.roots.clone();
    let mut writer = world.repository.writer(crate::repository::WriterOptions::default()).unwrap();
    let changes = KeyChanges { log: vec![(first_key(&world, &right.roots[0]), false)], ..KeyChanges::default() };
    lacking[0] = edit_trees(&mut writer, &right.roots[0], &right.roots[1], changes).unwrap().log;
    let cursor = cursor::keep(&world.repository, &tables, &lacking, 1);
    let forged = crate::format::Snapshot {
        id: writer.id(),
        roots: lacking,
        cursor,
        time_ms: right.time_ms + 1,
        gc_checked: writer.gc_checked(),
        ..right
    };
    writer.flush().unwrap();
    writer.commit(&forged).unwrap();
    world.database.transact(&[Action::Add(2, 0, 7)]);
    let source = DatahikeSource { full: true, ..world.source() };
    let summary = world.run(source, BackupOptions::default());
    assert_eq!(summary.snapshot.parent, Some(forged.id));
    assert!(world.says("problem: the increments"), "{:?}", world.notes);
    assert_eq!(summary.snapshot.skipped_count, 1);
    assert_eq!(summary.snapshot.roots, world.whole());
}

/// The first key of a log.
fn first_key(world: &World, root: &NamedRoot) -> Vec<u8> {
    let reader = world.repository.reader();
    let parameters = world.repository.tree_parameters(&Datoms);
    let root = mark::root(root);
    let mut walker = tree::Walker::new(&reader, &parameters, &root, tree::KeyRange::all()).unwrap();
    walker.next_record().unwrap().unwrap().0.to_vec()
}

#[test]
fn a_lost_or_damaged_table_costs_a_full_read_and_nothing_else() {
    let mut world = World::new(manner(Garbage::Kept));
    let many: Vec<_> = (0..2000).map(|e| Action::Add(e, 0, e)).collect();
    world.database.transact(&many);
    let first = world.increment().snapshot;
    assert!(first.cursor.len() < 1000, "a large table is not in the cursor, but it is {}", first.cursor.len());
    for spoil in [true, false] {
        world.database.transact(&[Action::Add(1, 0, i64::from(spoil))]);
        let kept = world.cache().join("kept");
        for file in std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path()) {
            if spoil {
                let mut bytes = std::fs::read(&file).unwrap();
                bytes[100] ^= 1;
                std::fs::write(&file, bytes).unwrap();
            } else {
                std::fs::remove_file(&file).unwrap();
            }
        }
        let roots = world.increment().snapshot.roots;
        assert!(world.says("is read from its beginning"), "{:?}", world.notes);
        assert_eq!(roots, world.whole());
    }
    world.database.transact(&[Action::Add(1, 0, 77)]);
    let increment = world.increment().snapshot;
    assert!(world.says("since its parent"), "{:?}", world.notes);
    assert_eq!(increment.roots, world.whole());
}
