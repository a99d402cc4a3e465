//! Forgetting by rules and by name.

use std::path::Path;
use std::sync::Arc;

use packstone::ErrorKind;
use packstone::backend::{Damage, SimulatedBackend};
use packstone::format::ObjectPath;
use packstone::id::SnapshotId;
use packstone::ops::{self, BackupOptions, ForgetOptions, ForgetReport};
use packstone::progress::Silent;
use packstone::repository::Repository;
use packstone::retention::{Count, KeepPolicy};

use crate::fixtures::{backup_with, blocking, check_all, create_on, open_on, options, write_history};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Ten days of the label `a`, three of the label `b`, oldest first.
async fn days(folder: &Path) -> (SimulatedBackend, Repository, Vec<SnapshotId>) {
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let source = folder.join("source.edn");
    write_history(&source, 1, 2, 10);
    let mut ids = Vec::new();
    for (label, count) in [("a", 10), ("b", 3)] {
        for day in 0..count {
            let tags = if day == 1 { vec!["pinned".to_owned()] } else { Vec::new() };
            let options = BackupOptions {
                label: Some(label.to_owned()),
                time_ms: Some(1_700_000_000_000 + day * DAY_MS),
                tags,
                ..options()
            };
            ids.push(backup_with(&repository, &source, options).await.snapshot.id);
        }
    }
    (backend, repository, ids)
}

async fn forget(repository: &Repository, options: ForgetOptions) -> packstone::Result<ForgetReport> {
    ops::forget(repository, options, Arc::new(Silent)).await
}

async fn live(repository: &Repository) -> Vec<SnapshotId> {
    let repository = repository.clone();
    blocking(move || repository.snapshots().unwrap().live().iter().map(|snapshot| snapshot.id).collect()).await
}

fn last(count: u32) -> KeepPolicy {
    KeepPolicy { last: Count::Some(count), ..KeepPolicy::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_apply_to_each_host_and_label_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (_, repository, ids) = days(folder.path()).await;
    let policy = KeepPolicy { tags: vec![vec!["pinned".to_owned()]], ..last(2) };
    let plan = forget(&repository, ForgetOptions { policy, dry_run: true, ..ForgetOptions::default() }).await.unwrap();
    assert_eq!(live(&repository).await.len(), 13);
    let policy = KeepPolicy { tags: vec![vec!["pinned".to_owned()]], ..last(2) };
    let report = forget(&repository, ForgetOptions { policy, ..ForgetOptions::default() }).await.unwrap();
    for report in [&plan, &report] {
        let shape: Vec<_> = report.groups.iter().map(|g| (g.label.as_str(), g.keep.len(), g.remove.len())).collect();
        assert_eq!(shape, [("a", 3, 7), ("b", 2, 1)]);
        let newest = &report.groups[0].keep[0];
        assert_eq!((newest.0.id, newest.1.as_slice()), (ids[9], ["last snapshot".to_owned()].as_slice()));
        assert_eq!(report.groups[0].keep[2].1, ["has tags [pinned]"]);
    }
    let mut kept = vec![ids[1], ids[8], ids[9], ids[11], ids[12]];
    let mut found = live(&repository).await;
    kept.sort();
    found.sort();
    assert_eq!(found, kept);
    assert!(check_all(&repository).await.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_leave_other_groups_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (_, repository, ids) = days(folder.path()).await;
    let options = ForgetOptions { policy: last(1), labels: vec!["b".to_owned()], ..ForgetOptions::default() };
    let report = forget(&repository, options).await.unwrap();
    assert_eq!(report.groups.len(), 1);
    let found = live(&repository).await;
    assert_eq!(found.len(), 11);
    assert!(ids[..10].iter().chain(&ids[12..]).all(|id| found.contains(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn named_snapshots_go_whatever_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let (_, repository, ids) = days(folder.path()).await;
    let options = ForgetOptions { ids: vec![ids[9], ids[10]], policy: last(100), ..ForgetOptions::default() };
    let report = forget(&repository, options.clone()).await.unwrap();
    let removed: Vec<_> = report.groups.iter().flat_map(|g| g.remove.iter().map(|s| s.id)).collect();
    assert_eq!(removed, [ids[9], ids[10]]);
    assert_eq!(live(&repository).await.len(), 11);
    let again = forget(&repository, options).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    let missing = ForgetOptions { ids: vec![ids[0], SnapshotId::new([1; 16])], ..ForgetOptions::default() };
    assert_eq!(forget(&repository, missing).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(live(&repository).await.len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_forgotten_without_rules_or_with_a_damaged_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let (backend, repository, ids) = days(folder.path()).await;
    let none = forget(&repository, ForgetOptions::default()).await;
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Usage);
    let damaged = ObjectPath::snapshot(ids[4]);
    backend.damage(&damaged, Damage::Flip(100));
    let before = backend.snapshot();
    // One that has seen it whole would know what it said.
    let repository = open_on(Arc::new(backend.clone())).await.unwrap();
    let error = forget(&repository, ForgetOptions { policy: last(1), ..ForgetOptions::default() }).await.unwrap_err();
    assert_eq!((error.kind(), error.object()), (ErrorKind::Damaged, damaged.as_str()));
    assert!(backend.snapshot() == before);
}
