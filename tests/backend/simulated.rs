//! The simulated backend's faults happen as they are ordered.

use packstone::ErrorKind;
use packstone::backend::{Backend, Damage, PutNew, SimulatedBackend, StoppedWrite};

use crate::{body, path, runtime};

#[test]
fn a_stopped_process_does_nothing_more() {
    for (fate, expected) in
        [(StoppedWrite::Dropped, None), (StoppedWrite::Applied, Some("12345678")), (StoppedWrite::Torn, Some("1234"))]
    {
        let backend = SimulatedBackend::new();
        runtime().block_on(async {
            backend.stop_after_writes(2, fate);
            backend.put(&path("a"), body("x")).await.unwrap();
            backend.delete(&path("a")).await.unwrap();
            let error = backend.put_new(&path("b"), body("12345678")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Interrupted);
            assert!(backend.is_stopped());
            assert_eq!(backend.put(&path("c"), body("x")).await.unwrap_err().kind(), ErrorKind::Interrupted);
            assert_eq!(backend.list("").await.unwrap_err().kind(), ErrorKind::Interrupted);
            assert_eq!(backend.delete(&path("b")).await.unwrap_err().kind(), ErrorKind::Interrupted);
            backend.heal();
            let left: Vec<_> = backend.list("").await.unwrap().into_iter().map(|(path, _)| path).collect();
            assert_eq!(left, expected.iter().map(|_| path("b")).collect::<Vec<_>>());
            if let Some(expected) = expected {
                assert_eq!(backend.get(&path("b"), None).await.unwrap(), expected);
            }
        });
    }
}

#[test]
fn passing_failures_follow_the_seed() {
    let run = |seed| {
        let backend = SimulatedBackend::new();
        backend.fail_transiently(seed, 4);
        runtime().block_on(async {
            let mut outcomes = Vec::new();
            for n in 0..200 {
                let at = path(&format!("packs/{n}"));
                let put = backend.put_new(&at, body("x")).await.map_err(|error| error.kind());
                outcomes.push((put, backend.snapshot().get(&at).is_some()));
            }
            outcomes
        })
    };
    let outcomes = run(7);
    assert_eq!(outcomes, run(7));
    assert_ne!(outcomes, run(8));
    for (outcome, stored) in
        [(Ok(PutNew::Created), true), (Err(ErrorKind::Transient), true), (Err(ErrorKind::Transient), false)]
    {
        assert!(outcomes.iter().filter(|seen| **seen == (outcome, stored)).count() > 5, "{outcome:?} {stored}");
    }
    assert!(!outcomes.contains(&(Ok(PutNew::Created), false)));
}

#[test]
fn a_full_store_refuses_and_keeps() {
    let backend = SimulatedBackend::new();
    backend.limit_space(Some(10));
    runtime().block_on(async {
        backend.put(&path("a"), body("12345678")).await.unwrap();
        assert_eq!(backend.put(&path("b"), body("123")).await.unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(backend.stat(&path("b")).await.unwrap(), None);
        backend.replace(&path("a"), body("1234567890")).await.unwrap();
        backend.delete(&path("a")).await.unwrap();
        backend.put(&path("b"), body("123")).await.unwrap();
    });
}

#[test]
fn damage_and_restoring() {
    let backend = SimulatedBackend::new();
    let (a, b) = (path("a"), path("b"));
    runtime().block_on(async {
        backend.put(&a, body("0000")).await.unwrap();
        backend.put(&b, body("1111")).await.unwrap();
        let before = backend.snapshot();
        assert!(backend.damage(&a, Damage::Flip(5)) && !backend.damage(&path("c"), Damage::Empty));
        assert_eq!(backend.get(&a, None).await.unwrap(), "0100");
        assert!(backend.damage(&a, Damage::Truncate(3)) && backend.swap(&a, &b));
        assert_eq!(backend.get(&b, None).await.unwrap(), "010");
        assert!(backend.damage(&b, Damage::Empty));
        assert_eq!(backend.get(&b, None).await.unwrap(), "");
        backend.restore_state(before.clone());
        assert_eq!(backend.snapshot(), before);
        assert_eq!(backend.get(&a, None).await.unwrap(), "0000");
    });
}
