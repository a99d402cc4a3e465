//! Removing what nothing needs, and nothing else.

use std::path::Path;
use std::sync::Arc;

use packstone::ops::{self, PruneOptions, View};
use packstone::progress::Silent;
use packstone::repository::Repository;
use packstone::target::datoms::Format;

use crate::fixtures::{backup, create, fixture, forget, open, restore, sorted_lines, whole, write_history};

async fn prune(repository: &Repository) -> ops::PruneReport {
    ops::prune(repository, PruneOptions::default(), Arc::new(Silent)).await.unwrap()
}

fn packs_on_disk(path: &Path) -> usize {
    let folders = std::fs::read_dir(path.join("packs")).unwrap();
    folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_forgotten_snapshot_reached_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let repository = create(&path).await;
    let (first, second) = (folder.path().join("1.edn"), folder.path().join("2.edn"));
    write_history(&first, 1, 3, 4000);
    write_history(&second, 2, 3, 4000);
    let gone = backup(&repository, &first).await.unwrap();
    let kept = backup(&repository, &second).await.unwrap();
    assert_eq!(packs_on_disk(&path), 2);
    let untouched = prune(&repository).await;
    assert_eq!((untouched.packs_removed, untouched.unused_bytes), (0, 0));
    forget(&repository, &gone).await.unwrap();
    let report = prune(&repository).await;
    assert_eq!(report.packs_removed, 1);
    assert_eq!(packs_on_disk(&path), 1);
    let repository = open(&path).await;
    let out = folder.path().join("out.edn");
    restore(&repository, &kept, &out, whole(View::History, Format::Edn)).await.unwrap();
    assert_eq!(sorted_lines(&out), sorted_lines(&second));
    assert!(
        restore(&repository, &gone, &folder.path().join("no.edn"), whole(View::History, Format::Edn)).await.is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_packs_become_few_and_everything_still_restores() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let repository = create(&path).await;
    let source = folder.path().join("growing.edn");
    let mut summaries = Vec::new();
    for day in 1..=15 {
        write_history(&source, 7, day, 500);
        summaries.push(backup(&repository, &source).await.unwrap());
    }
    assert_eq!(packs_on_disk(&path), 15);
    let report = prune(&repository).await;
    assert!(report.packs_repacked >= 15, "{report:?}");
    assert_eq!(packs_on_disk(&path), 1);
    let repository = open(&path).await;
    for (day, summary) in (1..=15).zip(&summaries) {
        write_history(&source, 7, day, 500);
        let out = folder.path().join(format!("out-{day}.edn"));
        restore(&repository, summary, &out, whole(View::History, Format::Edn)).await.unwrap();
        assert_eq!(sorted_lines(&out), sorted_lines(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let repository = create(&path).await;
    let summary = backup(&repository, &fixture("a-small-history/datoms-history.edn")).await.unwrap();
    forget(&repository, &summary).await.unwrap();
    let plan = ops::prune(&repository, PruneOptions { dry_run: true, ..PruneOptions::default() }, Arc::new(Silent))
        .await
        .unwrap();
    assert_eq!((plan.packs_dead, plan.packs_removed), (1, 0));
    assert_eq!(packs_on_disk(&path), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_prune_ever_shrinks_what_a_snapshot_reaches() {
    for seed in 0..6_u64 {
        let folder = tempfile::tempdir().unwrap();
        let repository = create(&folder.path().join("repository")).await;
        let mut live = Vec::new();
        let mut state = seed;
        let mut choose = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for step in 0..24 {
            match choose(4) {
                0 if live.len() > 1 => {
                    let summary = live.swap_remove(choose(live.len() as u64) as usize);
                    forget(&repository, &summary).await.unwrap();
                }
                1 => {
                    let max_unused_percent = [0.0, 5.0, 40.0][choose(3) as usize];
                    let options = PruneOptions { max_unused_percent, ..PruneOptions::default() };
                    ops::prune(&repository, options, Arc::new(Silent)).await.unwrap();
                    for summary in &live {
                        let report = ops::verify(&repository, summary.snapshot.id, Arc::new(Silent)).await.unwrap();
                        let records = summary.snapshot.roots.iter().map(|root| root.records).sum::<u64>();
                        assert!(report.is_sound() && report.records == records, "seed {seed}, step {step}: {report:?}");
                    }
                }
                _ => {
                    let source = folder.path().join("in.edn");
                    write_history(&source, choose(2), 1 + choose(4), 50 + choose(400));
                    live.push(backup(&repository, &source).await.unwrap());
                }
            }
        }
    }
}
