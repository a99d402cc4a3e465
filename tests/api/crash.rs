//! The process dies at any write: what was acknowledged stays, and the next run goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use packstone::backend::{SimulatedBackend, StoppedWrite};
use packstone::format::{Snapshot, Status};
use packstone::ops::{self, BackupOptions, DatomsSource, PruneOptions, Source};
use packstone::progress::Silent;
use packstone::source::datoms::Location;

use crate::fixtures::{assert_restores, backup, create_on, forget, open_on, options, write_history};

/// More writes than any operation here makes.
const MANY: u64 = 500;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_dies_at_any_write_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1.edn"), folder.path().join("2.edn"));
    write_history(&first, 1, 2, 700);
    write_history(&second, 1, 4, 700);
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let acknowledged = backup(&repository, &first).await.unwrap();
    let before = backend.snapshot();
    for fate in [StoppedWrite::Dropped, StoppedWrite::Applied] {
        for partial_every in [Duration::MAX, Duration::ZERO] {
            for n in 0.. {
                assert!(n < MANY, "the backup never ends");
                backend.restore_state(before.clone());
                backend.stop_after_writes(n, fate);
                let repository = open_on(Arc::new(backend.clone())).await.unwrap();
                let died = back_up_with(&repository, &second, partial_every).await.is_err();
                let was_stopped = backend.is_stopped();
                backend.heal();
                let repository = open_on(Arc::new(backend.clone())).await.unwrap();
                assert_restores(&repository, &acknowledged, &first).await;
                let again = backup(&repository, &second).await.unwrap();
                assert_restores(&repository, &again, &second).await;
                assert!(died || !was_stopped, "a backup that could not finish said that it had");
                if !was_stopped {
                    break;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_goes_on_after_any_failed_write_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1.edn"), folder.path().join("2.edn"));
    write_history(&first, 1, 2, 700);
    write_history(&second, 1, 4, 700);
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    backup(&repository, &first).await.unwrap();
    let before = backend.snapshot();
    let packs = || backend.paths().iter().filter(|path| path.as_str().starts_with("packs/")).count();
    let mut orphans_removed = 0;
    let cases = [(StoppedWrite::Dropped, false), (StoppedWrite::Applied, false), (StoppedWrite::Dropped, true)];
    for (fate, prunes) in cases {
        for n in 0.. {
            assert!(n < MANY, "the backup never ends");
            backend.restore_state(before.clone());
            let repository = open_on(Arc::new(backend.clone())).await.unwrap();
            backend.stop_after_writes(n, fate);
            let _ = back_up_with(&repository, &second, Duration::MAX).await;
            let was_stopped = backend.is_stopped();
            backend.heal();
            let stored = packs();
            for _ in 0..u8::from(prunes) * 3 {
                // Somebody else takes for an orphan what no index object lists.
                let other = open_on(Arc::new(backend.clone())).await.unwrap();
                let options = PruneOptions { idle_limit: Duration::ZERO, ..PruneOptions::default() };
                ops::prune(&other, options, Arc::new(Silent)).await.unwrap();
            }
            orphans_removed += stored - packs();
            // What it remembers of the attempt that failed must not count as stored.
            let again = backup(&repository, &second).await.unwrap();
            let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
            assert_restores(&fresh, &again, &second).await;
            let report = ops::check(&fresh, ops::CheckOptions::default(), Arc::new(Silent)).await.unwrap();
            assert!(report.is_sound(), "after {n} writes: {:?}", report.findings);
            if !was_stopped {
                break;
            }
        }
    }
    assert!(orphans_removed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_that_dies_at_any_write_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let mut kept = Vec::new();
    for day in 1..=14 {
        let source = folder.path().join(format!("{day}.edn"));
        write_history(&source, 1 + day / 5, day, 60);
        let summary = backup(&repository, &source).await.unwrap();
        if day % 3 == 0 { forget(&repository, &summary).await.unwrap() } else { kept.push((source, summary)) }
    }
    let before = backend.snapshot();
    for fate in [StoppedWrite::Dropped, StoppedWrite::Applied] {
        for n in 0.. {
            assert!(n < MANY, "the prune never ends");
            backend.restore_state(before.clone());
            backend.stop_after_writes(n, fate);
            let repository = open_on(Arc::new(backend.clone())).await.unwrap();
            let died = ops::prune(&repository, PruneOptions::default(), Arc::new(Silent)).await.is_err();
            let was_stopped = backend.is_stopped();
            backend.heal();
            let repository = open_on(Arc::new(backend.clone())).await.unwrap();
            for (source, summary) in &kept {
                assert_restores(&repository, summary, source).await;
            }
            let report = ops::prune(&repository, PruneOptions::default(), Arc::new(Silent)).await.unwrap();
            assert_eq!(report.packs_waiting, 0);
            for (source, summary) in [&kept[0], &kept[kept.len() - 1]] {
                assert_restores(&repository, summary, source).await;
            }
            assert!(died || !was_stopped, "a prune that could not finish said that it had");
            if !was_stopped {
                break;
            }
        }
    }
}

async fn back_up_with(
    repository: &packstone::repository::Repository,
    path: &Path,
    partial_every: Duration,
) -> packstone::Result<ops::BackupSummary> {
    let source = Source::Datoms(DatomsSource::new(Location::Path(path.to_owned())));
    let options = BackupOptions { partial_every, ..options() };
    ops::backup(repository, source, options, Arc::new(Silent)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_continues_from_the_last_partial_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in.edn");
    write_history(&source, 1, 4, 60_000);
    let backend = SimulatedBackend::new();
    let whole = {
        let other = SimulatedBackend::new();
        let repository = create_on(Arc::new(other)).await;
        backup(&repository, &source).await.unwrap().snapshot.statistics
    };
    let repository = create_on(Arc::new(backend.clone())).await;
    // Three partial snapshots are due, at about five writes each; it dies after the second.
    backend.stop_after_writes(13, StoppedWrite::Dropped);
    assert!(back_up_with(&repository, &source, Duration::ZERO).await.is_err());
    backend.heal();
    let repository = open_on(Arc::new(backend.clone())).await.unwrap();
    let partial = live(&repository).await.pop().expect("a partial snapshot was left behind");
    assert_eq!(partial.status, Status::Partial);
    let report = ops::verify(&repository, partial.id, Arc::new(Silent)).await.unwrap();
    assert!(report.is_sound() && report.records == partial.roots[0].records, "{report:?}");
    let again = backup(&repository, &source).await.unwrap();
    let added = again.snapshot.statistics.bytes_added;
    let share = partial.roots[0].records as f64 / again.snapshot.roots[0].records as f64;
    assert!(share > 0.2, "{share}");
    assert!((added as f64) < whole.bytes_added as f64 * (1.1 - share), "{added} of {} again", whole.bytes_added);
    assert_restores(&repository, &again, &source).await;
    let left: Vec<Status> = live(&repository).await.into_iter().map(|snapshot| snapshot.status).collect();
    assert_eq!(left, [Status::Complete], "the complete snapshot replaces the partial ones");
}

async fn live(repository: &packstone::repository::Repository) -> Vec<Snapshot> {
    let repository = repository.clone();
    tokio::task::spawn_blocking(move || repository.snapshots().unwrap().into_live().unwrap()).await.unwrap()
}
