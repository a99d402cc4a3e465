//! Differences between snapshots.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use packstone::ErrorKind;
use packstone::id::SnapshotId;
use packstone::ops::{self, BackupSummary, Difference};
use packstone::record::datom::edn;
use packstone::repository::Repository;

use crate::fixtures::{backup, create, noise, open, sorted_lines, verify, write_documents, write_history};

async fn lines(repository: &Repository, a: &BackupSummary, b: &BackupSummary) -> Vec<(bool, String)> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&found);
    let summary = ops::diff(repository, a.snapshot.id, b.snapshot.id, None, move |difference, datom| {
        let mut text = Vec::new();
        edn::print_datom(datom, &mut text);
        let text = String::from_utf8(text).unwrap();
        sink.lock().unwrap().push((difference == Difference::Added, text.trim_end().to_owned()));
        Ok(())
    })
    .await
    .unwrap();
    let mut found = found.lock().unwrap().clone();
    assert_eq!(summary.added, found.iter().filter(|(added, _)| *added).count() as u64);
    assert_eq!(summary.removed, found.iter().filter(|(added, _)| !*added).count() as u64);
    assert_eq!((summary.exceptions_added, summary.exceptions_removed), (0, 0));
    found.sort();
    found
}

fn expected(a: &Path, b: &Path) -> Vec<(bool, String)> {
    let (a, b): (BTreeSet<_>, BTreeSet<_>) =
        (sorted_lines(a).into_iter().collect(), sorted_lines(b).into_iter().collect());
    let removed = a.difference(&b).map(|line| (false, line.clone()));
    let added = b.difference(&a).map(|line| (true, line.clone()));
    let mut all: Vec<_> = removed.chain(added).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_what_the_inputs_differ_in() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let (a, b) = (folder.path().join("a.edn"), folder.path().join("b.edn"));
    write_documents(&a, 1, 30);
    let mut text: Vec<String> = sorted_lines(&a);
    text.retain(|line| !line.starts_with("[7 "));
    text.push(format!("[7 :doc/text \"{}\" 536870914 true]", noise(99, 5000)));
    std::fs::write(&b, text.join("\n")).unwrap();
    let (first, second) = (backup(&repository, &a).await.unwrap(), backup(&repository, &b).await.unwrap());
    assert_eq!(lines(&repository, &first, &second).await, expected(&a, &b));
    assert_eq!(lines(&repository, &second, &first).await, expected(&b, &a));
    assert!(lines(&repository, &first, &first).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn little_more_is_read_than_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let (a, b) = (folder.path().join("a.edn"), folder.path().join("b.edn"));
    write_history(&a, 1, 40, 2000);
    write_history(&b, 1, 41, 2000);
    let repository = create(&path).await;
    let (first, second) = (backup(&repository, &a).await.unwrap(), backup(&repository, &b).await.unwrap());
    let repository = open(&path).await;
    let before = repository.store().requests().read_bytes;
    assert_eq!(lines(&repository, &first, &second).await.len(), 2001);
    let diff_bytes = repository.store().requests().read_bytes - before;
    let before = repository.store().requests().read_bytes;
    assert!(verify(&repository, &second).await.unwrap().is_sound());
    let all_bytes = repository.store().requests().read_bytes - before;
    assert!(diff_bytes * 4 < all_bytes, "{diff_bytes} of {all_bytes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_not_there_cannot_be_compared() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let id = SnapshotId::new([1; 16]);
    let result = ops::diff(&repository, id, id, None, |_, _| Ok(())).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
}
