//! Waiting for space.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use crate::backend::retrying::{Counts, count};
use crate::backend::{Answer, Backend, ObjectStat, PutNew, Thaw, ThawOrder, Traffic};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

/// A backend that waits and tries again whenever there is no space, for as long as it takes.
pub struct WaitsWhenFull<B> {
    inner: B,
    period: Duration,
    notice: Box<dyn Fn(&Error) + Send + Sync>,
    counts: Counts,
}

impl<B> WaitsWhenFull<B> {
    /// Tries again every `period`; `notice` is told each time.
    pub fn new(inner: B, period: Duration, notice: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        Self { inner, period, notice: Box::new(notice), counts: Counts::default() }
    }

    async fn insist<'a, T>(&'a self, request: impl Fn() -> Answer<'a, T>) -> Result<T> {
        loop {
            match request().await {
                Err(full) if full.kind() == ErrorKind::NoSpace => {
                    count(&self.counts.full);
                    (self.notice)(&full);
                    sleep(self.period).await;
                    count(&self.counts.repeated);
                }
                result => return result,
            }
        }
    }
}

impl<B: Backend> Backend for WaitsWhenFull<B> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.insist(|| self.inner.put(path, body.clone())).await })
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(async move { self.insist(|| self.inner.put_new(path, body.clone())).await })
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.insist(|| self.inner.replace(path, body.clone())).await })
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        self.inner.get(path, range)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        self.inner.list(prefix)
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        self.inner.stat(path)
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        self.inner.delete(path)
    }

    fn thaw<'a>(&'a self, path: &'a ObjectPath, order: Option<&'a ThawOrder>) -> Answer<'a, Thaw> {
        self.inner.thaw(path, order)
    }

    fn traffic(&self) -> Traffic {
        let below = self.inner.traffic();
        Traffic { retries: self.counts.read() + below.retries, ..below }
    }

    fn doubt(&self, path: &ObjectPath) {
        self.inner.doubt(path);
    }

    fn clean_uploads(&self, older_than: Duration) -> Answer<'_, u64> {
        self.inner.clean_uploads(older_than)
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        self.inner.list_unknown()
    }
}
