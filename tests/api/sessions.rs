//! Backups and prunes at the same time.

use std::sync::Arc;
use std::time::Duration;

use packstone::backend::SimulatedBackend;
use packstone::ops::{self, PruneOptions, PruneReport};
use packstone::progress::Silent;
use packstone::repository::{Commit, Repository, Writer, WriterOptions};

use crate::fixtures::{assert_restores, backup, blocking, check_all, create_on, forget, open_on, write_history};

async fn prune(repository: &Repository, idle_limit: Duration) -> PruneReport {
    let options = PruneOptions { idle_limit, ..PruneOptions::default() };
    ops::prune(repository, options, Arc::new(Silent)).await.unwrap()
}

/// A store whose clock agrees with this machine's.
fn in_step() -> SimulatedBackend {
    let backend = SimulatedBackend::new();
    backend.set_clock_ms(packstone::repository::machine::now_ms());
    backend
}

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn start(repository: &Repository) -> Writer {
    let repository = repository.clone();
    blocking(move || repository.writer(WriterOptions::default()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_open_session_took_for_known_is_rescued_when_it_commits() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in.edn");
    write_history(&source, 1, 3, 3000);
    let backend = in_step();
    let repository = create_on(Arc::new(backend.clone())).await;
    let first = backup(&repository, &source).await.unwrap();
    let client = open_on(Arc::new(backend.clone())).await.unwrap();
    let mut writer = start(&client).await;
    // The session has read the index: everything of the first snapshot counts as known. Now that is forgotten and pruned.
    forget(&repository, &first).await.unwrap();
    let report = prune(&repository, DAY).await;
    assert!(report.packs_waiting > 0 && report.packs_removed == 0, "{report:?}");
    assert_eq!(report.open_sessions, [writer.id()]);
    let mut second = first.clone();
    second.snapshot.id = writer.id();
    let snapshot = second.snapshot.clone();
    let committed = blocking(move || writer.commit(&snapshot).unwrap()).await;
    assert!(matches!(committed, Commit::Done));
    let report = prune(&repository, DAY).await;
    assert!(report.blobs_rescued > 0 && report.packs_removed > 0, "{report:?}");
    let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
    assert_restores(&fresh, &second, &source).await;
    assert!(check_all(&fresh).await.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_slept_too_long_cannot_commit() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in.edn");
    write_history(&source, 1, 3, 3000);
    let backend = SimulatedBackend::new();
    let repository = create_on(Arc::new(backend.clone())).await;
    let first = backup(&repository, &source).await.unwrap();
    let client = open_on(Arc::new(backend.clone())).await.unwrap();
    let mut writer = start(&client).await;
    let asleep = writer.id();
    forget(&repository, &first).await.unwrap();
    // This store's clock stands at 1970: the session has been idle for longer than any limit.
    let report = prune(&repository, Duration::ZERO).await;
    assert_eq!(report.fenced_sessions, [asleep]);
    assert!(report.packs_removed > 0, "{report:?}");
    let mut snapshot = first.snapshot.clone();
    snapshot.id = asleep;
    let (writer, committed) = blocking(move || {
        let committed = writer.commit(&snapshot).unwrap();
        (writer, committed)
    })
    .await;
    assert!(matches!(committed, Commit::Fenced));
    assert!(writer.id() != asleep && writer.must_check(), "it goes on in a session of its own");
    blocking(move || drop(writer)).await;
    let again = backup(&repository, &source).await.unwrap();
    assert_restores(&repository, &again, &source).await;
    assert!(check_all(&repository).await.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_and_prunes_may_run_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let backend = in_step();
    drop(create_on(Arc::new(backend.clone())).await);
    let mut clients = Vec::new();
    for client in 0..3_u64 {
        let (backend, folder) = (backend.clone(), folder.path().to_owned());
        clients.push(tokio::spawn(async move {
            let repository = open_on(Arc::new(backend)).await.unwrap();
            let mut kept = Vec::new();
            for round in 0..6 {
                let source = folder.join(format!("{client}-{round}.edn"));
                // Clients share most of what they store, so that one counts on what another forgets.
                write_history(&source, round % 2, 2 + round, 400);
                let summary = backup(&repository, &source).await.unwrap();
                if round % 3 == 2 { forget(&repository, &summary).await.unwrap() } else { kept.push((summary, source)) }
            }
            kept
        }));
    }
    let pruner = {
        let backend = backend.clone();
        tokio::spawn(async move {
            let repository = open_on(Arc::new(backend)).await.unwrap();
            for _ in 0..12 {
                let options = PruneOptions { max_unused_percent: 0.0, ..PruneOptions::default() };
                match ops::prune(&repository, options, Arc::new(Silent)).await {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), packstone::ErrorKind::Busy, "{error}"),
                }
            }
        })
    };
    pruner.await.unwrap();
    let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
    for client in clients {
        for (summary, source) in client.await.unwrap() {
            assert_restores(&fresh, &summary, &source).await;
        }
    }
    prune(&fresh, DAY).await;
    let report = check_all(&fresh).await;
    assert!(report.is_sound(), "{report:?}");
}
