//! Databases moved to another store: commit by commit, after crashes at every write, and onto what is in the way.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use packstone::datahike::encode_head::{Lifetime, blob};
use packstone::datahike::home;
use packstone::datahike::walk::VisitedLeaf;
use packstone::datahike::{Compression, Home as StoreHome, Store, StoreKey, Visitor, Walk};
use packstone::ops::{
    self, BackupOptions, DatahikeSource, FollowedDatahike, MigrateEnd, MigrateEvent, MigrateOptions, MigrateSummary,
    Place, Stop,
};
use packstone::progress::Silent;
use packstone::record::datom::fressian::Writer;
use packstone::record::datom::{Value, edn};
use packstone::{ErrorKind, Result};

use crate::faults::{Fault, Faulty, take_away};
use crate::scripted::{Scripted, T, attribute, database, history, instant, restore};
use crate::world::{Home, Unpacked};

fn branches(store: &Path) -> Vec<String> {
    Store::open(store.to_str().unwrap(), None).unwrap().branches().unwrap()
}

/// An index by its name: what it has, in its order.
type Index = (&'static str, Vec<String>);

fn names(indices: &[Index]) -> Vec<&'static str> {
    indices.iter().map(|(name, _)| *name).collect()
}

fn indices(store: &Path, branch: &str) -> Vec<Index> {
    struct All(Vec<String>);
    impl Visitor for All {
        fn leaf(&mut self, leaf: &VisitedLeaf<'_, '_>) -> Result<()> {
            for datom in leaf.datoms {
                let mut line = Vec::new();
                edn::print_datom(datom, &mut line);
                self.0.push(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            Ok(())
        }
    }
    let store = Store::open(store.to_str().unwrap(), None).unwrap();
    let head = store.head(branch).unwrap();
    let roots = [
        ("eavt", Some(&head.eavt)),
        ("aevt", Some(&head.aevt)),
        ("avet", Some(&head.avet)),
        ("temporal eavt", head.temporal_eavt.as_ref()),
        ("temporal aevt", head.temporal_aevt.as_ref()),
        ("temporal avet", head.temporal_avet.as_ref()),
    ];
    let read = |(name, root): (&'static str, Option<_>)| {
        let mut all = All(Vec::new());
        let walk = Walk::new(&store).verifying(head.has_content_addresses());
        let stats = walk.run(root?, &mut all).map_err(|e| e.into_error(&store)).unwrap();
        assert_eq!(stats.datoms, all.0.len() as u64);
        Some((name, all.0))
    };
    roots.into_iter().filter_map(read).collect()
}

/// What is said about attributes, and where the database is.
fn head(store: &Path, branch: &str) -> (String, i64, i64) {
    let store = Store::open(store.to_str().unwrap(), None).unwrap();
    let head = store.head(branch).unwrap();
    let schema = store.schema(&head).unwrap();
    (format!("{:?} {:?} {:?}", schema.schema, schema.rschema, schema.idents), head.max_tx, head.max_eid)
}

struct Migration {
    home: Home,
    source: DatahikeSource,
    events: Arc<Mutex<Vec<String>>>,
}

impl Migration {
    async fn of(source: DatahikeSource) -> Self {
        Self { home: Home::new().await, source, events: Arc::default() }
    }

    fn target(&self) -> std::path::PathBuf {
        self.home.folder.path().join("target")
    }

    async fn run(&self, options: MigrateOptions) -> Result<MigrateSummary> {
        let location = self.target().to_str().unwrap().to_owned();
        let home = match home::create(&location) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => home::open(&location)?,
            made => made?,
        };
        self.run_into(home, options, Stop::default()).await
    }

    async fn run_into(&self, home: Arc<dyn StoreHome>, options: MigrateOptions, stop: Stop) -> Result<MigrateSummary> {
        let events = Arc::clone(&self.events);
        let observer = move |event: MigrateEvent<'_>| {
            let mut line = format!("{event:?}");
            line.truncate(60);
            if let MigrateEvent::Writing { reason: Some(reason), .. } = event {
                line = format!("anew: {reason}");
            }
            if let MigrateEvent::Applied { t, .. } = event {
                line = format!("t {t}");
            }
            events.lock().unwrap().push(line);
        };
        let place = Place { home, location: self.target().to_str().unwrap().to_owned() };
        let followed = Box::new(FollowedDatahike::new(self.source.clone()));
        ops::migrate(&self.home.repository, followed, place, options, stop, Arc::new(observer), Arc::new(Silent)).await
    }

    async fn once(&self) -> MigrateSummary {
        self.run(once()).await.unwrap()
    }

    async fn cut_over(&self) -> Result<MigrateSummary> {
        self.run(MigrateOptions { cut_over: true, ..once() }).await
    }

    /// The target has what a store has that is made of the source at once.
    async fn assert_equal(&self, what: &str) {
        let home = Home::new().await;
        let summary = home.backup(self.source.clone()).await.unwrap();
        let fresh = home.folder.path().join("fresh");
        restore(&home, summary.snapshot.id, &fresh, false).await;
        let branches = branches(&fresh);
        assert_eq!(self.branches(), branches, "{what}");
        for branch in branches {
            assert_eq!(head(&self.target(), &branch), head(&fresh, &branch), "{what} :{branch}");
            let (found, expected) = (indices(&self.target(), &branch), indices(&fresh, &branch));
            assert_eq!(names(&found), names(&expected), "{what} :{branch}");
            for (found, expected) in found.into_iter().zip(expected) {
                assert!(found == expected, "{what} :{branch} {}: {} for {}", found.0, found.1.len(), expected.1.len());
            }
        }
    }

    fn said(&self, what: &str) -> usize {
        self.events.lock().unwrap().iter().filter(|event| event.contains(what)).count()
    }

    /// Until a run that goes on beside this says it.
    fn until(&self, what: &str) {
        let wait = || {
            for _ in 0..6000 {
                if self.said(what) > 0 {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("{what} does not happen: {:?}", self.events.lock().unwrap());
        };
        tokio::task::block_in_place(wait);
    }

    /// A run of its own, which follows.
    fn following(self: &Arc<Self>) -> tokio::task::JoinHandle<Result<MigrateSummary>> {
        let migration = Arc::clone(self);
        tokio::spawn(async move { migration.run(MigrateOptions { once: false, ..once() }).await })
    }

    fn branches(&self) -> Vec<String> {
        branches(&self.target())
    }
}

fn once() -> MigrateOptions {
    let backup = BackupOptions { label: Some("source".to_owned()), ..BackupOptions::default() };
    MigrateOptions { backup, once: true, interval: Duration::ZERO, ..MigrateOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_real_stores_reach_the_target_one_by_one() {
    let mut with_commits = 0;
    for name in ["store-bf8", "store-crypto", "store-attrrefs", "store-a", "store-diffbuf"] {
        let unpacked = Unpacked::fixture(name);
        let heads = unpacked.heads(5);
        with_commits += usize::from(heads.len() > 1);
        let migration = Migration::of(unpacked.source()).await;
        for (t, head) in &heads {
            unpacked.put_head(head);
            migration.once().await;
            migration.assert_equal(&format!("{name} {t}")).await;
        }
        assert_eq!(migration.said("Writing"), 1, "{name}: {:?}", migration.events.lock().unwrap());
        assert_eq!(migration.said("anew"), 0, "{name}: {:?}", migration.events.lock().unwrap());
        let summary = migration.cut_over().await.unwrap();
        assert_eq!(summary.end, MigrateEnd::CutOver);
        migration.assert_equal(&format!("{name}, cut over")).await;
        let refused = migration.cut_over().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert!(refused.to_string().contains("was cut over"), "{refused}");
    }
    assert!(with_commits >= 2, "the fixtures keep their commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_follows_until_another_one_cuts_over() {
    let unpacked = Unpacked::fixture("store-bf8");
    let heads = unpacked.heads(12);
    unpacked.put_head(&heads[0].1);
    let migration = Arc::new(Migration::of(unpacked.source()).await);
    let following = migration.following();
    migration.until("Following");
    for (t, head) in &heads[1..] {
        unpacked.put_head(head);
        migration.until(&format!("t {t}"));
    }
    let summary = migration.cut_over().await.unwrap();
    assert_eq!(summary.end, MigrateEnd::CutOver);
    let first = following.await.unwrap().unwrap();
    assert_eq!(first.end, MigrateEnd::TakenOver);
    assert_eq!(first.t, heads.last().map(|(t, _)| *t));
    migration.assert_equal("cut over").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_branch_is_moved_and_new_ones_are_found() {
    let unpacked = Unpacked::fixture("store-bf8");
    let newest = std::fs::read(unpacked.head_file("staging")).unwrap();
    unpacked.rewind("staging");
    // It is not on the list yet.
    let list = unpacked.path().join(StoreKey::keyword("branches").file_name());
    let both = std::fs::read(&list).unwrap();
    let mut only = Writer::new();
    only.value(&Value::Set(vec![Value::Keyword("db".into())])).unwrap();
    let (_, only) =
        blob(&Value::Keyword("branches".into()), Lifetime::Mutable, &only.finish(), 0, Compression::None).unwrap();
    std::fs::write(&list, only).unwrap();
    let migration = Migration::of(unpacked.source()).await;
    migration.once().await;
    assert_eq!(migration.branches(), ["db"]);
    migration.assert_equal("one branch").await;
    std::fs::write(&list, &both).unwrap();
    migration.once().await;
    assert_eq!(migration.branches(), ["db", "staging"]);
    migration.assert_equal("a new branch").await;
    std::fs::write(unpacked.head_file("staging"), newest).unwrap();
    migration.once().await;
    migration.assert_equal("the new branch goes on").await;
    let anew = ["anew", "anew: the database has other branches than the target"].map(|what| migration.said(what));
    assert_eq!(anew, [1, 1], "{:?}", migration.events.lock().unwrap());
    assert_eq!(migration.cut_over().await.unwrap().end, MigrateEnd::CutOver);
    assert_eq!(migration.branches(), ["db", "staging"]);
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let file =
        |entry: std::fs::DirEntry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| file(entry.unwrap())).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_away_does_not_touch_what_another_one_has() {
    let unpacked = Unpacked::fixture("store-bf8");
    let heads = unpacked.heads(12);
    unpacked.put_head(&heads[0].1);
    let migration = Arc::new(Migration::of(unpacked.source()).await);
    let following = migration.following();
    migration.until("Following");
    // The source is away, and the run waits.
    let away = unpacked.path().with_extension("away");
    std::fs::rename(unpacked.path(), &away).unwrap();
    migration.until("Retrying");
    take_away(&migration.target());
    let before = files(&migration.target());
    std::fs::rename(&away, unpacked.path()).unwrap();
    unpacked.put_head(&heads.last().unwrap().1);
    assert_eq!(following.await.unwrap().unwrap().end, MigrateEnd::TakenOver);
    assert!(files(&migration.target()) == before, "nothing is written and nothing removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_taken_over_from_at_any_write_leaves_heads_and_blobs() {
    let unpacked = Unpacked::fixture("store-bf8");
    let heads = unpacked.heads(12);
    let mut taken = 0;
    for writes in 1..40 {
        let migration = Migration::of(unpacked.source()).await;
        let target = migration.target();
        let home = || Arc::new(Faulty::new(&target, Fault::TakenAway, writes));
        unpacked.put_head(&heads[0].1);
        let first = migration.run_into(home(), once(), Stop::default()).await.unwrap();
        if first.end == MigrateEnd::TakenOver {
            taken += 1;
            continue;
        }
        unpacked.put_head(&heads[1].1);
        match migration.run_into(home(), once(), Stop::default()).await.unwrap().end {
            MigrateEnd::TakenOver => taken += 1,
            _ if writes > 20 => break,
            _ => {}
        }
    }
    assert!(taken > 3, "{taken} runs were taken over from");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_at_any_write_is_gone_on_with() {
    let unpacked = Unpacked::fixture("store-bf8");
    let heads = unpacked.heads(12);
    let mut ended = 0;
    for writes in 0.. {
        let migration = Migration::of(unpacked.source()).await;
        let crashing = || Arc::new(Faulty::new(&migration.target(), Fault::Gone, writes));
        unpacked.put_head(&heads[0].1);
        let first = migration.run_into(crashing(), once(), Stop::default()).await;
        unpacked.put_head(&heads[1].1);
        let second = migration.run_into(crashing(), once(), Stop::default()).await;
        unpacked.put_head(&heads.last().unwrap().1);
        ended += usize::from(first.is_err()) + usize::from(second.is_err());
        assert_eq!(migration.cut_over().await.unwrap().end, MigrateEnd::CutOver, "after {writes} writes");
        migration.assert_equal(&format!("after {writes} writes")).await;
        let needless =
            packstone::target::datahike::unneeded(&home::open(migration.target().to_str().unwrap()).unwrap());
        assert_eq!(needless.unwrap(), [], "after {writes} writes");
        if first.is_ok() && second.is_ok() {
            break;
        }
    }
    assert!(ended > 8, "{ended} runs ended early");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_damaged_is_written_anew() {
    let unpacked = Unpacked::fixture("store-bf8");
    let heads = unpacked.heads(12);
    unpacked.put_head(&heads[0].1);
    let migration = Migration::of(unpacked.source()).await;
    migration.once().await;
    let store = Store::open(migration.target().to_str().unwrap(), None).unwrap();
    let root = store.head("db").unwrap().eavt.address.unwrap();
    std::fs::remove_file(migration.target().join(StoreKey::address(&root).file_name())).unwrap();
    unpacked.put_head(&heads[1].1);
    migration.once().await;
    assert_eq!(migration.said("anew"), 1, "{:?}", migration.events.lock().unwrap());
    migration.assert_equal("damaged").await;
    // Indices that only Datahike reads are looked at when they are edited, and before the target is let go of.
    unpacked.put_head(&heads.last().unwrap().1);
    for (at, other) in [(0, false), (1, true), (2, false), (3, true)] {
        let migration = Migration::of(unpacked.source()).await;
        migration.once().await;
        let store = Store::open(migration.target().to_str().unwrap(), None).unwrap();
        let head = store.head("db").unwrap();
        let roots = [head.temporal_avet.as_ref(), head.temporal_aevt.as_ref(), Some(&head.aevt), Some(&head.avet)];
        let file = |root: &packstone::datahike::IndexRoot| {
            migration.target().join(StoreKey::address(&root.address.unwrap()).file_name())
        };
        let damaged = file(roots[at].unwrap());
        match other {
            // What is there is another index.
            true => drop(std::fs::copy(file(&head.eavt), &damaged).unwrap()),
            false => std::fs::remove_file(&damaged).unwrap(),
        }
        assert_eq!(migration.cut_over().await.unwrap().end, MigrateEnd::CutOver);
        assert_eq!(migration.said("anew"), 1, "{:?}", migration.events.lock().unwrap());
        migration.assert_equal("damaged again").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_was_damaged_is_written_anew_and_what_others_keep_there_stays() {
    let unpacked = Unpacked::fixture("store-bf8");
    let heads = unpacked.heads(12);
    unpacked.put_head(&heads[0].1);
    let migration = Migration::of(unpacked.source()).await;
    migration.once().await;
    let mut value = Writer::new();
    value.value(&Value::String(b"a picture".to_vec().into())).unwrap();
    let value = value.finish();
    let kept = [Value::Uuid([7; 16]), Value::Keyword("app/settings".into())];
    let kept = kept.map(|key| blob(&key, Lifetime::Immutable, &value, 0, Compression::None).unwrap());
    let home = home::open(migration.target().to_str().unwrap()).unwrap();
    home.put_many(kept.to_vec()).unwrap();
    std::fs::write(migration.target().join(StoreKey::keyword("db").file_name()), b"no head at all").unwrap();
    unpacked.put_head(&heads[1].1);
    migration.once().await;
    assert_eq!(migration.said("anew"), 1, "{:?}", migration.events.lock().unwrap());
    migration.assert_equal("a head").await;
    assert_eq!(migration.cut_over().await.unwrap().end, MigrateEnd::CutOver);
    migration.assert_equal("a head, cut over").await;
    for (key, bytes) in kept {
        assert_eq!(home.get(key).unwrap(), Some(bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_this_migration_is_left_alone() {
    let unpacked = Unpacked::fixture("store-bf8");
    let migration = Migration::of(unpacked.source()).await;
    // A database.
    let summary = migration.home.backup(unpacked.source()).await.unwrap();
    restore(&migration.home, summary.snapshot.id, &migration.target(), false).await;
    let before = std::fs::read_dir(migration.target()).unwrap().count();
    let refused = migration.run(once()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert!(refused.to_string().contains("no migration has written"), "{refused}");
    assert_eq!(std::fs::read_dir(migration.target()).unwrap().count(), before);
    // The migration of another database, or through another repository.
    let migration = Migration::of(unpacked.source()).await;
    migration.once().await;
    let other = Unpacked::fixture("store-a");
    let events = Arc::default();
    let home = Home { folder: migration.home.folder, repository: migration.home.repository };
    let elsewhere = Migration { home, source: other.source(), events };
    let refused = elsewhere.run(once()).await.unwrap_err();
    assert!(refused.to_string().contains("is being migrated from"), "{refused}");
    let another = Home::new().await;
    let home = Home { folder: elsewhere.home.folder, repository: another.repository.clone() };
    let elsewhere = Migration { home, source: unpacked.source(), events: Arc::default() };
    let refused = elsewhere.run(once()).await.unwrap_err();
    assert!(refused.to_string().contains("through the repository"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_schema_moves_datoms_between_indices() {
    let scripted = Scripted::new().await;
    let mut lines = attribute(1, ":a/n", 1, &[]);
    lines.extend(history());
    lines.extend((10..2000).map(|e| format!("[{e} :a/n {} {} true]", e * 7 % 1000, T + 2)));
    scripted.becomes(&lines).await;
    let migration = Migration::of(scripted.source()).await;
    migration.once().await;
    // A new attribute, and datoms of it, in one step.
    lines.extend(attribute(2, ":a/m", 3, &[":db/index true"]));
    lines.extend((10..700).map(|e| format!("[{e} :a/m {} {} true]", e * 3 % 100, T + 3)));
    lines.push(instant(3));
    scripted.becomes(&lines).await;
    migration.once().await;
    assert_eq!(migration.said("anew"), 0, "{:?}", migration.events.lock().unwrap());
    migration.assert_equal("a new attribute").await;
    // An old one is in one index more from now on.
    lines.push(format!("[1 :db/index true {} true]", T + 4));
    lines.push(instant(4));
    scripted.becomes(&lines).await;
    migration.once().await;
    assert_eq!(migration.said("anew: the schema of :a/n"), 1, "{:?}", migration.events.lock().unwrap());
    migration.assert_equal("an index more").await;
    // Its old value is history.
    lines.push(format!("[10 :a/n 70 {} false]", T + 5));
    lines.push(format!("[10 :a/n 71 {} true]", T + 5));
    lines.push(instant(5));
    scripted.becomes(&lines).await;
    migration.once().await;
    assert_eq!(migration.said("anew"), 1, "{:?}", migration.events.lock().unwrap());
    migration.assert_equal("a value replaced").await;
    assert_eq!(migration.cut_over().await.unwrap().end, MigrateEnd::CutOver);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_comes_back_is_there() {
    let scripted = Scripted::new().await;
    let mut lines = attribute(1, ":a/n", 1, &[]);
    lines.extend(history());
    lines.extend((10..60).map(|e| format!("[{e} :a/n {e} {} true]", T + 2)));
    scripted.becomes(&lines).await;
    let migration = Migration::of(scripted.source()).await;
    migration.once().await;
    let doc = |t: i64, added: bool| format!("[1 :db/doc \"a number\" {} {added}]", T + t);
    for t in 3..9 {
        // Said and taken back, in one run: the schema is the one of two commits before.
        lines.extend([doc(t, t % 2 == 1), instant(t)]);
        scripted.becomes(&lines).await;
        migration.once().await;
        migration.assert_equal(&format!("t {t}")).await;
    }
    assert_eq!(migration.said("anew"), 0, "{:?}", migration.events.lock().unwrap());
    assert_eq!(migration.cut_over().await.unwrap().end, MigrateEnd::CutOver);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_and_goes_between_two_commits_of_the_target_is_no_matter() {
    let scripted = Scripted::new().await;
    let brief = |values: &[i64]| {
        let mut lines = attribute(3, ":a/brief", 1, &[":db/noHistory true"]);
        lines.extend(history());
        lines.extend((10..60).map(|e| format!("[{e} :a/brief {e} {} true]", T + 2)));
        for (at, value) in values.iter().enumerate() {
            let t = 3 + at as i64;
            lines.push(instant(t));
            // Without history what was is gone.
            if at + 1 == values.len() {
                lines.push(format!("[99 :a/brief {value} {} true]", T + t));
            }
        }
        lines
    };
    scripted.becomes(&brief(&[1])).await;
    let migration = Arc::new(Migration::of(scripted.source()).await);
    let stop = Stop::default();
    let following = {
        let (migration, stop) = (Arc::clone(&migration), stop.clone());
        tokio::spawn(async move {
            let location = migration.target().to_str().unwrap().to_owned();
            let options = MigrateOptions { once: false, interval: Duration::from_secs(5), ..once() };
            migration.run_into(home::create(&location).unwrap(), options, stop).await
        })
    };
    migration.until("Following");
    for upto in 2..6 {
        scripted.becomes(&brief(&[1, 2, 3, 4, 5][..upto])).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    stop.ask();
    assert_eq!(following.await.unwrap().unwrap().end, MigrateEnd::Stopped);
    assert_eq!(migration.said("Lost"), 0, "{:?}", migration.events.lock().unwrap());
    migration.assert_equal("brief").await;
}

#[test]
fn any_history_is_followed() {
    use proptest::collection::vec;
    use proptest::prelude::*;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sayings = vec(vec((any::<u8>(), 0_u8..30, prop::bool::weighted(0.7)), 1..120), 1..8);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(6));
    let result = runner.run(&sayings, |transactions| {
        runtime.block_on(async {
            let scripted = Scripted::new().await;
            scripted.becomes(&database(&transactions[..transactions.len() / 2])).await;
            let migration = Migration::of(scripted.source()).await;
            migration.once().await;
            for upto in transactions.len() / 2..=transactions.len() {
                scripted.becomes(&database(&transactions[..upto])).await;
                migration.once().await;
            }
            assert_eq!(migration.said("anew"), 0, "{:?}", migration.events.lock().unwrap());
            migration.assert_equal("history").await;
            assert_eq!(migration.cut_over().await.unwrap().end, MigrateEnd::CutOver);
        });
        Ok(())
    });
    result.unwrap();
}
