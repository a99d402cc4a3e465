//! Counting what a run asks of its backend.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::backend::{Answer, Backend, Mirrored, ObjectStat, PutNew, Thaw, ThawOrder, Traffic};
use crate::error::Result;
use crate::format::{ObjectPath, Sealed};

/// Requests by class, and the bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// Calls of [`Backend::put`].
    pub put: u64,
    /// Calls of [`Backend::put_new`].
    pub put_new: u64,
    /// Calls of [`Backend::replace`].
    pub replace: u64,
    /// Calls of [`Backend::get`].
    pub get: u64,
    /// Calls of [`Backend::list`].
    pub list: u64,
    /// Calls of [`Backend::stat`].
    pub stat: u64,
    /// Calls of [`Backend::delete`].
    pub delete: u64,
    /// Body bytes of writes that were answered, also when `put_new` found something there.
    pub written_bytes: u64,
    /// Bytes that `get` handed over.
    pub read_bytes: u64,
}

impl Requests {
    /// Requests that create or overwrite an object; these cost most on object stores.
    pub fn writes(&self) -> u64 {
        self.put + self.put_new + self.replace
    }

    /// Requests of every class.
    pub fn total(&self) -> u64 {
        self.writes() + self.get + self.list + self.stat + self.delete
    }
}

/// A backend that counts the requests it passes on. Failed requests count too; their bytes do not.
#[derive(Debug)]
pub struct Counted<B> {
    inner: B,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    put: AtomicU64,
    put_new: AtomicU64,
    replace: AtomicU64,
    get: AtomicU64,
    list: AtomicU64,
    stat: AtomicU64,
    delete: AtomicU64,
    written_bytes: AtomicU64,
    read_bytes: AtomicU64,
}

impl<B> Counted<B> {
    /// Counts what goes to `inner`.
    pub fn new(inner: B) -> Self {
        Self { inner, counters: Counters::default() }
    }

    /// What has been asked so far.
    pub fn requests(&self) -> Requests {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            put: read(&self.counters.put),
            put_new: read(&self.counters.put_new),
            replace: read(&self.counters.replace),
            get: read(&self.counters.get),
            list: read(&self.counters.list),
            stat: read(&self.counters.stat),
            delete: read(&self.counters.delete),
            written_bytes: read(&self.counters.written_bytes),
            read_bytes: read(&self.counters.read_bytes),
        }
    }

    /// The backend underneath.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn count<T>(&self, class: &AtomicU64, bytes: Option<(&AtomicU64, usize)>, result: Result<T>) -> Result<T> {
        class.fetch_add(1, Ordering::Relaxed);
        if let (Ok(_), Some((counter, len))) = (&result, bytes) {
            counter.fetch_add(len as u64, Ordering::Relaxed);
        }
        result
    }
}

impl<B: Backend> Backend for Counted<B> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        let bytes = Some((&self.counters.written_bytes, body.len()));
        Box::pin(async move { self.count(&self.counters.put, bytes, self.inner.put(path, body).await) })
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        let bytes = Some((&self.counters.written_bytes, body.len()));
        Box::pin(async move { self.count(&self.counters.put_new, bytes, self.inner.put_new(path, body).await) })
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        let bytes = Some((&self.counters.written_bytes, body.len()));
        Box::pin(async move { self.count(&self.counters.replace, bytes, self.inner.replace(path, body).await) })
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let result = self.inner.get(path, range).await;
            let len = result.as_ref().map_or(0, Bytes::len);
            self.count(&self.counters.get, Some((&self.counters.read_bytes, len)), result)
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(async move { self.count(&self.counters.list, None, self.inner.list(prefix).await) })
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        Box::pin(async move { self.count(&self.counters.stat, None, self.inner.stat(path).await) })
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(async move { self.count(&self.counters.delete, None, self.inner.delete(path).await) })
    }

    fn thaw<'a>(&'a self, path: &'a ObjectPath, order: Option<&'a ThawOrder>) -> Answer<'a, Thaw> {
        Box::pin(async move { self.count(&self.counters.stat, None, self.inner.thaw(path, order).await) })
    }

    fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }

    fn doubt(&self, path: &ObjectPath) {
        self.inner.doubt(path);
    }

    fn clean_uploads(&self, older_than: Duration) -> Answer<'_, u64> {
        self.inner.clean_uploads(older_than)
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        Box::pin(async move { self.count(&self.counters.list, None, self.inner.list_unknown().await) })
    }

    fn mirrored(&self) -> Option<&Mirrored> {
        self.inner.mirrored()
    }
}
