//! Following a database: what was acknowledged restores, whatever died and whoever pruned.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use packstone::backend::{Answer, Backend, Damage, ObjectStat, PutNew, SimulatedBackend, StoppedWrite};
use packstone::format::{ObjectPath, Sealed, Snapshot, TreeChanges};
use packstone::id::SnapshotId;
use packstone::ops::{
    self, BackupOptions, Changed, Changes, DatomsSource, Followed, PruneOptions, Source, Step, Stop, SyncEvent,
    SyncOptions, SyncSummary, View,
};
use packstone::progress::{Observer, Silent};
use packstone::record::datom::{self, Attribute, Datom, Value};
use packstone::repository::Repository;
use packstone::source::datoms::Location;
use packstone::target::datoms::{self as target, Format};

use crate::fixtures::{blocking, check_all, create, create_on, noise, open, open_on, options, sorted_lines, whole};

/// A fact, its transaction, whether it is asserted.
type Event = (i64, &'static str, String, i64, bool);

/// A database of this test: a set of events that changes, and what it was when it was backed up last.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<BTreeSet<Event>>>, Arc<Mutex<BTreeSet<Event>>>);

fn keys_of(events: &BTreeSet<Event>) -> BTreeSet<Vec<u8>> {
    let key = |(e, a, v, t, added): &Event| {
        let datom = Datom {
            e: *e,
            a: Attribute::Keyword(format!("x/{a}").into()),
            v: Value::String(v.as_bytes().into()),
            t: *t,
            added: *added,
        };
        let mut key = Vec::new();
        datom::encode_key(&datom, &mut key).unwrap();
        key
    };
    events.iter().map(key).collect()
}

fn lines_of(events: &BTreeSet<Event>, until: i64) -> Vec<String> {
    let line = |(e, a, v, t, added): &Event| format!("[{e} :x/{a} \"{v}\" {t} {added}]");
    let mut lines: Vec<String> = events.iter().filter(|event| event.3 <= until).map(line).collect();
    lines.sort();
    lines
}

impl Database {
    /// Transaction `n` gives entity `n` a name, renames the one before, and now and then has a long text.
    fn transact(&self, n: i64) -> i64 {
        let t = 536_870_912 + n;
        let mut events = self.0.lock().unwrap();
        events.insert((n, "name", format!("name {n}"), t, true));
        if n > 1 {
            events.insert((n - 1, "name", format!("name {}", n - 1), t, false));
            events.insert((n - 1, "name", format!("renamed {n}"), t, true));
        }
        if n % 5 == 0 {
            events.insert((n, "text", noise(n as u64, 3000), t, true));
        }
        t
    }

    /// Takes an entity out of all of history.
    fn purge(&self, e: i64) {
        self.0.lock().unwrap().retain(|event| event.0 != e);
    }

    fn lines(&self) -> Vec<String> {
        self.lines_until(i64::MAX)
    }

    fn lines_until(&self, t: i64) -> Vec<String> {
        lines_of(&self.0.lock().unwrap(), t)
    }

    fn keys(&self) -> BTreeSet<Vec<u8>> {
        keys_of(&self.0.lock().unwrap())
    }

    fn max_t(&self) -> i64 {
        self.0.lock().unwrap().iter().map(|event| event.3).max().unwrap_or(0)
    }
}

impl Followed for Database {
    fn location(&self) -> String {
        "datoms:test".to_owned()
    }

    fn back_up(
        &mut self,
        repository: &Repository,
        options: &BackupOptions,
        _: &dyn Observer,
    ) -> packstone::Result<Snapshot> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.edn");
        let events = self.0.lock().unwrap().clone();
        std::fs::write(&path, lines_of(&events, i64::MAX).join("\n") + "\n").unwrap();
        *self.1.lock().unwrap() = events;
        let mut source = DatomsSource::new(Location::Path(path));
        source.view = Some(packstone::source::datoms::View::History);
        let runtime = repository.store().runtime().clone();
        let backup = ops::backup(repository, Source::Datoms(source), options.clone(), Arc::new(Silent));
        Ok(runtime.block_on(backup)?.snapshot)
    }

    fn changes(&mut self, _: &Repository, _: &Snapshot) -> packstone::Result<Box<dyn Changes>> {
        let events = self.1.lock().unwrap();
        let t = events.iter().map(|event| event.3).max().unwrap_or(0);
        Ok(Box::new(Feed { database: self.clone(), seen: keys_of(&events), t }))
    }
}

/// What of a database was told already.
struct Feed {
    database: Database,
    seen: BTreeSet<Vec<u8>>,
    t: i64,
}

impl Changes for Feed {
    fn wait(&mut self, timeout: Duration) -> packstone::Result<bool> {
        if self.database.keys() != self.seen {
            return Ok(true);
        }
        std::thread::sleep(timeout.min(Duration::from_millis(5)));
        Ok(false)
    }

    fn next(&mut self) -> packstone::Result<Step> {
        let now = self.database.keys();
        if now == self.seen {
            return Ok(Step::Unchanged);
        }
        let log = TreeChanges {
            name: "log".to_owned(),
            put: now.difference(&self.seen).cloned().collect(),
            removed: self.seen.difference(&now).cloned().collect(),
        };
        let t = self.database.max_t();
        let transactions = u64::try_from(t - self.t).unwrap_or(0);
        (self.seen, self.t) = (now, t);
        let properties = vec![("max-t".to_owned(), t.to_string())];
        let consistency_point = format!("t {t}");
        Ok(Step::Changed(Changed { trees: vec![log], t, transactions, properties, consistency_point }))
    }

    /// The newest t that was told.
    fn cursor(&mut self, _: &Repository, _: &[packstone::format::NamedRoot]) -> Vec<u8> {
        self.t.to_string().into_bytes()
    }
}

fn sync_options() -> SyncOptions {
    SyncOptions {
        backup: BackupOptions { skip_if_unchanged: true, ..options() },
        retry_max_wait: Duration::from_millis(50),
        ..SyncOptions::default()
    }
}

/// Ends a run when its test fails, which would wait for it otherwise.
struct End(Stop);

impl Drop for End {
    fn drop(&mut self) {
        self.0.ask();
    }
}

/// A run in the background: which t it has acknowledged, and how it ends.
struct Run {
    stop: Stop,
    acknowledged: Arc<Mutex<Vec<i64>>>,
    events: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    _end: End,
    task: tokio::task::JoinHandle<packstone::Result<SyncSummary>>,
}

impl Run {
    fn start(repository: &Repository, database: &Database, options: SyncOptions) -> Self {
        let (stop, acknowledged) = (Stop::default(), Arc::new(Mutex::new(Vec::new())));
        let events = Arc::new(Mutex::new(BTreeMap::new()));
        let observer = {
            let (acknowledged, events) = (Arc::clone(&acknowledged), Arc::clone(&events));
            let backed_up = Arc::clone(&database.1);
            move |event: SyncEvent<'_>| {
                let name = match event {
                    SyncEvent::Durable { t, .. } => {
                        acknowledged.lock().unwrap().push(t);
                        "durable"
                    }
                    SyncEvent::Folded { .. } => "folded",
                    SyncEvent::Recovered { .. } => "recovered",
                    SyncEvent::Following { .. } => {
                        // What was backed up is as durable as what was followed.
                        let t = backed_up.lock().unwrap().iter().map(|event| event.3).max();
                        acknowledged.lock().unwrap().extend(t);
                        "following"
                    }
                    _ => "other",
                };
                *events.lock().unwrap().entry(name).or_insert(0) += 1;
            }
        };
        let task = {
            let (repository, database, stop) = (repository.clone(), database.clone(), stop.clone());
            tokio::spawn(
                async move { ops::sync(&repository, Box::new(database), options, stop, Arc::new(observer)).await },
            )
        };
        Self { _end: End(stop.clone()), stop, acknowledged, events, task }
    }

    fn count(&self, name: &str) -> u64 {
        self.events.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    fn acknowledged(&self) -> i64 {
        self.acknowledged.lock().unwrap().iter().copied().max().unwrap_or(0)
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            if what(self) {
                return;
            }
            assert!(!self.task.is_finished(), "the run has ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing happens");
    }

    async fn follows(&self) {
        self.until(|run| run.count("following") > 0).await;
    }

    async fn has(&self, t: i64) {
        self.until(|run| run.acknowledged() >= t).await;
    }

    async fn stop(self) -> SyncSummary {
        self.stop.ask();
        self.task.await.unwrap().unwrap()
    }
}

async fn restored(repository: &Repository, id: SnapshotId, as_of: Option<i64>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.edn");
    let mut options = whole(View::History, Format::Edn);
    options.as_of = as_of.map(ops::TimePoint::T);
    ops::restore(repository, id, target::Location::Path(out.clone()), options, Arc::new(Silent)).await.unwrap();
    sorted_lines(&out)
}

/// The newest state that the repository can give back: of a chain or of a snapshot.
async fn newest(repository: &Repository) -> Option<SnapshotId> {
    let repository = repository.clone();
    blocking(move || {
        let chain = ops::unfolded(&repository).unwrap().pop().map(|unfolded| unfolded.snapshot);
        let live = repository.snapshots().unwrap().into_live().unwrap().pop();
        [live, chain].into_iter().flatten().max_by_key(|snapshot| snapshot.time_ms).map(|snapshot| snapshot.id)
    })
    .await
}

async fn chains(repository: &Repository) -> usize {
    let repository = repository.clone();
    blocking(move || repository.chains().unwrap().len()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transaction_is_durable_and_folded_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("r")).await;
    let database = Database::default();
    database.transact(1);
    let run = Run::start(&repository, &database, sync_options());
    run.follows().await;
    let other = open(&folder.path().join("r")).await;
    for n in 2..=12 {
        let t = database.transact(n);
        run.has(t).await;
        // Another process sees it at once, and every state before.
        let id = newest(&other).await.unwrap();
        assert_eq!(restored(&other, id, None).await, database.lines());
        assert_eq!(restored(&other, id, Some(t - 3)).await, database.lines_until(t - 3));
    }
    database.purge(3);
    run.until(|run| run.count("durable") >= 12).await;
    let report = check_all(&other).await;
    assert!(report.is_sound() && report.chains == 1 && report.segments == 12, "{report:?}");
    let chain = newest(&other).await.unwrap();
    assert_eq!(restored(&other, chain, None).await, database.lines());
    let verified = ops::verify(&other, chain, Arc::new(Silent)).await.unwrap();
    assert!(verified.is_sound(), "{verified:?}");
    let summary = run.stop().await;
    assert_eq!((summary.segments, summary.folds), (12, 1));
    let snapshot = summary.snapshot.unwrap();
    assert_eq!(snapshot.id, chain, "what was restored before has become a snapshot");
    assert_eq!(snapshot.cursor, database.max_t().to_string().into_bytes());
    assert!(snapshot.properties.contains(&("max-t".to_owned(), database.max_t().to_string())));
    let fresh = open(&folder.path().join("r")).await;
    assert_eq!(chains(&fresh).await, 0);
    assert!(std::fs::read_dir(folder.path().join("r/sync")).unwrap().next().is_none(), "no folder stays");
    assert_eq!(restored(&fresh, snapshot.id, None).await, database.lines());
    let verified = ops::verify(&fresh, snapshot.id, Arc::new(Silent)).await.unwrap();
    assert!(verified.is_sound(), "{verified:?}");
    // A backup of the same state has the same roots.
    let again = blocking({
        let (fresh, mut database) = (fresh.clone(), database.clone());
        move || database.back_up(&fresh, &options(), &Silent).unwrap()
    })
    .await;
    assert_eq!(again.roots, snapshot.roots);
}

async fn live(repository: &Repository) -> Vec<Snapshot> {
    let repository = repository.clone();
    blocking(move || repository.snapshots().unwrap().into_live().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_of_nothing_that_is_not_in_the_trees() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("r")).await;
    let database = Database::default();
    database.transact(1);
    let (interval, fold_every) = (Duration::from_millis(30), Duration::from_millis(10));
    let run = Run::start(&repository, &database, SyncOptions { interval, fold_every, ..sync_options() });
    run.follows().await;
    let mut n = 1;
    while run.count("folded") < 10 {
        n += 1;
        database.transact(n);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    run.stop().await;
    // A value that no segment can take: what was told before is folded, and the database read anew.
    let run = Run::start(&repository, &database, sync_options());
    run.follows().await;
    run.has(database.transact(n + 1)).await;
    let t = 536_870_912 + n + 2;
    let long = "long ".repeat(7 << 20);
    database.0.lock().unwrap().insert((1, "text", long, t, true));
    run.has(t).await;
    run.stop().await;
    let mut cursors = 0;
    for snapshot in live(&repository).await {
        let max_t = snapshot.properties.iter().find(|(name, _)| name == "max-t").map(|(_, text)| text.clone());
        match String::from_utf8(snapshot.cursor.clone()).unwrap() {
            none if none.is_empty() => {}
            cursor => {
                cursors += 1;
                assert_eq!(Some(cursor), max_t, "{snapshot:?}");
            }
        }
    }
    assert!(cursors >= 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_folded_while_others_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("r")).await;
    let database = Database::default();
    database.transact(1);
    let options = SyncOptions { fold_every: Duration::from_millis(60), ..sync_options() };
    let run = Run::start(&repository, &database, options);
    run.follows().await;
    let mut n = 1;
    while run.count("folded") < 4 {
        n += 1;
        run.has(database.transact(n)).await;
    }
    let other = open(&folder.path().join("r")).await;
    let id = newest(&other).await.unwrap();
    assert_eq!(restored(&other, id, None).await, database.lines());
    let summary = run.stop().await;
    let snapshot = summary.snapshot.clone().unwrap();
    assert_eq!(restored(&repository, snapshot.id, None).await, database.lines());
    assert!(check_all(&open(&folder.path().join("r")).await).await.is_sound());
    assert!(summary.folds >= 4 && summary.restarts == 0, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_the_repository_while_nothing_happens() {
    let repository = create_on(Arc::new(SimulatedBackend::new())).await;
    let database = Database::default();
    database.transact(1);
    let run = Run::start(&repository, &database, sync_options());
    run.follows().await;
    run.has(database.transact(2)).await;
    let before = repository.store().requests();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(repository.store().requests(), before);
    // The one that a transaction costs: the segment, and a look whether the session is still open.
    run.has(database.transact(3)).await;
    let after = repository.store().requests();
    assert_eq!((after.put - before.put, after.stat - before.stat), (1, 1));
    assert_eq!((after.get, after.list, after.put_new), (before.get, before.list, before.put_new));
    run.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_at_any_write_loses_nothing_it_acknowledged() {
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let base = Database::default();
    base.transact(1);
    Run::start(&repository, &base, SyncOptions { once: true, ..sync_options() }).task.await.unwrap().unwrap();
    let before = backend.snapshot();
    for fate in [StoppedWrite::Dropped, StoppedWrite::Applied] {
        for writes in 0.. {
            assert!(writes < 300, "it never ends");
            backend.restore_state(before.clone());
            let database = Database::default();
            database.transact(1);
            let repository = open_on(Arc::new(backend.clone())).await.unwrap();
            backend.stop_after_writes(writes, fate);
            let fold_every = Duration::from_millis(5);
            let run = Run::start(&repository, &database, SyncOptions { fold_every, ..sync_options() });
            let mut states = vec![database.lines()];
            for n in 2..=7 {
                let t = database.transact(n);
                states.push(database.lines());
                while run.acknowledged() < t && !run.task.is_finished() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            let acknowledged = run.acknowledged();
            run.stop.ask();
            // Where the process died its end says nothing.
            let end = run.task.await.unwrap();
            let was_stopped = backend.is_stopped();
            assert_eq!(end.is_err(), was_stopped, "{end:?}");
            backend.heal();
            let repository = open_on(Arc::new(backend.clone())).await.unwrap();
            let id = newest(&repository).await.unwrap();
            let found = restored(&repository, id, None).await;
            let state = states.iter().position(|state| *state == found).expect("a state that the database was in");
            let expected = usize::try_from(acknowledged - 536_870_913).unwrap_or(0);
            assert!(state >= expected, "write {writes}: acknowledged {expected}, found {state}");
            let report = check_all(&repository).await;
            assert!(report.is_sound(), "{report:?}");
            // The next run makes a snapshot of it and goes on.
            let next = Run::start(&repository, &database, sync_options());
            next.follows().await;
            next.has(database.transact(8)).await;
            let summary = next.stop().await;
            assert_eq!(restored(&repository, summary.snapshot.unwrap().id, None).await, database.lines());
            assert_eq!(chains(&repository).await, 0, "write {writes}");
            if !was_stopped {
                break;
            }
        }
    }
}

/// A chain whose process is gone, on a store whose clock stands at 1970, and the state that it acknowledged.
async fn abandoned(backend: &SimulatedBackend) -> (Database, SnapshotId) {
    let repository = create_on(Arc::new(backend.clone())).await;
    let database = Database::default();
    database.transact(1);
    let run = Run::start(&repository, &database, sync_options());
    run.follows().await;
    let base = newest(&repository).await.unwrap();
    for n in 2..=6 {
        run.has(database.transact(n)).await;
    }
    // The process dies at its next write: nobody tells it to stop in good order.
    backend.stop_after_writes(0, StoppedWrite::Dropped);
    database.transact(7);
    assert!(run.task.await.unwrap().is_err());
    database.0.lock().unwrap().retain(|event| event.3 < 536_870_919);
    backend.heal();
    (database, base)
}

async fn prune(repository: &Repository, idle_limit: Duration) -> ops::PruneReport {
    let options = PruneOptions { idle_limit, max_unused_percent: 0.0, ..PruneOptions::default() };
    ops::prune(repository, options, Arc::new(Silent)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruner_makes_a_snapshot_of_what_nobody_goes_on_with() {
    let backend = SimulatedBackend::new();
    let (database, base) = abandoned(&backend).await;
    let repository = open_on(Arc::new(backend.clone())).await.unwrap();
    // The base is forgotten; its blobs are needed by the chain alone.
    blocking({
        let repository = repository.clone();
        move || repository.forget(base).unwrap()
    })
    .await;
    let id = newest(&repository).await.unwrap();
    assert_eq!(restored(&repository, id, None).await, database.lines());
    let report = prune(&repository, Duration::ZERO).await;
    assert_eq!(report.folded_sessions.len(), 1, "{report:?}");
    let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
    assert_eq!(newest(&fresh).await, Some(report.folded_sessions[0]));
    assert_eq!(restored(&fresh, report.folded_sessions[0], None).await, database.lines());
    prune(&fresh, Duration::ZERO).await;
    let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
    assert_eq!(chains(&fresh).await, 0);
    assert_eq!(restored(&fresh, report.folded_sessions[0], None).await, database.lines());
    assert!(check_all(&fresh).await.findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruner_removes_nothing_that_an_open_chain_needs() {
    let backend = SimulatedBackend::new();
    backend.set_clock_ms(packstone::repository::machine::now_ms());
    let repository = create_on(Arc::new(backend.clone())).await;
    let database = Database::default();
    (1..=40).for_each(|n| {
        database.transact(n);
    });
    let run = Run::start(&repository, &database, sync_options());
    run.follows().await;
    run.has(database.transact(41)).await;
    let pruner = open_on(Arc::new(backend.clone())).await.unwrap();
    let live = blocking({
        let pruner = pruner.clone();
        move || pruner.snapshots().unwrap().into_live().unwrap()
    })
    .await;
    blocking({
        let pruner = pruner.clone();
        move || live.iter().for_each(|snapshot| pruner.forget(snapshot.id).unwrap())
    })
    .await;
    for n in 42..=44 {
        let report = prune(&pruner, Duration::from_secs(3600)).await;
        assert!(report.packs_removed == 0 && !report.open_sessions.is_empty(), "{report:?}");
        run.has(database.transact(n)).await;
        let id = newest(&pruner).await.unwrap();
        assert_eq!(restored(&pruner, id, None).await, database.lines());
    }
    let summary = run.stop().await;
    assert_eq!(summary.restarts, 0);
    let snapshot = summary.snapshot.unwrap().id;
    let report = prune(&pruner, Duration::from_secs(3600)).await;
    assert!(report.packs_removed > 0, "{report:?}");
    let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
    assert_eq!(restored(&fresh, snapshot, None).await, database.lines());
    assert!(check_all(&fresh).await.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_never_ends_does_not_keep_dead_packs_for_ever() {
    let backend = SimulatedBackend::new();
    backend.set_clock_ms(packstone::repository::machine::now_ms());
    let repository = create_on(Arc::new(backend.clone())).await;
    let (database, other) = (Database::default(), Database::default());
    other.transact(50);
    let forgotten = blocking({
        let (repository, mut other) = (repository.clone(), other.clone());
        let backup = BackupOptions { label: Some("other".to_owned()), ..options() };
        move || other.back_up(&repository, &backup, &Silent).unwrap().id
    })
    .await;
    database.transact(1);
    let run =
        Run::start(&repository, &database, SyncOptions { fold_every: Duration::from_millis(200), ..sync_options() });
    run.follows().await;
    run.has(database.transact(2)).await;
    let pruner = open_on(Arc::new(backend.clone())).await.unwrap();
    blocking({
        let pruner = pruner.clone();
        move || pruner.forget(forgotten).unwrap()
    })
    .await;
    let report = prune(&pruner, Duration::from_secs(3600)).await;
    assert!(report.packs_waiting > 0 && report.packs_removed == 0, "{report:?}");
    // The next session of the run has read what is condemned, and says so.
    let folds = run.count("folded");
    let mut n = 2;
    while run.count("folded") < folds + 2 {
        n += 1;
        run.has(database.transact(n)).await;
    }
    let report = prune(&pruner, Duration::from_secs(3600)).await;
    assert!(report.packs_removed > 0, "{report:?}");
    let summary = run.stop().await;
    assert_eq!(summary.restarts, 0);
    let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
    assert_eq!(restored(&fresh, summary.snapshot.unwrap().id, None).await, database.lines());
    assert!(check_all(&fresh).await.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_session_acknowledges_nothing_more_and_goes_on_in_another() {
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let database = Database::default();
    database.transact(1);
    let run = Run::start(&repository, &database, sync_options());
    run.follows().await;
    for n in 2..=4 {
        run.has(database.transact(n)).await;
    }
    // By this store's clock, of 1970, the run has been idle for ever: a pruner closes its session.
    let pruner = open_on(Arc::new(backend.clone())).await.unwrap();
    let report = prune(&pruner, Duration::from_secs(3600)).await;
    assert_eq!(report.folded_sessions.len(), 1, "{report:?}");
    assert_eq!(restored(&pruner, report.folded_sessions[0], None).await, database.lines());
    database.transact(5);
    run.until(|run| run.count("following") >= 2).await;
    run.has(database.transact(6)).await;
    let summary = run.stop().await;
    assert_eq!(summary.restarts, 1);
    assert_eq!(restored(&pruner, summary.snapshot.unwrap().id, None).await, database.lines());
    prune(&pruner, Duration::from_secs(3600)).await;
    assert_eq!(chains(&pruner).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_a_swap_and_a_flipped_bit_are_damage() {
    let backend = SimulatedBackend::new();
    let (database, _) = abandoned(&backend).await;
    let whole = backend.snapshot();
    let segments: Vec<ObjectPath> = backend.paths().into_iter().filter(|p| p.as_str().starts_with("sync/")).collect();
    assert_eq!(segments.len(), 6);
    let third = segments[3].clone();
    for harm in ["hole", "swap", "flip"] {
        backend.restore_state(whole.clone());
        match harm {
            "hole" => backend.delete(&third).await.unwrap(),
            "swap" => {
                let other = backend.get(&segments[2], None).await.unwrap();
                backend.replace(&third, Sealed::from_stored(other)).await.unwrap();
            }
            _ => assert!(backend.damage(&third, Damage::Flip(100))),
        }
        let repository = open_on(Arc::new(backend.clone())).await.unwrap();
        let report = check_all(&repository).await;
        let named = report.findings.iter().any(|finding| finding.is_damage && finding.object == third.to_string());
        assert!(named, "{harm}: {report:?}");
        let id = newest(&repository).await.unwrap();
        let to = target::Location::Path(Path::new("/nowhere/out.edn").to_owned());
        let error = ops::restore(&repository, id, to, whole_options(), Arc::new(Silent)).await.unwrap_err();
        assert_eq!(error.kind(), packstone::ErrorKind::Damaged, "{harm}: {error}");
        let refused = ops::prune(
            &repository,
            PruneOptions { idle_limit: Duration::ZERO, ..Default::default() },
            Arc::new(Silent),
        )
        .await;
        assert_eq!(refused.unwrap_err().kind(), packstone::ErrorKind::Damaged);
    }
    backend.restore_state(whole);
    let repository = open_on(Arc::new(backend.clone())).await.unwrap();
    let id = newest(&repository).await.unwrap();
    assert_eq!(restored(&repository, id, None).await, database.lines());
}

fn whole_options() -> ops::RestoreOptions {
    whole(View::History, Format::Edn)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_while_is_caught_up() {
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let database = Database::default();
    database.transact(1);
    let run =
        Run::start(&repository, &database, SyncOptions { fold_every: Duration::from_millis(50), ..sync_options() });
    run.follows().await;
    for n in 2..=30 {
        if n == 5 {
            backend.fail_transiently(7, 4);
        }
        database.transact(n);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    backend.fail_transiently(0, 0);
    let t = database.transact(31);
    run.until(|run| run.acknowledged() >= t).await;
    let summary = run.stop().await;
    let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
    assert_eq!(restored(&fresh, summary.snapshot.unwrap().id, None).await, database.lines());
    let report = check_all(&fresh).await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn part_of_a_transaction_is_no_state() {
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let database = Database::default();
    database.transact(1);
    let run = Run::start(&repository, &database, sync_options());
    run.follows().await;
    let base = newest(&repository).await.unwrap();
    let before = database.lines();
    // Three segments, of which the last never arrives.
    backend.stop_after_writes(3, StoppedWrite::Dropped);
    database
        .0
        .lock()
        .unwrap()
        .extend((1..=3).map(|e| (e, "text", "long ".repeat(e as usize + (1 << 20)), 536_870_914, true)));
    assert!(run.task.await.unwrap().is_err());
    backend.heal();
    let repository = open_on(Arc::new(backend.clone())).await.unwrap();
    assert_eq!(backend.paths().iter().filter(|path| path.as_str().starts_with("sync/")).count(), 3);
    assert_eq!(newest(&repository).await, Some(base));
    assert_eq!(restored(&repository, base, None).await, before);
}

/// What a test does before something of a chain is read for the first time.
type Meanwhile = Box<dyn FnOnce() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A store where something happens while a chain is read.
struct Interrupted {
    inner: SimulatedBackend,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Backend for Interrupted {
    fn location(&self) -> String {
        "interrupted".to_owned()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        self.inner.put(path, body)
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        self.inner.put_new(path, body)
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        self.inner.replace(path, body)
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<std::ops::Range<u64>>) -> Answer<'a, bytes::Bytes> {
        Box::pin(async move {
            if path.as_str().starts_with("sync/") && path.as_str().ends_with("/0000000003") {
                let meanwhile = self.meanwhile.lock().unwrap().take();
                if let Some(meanwhile) = meanwhile {
                    meanwhile().await;
                }
            }
            self.inner.get(path, range).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        self.inner.list(prefix)
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        self.inner.stat(path)
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        self.inner.delete(path)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_may_make_a_snapshot_of_the_same_chain() {
    let backend = SimulatedBackend::new();
    let (database, _) = abandoned(&backend).await;
    let other = open_on(Arc::new(backend.clone())).await.unwrap();
    let meanwhile: Meanwhile = Box::new(move || {
        Box::pin(async move {
            assert_eq!(prune(&other, Duration::ZERO).await.folded_sessions.len(), 1);
        })
    });
    let interrupted = Interrupted { inner: backend.clone(), meanwhile: Mutex::new(Some(meanwhile)) };
    let repository = open_on(Arc::new(interrupted)).await.unwrap();
    // The other one was faster and has removed the chain: nothing is damaged.
    let report = prune(&repository, Duration::ZERO).await;
    assert!(report.folded_sessions.is_empty(), "{report:?}");
    let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
    assert_eq!(chains(&fresh).await, 0);
    let id = newest(&fresh).await.unwrap();
    assert_eq!(restored(&fresh, id, None).await, database.lines());
    assert!(check_all(&fresh).await.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_never_ends_does_not_keep_packs_of_dead_sessions() {
    let backend = SimulatedBackend::new();
    let now = packstone::repository::machine::now_ms();
    backend.set_clock_ms(now - 24 * 3600 * 1000);
    let repository = create_on(Arc::new(backend.clone())).await;
    let orphan = |byte: u8| async move {
        let content = vec![byte; 1000];
        let path = ObjectPath::pack(packstone::id::PackId::new(*blake3::hash(&content).as_bytes()));
        (path, Sealed::from_stored(content.into()))
    };
    let (old, body) = orphan(1).await;
    backend.put(&old, body).await.unwrap();
    backend.set_clock_ms(now);
    let database = Database::default();
    database.transact(1);
    let run =
        Run::start(&repository, &database, SyncOptions { fold_every: Duration::from_millis(200), ..sync_options() });
    run.follows().await;
    // One that an open session may be about to list.
    let (young, body) = orphan(2).await;
    backend.put(&young, body).await.unwrap();
    let pruner = open_on(Arc::new(backend.clone())).await.unwrap();
    let report = prune(&pruner, Duration::from_secs(3600)).await;
    assert!(report.packs_waiting == 1 && report.packs_removed == 0, "{report:?}");
    let folds = run.count("folded");
    let mut n = 1;
    while run.count("folded") < folds + 2 {
        n += 1;
        run.has(database.transact(n)).await;
    }
    prune(&pruner, Duration::from_secs(3600)).await;
    let left = backend.paths();
    assert!(!left.contains(&old) && left.contains(&young), "{left:?}");
    let summary = run.stop().await;
    assert_eq!(summary.restarts, 0);
    prune(&pruner, Duration::from_secs(3600)).await;
    assert!(!backend.paths().contains(&young), "now no session is open");
    let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
    assert_eq!(restored(&fresh, summary.snapshot.unwrap().id, None).await, database.lines());
    assert!(check_all(&fresh).await.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_no_repository_any_more_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (here, away) = (folder.path().join("r"), folder.path().join("away"));
    let repository = create(&here).await;
    let database = Database::default();
    database.transact(1);
    let run = Run::start(&repository, &database, sync_options());
    run.follows().await;
    run.has(database.transact(2)).await;
    // As where the disk is not mounted any more.
    std::fs::rename(&here, &away).unwrap();
    std::fs::create_dir(&here).unwrap();
    let t = database.transact(3);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(run.acknowledged() < t, "it is nowhere");
    assert!(std::fs::read_dir(&here).unwrap().next().is_none(), "nothing is written there");
    std::fs::remove_dir(&here).unwrap();
    std::fs::rename(&away, &here).unwrap();
    run.has(t).await;
    let snapshot = run.stop().await.snapshot.unwrap();
    assert_eq!(restored(&open(&here).await, snapshot.id, None).await, database.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_be_fenced_a_dead_session_ends_when_the_user_vouches_for_it() {
    use packstone::repository::{CreateOptions, Leftovers, Protocol};
    let backend = SimulatedBackend::new();
    let weak = CreateOptions { protocol: Protocol::Weak, ..CreateOptions::default() };
    let repository = Repository::create(Arc::new(backend.clone()), crate::fixtures::secret(), weak).await.unwrap();
    let database = Database::default();
    database.transact(1);
    let run = Run::start(&repository, &database, sync_options());
    run.follows().await;
    run.has(database.transact(2)).await;
    backend.stop_after_writes(0, StoppedWrite::Dropped);
    let lines = database.lines();
    database.transact(3);
    assert!(run.task.await.unwrap().is_err());
    backend.heal();
    let pruner = open_on(Arc::new(backend.clone())).await.unwrap();
    let prune = async |leftovers| {
        let options = PruneOptions { leftovers, idle_limit: Duration::ZERO, ..PruneOptions::default() };
        ops::prune(&pruner, options, Arc::new(Silent)).await
    };
    // Its process is this one, and lives.
    assert_eq!(prune(Leftovers::Respect).await.unwrap_err().kind(), packstone::ErrorKind::Busy);
    let report = prune(Leftovers::Remove).await.unwrap();
    assert_eq!(report.folded_sessions.len(), 1, "{report:?}");
    assert_eq!(restored(&pruner, report.folded_sessions[0], None).await, lines);
    assert_eq!(chains(&pruner).await, 0);
    // Whoever comes next goes on from there.
    let next = Run::start(&pruner, &database, sync_options());
    next.follows().await;
    next.has(database.transact(4)).await;
    let snapshot = next.stop().await.snapshot.unwrap();
    assert_eq!(restored(&pruner, snapshot.id, None).await, database.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_gives_way_to_a_new_one() {
    let backend = SimulatedBackend::new();
    backend.set_clock_ms(packstone::repository::machine::now_ms());
    let repository = create_on(Arc::new(backend.clone())).await;
    let (database, other) = (Database::default(), Database::default());
    (50..60).for_each(|n| {
        other.transact(n);
    });
    let forgotten = blocking({
        let (repository, mut other) = (repository.clone(), other.clone());
        let backup = BackupOptions { label: Some("other".to_owned()), ..options() };
        move || other.back_up(&repository, &backup, &Silent).unwrap().id
    })
    .await;
    (1..=3_000).for_each(|n| {
        database.transact(n);
    });
    let renew_every = Duration::from_millis(300);
    let run = Run::start(&repository, &database, SyncOptions { renew_every, ..sync_options() });
    run.follows().await;
    let pruner = open_on(Arc::new(backend.clone())).await.unwrap();
    let session = async || {
        let pruner = pruner.clone();
        blocking(move || {
            let open = pruner.open_sessions().unwrap();
            let newest = open.iter().max_by_key(|session| session.registered_ms).unwrap();
            (newest.id, newest.acknowledged_gc)
        })
        .await
    };
    let another = async |before: SnapshotId| {
        for _ in 0..500 {
            if session().await.0 != before {
                return session().await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the session stays");
    };
    let first = session().await;
    assert_eq!(first.1, 0);
    blocking({
        let pruner = pruner.clone();
        move || pruner.forget(forgotten).unwrap()
    })
    .await;
    let report = prune(&pruner, Duration::from_secs(3600)).await;
    assert!(report.packs_waiting > 0 && report.packs_removed == 0, "{report:?}");
    // Acknowledged at the latest by the session after the one that was being opened.
    let second = another(another(first.0).await.0).await;
    assert!(second.1 > 0);
    let report = prune(&pruner, Duration::from_secs(3600)).await;
    assert!(report.packs_removed > 0, "{report:?}");
    // What the base reaches was compared with that record once; it is not walked again each time.
    let settled = another(another(second.0).await.0).await;
    let before = repository.store().requests();
    let mut now = settled.0;
    for _ in 0..4 {
        now = another(now).await.0;
    }
    let read = repository.store().requests().get - before.get;
    assert!(read <= 4, "{read} objects were read by four sessions that did nothing");
    // The chain is that of the newest session.
    let t = database.transact(3_001);
    run.has(t).await;
    let id = newest(&pruner).await.unwrap();
    assert_eq!(restored(&pruner, id, None).await, database.lines());
    assert_eq!(run.count("following"), 1);
    let summary = run.stop().await;
    assert_eq!((summary.restarts, summary.snapshot.unwrap().id), (0, id));
    assert!(backend.paths().iter().all(|path| !path.as_str().starts_with("sessions/")), "every session has ended");
}
