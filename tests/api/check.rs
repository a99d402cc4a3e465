//! Auditing and repairing: what is wrong is told apart from what is waste, and whom it harms is known.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packstone::ErrorKind;
use packstone::backend::{Backend, SimulatedBackend};
use packstone::format::{ObjectPath, RetentionClass};
use packstone::ops::{self, BackupSummary, CheckOptions, ReadData};
use packstone::progress::Silent;
use packstone::repository::{Repository, WriterOptions};

use crate::fixtures::{
    assert_restores, backup, blocking, check_all, create, create_on, fixture, forget, open, open_on, verify,
    write_documents, write_history,
};

async fn two_days(repository: &Repository, folder: &Path) -> Vec<(BackupSummary, PathBuf)> {
    let mut days = Vec::new();
    for seed in 1..=2 {
        let source = folder.join(format!("{seed}.edn"));
        write_documents(&source, seed, 20);
        days.push((backup(repository, &source).await.unwrap(), source));
    }
    days
}

fn packs(backend: &SimulatedBackend) -> Vec<ObjectPath> {
    backend.paths().into_iter().filter(|path| path.as_str().starts_with("packs/")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_repository_has_no_findings() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let summary = backup(&repository, &fixture("a-small-history/datoms-history.edn")).await.unwrap();
    let report = check_all(&repository).await;
    assert!(report.findings.is_empty() && report.harmed.is_empty(), "{report:?}");
    assert_eq!((report.snapshots, report.packs_read), (1, report.packs));
    assert!(report.blobs > 0 && report.bytes_read > 0, "{report:?}");
    let verified = verify(&repository, &summary).await.unwrap();
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(verified.records, summary.snapshot.roots.iter().map(|root| root.records).sum::<u64>());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reading_data_a_missing_pack_is_found_and_the_harmed_snapshots_named() {
    let folder = tempfile::tempdir().unwrap();
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let days = two_days(&repository, folder.path()).await;
    let third = backup(&repository, &days[0].1).await.unwrap();
    let healthy = backend.snapshot();
    let mut harmed_at_all = 0;
    for path in packs(&backend) {
        backend.delete(&path).await.unwrap();
        let report = ops::check(&repository, CheckOptions::default(), Arc::new(Silent)).await.unwrap();
        assert!(report.findings.iter().any(|f| f.is_damage && f.object == path.as_str()), "{path}: {report:?}");
        let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
        for summary in [&days[0].0, &days[1].0, &third] {
            let is_harmed = report.harmed.iter().any(|(id, count)| *id == summary.snapshot.id && *count > 0);
            assert_eq!(verify(&fresh, summary).await.unwrap().is_sound(), !is_harmed, "{path}: {report:?}");
            harmed_at_all += u64::from(is_harmed);
        }
        // The first and the third snapshot are the same data.
        let harmed = |s: &BackupSummary| report.harmed.iter().find(|(id, _)| *id == s.snapshot.id).map(|(_, n)| *n);
        assert_eq!(harmed(&days[0].0), harmed(&third));
        backend.restore_state(healthy.clone());
    }
    assert!(harmed_at_all >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_over_is_not_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let repository = create(&path).await;
    let days = two_days(&repository, folder.path()).await;
    forget(&repository, &days[0].0).await.unwrap();
    std::fs::write(path.join("Some File.TXT"), "x").unwrap();
    std::fs::write(path.join("packs/notes"), "x").unwrap();
    let orphan = path.join("packs/00").join("0".repeat(64));
    std::fs::write(&orphan, "not even a pack").unwrap();
    {
        let repository = repository.clone();
        blocking(move || drop(repository.register_session().unwrap())).await;
    }
    let report = check_all(&repository).await;
    assert!(report.is_sound() && report.suggest_prune && !report.suggest_repair_index, "{report:?}");
    let mut objects: Vec<_> = report.findings.iter().map(|finding| finding.object.as_str()).collect();
    objects.sort_unstable();
    let orphan = format!("packs/00/{}", "0".repeat(64));
    assert_eq!(objects, ["Some File.TXT", &orphan, "packs/notes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_object_that_vanished_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let days = two_days(&repository, folder.path()).await;
    let healthy = backend.snapshot();
    forget(&repository, &days[0].0).await.unwrap();
    assert!(check_all(&repository).await.findings.is_empty());
    backend.restore_state(healthy);
    backend.delete(&ObjectPath::snapshot(days[0].0.snapshot.id)).await.unwrap();
    let report = check_all(&repository).await;
    assert!(report.is_sound());
    let successor = ObjectPath::snapshot(days[1].0.snapshot.id);
    assert!(report.findings.iter().any(|finding| finding.object == successor.as_str()), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_the_data_add_up_to_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    two_days(&repository, folder.path()).await;
    let all = check_all(&repository).await;
    let mut read = 0;
    for n in 1..=3 {
        let options = CheckOptions { read_data: ReadData::Part { n, of: 3 }, ..CheckOptions::default() };
        read += ops::check(&repository, options, Arc::new(Silent)).await.unwrap().packs_read;
    }
    assert_eq!(read, all.packs);
    let options = CheckOptions { read_data: ReadData::Bytes(1), ..CheckOptions::default() };
    assert_eq!(ops::check(&repository, options, Arc::new(Silent)).await.unwrap().packs_read, 1);
    let options = CheckOptions { read_data: ReadData::Part { n: 4, of: 3 }, ..CheckOptions::default() };
    assert_eq!(ops::check(&repository, options, Arc::new(Silent)).await.unwrap_err().kind(), ErrorKind::Usage);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_without_index_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let days = two_days(&create(&path).await, folder.path()).await;
    std::fs::remove_dir_all(path.join("index")).unwrap();
    let repository = open(&path).await;
    let report = check_all(&repository).await;
    assert!(!report.is_sound() && report.suggest_repair_index && !report.suggest_prune, "{report:?}");
    assert_eq!(report.harmed.len(), 2);
    let plan = ops::repair_index(&repository, true, Arc::new(Silent)).await.unwrap();
    assert!(!check_all(&repository).await.is_sound());
    let repaired = ops::repair_index(&repository, false, Arc::new(Silent)).await.unwrap();
    assert_eq!((plan.packs, plan.blobs), (repaired.packs, repaired.blobs));
    assert!(repaired.packs >= 4 && repaired.damaged.is_empty(), "{repaired:?}");
    let repository = open(&path).await;
    let report = check_all(&repository).await;
    assert!(report.findings.is_empty(), "{report:?}");
    for (summary, source) in &days {
        assert_restores(&repository, summary, source).await;
    }
    assert!(backup(&repository, &days[1].1).await.unwrap().committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn repairing_replaces_the_index_and_leaves_damaged_packs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let days = two_days(&repository, folder.path()).await;
    let packs = packs(&backend);
    backend.damage(&packs[0], packstone::backend::Damage::Truncate(100));
    let report = ops::repair_index(&repository, false, Arc::new(Silent)).await.unwrap();
    assert_eq!((report.packs, report.removed), (packs.len() as u64 - 1, 2), "{report:?}");
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].0, packs[0].as_str());
    assert!(backend.paths().contains(&packs[0]));
    assert_eq!(backend.paths().iter().filter(|path| path.as_str().starts_with("index/")).count(), 1);
    assert!(backend.paths().iter().all(|path| !path.as_str().starts_with("sessions/")));
    let report = check_all(&repository).await;
    assert!(!report.is_sound() && !report.harmed.is_empty(), "{report:?}");
    let fresh = open_on(Arc::new(backend)).await.unwrap();
    let sound = [verify(&fresh, &days[0].0).await.unwrap(), verify(&fresh, &days[1].0).await.unwrap()];
    assert_eq!(sound.iter().filter(|report| report.is_sound()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_digests_that_are_not_those_of_the_tree_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let source = folder.path().join("source.edn");
    write_history(&source, 1, 3, 500);
    let summary = backup(&repository, &source).await.unwrap();
    let mut forged = summary.clone();
    forged.snapshot.roots[0].digest[3] ^= 1;
    forged.snapshot.id = {
        let (repository, mut snapshot) = (repository.clone(), forged.snapshot.clone());
        blocking(move || {
            let options = WriterOptions { class: RetentionClass::Standard, ..WriterOptions::default() };
            let mut writer = repository.writer(options).unwrap();
            snapshot.id = writer.id();
            writer.commit(&snapshot).unwrap();
            snapshot.id
        })
        .await
    };
    assert!(verify(&repository, &summary).await.unwrap().is_sound());
    let report = verify(&repository, &forged).await.unwrap();
    assert!(report.damaged.is_empty() && report.mismatches.len() == 1, "{report:?}");
    assert!(report.mismatches[0].contains("digest"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let days = two_days(&repository, folder.path()).await;
    let ids = |count| days[..count].iter().map(|(summary, _)| summary.snapshot.id).collect::<Vec<_>>();
    let one = ops::stats(&repository, ids(1), Arc::new(Silent)).await.unwrap();
    let both = ops::stats(&repository, ids(2), Arc::new(Silent)).await.unwrap();
    assert_eq!((one.snapshots, both.snapshots), (1, 2));
    assert_eq!((one.records, both.records), (41, 82));
    assert!(one.blobs >= 21 && both.blobs > one.blobs, "{one:?} {both:?}");
    assert!(both.stored_bytes <= both.repository_bytes, "{both:?}");
    assert_eq!(both.blob_bytes, days.iter().map(|(s, _)| s.snapshot.statistics.bytes_added).sum::<u64>());
    assert_eq!(both.repository_bytes, both.objects.iter().map(|(_, _, bytes)| bytes).sum::<u64>());
    assert_eq!(both.packs, check_all(&repository).await.packs);
}
