//! Trying again what may work when tried again, not more at once than the store likes, and not for ever.

mod breaker;
mod counts;
mod lane;
mod wait;

use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::backend::{Answer, Backend, ObjectStat, PutNew, Thaw, ThawOrder, Traffic};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

use breaker::Breaker;
pub use counts::Retries;
pub(super) use counts::{Counts, count};
use lane::Lane;
pub use wait::{RetryAfter, RetryPolicy};

/// A backend that repeats what failed for a passing reason, waiting longer each time or as long as the store asks
/// ([`RetryAfter`] as the error's cause), and asks for less at once whenever the store says that it is too much.
///
/// After a request was given up while nothing else succeeded, the rest is tried once only: a hopeless run ends soon.
pub struct Retrying<B> {
    inner: B,
    policy: RetryPolicy,
    lane: Lane,
    breaker: Breaker,
    counts: Counts,
}

/// The slowest link that is waited for: bytes a second.
const SLOWEST: u64 = 64 << 10;
/// What a whole object may hold, for all that is known before it is there.
const LARGEST: u64 = 64 << 20;

/// What came of a request in the end.
struct Outcome<T> {
    value: T,
    /// Whether an attempt before it may have had its effect although no answer said so.
    unclear: bool,
}

impl<B> Retrying<B> {
    /// Repeats what `inner` fails at.
    pub fn new(inner: B, policy: RetryPolicy) -> Self {
        let lane = Lane::new(policy.connections);
        Self { inner, policy, lane, breaker: Breaker::default(), counts: Counts::default() }
    }

    /// What was met so far.
    pub fn retries(&self) -> Retries {
        self.counts.read()
    }

    /// Requests that may run at once at this moment.
    pub fn limit(&self) -> usize {
        self.lane.limit()
    }

    /// The backend underneath.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    async fn attempt<'a, T>(
        &'a self,
        object: &(dyn Display + Sync),
        patience: Option<Duration>,
        request: impl Fn() -> Answer<'a, T>,
    ) -> Result<Outcome<T>> {
        let mark = self.breaker.mark();
        for attempt in 0.. {
            let slot = self.lane.enter().await;
            let result = match patience {
                Some(patience) => timeout(patience, request()).await.unwrap_or_else(|_| {
                    count(&self.counts.timeouts);
                    self.lane.halve();
                    let message = format!("no answer within {} s", patience.as_secs());
                    Err(Error::new(ErrorKind::Transient, object, message))
                }),
                None => request().await,
            };
            drop(slot);
            let error = match result {
                Ok(value) => {
                    self.breaker.succeeded();
                    self.lane.grow();
                    return Ok(Outcome { value, unclear: attempt > 0 });
                }
                Err(error) => error,
            };
            let asked = RetryAfter::of(&error);
            match error.kind() {
                ErrorKind::Transient => count(&self.counts.transient),
                ErrorKind::Throttled => {
                    count(&self.counts.throttled);
                    self.lane.halve();
                }
                ErrorKind::Denied => {
                    count(&self.counts.denied);
                    return Err(error);
                }
                // An answer all the same: the store is there.
                _ => {
                    self.breaker.succeeded();
                    return Err(error);
                }
            }
            if attempt >= self.policy.retries || self.breaker.is_hopeless() {
                self.breaker.gave_up(&mark);
                count(&self.counts.given_up);
                return Err(error);
            }
            if let Some(asked) = asked {
                self.lane.be_silent(asked);
            }
            let wait = self.policy.wait(attempt).max(asked.unwrap_or_default());
            tracing::debug!(attempt, wait_ms = wait.as_millis() as u64, %error, "repeating a request");
            tokio::select! {
                () = sleep(wait) => count(&self.counts.repeated),
                () = self.breaker.opened() => {
                    count(&self.counts.given_up);
                    return Err(error);
                }
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Repeats a request whose body has this length; `None` for a listing, which takes as long as it takes.
    #[cfg(feature = "cloud")]
    pub(super) async fn repeat<'a, T>(
        &'a self,
        object: &(dyn Display + Sync),
        body_len: Option<u64>,
        request: impl Fn() -> Answer<'a, T>,
    ) -> Result<T> {
        let patience = body_len.and_then(|len| self.patience(len));
        self.attempt(object, patience, request).await.map(|outcome| outcome.value)
    }

    /// How long a request with a body of this length may take.
    fn patience(&self, body_len: u64) -> Option<Duration> {
        Some(self.policy.patience.max(Duration::from_secs(body_len / SLOWEST)))
    }
}

impl<B: Backend> Backend for Retrying<B> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        let patience = self.patience(body.len() as u64);
        Box::pin(async move {
            self.attempt(path, patience, || self.inner.put(path, body.clone())).await.map(|outcome| outcome.value)
        })
    }

    /// A repetition may find what an attempt before it has written although its answer was lost: then the object there is
    /// this one. A refusal of the first attempt is handed up as it is; [`crate::backend::PutNew`] is what the caller
    /// decides by, after comparing where something between may have sent the request twice.
    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        let patience = self.patience(body.len() as u64);
        Box::pin(async move {
            let put = self.attempt(path, patience, || self.inner.put_new(path, body.clone())).await?;
            if put.value == PutNew::Created || !put.unclear {
                return Ok(put.value);
            }
            let there = self.get(path, None).await?;
            Ok(if there == body.bytes() { PutNew::Created } else { PutNew::Exists })
        })
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        let patience = self.patience(body.len() as u64);
        Box::pin(async move {
            self.attempt(path, patience, || self.inner.replace(path, body.clone())).await.map(|outcome| outcome.value)
        })
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        let len = range.as_ref().map_or(LARGEST, |range| range.end.saturating_sub(range.start));
        let patience = self.patience(len);
        Box::pin(async move {
            self.attempt(path, patience, || self.inner.get(path, range.clone())).await.map(|outcome| outcome.value)
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(
            async move { self.attempt(&prefix, None, || self.inner.list(prefix)).await.map(|outcome| outcome.value) },
        )
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        Box::pin(async move {
            self.attempt(path, self.patience(0), || self.inner.stat(path)).await.map(|outcome| outcome.value)
        })
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(async move {
            self.attempt(path, self.patience(0), || self.inner.delete(path)).await.map(|outcome| outcome.value)
        })
    }

    fn thaw<'a>(&'a self, path: &'a ObjectPath, order: Option<&'a ThawOrder>) -> Answer<'a, Thaw> {
        Box::pin(async move { Ok(self.attempt(path, self.patience(0), || self.inner.thaw(path, order)).await?.value) })
    }

    fn traffic(&self) -> Traffic {
        let below = self.inner.traffic();
        Traffic { retries: self.retries() + below.retries, ..below }
    }

    fn doubt(&self, path: &ObjectPath) {
        count(&self.counts.wrong_answers);
        self.inner.doubt(path);
    }

    fn clean_uploads(&self, older_than: Duration) -> Answer<'_, u64> {
        Box::pin(async move {
            self.attempt(&"uploads", None, || self.inner.clean_uploads(older_than)).await.map(|outcome| outcome.value)
        })
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        Box::pin(
            async move { self.attempt(&"", None, || self.inner.list_unknown()).await.map(|outcome| outcome.value) },
        )
    }
}
