//! Snapshots made of others: tags changed, paths taken out of history.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packstone::ErrorKind;
use packstone::backend::{SimulatedBackend, StoppedWrite};
use packstone::format::Snapshot;
use packstone::id::SnapshotId;
use packstone::ops::{self, FileTree, FilesSource, Parent, RewriteOptions, Source, TagChange, TagOptions};
use packstone::progress::Silent;
use packstone::record::entry::path_of_key;
use packstone::repository::Repository;

use crate::fixtures::{backup, blocking, check_all, create_on, open_on, options, write_history};

async fn back_up_files(repository: &Repository, path: &Path) -> Snapshot {
    let options = ops::BackupOptions { parent: Parent::None, ..options() };
    let source = Source::Files(FilesSource::new(vec![path.to_owned()]));
    ops::backup(repository, source, options, Arc::new(Silent)).await.unwrap().snapshot
}

async fn live(repository: &Repository) -> Vec<Snapshot> {
    let repository = repository.clone();
    blocking(move || repository.snapshots().unwrap().into_live().unwrap()).await
}

async fn paths(repository: &Repository, id: SnapshotId) -> BTreeSet<PathBuf> {
    let repository = repository.clone();
    blocking(move || {
        let tree = FileTree::open(&repository, id).unwrap();
        tree.walk(b"").unwrap().map(|entry| path_of_key(&entry.unwrap().0)).collect()
    })
    .await
}

fn tags(add: &[&str]) -> TagChange {
    TagChange { add: add.iter().map(|&tag| tag.to_owned()).collect(), ..TagChange::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_makes_another_snapshot_of_the_same_trees() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in.edn");
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    for day in 1..=3 {
        write_history(&source, 1, day, 20);
        backup(&repository, &source).await.unwrap();
    }
    let before = live(&repository).await;
    let options = TagOptions { change: tags(&["b", "a"]), ..TagOptions::default() };
    let report = ops::tag(&repository, options.clone(), Arc::new(Silent)).await.unwrap();
    assert_eq!((report.changed.len(), report.unchanged), (3, 0));
    let after = live(&repository).await;
    for (old, new) in before.iter().zip(&after) {
        assert_ne!(old.id, new.id);
        assert_eq!(new.tags, ["a", "b"]);
        assert!(new.properties.contains(&("original".to_owned(), old.id.to_string())));
        let same = Snapshot {
            id: old.id,
            tags: old.tags.clone(),
            properties: old.properties.clone(),
            gc_checked: old.gc_checked,
            ..new.clone()
        };
        assert_eq!(&same, old);
    }
    assert!(check_all(&repository).await.findings.is_empty());
    let again = ops::tag(&repository, options, Arc::new(Silent)).await.unwrap();
    assert_eq!((again.changed.len(), again.unchanged), (0, 3));
    let more = TagOptions { ids: vec![after[0].id], change: tags(&["c"]), ..TagOptions::default() };
    ops::tag(&repository, more, Arc::new(Silent)).await.unwrap();
    let original = ("original".to_owned(), before[0].id.to_string());
    assert!(live(&repository).await.iter().any(|s| s.tags.len() == 3 && s.properties.contains(&original)));
    let nothing = ops::tag(&repository, TagOptions::default(), Arc::new(Silent)).await;
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::Usage);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_dies_at_any_write_loses_no_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in.edn");
    write_history(&source, 1, 2, 20);
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let summary = backup(&repository, &source).await.unwrap();
    let before = backend.snapshot();
    for n in 0.. {
        assert!(n < 50, "it never ends");
        backend.restore_state(before.clone());
        backend.stop_after_writes(n, StoppedWrite::Dropped);
        let repository = open_on(Arc::new(backend.clone())).await.unwrap();
        let options = TagOptions { change: tags(&["x"]), ..TagOptions::default() };
        let died = ops::tag(&repository, options.clone(), Arc::new(Silent)).await.is_err();
        let stopped = backend.is_stopped();
        backend.heal();
        let repository = open_on(Arc::new(backend.clone())).await.unwrap();
        let found = live(&repository).await;
        assert!(!found.is_empty() && found.iter().all(|s| s.roots == summary.snapshot.roots));
        assert!(died || !stopped);
        if !stopped {
            break;
        }
    }
}

fn plant(folder: &Path, files: &[&str]) {
    for file in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{file} {}", "x".repeat(300))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_snapshot_is_one_without_the_paths() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    let repository = create_on(Arc::new(SimulatedBackend::new())).await;
    plant(&root, &["keep/1", "keep/secret.txt", "cache/a", "cache/deep/b", "z"]);
    let first = back_up_files(&repository, &root).await;
    plant(&root, &["cache/c", "more/secret.txt", "more/2"]);
    fs::remove_file(root.join("z")).unwrap();
    let second = back_up_files(&repository, &root).await;
    let third = back_up_files(&repository, &root).await;
    let options = RewriteOptions {
        excludes: vec!["cache/".to_owned()],
        iexcludes: vec!["SECRET.*".to_owned()],
        ..RewriteOptions::default()
    };
    let dry = RewriteOptions { dry_run: true, ..options.clone() };
    let told = ops::rewrite(&repository, dry, Arc::new(Silent)).await.unwrap();
    assert_eq!(live(&repository).await.len(), 3);
    let done = ops::rewrite(&repository, options.clone(), Arc::new(Silent)).await.unwrap();
    let counts = |report: &ops::RewriteReport| -> Vec<(u64, u64)> {
        report.rewritten.iter().map(|r| (r.entries_removed, r.bytes_removed)).collect()
    };
    assert_eq!(counts(&told), counts(&done));
    assert_eq!(counts(&done).iter().map(|c| c.0).collect::<Vec<_>>(), [5, 7, 7]);
    for (old, rewritten) in [&first, &second, &third].into_iter().zip(&done.rewritten) {
        let new = &rewritten.replaced.new;
        assert_eq!((rewritten.replaced.old.id, &new.tags[..]), (old.id, &["rewrite".to_owned()][..]));
        let expected: BTreeSet<PathBuf> = paths(&repository, old.id)
            .await
            .into_iter()
            .filter(|path| !path.starts_with(root.join("cache")) && path.file_name().is_none_or(|n| n != "secret.txt"))
            .collect();
        assert_eq!(paths(&repository, new.id).await, expected);
    }
    // What is left is what a backup of that would be.
    fs::remove_dir_all(root.join("cache")).unwrap();
    let again = ops::rewrite(&repository, options.clone(), Arc::new(Silent)).await.unwrap();
    assert_eq!((again.rewritten.len(), again.unchanged), (0, 6), "done already, and nothing left to do");
    let forgetting = RewriteOptions { forget: true, ids: vec![first.id], ..options };
    ops::rewrite(&repository, forgetting, Arc::new(Silent)).await.unwrap();
    let left = live(&repository).await;
    assert!(left.iter().all(|s| s.id != first.id) && left.len() == 6);
    assert!(check_all(&repository).await.findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn host_time_and_tags_can_change_without_paths() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create_on(Arc::new(SimulatedBackend::new())).await;
    plant(folder.path(), &["a"]);
    let old = back_up_files(&repository, folder.path()).await;
    let options = RewriteOptions {
        host: Some("other".to_owned()),
        time_ms: Some(1_000),
        tags: tags(&["x"]),
        forget: true,
        ..RewriteOptions::default()
    };
    ops::rewrite(&repository, options, Arc::new(Silent)).await.unwrap();
    let [new] = &live(&repository).await[..] else { panic!("one snapshot is left") };
    assert_eq!((new.host.as_str(), new.time_ms, &new.tags[..]), ("other", 1_000, &["x".to_owned()][..]));
    assert_eq!(new.roots, old.roots);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_not_taken_out_of_datoms() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in.edn");
    write_history(&source, 1, 1, 20);
    let repository = create_on(Arc::new(SimulatedBackend::new())).await;
    let summary = backup(&repository, &source).await.unwrap();
    let options = RewriteOptions { excludes: vec!["x".to_owned()], ..RewriteOptions::default() };
    let report = ops::rewrite(&repository, options.clone(), Arc::new(Silent)).await.unwrap();
    assert_eq!((report.rewritten.len(), report.unchanged), (0, 1));
    let named = RewriteOptions { ids: vec![summary.snapshot.id], ..options };
    let refused = ops::rewrite(&repository, named, Arc::new(Silent)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Usage);
}
