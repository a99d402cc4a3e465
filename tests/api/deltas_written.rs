//! Blobs that the writer stores as a difference to what they resemble.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packstone::backend::{Backend, SimulatedBackend};
use packstone::format::{Codec, NamedRoot, ObjectPath, Snapshot};
use packstone::id::BlobId;
use packstone::ops::{self, BackupOptions, BackupSummary, FilesSource, PruneOptions, PruneReport, Source};
use packstone::progress::Silent;
use packstone::record::{Extent, Extents};
use packstone::repository::{Commit, Delta, Repository, Writer, WriterOptions, machine};
use packstone::tree::{Builder, Pushed, Root};

use crate::fixtures::{
    self, assert_restores, blocking, check_all, create, create_on, forget, noise, open, open_on, options, verify,
    write_history,
};

const RUN: usize = 64 << 10;

/// Bytes that begin as a SQLite file and are cut at runs of 64 KiB.
fn database(seed: u64, runs: usize) -> Vec<u8> {
    let mut bytes = vec![0; runs * RUN];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes[..18].copy_from_slice(b"SQLite format 3\0\x10\0");
    bytes
}

/// Changes a few bytes in every run, others each day.
fn change(bytes: &mut [u8], day: usize) {
    for run in bytes.chunks_mut(RUN) {
        for at in [1000, 30_000, 60_000] {
            run[at + 100 * day] ^= 0x55;
        }
    }
}

async fn backup(repository: &Repository, tree: &Path, bytes: &[u8], delta: Delta) -> BackupSummary {
    std::fs::write(tree.join("app.db"), bytes).unwrap();
    let source = Source::Files(FilesSource::new(vec![tree.to_owned()]));
    ops::backup(repository, source, BackupOptions { delta, ..options() }, Arc::new(Silent)).await.unwrap()
}

async fn content(repository: &Repository, summary: &BackupSummary, tree: &Path) -> Vec<u8> {
    let entry = crate::files::entries(repository, summary).await[&tree.join("app.db")].clone();
    let repository = repository.clone();
    blocking(move || crate::files::content(&repository, &entry)).await
}

/// How many blobs are stored as deltas; the base of each must be there, whole.
fn deltas(repository: &Repository) -> usize {
    let index = repository.index().read().unwrap();
    let packs = index.packs().map(Result::unwrap);
    let frames: Vec<_> = packs.flat_map(|pack| pack.directory.frames.clone()).collect();
    let deltas = frames.iter().filter(|frame| frame.codec == Codec::ZstdDelta);
    deltas.inspect(|frame| assert!(!index.find_whole(&frame.base.unwrap()).unwrap().is_delta())).count()
}

async fn prune(repository: &Repository) -> PruneReport {
    let idle_limit = Duration::from_secs(24 * 3600);
    let options = PruneOptions { max_unused_percent: 0.0, idle_limit, ..PruneOptions::default() };
    ops::prune(repository, options, Arc::new(Silent)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_day_of_a_changing_file_costs_little_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (path, tree) = (folder.path().join("repository"), folder.path().join("tree"));
    std::fs::create_dir(&tree).unwrap();
    let mut repository = create(&path).await;
    let mut bytes = database(1, 48);
    let mut days = Vec::new();
    for day in 0..5 {
        let summary = backup(&repository, &tree, &bytes, Delta::Auto).await;
        let stored = summary.snapshot.statistics.bytes_stored;
        match day {
            0 => assert!(stored > bytes.len() as u64),
            _ => assert!(stored < bytes.len() as u64 / 100, "day {day}: {stored}"),
        }
        days.push((summary, bytes.clone()));
        change(&mut bytes, day);
    }
    repository = open(&path).await;
    ops::check(&repository, ops::CheckOptions::default(), Arc::new(Silent)).await.unwrap();
    assert!(deltas(&repository) >= 4 * 48);
    // The first day, which holds the bases, goes; the others stay as they were.
    forget(&repository, &days.remove(0).0).await.unwrap();
    let report = prune(&repository).await;
    assert!(report.base_bytes >= bytes.len() as u64, "nobody else needs the runs of the first day: {report:?}");
    let repository = open(&path).await;
    assert!(check_all(&repository).await.is_sound());
    for (summary, bytes) in &days {
        assert!(verify(&repository, summary).await.unwrap().is_sound());
        assert!(content(&repository, summary, &tree).await == *bytes);
    }
    for (summary, _) in &days {
        forget(&repository, summary).await.unwrap();
    }
    let report = prune(&repository).await;
    assert_eq!(report.packs_removed, report.packs, "with the last delta its base goes: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_deltas_all_is_stored_whole() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let mut bytes = database(1, 8);
    backup(&repository, &tree, &bytes, Delta::Off).await;
    change(&mut bytes, 1);
    let second = backup(&repository, &tree, &bytes, Delta::Off).await;
    assert!(second.snapshot.statistics.bytes_stored > bytes.len() as u64);
    assert_eq!(deltas(&repository), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_much_is_stored_whole_and_shares_frames() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let mut bytes = database(1, 16);
    backup(&repository, &tree, &bytes, Delta::On).await;
    let other = database(2, 16);
    for (run, other) in bytes.chunks_mut(RUN).zip(other.chunks(RUN)) {
        run[RUN / 2..].copy_from_slice(&other[RUN / 2..]);
    }
    let second = backup(&repository, &tree, &bytes, Delta::On).await;
    assert!(content(&repository, &second, &tree).await == bytes);
    let index = repository.index().read().unwrap();
    let frames: Vec<_> = index.packs().flat_map(|pack| pack.unwrap().directory.frames.clone()).collect();
    let chunks = |blobs: usize| frames.iter().filter(|frame| frame.raw_len as usize == blobs * RUN).count();
    assert_eq!(chunks(1), 0, "no run has a frame of its own: {frames:?}");
    assert_eq!(chunks(16), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_cannot_be_read_costs_a_delta_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let mut bytes = database(1, 8);
    backup(&repository, &tree, &bytes, Delta::On).await;
    let packs: Vec<ObjectPath> = {
        let index = repository.index().read().unwrap();
        let packs = index.packs().map(Result::unwrap);
        let of_chunks = packs.filter(|pack| pack.directory.frames[0].raw_len as usize >= RUN);
        of_chunks.map(|pack| ObjectPath::pack(pack.id)).collect()
    };
    for pack in &packs {
        backend.delete(pack).await.unwrap();
    }
    change(&mut bytes, 1);
    let repository = open_on(Arc::new(backend.clone())).await.unwrap();
    let second = backup(&repository, &tree, &bytes, Delta::On).await;
    assert!(content(&repository, &second, &tree).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_node_is_a_difference_to_the_node_it_replaces() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in.edn");
    let repository = create(&folder.path().join("repository")).await;
    write_history(&source, 1, 6, 3000);
    fixtures::backup(&repository, &source).await.unwrap();
    let text = std::fs::read_to_string(&source).unwrap();
    let line = text.lines().nth(9000).unwrap().to_owned();
    std::fs::write(&source, text.replace(&line, &line.replace(":item/checksum", ":item/checked"))).unwrap();
    let second = fixtures::backup(&repository, &source).await.unwrap();
    assert!(deltas(&repository) >= 2, "a leaf and what is above it");
    let stored = second.snapshot.statistics.bytes_stored;
    assert!(stored < 2500, "{stored}");
    assert_restores(&repository, &second, &source).await;
    assert!(check_all(&repository).await.is_sound());
}

/// Several clients of one repository, on a store whose clock agrees with this machine's.
struct Clients(SimulatedBackend);

impl Clients {
    async fn new() -> Self {
        let backend = SimulatedBackend::new();
        backend.set_clock_ms(machine::now_ms());
        drop(create_on(Arc::new(backend.clone())).await);
        Self(backend)
    }

    async fn open(&self) -> Repository {
        open_on(Arc::new(self.0.clone())).await.unwrap()
    }

    async fn writer(&self) -> Writer {
        let repository = self.open().await;
        let options = WriterOptions { delta: Delta::On, ..WriterOptions::default() };
        blocking(move || repository.writer(options).unwrap()).await
    }
}

/// Commits a snapshot of a tree with one chunk.
async fn commit(mut writer: Writer, like: &Snapshot, chunk: Bytes, base: Option<BlobId>) -> (Snapshot, BlobId) {
    let mut snapshot = like.clone();
    blocking(move || {
        let id = writer.write_chunk_like(chunk.clone(), base).unwrap();
        let parameters = writer.repository().tree_parameters(&Extents);
        let mut builder = Builder::new(&parameters);
        let extent = Extent { offset: 0, length: u32::try_from(chunk.len()).unwrap(), id };
        let _: Pushed = builder.push(&mut writer, &extent.key(), &extent.value()).unwrap();
        let Root { kind, id: top, level, records, row_bytes, summary } = builder.finish(&mut writer).unwrap();
        let name = "files".to_owned();
        snapshot.roots =
            vec![NamedRoot { name, kind, id: top, level, records, row_bytes, summary, digest: Vec::new() }];
        snapshot.id = writer.id();
        assert!(matches!(writer.commit(&snapshot).unwrap(), Commit::Done));
        (snapshot, id)
    })
    .await
}

async fn forget_snapshot(repository: &Repository, snapshot: &Snapshot) {
    let (repository, id) = (repository.clone(), snapshot.id);
    blocking(move || repository.forget(id).unwrap()).await;
}

async fn read(repository: &Repository, id: BlobId) -> Bytes {
    let repository = repository.clone();
    blocking(move || repository.reader().chunk(id).unwrap()).await
}

/// Some snapshot to make others of.
async fn template(clients: &Clients) -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in.edn"), "[1 :a/b true 536870913 true]\n").unwrap();
    fixtures::backup(&clients.open().await, &folder.path().join("in.edn")).await.unwrap().snapshot
}

fn text(version: u64) -> Bytes {
    let mut text = noise(1, 100_000);
    text.replace_range(50_000..50_004, &format!("{version:04}"));
    text.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_condemned_while_the_session_runs_is_rescued() {
    let clients = Clients::new().await;
    let template = template(&clients).await;
    let (first, base) = commit(clients.writer().await, &template, text(1), None).await;
    // This session has read the index: the base counts as known. Now its only snapshot is forgotten and pruned.
    let writer = clients.writer().await;
    let other = clients.open().await;
    forget_snapshot(&other, &first).await;
    let report = prune(&other).await;
    assert!(report.packs_waiting > 0 && report.packs_removed == 0, "{report:?}");
    let (second, delta) = commit(writer, &template, text(2), Some(base)).await;
    let report = prune(&other).await;
    assert!(report.blobs_rescued > 0 && report.packs_removed > 0, "{report:?}");
    let fresh = clients.open().await;
    assert!(check_all(&fresh).await.is_sound());
    assert_eq!(deltas(&fresh), 1);
    assert_eq!(read(&fresh, delta).await, text(2));
    forget_snapshot(&fresh, &second).await;
    prune(&fresh).await;
    let fresh = clients.open().await;
    assert!(check_all(&fresh).await.is_sound());
    assert_eq!(deltas(&fresh), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_is_rescued_whole_though_another_session_has_stored_it_as_a_delta() {
    let clients = Clients::new().await;
    let template = template(&clients).await;
    let (_, kept) = commit(clients.writer().await, &template, text(3), None).await;
    let (first, base) = commit(clients.writer().await, &template, text(1), None).await;
    let early = clients.writer().await;
    let other = clients.open().await;
    forget_snapshot(&other, &first).await;
    let report = prune(&other).await;
    assert!(report.packs_waiting > 0, "{report:?}");
    // A session that has seen the record stores the same content again, as a difference to what is not condemned.
    let (_, again) = commit(clients.writer().await, &template, text(1), Some(kept)).await;
    assert_eq!(again, base);
    let (_, delta) = commit(early, &template, text(2), Some(base)).await;
    let report = prune(&other).await;
    assert!(report.packs_removed > 0, "{report:?}");
    let fresh = clients.open().await;
    let report = check_all(&fresh).await;
    assert!(report.is_sound(), "{report:?}");
    for (id, version) in [(kept, 3), (base, 1), (delta, 2)] {
        assert_eq!(read(&fresh, id).await, text(version));
    }
}
