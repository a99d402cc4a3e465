//! Repositories on stores where nobody can be fenced: who prunes is alone.

use std::sync::Arc;
use std::time::Duration;

use packstone::ErrorKind;
use packstone::backend::SimulatedBackend;
use packstone::ops::{self, PruneOptions, PruneReport};
use packstone::progress::Silent;
use packstone::repository::{Commit, CreateOptions, Leftovers, Protocol, Repository, WriterOptions};

use crate::fixtures::{assert_restores, backup, blocking, check_all, forget, open_on, secret, write_history};

async fn create(backend: &SimulatedBackend) -> Repository {
    let options = CreateOptions { protocol: Protocol::Weak, ..CreateOptions::default() };
    Repository::create(Arc::new(backend.clone()), secret(), options).await.unwrap()
}

async fn prune(repository: &Repository, leftovers: Leftovers) -> packstone::Result<PruneReport> {
    let options = PruneOptions { leftovers, max_unused_percent: 0.0, ..PruneOptions::default() };
    ops::prune(repository, options, Arc::new(Silent)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruner_gives_way_to_an_open_session_and_works_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in.edn");
    write_history(&source, 1, 3, 1000);
    let backend = SimulatedBackend::new();
    let repository = create(&backend).await;
    assert!(!open_on(Arc::new(backend.clone())).await.unwrap().can_fence(), "the repository says so itself");
    let first = backup(&repository, &source).await.unwrap();
    let client = repository.clone();
    let mut writer = blocking(move || client.writer(WriterOptions::default()).unwrap()).await;
    forget(&repository, &first).await.unwrap();
    let refused = prune(&repository, Leftovers::Respect).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy, "{refused}");
    assert!(refused.message().contains("session"), "{refused}");
    // What the session took for known is still there.
    let mut second = first.clone();
    second.snapshot.id = writer.id();
    let snapshot = second.snapshot.clone();
    assert!(matches!(blocking(move || writer.commit(&snapshot).unwrap()).await, Commit::Done));
    let report = prune(&repository, Leftovers::Respect).await.unwrap();
    assert_eq!(report.packs_removed, 0, "{report:?}");
    assert_restores(&repository, &second, &source).await;
    forget(&repository, &second).await.unwrap();
    let report = prune(&repository, Leftovers::Respect).await.unwrap();
    assert!(report.packs_removed > 0 && report.fenced_sessions.is_empty(), "{report:?}");
    assert!(check_all(&repository).await.is_sound());
    assert!(backend.paths().iter().all(|path| !path.as_str().starts_with("exclusive/")), "the marker is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_waits_for_a_pruner_and_gives_up_in_the_end() {
    let backend = SimulatedBackend::new();
    let repository = create(&backend).await;
    let pruner = repository.clone();
    let alone = blocking(move || pruner.work_alone(Leftovers::Respect).unwrap()).await;
    let client = repository.clone();
    let waiting = tokio::task::spawn_blocking(move || client.register_session().map(|session| session.close()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = prune(&repository, Leftovers::Respect).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Busy);
    blocking(move || alone.end().unwrap()).await;
    waiting.await.unwrap().unwrap().unwrap();
    let pruner = repository.clone();
    let alone = blocking(move || pruner.work_alone(Leftovers::Respect).unwrap()).await;
    let client = repository.clone();
    let refused = blocking(move || client.register_session().map(drop).unwrap_err()).await;
    assert_eq!(refused.kind(), ErrorKind::Busy);
    blocking(move || alone.end().unwrap()).await;
    let left = backend.paths();
    assert!(left.iter().all(|path| !path.as_str().contains("sessions/")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_vouched_away_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in.edn");
    write_history(&source, 1, 3, 1000);
    let backend = SimulatedBackend::new();
    let repository = create(&backend).await;
    let first = backup(&repository, &source).await.unwrap();
    let client = open_on(Arc::new(backend.clone())).await.unwrap();
    let mut writer = blocking(move || client.writer(WriterOptions::default()).unwrap()).await;
    forget(&repository, &first).await.unwrap();
    assert!(prune(&repository, Leftovers::Remove).await.unwrap().packs_removed > 0);
    let mut snapshot = first.snapshot.clone();
    snapshot.id = writer.id();
    let (outcome, checked) = blocking(move || (writer.commit(&snapshot).unwrap(), writer.must_check())).await;
    assert!(matches!(outcome, Commit::Fenced) && checked, "{outcome:?}");
    let fresh = open_on(Arc::new(backend.clone())).await.unwrap();
    assert!(check_all(&fresh).await.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_a_repository_that_its_store_lies() {
    let backend = SimulatedBackend::new();
    backend.set_clock_ms(packstone::repository::machine::now_ms());
    let repository = Repository::create(Arc::new(backend.clone()), secret(), CreateOptions::default()).await.unwrap();
    let report = ops::doctor(&repository, ops::DoctorOptions::default()).await.unwrap();
    assert!(report.is_sound() && report.unknown.is_empty() && report.protocol == Protocol::Full, "{report:?}");
    // A clock that is years off: how long a session was idle cannot be told.
    backend.set_clock_ms(1);
    let report = ops::doctor(&repository, ops::DoctorOptions::default()).await.unwrap();
    assert!(!report.is_sound() && !report.changed, "{report:?}");
    let options = ops::DoctorOptions { allow_weak: true, ..Default::default() };
    let report = ops::doctor(&repository, options).await.unwrap();
    assert!(report.is_sound() && report.changed && report.protocol == Protocol::Weak, "{report:?}");
    assert!(!open_on(Arc::new(backend.clone())).await.unwrap().can_fence());
}
