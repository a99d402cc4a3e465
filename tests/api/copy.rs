//! Copies between repositories of other keys and chunk sizes: nothing is lost, little is read, and what comes out is what a
//! backup there would have stored.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packstone::backend::{SimulatedBackend, StoppedWrite};
use packstone::format::{ChunkerParameters, Snapshot, Status};
use packstone::ops::{
    self, BackupSummary, CopyOptions, CopyReport, FileTree, FilesSource, Parent, Source, TagChange, TagOptions, View,
};
use packstone::progress::Silent;
use packstone::record::entry::{Entry, path_of_key};
use packstone::repository::{CreateOptions, OpenOptions, Repository, Secret};
use packstone::target::datoms::Format;
use tempfile::TempDir;

use crate::fixtures::{
    self, assert_restores, backup, blocking, check_all, create_on, forget, options, sorted_lines, verify, whole,
    write_documents, write_history,
};

const SMALL: ChunkerParameters = ChunkerParameters { min_bytes: 1 << 10, average_bytes: 4 << 10, max_bytes: 16 << 10 };
const LARGER: ChunkerParameters = ChunkerParameters { min_bytes: 2 << 10, average_bytes: 8 << 10, max_bytes: 64 << 10 };
const TINY: ChunkerParameters = ChunkerParameters { min_bytes: 64, average_bytes: 1 << 10, max_bytes: 2 << 10 };

fn other_secret() -> Secret {
    Secret::key_file(vec![9; 40])
}

/// A repository with a key of its own.
async fn create(backend: &SimulatedBackend, chunker: ChunkerParameters) -> Repository {
    let options = CreateOptions { chunker, ..CreateOptions::default() };
    Repository::create(Arc::new(backend.clone()), other_secret(), options).await.unwrap()
}

async fn reopen(backend: &SimulatedBackend) -> Repository {
    Repository::open(Arc::new(backend.clone()), other_secret(), OpenOptions::default()).await.unwrap()
}

async fn copy(from: &Repository, to: &Repository) -> CopyReport {
    ops::copy(from, to, CopyOptions::default(), Arc::new(Silent)).await.unwrap()
}

/// Backs up a directory, read from beginning to end.
async fn back_up_files(repository: &Repository, path: &Path) -> BackupSummary {
    let options = ops::BackupOptions { parent: Parent::None, ..options() };
    let source = Source::Files(FilesSource::new(vec![path.to_owned()]));
    ops::backup(repository, source, options, Arc::new(Silent)).await.unwrap()
}

/// A backup at the destination would store no content, and have the entries that were copied, but for the directories
/// above, which are not this test's own.
async fn assert_native(to: &Repository, copied: &Snapshot, path: &Path) {
    let native = back_up_files(to, path).await;
    let below = |entries: BTreeMap<PathBuf, (Entry, Vec<u8>)>| {
        entries.into_iter().filter(|(entry, _)| entry.starts_with(path)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(below(files(to, copied).await), below(files(to, &native.snapshot).await));
    let added = native.snapshot.statistics.bytes_added;
    assert!(added < 32 << 10, "{added}");
}

/// Every entry of a snapshot without ids, and the bytes of files.
async fn files(repository: &Repository, snapshot: &Snapshot) -> BTreeMap<PathBuf, (Entry, Vec<u8>)> {
    let (repository, id) = (repository.clone(), snapshot.id);
    blocking(move || {
        let tree = FileTree::open(&repository, id).unwrap();
        let entries = tree.walk(b"").unwrap().map(Result::unwrap);
        let content = |entry: &Entry| {
            let mut bytes = vec![0; usize::try_from(entry.size()).unwrap()];
            if entry.size() > 0 {
                assert_eq!(tree.read_at(entry, 0, &mut bytes).unwrap(), bytes.len());
            }
            bytes
        };
        let mut all = BTreeMap::new();
        for (key, mut entry) in entries {
            let bytes = content(&entry);
            if let packstone::record::entry::Body::File { content, .. } = &mut entry.body {
                *content = packstone::record::entry::Content::Inline(Vec::new());
            }
            all.insert(path_of_key(&key), (entry, bytes));
        }
        all
    })
    .await
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A directory with files of every size of interest.
fn tree() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir_all(path.join("a/b")).unwrap();
    for (n, len) in [0, 1, 128, 129, 1000, 5000, 40_000, 100_000].into_iter().enumerate() {
        fs::write(path.join(format!("a/{len}")), noise(n as u64, len)).unwrap();
    }
    fs::write(path.join("a/b/again"), noise(7, 100_000)).unwrap();
    fs::write(path.join("large"), noise(100, 3 << 20)).unwrap();
    fs::write(path.join("zeros"), vec![0; 300_000]).unwrap();
    std::os::unix::fs::symlink("large", path.join("link")).unwrap();
    folder
}

async fn snapshots(repository: &Repository) -> Vec<Snapshot> {
    let repository = repository.clone();
    blocking(move || repository.snapshots().unwrap().into_live().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_what_a_backup_there_would_be() {
    let folder = tree();
    let (a, b) = (SimulatedBackend::new(), SimulatedBackend::new());
    let from = create_on(Arc::new(a.clone())).await;
    let to = create(&b, SMALL).await;
    let original = back_up_files(&from, folder.path()).await;
    let report = copy(&from, &to).await;
    let copied = &report.copied[0].snapshot;
    assert_eq!(report.copied.len(), 1);
    assert!(report.bytes_read < 4 << 20, "the file that is there twice is read once: {}", report.bytes_read);
    assert_eq!(files(&to, copied).await, files(&from, &original.snapshot).await);
    assert_native(&to, copied, folder.path()).await;
    let native = back_up_files(&to, folder.path()).await;
    assert!(check_all(&to).await.is_sound());
    assert!(verify(&to, &native).await.unwrap().is_sound());
    let property = |name: &str| copied.properties.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    assert_eq!(property("original"), Some(original.snapshot.id.to_string()));
    assert_eq!(property("copied-from"), Some(format!("{}/{}", from.id(), original.snapshot.id)));
    assert_eq!((copied.time_ms, &copied.host), (original.snapshot.time_ms, &original.snapshot.host));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_writes_nothing() {
    let folder = tree();
    let (a, b) = (SimulatedBackend::new(), SimulatedBackend::new());
    let from = create_on(Arc::new(a.clone())).await;
    let to = create(&b, SMALL).await;
    let original = back_up_files(&from, folder.path()).await;
    let first = copy(&from, &to).await;
    let (before_a, before_b) = (a.requests(), b.requests());
    let to = reopen(&b).await;
    let second = copy(&from, &to).await;
    assert!(second.copied.is_empty());
    assert_eq!(second.present, [(original.snapshot.id, first.copied[0].snapshot.id)]);
    assert_eq!(b.requests().put, before_b.put);
    assert_eq!(a.requests().writes(), before_a.writes());
    assert_eq!(second.bytes_read, 0);
    // Nor does anything go back to where it came from.
    let back = copy(&to, &from).await;
    assert!(back.copied.is_empty() && back.present.len() == 1);
    let same = ops::copy(&from, &from, CopyOptions::default(), Arc::new(Silent)).await;
    assert_eq!(same.unwrap_err().kind(), packstone::ErrorKind::Usage);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_copy_reads_what_changed() {
    let folder = tree();
    let (a, b) = (SimulatedBackend::new(), SimulatedBackend::new());
    let from = create_on(Arc::new(a.clone())).await;
    let to = create(&b, LARGER).await;
    back_up_files(&from, folder.path()).await;
    copy(&from, &to).await;
    let mut large = noise(100, 3 << 20);
    large[1_500_000..1_500_100].copy_from_slice(&noise(5, 100));
    fs::write(folder.path().join("large"), large).unwrap();
    fs::write(folder.path().join("new"), noise(6, 10_000)).unwrap();
    fs::remove_file(folder.path().join("a/40000")).unwrap();
    let second = back_up_files(&from, folder.path()).await;
    let (from, before) = (fixtures::open_on(Arc::new(a.clone())).await.unwrap(), a.requests());
    let report = copy(&from, &to).await;
    // The chunk of 512 KiB on average, at most 2 MiB, that changed, what follows it up to the next cut, and metadata.
    assert!(report.bytes_read < 3 << 20, "{}", report.bytes_read);
    let read = a.requests().read_bytes - before.read_bytes;
    assert!(read < 7 << 20 >> 1, "{read}");
    assert_eq!(files(&to, &report.copied[0].snapshot).await, files(&from, &second.snapshot).await);
    assert_native(&to, &report.copied[0].snapshot, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn incremental_copies_of_any_changes_are_what_backups_would_be() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (SimulatedBackend::new(), SimulatedBackend::new());
    let from = create(&a, SMALL).await;
    let to = Repository::create(
        Arc::new(b.clone()),
        fixtures::secret(),
        CreateOptions { chunker: LARGER, ..CreateOptions::default() },
    )
    .await
    .unwrap();
    let mut large = noise(1, 600_000);
    let mut random = 1_u64;
    let mut below = |limit: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % limit
    };
    for step in 0..14_u64 {
        match step % 7 {
            0 => large.truncate(large.len() - 1 - below(9000)),
            1 => large.extend_from_slice(&noise(step, below(70_000))),
            2 => large.splice(..0, noise(step, 10)).for_each(drop),
            3 => large.drain(below(1000)..2000 + below(20_000)).for_each(drop),
            4 => large.truncate(200_000 + below(1000)),
            5 => large.extend_from_slice(&noise(step, 300_000)),
            _ => {}
        }
        let at = below(large.len() - 50);
        large[at..at + 50].copy_from_slice(&noise(step + 1000, 50));
        fs::write(folder.path().join("large"), &large).unwrap();
        fs::write(folder.path().join("small"), &large[..below(40_000)]).unwrap();
        back_up_files(&from, folder.path()).await;
        let report = copy(&from, &to).await;
        assert_native(&to, &report.copied[0].snapshot, folder.path()).await;
        if step % 7 == 6 {
            assert!(report.bytes_read < large.len() as u64 / 2, "step {step}: {}", report.bytes_read);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_copy_goes_on_with_what_it_left() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..900 {
        fs::write(folder.path().join(format!("{n:04}")), noise(n, 2000)).unwrap();
    }
    let (a, b) = (SimulatedBackend::new(), SimulatedBackend::new());
    let from = create_on(Arc::new(a.clone())).await;
    let original = back_up_files(&from, folder.path()).await;
    create(&b, SMALL).await;
    let empty = b.snapshot();
    let often = || CopyOptions { partial_every_bytes: 300_000, ..CopyOptions::default() };
    let whole_bytes = 900 * 2000;
    let (mut resumed, mut ended) = (0, false);
    for n in 0.. {
        assert!(n < 200, "the copy never ends");
        b.restore_state(empty.clone());
        let to = reopen(&b).await;
        b.stop_after_writes(n, if n % 2 == 0 { StoppedWrite::Dropped } else { StoppedWrite::Applied });
        let died = ops::copy(&from, &to, often(), Arc::new(Silent)).await.is_err();
        let stopped = b.is_stopped();
        assert!(died || !stopped, "a copy that could not finish said that it had");
        b.heal();
        let to = reopen(&b).await;
        let partial = snapshots(&to).await.iter().any(|s| s.status == Status::Partial);
        let complete = snapshots(&to).await.iter().any(|s| s.status == Status::Complete);
        let report = ops::copy(&from, &to, often(), Arc::new(Silent)).await.unwrap();
        assert_eq!(report.copied.len(), usize::from(!complete));
        if partial && !complete {
            resumed += 1;
            assert!(report.bytes_read < whole_bytes * 8 / 10, "{}", report.bytes_read);
        }
        let live = snapshots(&to).await;
        let copy = live.iter().find(|s| s.status == Status::Complete).unwrap();
        if !stopped || n % 3 == 0 {
            assert_eq!(files(&to, copy).await, files(&from, &original.snapshot).await);
        }
        if !complete {
            assert_eq!(live.len(), 1, "the complete copy replaces the partial ones");
        }
        if !stopped {
            ended = true;
            break;
        }
    }
    assert!(ended && resumed > 3, "{resumed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn datoms_keep_their_digest_under_other_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1.edn"), folder.path().join("2.edn"));
    write_documents(&first, 1, 60);
    let mut text = fs::read_to_string(&first).unwrap();
    // Values that begin alike and stand in one group are ordered by id, so that the order changes with the key.
    for n in 0..40 {
        let value = format!("{}{}", "x".repeat(2500), fixtures::noise(n, 20));
        text.push_str(&format!("[7 :doc/many \"{value}\" 536870920 true]\n"));
    }
    fs::write(&first, &text).unwrap();
    text = text.lines().filter(|line| !line.contains("doc/name")).map(|line| format!("{line}\n")).collect();
    text.push_str(&format!("[8 :doc/text \"{}\" 536870990 true]\n", fixtures::noise(99, 9000)));
    fs::write(&second, &text).unwrap();
    for chunker in [TINY, LARGER] {
        let (a, b) = (SimulatedBackend::new(), SimulatedBackend::new());
        let from = create_on(Arc::new(a.clone())).await;
        let to = create(&b, chunker).await;
        for path in [&first, &second] {
            let original = backup(&from, path).await.unwrap();
            let report = copy(&from, &to).await;
            let copied = report.copied[0].snapshot.clone();
            let digests =
                |s: &Snapshot| s.roots.iter().map(|r| (r.name.clone(), r.records, r.digest.clone())).collect();
            let (theirs, ours): (Vec<_>, Vec<_>) = (digests(&original.snapshot), digests(&copied));
            assert_eq!(theirs, ours);
            let native = backup(&to, path).await.unwrap();
            assert_eq!(native.snapshot.roots, copied.roots);
            assert_eq!(native.snapshot.statistics.blobs_added, 0);
            let mut summary = native.clone();
            summary.snapshot = copied;
            assert_restores(&to, &summary, path).await;
            assert!(verify(&to, &native).await.unwrap().is_sound());
        }
        assert!(check_all(&to).await.is_sound());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_copied_with_their_parents_and_tags() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in.edn");
    let (a, b) = (SimulatedBackend::new(), SimulatedBackend::new());
    let from = create_on(Arc::new(a.clone())).await;
    let to = create(&b, SMALL).await;
    let mut originals = Vec::new();
    for day in 1..=3 {
        write_history(&source, 1, day, 300);
        originals.push(backup(&from, &source).await.unwrap());
    }
    let report = copy(&from, &to).await;
    assert_eq!(
        report.copied.iter().map(|c| c.source).collect::<Vec<_>>(),
        originals.iter().map(|o| o.snapshot.id).collect::<Vec<_>>()
    );
    let copies = snapshots(&to).await;
    assert_eq!(copies[2].parent, Some(copies[1].id));
    assert!(copies[2].previous.is_some() && copies[2].previous != originals[2].snapshot.previous);
    assert!(check_all(&to).await.findings.is_empty());
    // Another tag is another snapshot: it is copied again, at the cost of its own object.
    let change = TagChange { add: vec!["kept".to_owned()], ..TagChange::default() };
    let options = TagOptions { ids: vec![originals[2].snapshot.id], change, ..TagOptions::default() };
    ops::tag(&from, options, Arc::new(Silent)).await.unwrap();
    let report = copy(&from, &to).await;
    assert_eq!((report.copied.len(), report.present.len()), (1, 2));
    assert_eq!(report.copied[0].snapshot.tags, ["kept"]);
    assert_eq!((report.written.blobs_added, report.bytes_read), (0, 0));
    // Without what it was compared with, everything is read, and stored only where it is not there.
    forget(&from, &originals[0]).await.unwrap();
    forget(&from, &originals[1]).await.unwrap();
    write_history(&source, 1, 4, 300);
    let last = backup(&from, &source).await.unwrap();
    let report = copy(&from, &to).await;
    assert_eq!(report.copied.len(), 1);
    let out = folder.path().join("out.edn");
    let mut copied = last;
    copied.snapshot = report.copied[0].snapshot.clone();
    fixtures::restore(&to, &copied, &out, whole(View::History, Format::Edn)).await.unwrap();
    assert_eq!(sorted_lines(&out), sorted_lines(&source));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_only_tells() {
    let folder = tree();
    let (a, b) = (SimulatedBackend::new(), SimulatedBackend::new());
    let from = create_on(Arc::new(a.clone())).await;
    let to = create(&b, SMALL).await;
    back_up_files(&from, folder.path()).await;
    let before = b.snapshot();
    let options = CopyOptions { dry_run: true, ..CopyOptions::default() };
    let report = ops::copy(&from, &to, options, Arc::new(Silent)).await.unwrap();
    assert_eq!((report.copied.len(), report.bytes_read), (1, 0));
    assert_eq!(b.snapshot(), before);
}
