//! Real stores whose head goes from commit to commit while they are followed.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use packstone::backend::LocalBackend;
use packstone::datahike::StoreKey;
use packstone::ops::{
    self, BackupOptions, DatahikeSource, Followed as _, FollowedDatahike, Step, Stop, SyncEvent, SyncOptions, View,
};
use packstone::repository::{OpenOptions, Repository, Secret};

use crate::world::{Home, Unpacked, assert_same};

async fn reopen(home: &Home) -> Repository {
    let backend = LocalBackend::open(home.folder.path().join("repository")).await.unwrap();
    Repository::open(Arc::new(backend), Secret::key_file(vec![7; 32]), OpenOptions::default()).await.unwrap()
}

async fn restored(repository: &Repository, id: packstone::id::SnapshotId, view: View, to: &Path) -> Vec<String> {
    use packstone::target::datoms::{Format, Location, Options};
    let target = Options { format: Some(Format::Edn), overwrite: true, ..Options::default() };
    let options = ops::RestoreOptions { view, target, ..ops::RestoreOptions::default() };
    let location = Location::Path(to.to_owned());
    ops::restore(repository, id, location, options, Arc::new(packstone::progress::Silent)).await.unwrap();
    let mut lines: Vec<_> = std::fs::read_to_string(to).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Whether it follows, the transactions that are durable, and why it had to start over.
type Durable = (bool, Vec<i64>, Vec<String>);

async fn follow(name: &str, least: usize) {
    let unpacked = Unpacked::fixture(name);
    let heads = unpacked.heads(12);
    assert!(heads.len() >= least, "{name} keeps {} commits", heads.len());
    unpacked.put_head(&heads[0].1);
    let home = Home::new().await;
    let out = home.folder.path().join("out.edn");
    let (stop, durable) = (Stop::default(), Arc::new(Mutex::new(Durable::default())));
    let observer = {
        let durable = Arc::clone(&durable);
        move |event: SyncEvent<'_>| match event {
            SyncEvent::Following { .. } => durable.lock().unwrap().0 = true,
            SyncEvent::Durable { t, .. } => durable.lock().unwrap().1.push(t),
            SyncEvent::Lost { reason } => durable.lock().unwrap().2.push(reason.to_owned()),
            SyncEvent::Retrying { error, .. } => durable.lock().unwrap().2.push(error.to_string()),
            _ => {}
        }
    };
    let backup = BackupOptions { label: Some("test".to_owned()), ..BackupOptions::default() };
    let options = SyncOptions { backup, ..SyncOptions::default() };
    let task = {
        let (repository, stop) = (home.repository.clone(), stop.clone());
        let followed = Box::new(FollowedDatahike::new(unpacked.source()));
        tokio::spawn(async move { ops::sync(&repository, followed, options, stop, Arc::new(observer)).await })
    };
    let until = |what: &dyn Fn(&Durable) -> bool| {
        for _ in 0..6000 {
            if what(&durable.lock().unwrap()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name}: nothing happens: {:?}", durable.lock().unwrap());
    };
    tokio::task::block_in_place(|| until(&|state| state.0));
    let keeps_history = unpacked.store().head("db").unwrap().keeps_history();
    let whole = Home::new().await;
    for (t, head) in &heads[1..] {
        // The history of a database that keeps none is that of its snapshots.
        if !keeps_history {
            whole.backup(full(&unpacked)).await.unwrap();
        }
        unpacked.put_head(head);
        tokio::task::block_in_place(|| until(&|state| state.1.last() == Some(t)));
    }
    assert!(durable.lock().unwrap().2.is_empty(), "{name}: {:?}", durable.lock().unwrap().2);
    // Another process reads it from the segments.
    let other = reopen(&home).await;
    let unfolded = {
        let other = other.clone();
        tokio::task::spawn_blocking(move || ops::unfolded(&other).unwrap().pop().unwrap()).await.unwrap()
    };
    assert_eq!(unfolded.t, heads.last().unwrap().0);
    let history = restored(&other, unfolded.snapshot.id, View::History, &out).await;
    let current = restored(&other, unfolded.snapshot.id, View::Current, &out).await;
    stop.ask();
    let folded = task.await.unwrap().unwrap().snapshot.unwrap();
    assert_eq!(folded.id, unfolded.snapshot.id);
    // Reading the whole store gives the very same trees and properties.
    let fresh = whole.backup(full(&unpacked)).await.unwrap();
    let digests = |snapshot: &packstone::format::Snapshot| -> Vec<_> {
        snapshot.roots.iter().map(|root| (root.name.clone(), root.records, root.digest.clone())).collect()
    };
    assert_eq!(digests(&folded), digests(&fresh.snapshot), "{name}");
    assert_eq!(folded.properties, fresh.snapshot.properties, "{name}");
    let logs = folded.roots.iter().filter(|root| !root.name.ends_with("exceptions")).map(|root| root.records);
    let counted = &folded.statistics;
    assert_eq!(counted.records_new + counted.records_unmodified, logs.sum::<u64>(), "{name}: datoms are counted");
    assert_eq!(folded.sources[0].consistency_point, fresh.snapshot.sources[0].consistency_point);
    assert_same(&history, &whole.restored(&fresh, None, View::History).await, name);
    assert_same(&current, &whole.restored(&fresh, None, View::Current).await, name);
    let again = home.backup(unpacked.source()).await.unwrap();
    assert_eq!(again.snapshot.roots, folded.roots, "{name}: an increment on top finds nothing to change");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_notices_a_node_that_is_not_what_its_address_says() {
    let unpacked = Unpacked::fixture("store-crypto");
    let heads = unpacked.heads(2);
    let place = unpacked.path().to_string_lossy().into_owned();
    let reachable =
        || packstone::target::datahike::reachable(&packstone::datahike::home::open(&place).unwrap()).unwrap();
    unpacked.put_head(&heads[0].1);
    let home = Home::new().await;
    home.backup(unpacked.source()).await.unwrap();
    let before = reachable();
    unpacked.put_head(&heads[1].1);
    let mut tampered = 0;
    for address in reachable().difference(&before) {
        let path = unpacked.path().join(StoreKey::address(address).file_name());
        let mut bytes = std::fs::read(&path).unwrap();
        // One letter of a keyword.
        let Some(at) = bytes.windows(4).position(|window| window == b"bulk" || window == b"name") else { continue };
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        tampered += 1;
    }
    assert!(tampered > 0);
    let error = home.backup(unpacked.source()).await.unwrap_err();
    assert_eq!(error.kind(), packstone::ErrorKind::Damaged, "{error}");
}

/// Of two branches that change at once the one can be told, the other cannot: what was told of the one counts as not told.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_of_nothing_that_was_not_handed_out() {
    let unpacked = Unpacked::fixture("store-bf8");
    let staging = std::fs::read(unpacked.head_file("staging")).unwrap();
    unpacked.rewind("staging");
    let heads = unpacked.heads(3);
    unpacked.put_head(&heads[0].1);
    let home = Home::new().await;
    let base = home.backup(unpacked.source()).await.unwrap().snapshot;
    let (repository, source) = (home.repository.clone(), unpacked.source());
    let outcome = tokio::task::spawn_blocking(move || {
        let mut changes = FollowedDatahike::new(source).changes(&repository, &base).unwrap();
        assert!(matches!(changes.next().unwrap(), Step::Unchanged));
        assert!(!changes.cursor(&repository, &base.roots).is_empty());
        unpacked.put_head(&heads[1].1);
        std::fs::write(unpacked.head_file("staging"), staging).unwrap();
        let root = unpacked.store().head("staging").unwrap().eavt.address.unwrap();
        std::fs::remove_file(unpacked.path().join(StoreKey::address(&root).file_name())).unwrap();
        (changes.next().unwrap(), changes.cursor(&repository, &base.roots))
    });
    let (step, cursor) = outcome.await.unwrap();
    assert!(matches!(&step, Step::Lost(reason) if reason.contains(":staging")), "{step:?}");
    assert!(cursor.is_empty(), "a backup on top of it would leave out what changed in the main branch");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_a_real_store_are_told_one_by_one() {
    follow("store-bf8", 3).await;
}

/// Everything is read, whatever the parent knows.
fn full(unpacked: &Unpacked) -> DatahikeSource {
    DatahikeSource { full: true, ..unpacked.source() }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_a_store_without_history_are_told() {
    follow("written-current", 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_a_store_that_moves_to_another_generation_are_told() {
    follow("written-mixed", 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_a_store_with_content_addresses_are_told() {
    follow("store-crypto", 2).await;
}
