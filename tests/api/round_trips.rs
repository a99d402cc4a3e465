//! How often a store far away is asked, how many of the questions wait for another's answer, and what the local cache
//! makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use packstone::ErrorKind;
use packstone::backend::{Answer, Backend, ObjectStat, PutNew, SimulatedBackend};
use packstone::crypto::KdfParameters;
use packstone::format::{ObjectPath, Sealed};
use packstone::ops::{self, BackupSummary, FilesSource, ListOptions, PruneOptions, RestoreFilesOptions, Source};
use packstone::progress::Silent;
use packstone::repository::{self, CreateOptions, Intent, OpenOptions, Repository, Secret};

use crate::fixtures::{backup, blocking, check_all, noise, options, secret, write_history};

/// How long every answer takes: longer than anything else between two requests, also on a busy machine.
const LATENCY: Duration = Duration::from_millis(60);

/// Nodes that change with the folders above the tree, in which other tests make theirs.
const ABOVE: u64 = 4;

/// A store whose answers take a while, and which notes of each request how many answers it had to wait for.
#[derive(Clone)]
struct FarAway {
    inner: SimulatedBackend,
    seen: Arc<Mutex<Seen>>,
    latency: Duration,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    /// The latest round of which an answer came.
    answered: u64,
    /// Round and what was asked.
    requests: Vec<(u64, String)>,
}

impl Seen {
    fn rounds(&self) -> u64 {
        self.requests.iter().map(|(round, _)| *round).max().unwrap_or(0)
    }

    /// The first round in which something of this kind was asked.
    fn first(&self, start: &str) -> Option<u64> {
        self.requests.iter().filter(|(_, asked)| asked.starts_with(start)).map(|(round, _)| *round).min()
    }
}

impl FarAway {
    fn new(latency: Duration) -> Self {
        Self { inner: SimulatedBackend::new(), seen: Arc::default(), latency }
    }

    fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    async fn ask<T>(&self, what: String, answer: Answer<'_, T>) -> packstone::Result<T> {
        let round = {
            let mut seen = self.seen.lock().unwrap();
            let round = seen.answered + 1;
            seen.requests.push((round, what));
            round
        };
        tokio::time::sleep(self.latency).await;
        let result = answer.await;
        let mut seen = self.seen.lock().unwrap();
        seen.answered = seen.answered.max(round);
        result
    }
}

impl Backend for FarAway {
    fn location(&self) -> String {
        "far://away".to_owned()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(self.ask(format!("put {path}"), self.inner.put(path, body)))
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(self.ask(format!("put_new {path}"), self.inner.put_new(path, body)))
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(self.ask(format!("replace {path}"), self.inner.replace(path, body)))
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(self.ask(format!("get {path}"), self.inner.get(path, range)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(self.ask(format!("list {prefix}"), self.inner.list(prefix)))
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        Box::pin(self.ask(format!("stat {path}"), self.inner.stat(path)))
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(self.ask(format!("delete {path}"), self.inner.delete(path)))
    }
}

/// A tree of files that stays the same.
fn tree() -> PathBuf {
    static WRITTEN: OnceLock<PathBuf> = OnceLock::new();
    let written = WRITTEN.get_or_init(|| {
        let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("round_trips/tree");
        for n in 0..200 {
            let path = tree.join(format!("folder{}/file{n}", n % 7));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if !path.exists() {
                fs::write(&path, noise(n, 2000)).unwrap();
            }
        }
        // Longer than the clock of a file system stands still, so that what was written is known to be older.
        std::thread::sleep(Duration::from_millis(50));
        tree
    });
    written.clone()
}

/// A repository far away, and a folder for caches.
struct Place {
    folder: tempfile::TempDir,
    store: FarAway,
}

impl Place {
    async fn new(latency: Duration) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), store: FarAway::new(latency) };
        let options = CreateOptions { cache: Some(place.cache()), ..CreateOptions::default() };
        Repository::create(Arc::new(place.store.clone()), secret(), options).await.unwrap();
        place
    }

    async fn backed_up(latency: Duration) -> Self {
        let place = Self::new(latency).await;
        place.backup(&place.cache()).await;
        place.store.take();
        place
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// A cache that nothing is in.
    fn empty_cache(&self) -> PathBuf {
        tempfile::tempdir_in(self.folder.path()).unwrap().keep()
    }

    async fn open(&self, cache: &Path, intent: Intent) -> Repository {
        self.open_with(cache, intent, secret()).await.unwrap()
    }

    async fn open_with(&self, cache: &Path, intent: Intent, secret: Secret) -> packstone::Result<Repository> {
        let options = OpenOptions { cache: Some(cache.to_owned()), intent, ..OpenOptions::default() };
        Repository::open(Arc::new(self.store.clone()), secret, options).await
    }

    async fn backup(&self, cache: &Path) -> BackupSummary {
        let repository = self.open(cache, Intent::Writing).await;
        let source = Source::Files(FilesSource::new(vec![tree()]));
        ops::backup(&repository, source, options(), Arc::new(Silent)).await.unwrap()
    }

    /// A source that depends on nothing around it: of a directory tree the folders above are backed up too, and tests that
    /// run meanwhile change those.
    async fn backup_datoms(&self, cache: &Path) {
        let path = self.folder.path().join("db.edn");
        if !path.exists() {
            write_history(&path, 1, 20, 50);
        }
        let repository = self.open(cache, Intent::Writing).await;
        backup(&repository, &path).await.unwrap();
    }

    /// Every path of the newest snapshot.
    async fn ls(&self, cache: &Path) -> Vec<Vec<u8>> {
        let repository = self.open(cache, Intent::Reading).await;
        let newest = newest(&repository).await;
        let paths = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&paths);
        ops::ls(&repository, newest, ListOptions::default(), move |key, _| {
            sink.lock().unwrap().push(key.to_vec());
            Ok(())
        })
        .await
        .unwrap();
        let paths = paths.lock().unwrap();
        paths.clone()
    }

    async fn restore(&self, cache: &Path) {
        let repository = self.open(cache, Intent::Reading).await;
        let newest = newest(&repository).await;
        let target = tempfile::tempdir().unwrap();
        let options = RestoreFilesOptions { path: Some(tree()), ..RestoreFilesOptions::default() };
        ops::restore_files(&repository, newest, target.path().to_owned(), options, None, Arc::new(Silent))
            .await
            .unwrap();
        for n in 0..200 {
            let name = format!("folder{}/file{n}", n % 7);
            assert_eq!(fs::read(target.path().join(&name)).unwrap(), fs::read(tree().join(&name)).unwrap());
        }
    }

    async fn live(&self, cache: &Path) -> Vec<packstone::id::SnapshotId> {
        let repository = self.open(cache, Intent::Listing).await;
        blocking(move || repository.snapshots().unwrap().into_live().unwrap().iter().map(|s| s.id).collect()).await
    }

    async fn objects(&self, prefix: &str) -> Vec<String> {
        let listed = self.store.inner.list(prefix).await.unwrap();
        listed.into_iter().map(|(path, _)| path.to_string()).collect()
    }

    async fn assert_sound(&self) {
        let report = check_all(&self.open(&self.empty_cache(), Intent::Anything).await).await;
        assert!(report.is_sound(), "{report:?}");
    }
}

async fn newest(repository: &Repository) -> packstone::id::SnapshotId {
    let repository = repository.clone();
    blocking(move || repository.snapshots().unwrap().into_live().unwrap().last().unwrap().id).await
}

/// Every file of a cache, and its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

/// The best of a few: on a busy machine two requests that wait for nothing may still not be sent in time of one another.
macro_rules! at_most {
    ($place:expr, $rounds:expr, $requests:expr, $run:expr) => {{
        let mut best: Option<Seen> = None;
        for _ in 0..4 {
            $place.store.take();
            $run;
            let seen = $place.store.take();
            assert!(seen.requests.len() <= $requests, "{}: {:#?}", seen.requests.len(), seen.requests);
            if best.as_ref().is_none_or(|best| seen.rounds() < best.rounds()) {
                best = Some(seen);
            }
            if best.as_ref().is_some_and(|best| best.rounds() <= $rounds) {
                break;
            }
        }
        let best = best.unwrap();
        assert!(best.rounds() <= $rounds, "{}: {:#?}", best.rounds(), best.requests);
        best
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_backup_with_a_warm_cache_takes_4_rounds_of_8_requests() {
    let place = Place::new(LATENCY).await;
    place.backup_datoms(&place.cache()).await;
    let seen = at_most!(place, 4, 8, place.backup_datoms(&place.cache()).await);
    assert!(seen.requests.iter().all(|(_, asked)| !asked.contains("packs/")), "{seen:#?}");
    assert!(place.objects("sessions/").await.is_empty());
    place.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_and_restore_with_an_empty_cache_wait_for_at_most_6_rounds() {
    let place = Place::backed_up(LATENCY).await;
    for _ in 0..3 {
        place.backup(&place.cache()).await;
    }
    let seen = at_most!(place, 6, 30, place.ls(&place.empty_cache()).await);
    assert!(seen.first("get packs/").unwrap() <= 4, "{seen:#?}");
    at_most!(place, 7, 60, place.restore(&place.empty_cache()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_warm_cache_snapshots_and_ls_take_one_round() {
    let place = Place::backed_up(LATENCY).await;
    place.ls(&place.cache()).await;
    at_most!(place, 1, 3, place.live(&place.cache()).await);
    at_most!(place, 1, 5, place.ls(&place.cache()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_done_costs_two_requests_and_one_more_round() {
    let place = Place::new(LATENCY).await;
    place.backup_datoms(&place.cache()).await;
    let other = place.empty_cache();
    at_most!(place, 5, 10, {
        place.backup_datoms(&other).await;
        place.store.take();
        place.backup_datoms(&place.cache()).await
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spoilt_file_of_the_cache_is_noticed_and_replaced() {
    let place = Place::backed_up(Duration::ZERO).await;
    let paths = place.ls(&place.cache()).await;
    let whole = files(&place.cache());
    assert!(whole.len() >= 5, "{:?}", whole.keys());
    for (file, bytes) in whole.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        for at in (0..bytes.len()).step_by(bytes.len() / 5 + 1).chain([bytes.len() - 1]) {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0x10;
            fs::write(file, &spoilt).unwrap();
            assert_eq!(place.ls(&place.cache()).await, paths, "{}: byte {at}", file.display());
            assert_ne!(fs::read(file).ok(), Some(spoilt), "{}: byte {at} is still spoilt", file.display());
            assert!(file.exists(), "{}: byte {at}: not there again", file.display());
        }
        for cut in [&bytes[..0], &bytes[..bytes.len() / 2]] {
            fs::write(file, cut).unwrap();
            assert_eq!(place.ls(&place.cache()).await, paths, "{}: cut", file.display());
        }
        fs::remove_file(file).unwrap();
        let backed_up = place.backup(&place.cache()).await;
        assert!(backed_up.snapshot.statistics.blobs_added <= ABOVE, "{}: gone", file.display());
    }
    place.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_cache() {
    let place = Arc::new(Place::backed_up(Duration::from_millis(2)).await);
    let mut runs = Vec::new();
    for _ in 0..6 {
        let place = Arc::clone(&place);
        runs.push(tokio::spawn(async move {
            for _ in 0..4 {
                place.backup(&place.cache()).await;
                assert!(!place.ls(&place.cache()).await.is_empty());
            }
        }));
    }
    for run in runs {
        run.await.unwrap();
    }
    assert_eq!(place.live(&place.cache()).await.len(), 25);
    assert_eq!(place.live(&place.empty_cache()).await.len(), 25);
    assert!(place.objects("sessions/").await.is_empty());
    place.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_repository_at_the_same_place_is_not_mistaken_for_the_old_one() {
    let mut place = Place::backed_up(Duration::ZERO).await;
    let old = place.open(&place.cache(), Intent::Anything).await.id();
    place.store = FarAway::new(Duration::ZERO);
    let gone = place.open_with(&place.cache(), Intent::Writing, secret()).await;
    assert_eq!(gone.err().unwrap().kind(), ErrorKind::NoRepository);
    assert!(place.objects("").await.is_empty(), "nothing is left where no repository is");
    place.store = FarAway::new(Duration::ZERO);
    Repository::create(Arc::new(place.store.clone()), secret(), CreateOptions::default()).await.unwrap();
    let summary = place.backup(&place.cache()).await;
    assert!(summary.snapshot.parent.is_none() && summary.snapshot.statistics.blobs_added > 0);
    assert_ne!(place.open(&place.cache(), Intent::Anything).await.id(), old);
    assert!(place.objects("sessions/").await.is_empty());
    place.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_slot_that_was_removed_opens_nothing_from_the_cache() {
    let place = Place::backed_up(Duration::ZERO).await;
    let repository = place.open(&place.empty_cache(), Intent::Anything).await;
    let other = || Secret::key_file(vec![8; 32]);
    let adding = repository.clone();
    let slot = blocking(move || adding.add_key_slot(&other(), KdfParameters::default(), "other").unwrap()).await;
    let cache = place.empty_cache();
    for intent in [Intent::Reading, Intent::Writing] {
        assert_eq!(place.open_with(&cache, intent, other()).await.unwrap().slot(), slot);
    }
    blocking(move || repository.remove_key_slot(slot).unwrap()).await;
    for intent in [Intent::Anything, Intent::Listing, Intent::Reading, Intent::Writing] {
        let refused = place.open_with(&cache, intent, other()).await;
        assert_eq!(refused.err().unwrap().kind(), ErrorKind::WrongKey, "{intent:?}");
    }
    assert_eq!(place.open_with(&cache, Intent::Reading, secret()).await.unwrap().slot(), {
        place.open(&place.empty_cache(), Intent::Anything).await.slot()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_forgotten_elsewhere_is_gone_here_too() {
    let place = Place::backed_up(Duration::ZERO).await;
    let (cache, other) = (place.cache(), place.empty_cache());
    let second = place.backup(&cache).await.snapshot.id;
    let both = place.live(&cache).await;
    assert_eq!((both.len(), place.live(&other).await), (2, both.clone()));
    let elsewhere = place.open(&other, Intent::Anything).await;
    blocking(move || elsewhere.forget(second).unwrap()).await;
    for cache in [&cache, &other] {
        assert_eq!(place.live(cache).await, both[..1]);
    }
    let next = place.backup(&cache).await;
    assert_eq!(next.snapshot.parent, Some(both[0]));
    place.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pruner_condemned_elsewhere_is_not_counted_on() {
    let place = Place::backed_up(Duration::ZERO).await;
    let cache = place.cache();
    let first = place.live(&cache).await[0];
    for round in 0..3 {
        let elsewhere = place.open(&place.empty_cache(), Intent::Anything).await;
        let live = place.live(&cache).await;
        let forgetting = elsewhere.clone();
        blocking(move || live.iter().for_each(|id| forgetting.forget(*id).unwrap())).await;
        ops::prune(&elsewhere, PruneOptions::default(), Arc::new(Silent)).await.unwrap();
        assert!(place.objects("packs/").await.is_empty());
        let summary = place.backup(&cache).await;
        assert!(summary.snapshot.statistics.blobs_added >= 200, "round {round}");
        place.assert_sound().await;
        let unchanged = place.backup(&cache).await;
        assert!(unchanged.snapshot.statistics.blobs_added <= ABOVE);
    }
    assert!(!place.live(&cache).await.contains(&first));
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_are_listed_and_removed() {
    let place = Place::backed_up(Duration::ZERO).await;
    let id = place.open(&place.cache(), Intent::Anything).await.id();
    let caches = repository::caches(&place.cache()).unwrap();
    assert_eq!(caches.len(), 1);
    assert_eq!((caches[0].repository, &caches[0].locations[..]), (id, &["far://away".to_owned()][..]));
    assert!(caches[0].size_bytes > 1000 && caches[0].used_ms > 1_700_000_000_000);
    repository::remove_cache(&place.cache(), id).unwrap();
    assert!(repository::caches(&place.cache()).unwrap().is_empty() && files(&place.cache()).is_empty());
    place.backup(&place.cache()).await;
    assert!(repository::caches(&place.folder.path().join("nothing")).unwrap().is_empty());
}
