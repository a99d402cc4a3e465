//! A store that is far away: how many requests wait for one another.

use std::fs;
use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use packstone::backend::{Answer, Backend, ObjectStat, PutNew, SimulatedBackend};
use packstone::format::{ObjectPath, Sealed};
use packstone::id::SnapshotId;
use packstone::ops::{
    self, CheckOptions, DumpOptions, FilesSource, ListOptions, ReadData, RestoreFilesOptions, SnapshotPath, Source,
};
use packstone::progress::Silent;
use packstone::repository::Repository;
use packstone::{Error, ErrorKind};

use crate::fixtures::{create_on, noise, open_on, options};

const LATENCY: Duration = Duration::from_millis(12);

/// Every request takes [`LATENCY`]; counts the longest chain of requests of which each began after the one before had ended.
#[derive(Clone, Default)]
struct Far {
    inner: SimulatedBackend,
    /// Length of the longest chain that has ended.
    chain: Arc<AtomicUsize>,
    data_bytes: Arc<Mutex<u64>>,
}

impl Far {
    fn serial_requests(&self) -> usize {
        self.chain.load(Ordering::SeqCst)
    }

    fn far<'a, T: 'a>(&'a self, request: impl Future<Output = T> + Send + 'a) -> impl Future<Output = T> + Send + 'a {
        let before = self.chain.load(Ordering::SeqCst);
        async move {
            tokio::time::sleep(LATENCY).await;
            let answer = request.await;
            self.chain.fetch_max(before + 1, Ordering::SeqCst);
            answer
        }
    }
}

impl Backend for Far {
    fn location(&self) -> String {
        "far".to_owned()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.far(self.inner.put(path, body)).await })
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(async move { self.far(self.inner.put_new(path, body)).await })
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.far(self.inner.replace(path, body)).await })
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let answer = self.far(self.inner.get(path, range)).await;
            *self.data_bytes.lock().unwrap() += answer.as_ref().map_or(0, Bytes::len) as u64;
            answer
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(async move { self.far(self.inner.list(prefix)).await })
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        Box::pin(async move { self.far(self.inner.stat(path)).await })
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(async move { self.far(self.inner.delete(path)).await })
    }
}

/// A repository far away with a backup of 1,200 entries in 200 directories.
struct Place {
    folder: tempfile::TempDir,
    near: SimulatedBackend,
    snapshot: SnapshotId,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for directory in 0..200 {
            let path = folder.path().join(format!("tree/{}/{directory:03}", directory % 10));
            fs::create_dir_all(&path).unwrap();
            for file in 0..5 {
                let seed = directory * 5 + file;
                fs::write(path.join(format!("file {file}")), noise(seed, 4000 + 37 * seed as usize)).unwrap();
            }
        }
        fs::write(folder.path().join("tree/large"), noise(7, 12 << 20)).unwrap();
        let near = SimulatedBackend::new();
        let repository = create_on(Arc::new(near.clone())).await;
        let source = Source::Files(FilesSource::new(vec![folder.path().join("tree")]));
        let backup = ops::backup(&repository, source, options(), Arc::new(Silent)).await.unwrap();
        Self { folder, near, snapshot: backup.snapshot.id }
    }

    /// Opens the repository through a backend that is far away, and counts from then on.
    async fn far(&self) -> (Repository, Far, usize) {
        let far = Far { inner: self.near.clone(), ..Far::default() };
        let repository = open_on(Arc::new(far.clone())).await.unwrap();
        let opened = far.serial_requests();
        (repository, far, opened)
    }
}

/// Serial requests before the first node or chunk can be read: the snapshot, the gc records, the index.
const BEFORE_DATA: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn listing_everything_takes_few_serial_requests() {
    let place = Place::new().await;
    let (repository, far, opened) = place.far().await;
    let listed = ops::ls(&repository, place.snapshot, ListOptions::default(), |_, _| Ok(())).await.unwrap();
    assert_eq!(listed.files, 1001);
    let serial = far.serial_requests() - opened;
    assert!(serial <= BEFORE_DATA + 3, "{serial} requests one after another");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_takes_few_serial_requests() {
    let place = Place::new().await;
    let (repository, far, opened) = place.far().await;
    let out = place.folder.path().join("out");
    let options = RestoreFilesOptions { path: Some(place.folder.path().join("tree")), ..Default::default() };
    let restored =
        ops::restore_files(&repository, place.snapshot, out.clone(), options, None, Arc::new(Silent)).await.unwrap();
    assert_eq!((restored.problems.len(), restored.files_restored), (0, 1001));
    assert_eq!(fs::read(out.join("large")).unwrap(), noise(7, 12 << 20).into_bytes());
    // Some 32 MiB of packs are on their way at once.
    let serial = far.serial_requests() - opened;
    assert!(serial <= BEFORE_DATA + 8, "{serial} requests one after another");
    let stored = place.near.requests().written_bytes;
    assert!(*far.data_bytes.lock().unwrap() <= stored + (1 << 20), "nothing is read twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_all_data_takes_few_serial_requests() {
    let place = Place::new().await;
    for (read_data, most) in [(ReadData::None, 17), (ReadData::All, 17)] {
        let (repository, far, opened) = place.far().await;
        let check = CheckOptions { read_data, ..CheckOptions::default() };
        let report = ops::check(&repository, check, Arc::new(Silent)).await.unwrap();
        assert!(report.is_sound() && report.findings.is_empty());
        let serial = far.serial_requests() - opened;
        assert!(serial <= most, "{read_data:?}: {serial} requests one after another");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_and_dumping_read_ahead() {
    let place = Place::new().await;
    let (repository, far, opened) = place.far().await;
    let verified = ops::verify(&repository, place.snapshot, Arc::new(Silent)).await.unwrap();
    assert!(verified.is_sound());
    let serial = far.serial_requests() - opened;
    assert!(serial <= BEFORE_DATA + 10, "verify: {serial} requests one after another");

    let (repository, far, opened) = place.far().await;
    let at = SnapshotPath { snapshot: place.snapshot, path: Some(place.folder.path().join("tree")) };
    let dumped = ops::dump_files(&repository, at, DumpOptions::default(), std::io::sink()).await.unwrap();
    assert_eq!(dumped.files, 1001);
    let serial = far.serial_requests() - opened;
    assert!(serial <= BEFORE_DATA + 16, "dump: {serial} requests one after another");
}

/// A pack that is gone is told of as damage although it was to come with others.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_ahead_is_an_error_about_itself() {
    let place = Place::new().await;
    let packs: Vec<_> = place.near.list("packs/").await.unwrap().into_iter().map(|(path, _)| path).collect();
    for path in &packs {
        place.near.delete(path).await.unwrap();
    }
    let (repository, _, _) = place.far().await;
    let listed = ops::ls(&repository, place.snapshot, ListOptions::default(), |_, _| Ok(())).await;
    let error: Error = listed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(packs.iter().any(|path| error.to_string().contains(path.as_str())), "{error}");
}
