//! Trying again what may work when tried again, not more at once than the store likes, and not for ever.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::backend::{Answer, Backend, ObjectStat, PutNew, Thaw, ThawOrder, Traffic};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

/// How hard to try.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// How often a request is repeated after its first failure.
    pub retries: u32,
    /// The wait before the first repetition, doubled for each further one; a random part of up to half is taken off.
    pub first_wait: Duration,
    /// No wait is longer.
    pub max_wait: Duration,
    /// The most requests at once.
    pub connections: usize,
    /// A request that takes longer than this, and than a second for each 64 KiB of its body, counts as failed.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 8,
            first_wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(60),
            connections: 32,
            patience: Duration::from_secs(120),
        }
    }
}

/// What was met on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retries {
    /// Failures that may pass.
    pub transient: u64,
    /// Requests of the store to slow down.
    pub throttled: u64,
    /// Requests that took too long.
    pub timeouts: u64,
    /// Requests sent again.
    pub repeated: u64,
    /// Requests given up.
    pub given_up: u64,
}

/// A backend that repeats what failed for a passing reason, waiting longer each time, and asks for less at once whenever
/// the store says that it is too much (additive increase, multiplicative decrease).
///
/// After a request was given up while nothing else succeeded, the rest is tried once only: a hopeless run ends soon.
pub struct Retrying<B> {
    inner: B,
    policy: RetryPolicy,
    lane: Mutex<Lane>,
    freed: Notify,
    counts: Counts,
}

/// How many requests may run at once, and how many do.
struct Lane {
    limit: f64,
    running: usize,
    /// When the limit was last lowered: one burst of refusals lowers it once.
    lowered: Option<Instant>,
    hopeless: bool,
}

#[derive(Default)]
struct Counts {
    transient: AtomicU64,
    throttled: AtomicU64,
    timeouts: AtomicU64,
    repeated: AtomicU64,
    given_up: AtomicU64,
    succeeded: AtomicU64,
}

/// Requests at once in the beginning.
const FIRST_LIMIT: f64 = 8.0;
/// Refusals within this time of one another count once.
const BURST: Duration = Duration::from_secs(1);
/// The slowest link that is waited for: bytes a second.
const SLOWEST: u64 = 64 << 10;

impl<B> Retrying<B> {
    /// Repeats what `inner` fails at.
    pub fn new(inner: B, policy: RetryPolicy) -> Self {
        let limit = FIRST_LIMIT.min(policy.connections.max(1) as f64);
        let lane = Mutex::new(Lane { limit, running: 0, lowered: None, hopeless: false });
        Self { inner, policy, lane, freed: Notify::new(), counts: Counts::default() }
    }

    /// What was met so far.
    pub fn retries(&self) -> Retries {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Retries {
            transient: read(&self.counts.transient),
            throttled: read(&self.counts.throttled),
            timeouts: read(&self.counts.timeouts),
            repeated: read(&self.counts.repeated),
            given_up: read(&self.counts.given_up),
        }
    }

    /// The backend underneath.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    async fn attempt<'a, T>(
        &'a self,
        object: &(dyn std::fmt::Display + Sync),
        body_len: usize,
        request: impl Fn() -> Answer<'a, T>,
    ) -> Result<T> {
        let succeeded_before = self.counts.succeeded.load(Ordering::Relaxed);
        let patience = self.policy.patience.max(Duration::from_secs(body_len as u64 / SLOWEST));
        let mut wait = self.policy.first_wait;
        for attempt in 0.. {
            let slot = self.enter().await;
            let result = timeout(patience, request()).await;
            drop(slot);
            let error = match result {
                Ok(Ok(value)) => {
                    self.succeeded();
                    return Ok(value);
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    self.counts.timeouts.fetch_add(1, Ordering::Relaxed);
                    Error::new(ErrorKind::Transient, object, format!("no answer within {} s", patience.as_secs()))
                }
            };
            match error.kind() {
                ErrorKind::Transient => {
                    self.counts.transient.fetch_add(1, Ordering::Relaxed);
                }
                ErrorKind::Throttled => {
                    self.counts.throttled.fetch_add(1, Ordering::Relaxed);
                    self.slow_down();
                }
                _ => return Err(error),
            }
            if attempt >= self.policy.retries || self.lock().hopeless {
                self.counts.given_up.fetch_add(1, Ordering::Relaxed);
                let nothing_else = self.counts.succeeded.load(Ordering::Relaxed) == succeeded_before;
                self.lock().hopeless |= nothing_else;
                return Err(error);
            }
            self.counts.repeated.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(attempt, wait_ms = wait.as_millis() as u64, %error, "repeating a request");
            sleep(jittered(wait)).await;
            wait = (wait * 2).min(self.policy.max_wait);
        }
        unreachable!("the loop ends by returning")
    }

    /// Waits until one more request may run.
    async fn enter(&self) -> Slot<'_, B> {
        loop {
            let freed = self.freed.notified();
            {
                let mut lane = self.lock();
                if (lane.running as f64) < lane.limit.max(1.0) {
                    lane.running += 1;
                    return Slot(self);
                }
            }
            freed.await;
        }
    }

    fn succeeded(&self) {
        self.counts.succeeded.fetch_add(1, Ordering::Relaxed);
        let mut lane = self.lock();
        lane.hopeless = false;
        lane.limit = (lane.limit + 1.0 / lane.limit).min(self.policy.connections.max(1) as f64);
        drop(lane);
        // The slot that is freed wakes one; the limit may have grown by another.
        self.freed.notify_one();
    }

    fn slow_down(&self) {
        let mut lane = self.lock();
        let now = Instant::now();
        if lane.lowered.is_none_or(|at| now.duration_since(at) >= BURST) {
            lane.lowered = Some(now);
            lane.limit = (lane.limit / 2.0).max(1.0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way.
struct Slot<'a, B>(&'a Retrying<B>);

impl<B> Drop for Slot<'_, B> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.freed.notify_one();
    }
}

/// Between half of `wait` and all of it.
fn jittered(wait: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness the wait is only less spread.
    let _ = getrandom::fill(&mut random);
    wait.mul_f64(1.0 - 0.5 * f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}

impl<B: Backend> Backend for Retrying<B> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.attempt(path, body.len(), || self.inner.put(path, body.clone())).await })
    }

    /// A repetition may find what an attempt before it has written although its answer was lost: then the object there is
    /// this one.
    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(async move {
            let answer = self.attempt(path, body.len(), || self.inner.put_new(path, body.clone())).await?;
            if answer == PutNew::Created {
                return Ok(PutNew::Created);
            }
            let there = self.attempt(path, 0, || self.inner.get(path, None)).await?;
            Ok(if there == body.bytes() { PutNew::Created } else { PutNew::Exists })
        })
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.attempt(path, body.len(), || self.inner.replace(path, body.clone())).await })
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        let len = range.as_ref().map_or(0, |range| range.end.saturating_sub(range.start));
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Box::pin(async move { self.attempt(path, len, || self.inner.get(path, range.clone())).await })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(async move { self.attempt(&prefix, 0, || self.inner.list(prefix)).await })
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        Box::pin(async move { self.attempt(path, 0, || self.inner.stat(path)).await })
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(async move { self.attempt(path, 0, || self.inner.delete(path)).await })
    }

    fn thaw<'a>(&'a self, path: &'a ObjectPath, order: Option<&'a ThawOrder>) -> Answer<'a, Thaw> {
        Box::pin(async move { self.attempt(path, 0, || self.inner.thaw(path, order)).await })
    }

    fn traffic(&self) -> Traffic {
        Traffic { retries: self.retries(), ..self.inner.traffic() }
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move { self.attempt(&"", 0, || self.inner.list_unknown()).await })
    }
}
