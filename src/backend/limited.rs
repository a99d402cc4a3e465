//! Not faster than the user allows.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::backend::{Answer, Backend, ObjectStat, PutNew, Thaw, ThawOrder, Traffic};
use crate::error::Result;
use crate::format::{ObjectPath, Sealed};

/// What a backend may be used for in a second; `None` is as much as it takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Bytes written.
    pub upload_bytes: Option<u64>,
    /// Bytes read.
    pub download_bytes: Option<u64>,
    /// Requests.
    pub requests: Option<u64>,
}

/// A backend that keeps to [`Limits`]. Objects go up and come down whole, so a limit holds for a while of some objects, not
/// for every second; what is waited for comes before each object, so it is never passed from the start of the run on.
pub struct Limited<B> {
    inner: B,
    upload: Option<Meter>,
    download: Option<Meter>,
    requests: Option<Meter>,
}

/// Lets through so many units a second, first come, first served.
struct Meter {
    per_second: f64,
    /// When everything let through so far is paid for.
    paid: Mutex<Instant>,
}

/// Unused time that may be made up for.
const BURST: Duration = Duration::from_millis(100);

impl Meter {
    fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(1) as f64, paid: Mutex::new(Instant::now()) }
    }

    /// Waits until `units` may pass.
    async fn pass(&self, units: u64) {
        let until = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let earliest = Instant::now().checked_sub(BURST).unwrap_or_else(Instant::now);
            let cost = Duration::from_secs_f64(units as f64 / self.per_second);
            *paid = (*paid).max(earliest) + cost;
            *paid
        };
        sleep_until(until).await;
    }
}

async fn pass(meter: Option<&Meter>, units: u64) {
    if let Some(meter) = meter {
        meter.pass(units).await;
    }
}

impl<B> Limited<B> {
    /// Holds back what goes to `inner` and comes from it.
    pub fn new(inner: B, limits: Limits) -> Self {
        Self {
            inner,
            upload: limits.upload_bytes.map(Meter::new),
            download: limits.download_bytes.map(Meter::new),
            requests: limits.requests.map(Meter::new),
        }
    }

    async fn upload<T>(&self, len: usize, request: impl Future<Output = Result<T>>) -> Result<T> {
        pass(self.requests.as_ref(), 1).await;
        pass(self.upload.as_ref(), len as u64).await;
        request.await
    }

    async fn ask<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        pass(self.requests.as_ref(), 1).await;
        request.await
    }
}

impl<B: Backend> Backend for Limited<B> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.upload(body.len(), self.inner.put(path, body)).await })
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(async move { self.upload(body.len(), self.inner.put_new(path, body)).await })
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.upload(body.len(), self.inner.replace(path, body)).await })
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            if let Some(range) = &range {
                pass(self.download.as_ref(), range.end.saturating_sub(range.start)).await;
            }
            let whole = range.is_none();
            let bytes = self.ask(self.inner.get(path, range)).await?;
            if whole {
                // Its length was not known before.
                pass(self.download.as_ref(), bytes.len() as u64).await;
            }
            Ok(bytes)
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(async move { self.ask(self.inner.list(prefix)).await })
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        Box::pin(async move { self.ask(self.inner.stat(path)).await })
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(async move { self.ask(self.inner.delete(path)).await })
    }

    fn thaw<'a>(&'a self, path: &'a ObjectPath, order: Option<&'a ThawOrder>) -> Answer<'a, Thaw> {
        Box::pin(async move { self.ask(self.inner.thaw(path, order)).await })
    }

    fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }

    fn doubt(&self, path: &ObjectPath) {
        self.inner.doubt(path);
    }

    fn clean_uploads(&self, older_than: Duration) -> Answer<'_, u64> {
        Box::pin(async move { self.ask(self.inner.clean_uploads(older_than)).await })
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move { self.ask(self.inner.list_unknown()).await })
    }
}
