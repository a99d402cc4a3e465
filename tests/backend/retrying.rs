//! What is repeated, how often, after what waits, and when it is given up.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use packstone::backend::{
    Answer, Backend, Limited, Limits, ObjectStat, PutNew, RetryAfter, RetryPolicy, Retrying, SimulatedBackend,
    WaitsWhenFull,
};
use packstone::format::{ObjectPath, Sealed};
use packstone::{Error, ErrorKind, Result};

use crate::{body, path};

/// What happens to a request.
#[derive(Clone, Copy)]
enum Fate {
    Works,
    Fails(ErrorKind),
    /// It has its effect, and its answer is lost.
    Unanswered,
    /// The store says when it wants to be asked again.
    Later(Duration),
    Hangs,
}
use Fate::{Fails, Hangs, Later, Unanswered, Works};

/// A store whose requests meet what is in the script, and then always the same.
struct Scripted {
    inner: SimulatedBackend,
    script: Mutex<VecDeque<Fate>>,
    then: Fate,
    /// When each request came, and of which operation.
    seen: Mutex<Vec<(Instant, &'static str)>>,
    running: AtomicUsize,
    most: AtomicUsize,
    takes: Duration,
}

impl Scripted {
    fn new(script: impl IntoIterator<Item = Fate>, then: Fate) -> Arc<Self> {
        Self::slow(script, then, Duration::ZERO)
    }

    fn slow(script: impl IntoIterator<Item = Fate>, then: Fate, takes: Duration) -> Arc<Self> {
        Arc::new(Self {
            inner: SimulatedBackend::new(),
            script: Mutex::new(script.into_iter().collect()),
            then,
            seen: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            takes,
        })
    }

    fn operations(&self) -> Vec<&'static str> {
        self.seen.lock().unwrap().iter().map(|(_, name)| *name).collect()
    }

    fn gaps(&self) -> Vec<Duration> {
        self.seen.lock().unwrap().windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    async fn meet<T>(&self, name: &'static str, effect: impl Future<Output = Result<T>>) -> Result<T> {
        self.seen.lock().unwrap().push((Instant::now(), name));
        let fate = self.script.lock().unwrap().pop_front().unwrap_or(self.then);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        let failure = |kind| Error::new(kind, name, "scripted");
        match fate {
            Works => effect.await,
            Fails(kind) => Err(failure(kind)),
            Unanswered => effect.await.and(Err(failure(ErrorKind::Transient))),
            Later(wait) => Err(failure(ErrorKind::Throttled).because(RetryAfter::new(wait))),
            Hangs => std::future::pending().await,
        }
    }
}

impl Backend for Scripted {
    fn location(&self) -> String {
        "scripted".to_owned()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(self.meet("put", self.inner.put(path, body)))
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(self.meet("put_new", self.inner.put_new(path, body)))
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(self.meet("replace", self.inner.replace(path, body)))
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(self.meet("get", self.inner.get(path, range)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(self.meet("list", self.inner.list(prefix)))
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        Box::pin(self.meet("stat", self.inner.stat(path)))
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(self.meet("delete", self.inner.delete(path)))
    }
}

const TRANSIENT: Fate = Fails(ErrorKind::Transient);
const THROTTLED: Fate = Fails(ErrorKind::Throttled);

fn quick() -> RetryPolicy {
    RetryPolicy {
        retries: 4,
        first_wait: Duration::from_millis(8),
        max_wait: Duration::from_millis(20),
        ..RetryPolicy::default()
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(test)
}

#[test]
fn passing_failures_are_repeated_with_doubling_waits_up_to_the_longest() {
    let store = Scripted::new([TRANSIENT, TRANSIENT, THROTTLED, TRANSIENT], Works);
    let retrying = Retrying::new(Arc::clone(&store), quick());
    run(async { retrying.put(&path("packs/a"), body("x")).await.unwrap() });
    assert_eq!(store.operations(), ["put"; 5]);
    let gaps = store.gaps();
    for (gap, wait) in gaps.iter().zip([8, 16, 20, 20]) {
        assert!(*gap >= Duration::from_millis(wait) / 2, "{gaps:?}");
    }
    let met = retrying.retries();
    assert_eq!((met.transient, met.throttled, met.repeated, met.given_up), (3, 1, 4, 0));
}

#[test]
fn other_failures_are_final() {
    for kind in [ErrorKind::Denied, ErrorKind::NoSpace, ErrorKind::Damaged, ErrorKind::NotFound, ErrorKind::Failed] {
        let store = Scripted::new([], Fails(kind));
        let retrying = Retrying::new(Arc::clone(&store), quick());
        assert_eq!(run(retrying.put(&path("packs/a"), body("x"))).unwrap_err().kind(), kind);
        assert_eq!(store.operations().len(), 1, "{kind:?}");
        assert_eq!(retrying.retries().denied, u64::from(kind == ErrorKind::Denied));
    }
}

#[test]
fn a_store_that_says_when_is_not_asked_before_by_anybody() {
    let wait = Duration::from_millis(120);
    let store = Scripted::new([Later(wait)], Works);
    let retrying = Arc::new(Retrying::new(Arc::clone(&store), quick()));
    run(async {
        let first = tokio::spawn({
            let retrying = Arc::clone(&retrying);
            async move { retrying.put(&path("packs/a"), body("x")).await }
        });
        while store.operations().is_empty() || retrying.retries().throttled == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        retrying.put(&path("packs/b"), body("y")).await.unwrap();
        first.await.unwrap().unwrap();
    });
    assert_eq!(store.operations().len(), 3);
    assert!(store.gaps()[0] >= wait - Duration::from_millis(10), "{:?}", store.gaps());
}

#[test]
fn a_request_without_an_answer_is_given_up_after_its_time_and_repeated() {
    let store = Scripted::new([Hangs], Works);
    let policy = RetryPolicy { patience: Duration::from_millis(40), ..quick() };
    let retrying = Retrying::new(Arc::clone(&store), policy);
    run(async { retrying.stat(&path("config")).await.unwrap() });
    assert_eq!((retrying.retries().timeouts, retrying.retries().repeated), (1, 1));
}

#[test]
fn a_hopeless_run_ends_soon_and_hope_comes_back_with_a_success() {
    let policy = RetryPolicy { retries: 3, ..quick() };
    let store = Scripted::new(std::iter::repeat_n(TRANSIENT, 4 + 2 + 1), Works);
    let retrying = Retrying::new(Arc::clone(&store), policy);
    run(async {
        let put = async || retrying.put(&path("packs/a"), body("x")).await.map_err(|error| error.kind());
        assert_eq!(put().await, Err(ErrorKind::Transient));
        assert_eq!(store.operations().len(), 4, "the first is repeated as often as it may be");
        assert_eq!(put().await, Err(ErrorKind::Transient));
        assert_eq!(put().await, Err(ErrorKind::Transient));
        assert_eq!(store.operations().len(), 6, "the others are tried once");
        store.script.lock().unwrap().push_front(Works);
        assert_eq!(put().await, Ok(()));
        assert_eq!(put().await, Ok(()));
        assert_eq!(store.operations().len(), 9, "and after a success repeated again");
    });
    assert_eq!(retrying.retries().given_up, 3);
}

#[test]
fn those_that_wait_give_up_with_the_one_that_shows_it_is_hopeless() {
    let wait = Duration::from_millis(100);
    let policy = RetryPolicy { retries: 6, first_wait: wait, max_wait: wait, ..RetryPolicy::default() };
    let store = Scripted::new([], TRANSIENT);
    let retrying = Arc::new(Retrying::new(Arc::clone(&store), policy));
    let start = |name: &'static str| {
        let retrying = Arc::clone(&retrying);
        tokio::spawn(async move { (retrying.put(&path(name), body("x")).await.is_err(), Instant::now()) })
    };
    run(async {
        let first = start("packs/a");
        while store.operations().len() < 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // It has at least six waits of 50 ms before it, and the first at most two of 100.
        let (second, first) = (start("packs/b").await.unwrap(), first.await.unwrap());
        assert!(first.0 && second.0);
        assert!(second.1 < first.1 + wait / 2, "{:?}", second.1 - first.1);
    });
    assert!(store.operations().len() < 14);
    assert_eq!(retrying.retries().given_up, 2);
}

#[test]
fn a_lost_answer_to_put_new_is_found_out_by_reading() {
    for (script, in_the_way, expected, operations) in [
        // Clear from the start: nothing is read.
        (vec![Works], false, PutNew::Created, vec!["put_new"]),
        (vec![Works], true, PutNew::Exists, vec!["put_new"]),
        // Lost on the way there, or on the way back.
        (vec![TRANSIENT], false, PutNew::Created, vec!["put_new", "put_new"]),
        (vec![Unanswered], false, PutNew::Created, vec!["put_new", "put_new", "get"]),
        (vec![Unanswered, THROTTLED], false, PutNew::Created, vec!["put_new", "put_new", "put_new", "get"]),
        (vec![TRANSIENT], true, PutNew::Exists, vec!["put_new", "put_new", "get"]),
    ] {
        let store = Scripted::new(script, Works);
        let retrying = Retrying::new(Arc::clone(&store), quick());
        let at = path("snapshots/a");
        run(async {
            if in_the_way {
                store.inner.put(&at, body("other")).await.unwrap();
            }
            assert_eq!(retrying.put_new(&at, body("mine")).await.unwrap(), expected);
        });
        assert_eq!(store.operations(), operations);
    }
}

#[test]
fn fewer_run_at_once_after_the_store_has_had_too_much_and_more_when_it_has_not() {
    let store = Scripted::slow([], Works, Duration::from_millis(2));
    let policy = RetryPolicy { connections: 24, ..quick() };
    let retrying = Arc::new(Retrying::new(Arc::clone(&store), policy));
    let many = async |n: usize| {
        let tasks: Vec<_> = (0..n)
            .map(|i| {
                let retrying = Arc::clone(&retrying);
                tokio::spawn(async move { retrying.put(&path(&format!("packs/{i}")), body("x")).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    };
    run(async {
        assert_eq!(retrying.limit(), 8);
        many(200).await;
        assert_eq!(retrying.limit(), 24);
        assert_eq!(store.most.swap(0, Ordering::SeqCst), 24, "those that wait are let in as the limit grows");
        store.script.lock().unwrap().push_back(THROTTLED);
        retrying.put(&path("packs/a"), body("x")).await.unwrap();
        assert_eq!(retrying.limit(), 12);
        many(6).await;
        store.most.store(0, Ordering::SeqCst);
        many(600).await;
        assert_eq!(retrying.limit(), 24, "one more for each round of all");
        assert_eq!(store.most.load(Ordering::SeqCst), 24);
    });
}

#[test]
fn a_full_store_is_waited_for_only_by_those_who_write() {
    const FULL: Fate = Fails(ErrorKind::NoSpace);
    let store = Scripted::new([FULL, FULL], Works);
    let told = Arc::new(AtomicUsize::new(0));
    let notice = Arc::clone(&told);
    let waiting = WaitsWhenFull::new(Arc::clone(&store), Duration::from_millis(10), move |_| {
        notice.fetch_add(1, Ordering::SeqCst);
    });
    run(async {
        waiting.put(&path("packs/a"), body("x")).await.unwrap();
        store.script.lock().unwrap().push_back(FULL);
        assert_eq!(waiting.stat(&path("config")).await.unwrap_err().kind(), ErrorKind::NoSpace);
    });
    assert_eq!((told.load(Ordering::SeqCst), waiting.traffic().retries.full), (2, 2));
    assert!(store.gaps().iter().take(2).all(|gap| *gap >= Duration::from_millis(10)));
}

#[test]
fn limits_hold_for_what_is_sent_read_and_asked() {
    let took = |limits: Limits, writes: usize, reads: usize| {
        let limited = Arc::new(Limited::new(SimulatedBackend::new(), limits));
        let at = path("packs/a");
        let before = Instant::now();
        run(async {
            limited.put(&at, body(vec![0; 1000])).await.unwrap();
            let tasks: Vec<_> = (0..writes + reads)
                .map(|i| {
                    let limited = Arc::clone(&limited);
                    tokio::spawn(async move {
                        let at = path("packs/a");
                        match i < writes {
                            true => limited.put(&path(&format!("packs/{i}")), body(vec![0; 1000])).await.unwrap(),
                            false => drop(limited.get(&at, (i % 2 == 0).then_some(0..1000)).await.unwrap()),
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        before.elapsed()
    };
    let limit = Some(100_000);
    // 100 ms may be made up for.
    let least = Duration::from_millis(290);
    assert!(took(Limits { upload_bytes: limit, ..Limits::default() }, 39, 500) >= least);
    assert!(took(Limits { download_bytes: limit, ..Limits::default() }, 500, 40) >= least);
    assert!(took(Limits { requests: Some(100), ..Limits::default() }, 20, 19) >= least);
    assert!(took(Limits::default(), 100, 100) < least);
}
