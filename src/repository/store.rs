//! The backend as the rest of this floor sees it: blocking calls on a runtime, requests counted.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::backend::{Backend, Counted, ObjectStat, PutNew, Requests, Traffic};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

/// A backend and the runtime that drives it. Its methods block: call them from threads that may, such as those of
/// [`tokio::task::spawn_blocking`].
#[derive(Clone)]
pub struct Store {
    backend: Arc<Counted<Arc<dyn Backend>>>,
    runtime: Handle,
}

impl Store {
    pub(super) fn new(backend: Arc<dyn Backend>, runtime: Handle) -> Self {
        Self { backend: Arc::new(Counted::new(backend)), runtime }
    }

    /// Where the objects are, as shown to people.
    pub fn location(&self) -> String {
        self.backend.location()
    }

    /// Whether reading costs about what reading a disk of this machine does.
    pub fn is_local(&self) -> bool {
        self.backend.is_local()
    }

    /// Requests so far, by class.
    pub fn requests(&self) -> Requests {
        self.backend.requests()
    }

    /// What went over the wire so far, by class.
    pub fn traffic(&self) -> Traffic {
        self.backend.traffic()
    }

    /// The runtime that requests run on.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// See [`Backend::put`].
    pub fn put(&self, path: &ObjectPath, body: Sealed) -> Result<()> {
        self.runtime.block_on(self.backend.put(path, body))
    }

    /// Starts a [`Backend::put`] and returns at once.
    pub fn start_put(&self, path: ObjectPath, body: Sealed) -> JoinHandle<Result<()>> {
        let backend = Arc::clone(&self.backend);
        self.runtime.spawn(async move { backend.put(&path, body).await })
    }

    /// See [`Backend::put_new`]; an unclear or refused write of the same bytes counts as created.
    pub fn put_new(&self, path: &ObjectPath, body: Sealed) -> Result<PutNew> {
        match self.runtime.block_on(self.backend.put_new(path, body.clone())) {
            Ok(PutNew::Created) => Ok(PutNew::Created),
            Ok(PutNew::Exists) => Ok(if self.holds(path, &body)? { PutNew::Created } else { PutNew::Exists }),
            Err(error) if matches!(error.kind(), ErrorKind::Transient | ErrorKind::Throttled) => {
                if self.holds(path, &body)? { Ok(PutNew::Created) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// See [`Backend::replace`].
    pub fn replace(&self, path: &ObjectPath, body: Sealed) -> Result<()> {
        self.runtime.block_on(self.backend.replace(path, body))
    }

    /// See [`Backend::get`].
    pub fn get(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Bytes> {
        self.runtime.block_on(self.backend.get(path, range))
    }

    /// Starts a [`Backend::get`] and returns at once; `then` is given the answer.
    pub(super) fn start_get(
        &self,
        path: ObjectPath,
        range: Option<Range<u64>>,
        then: impl FnOnce(Result<Bytes>) + Send + 'static,
    ) {
        let backend = Arc::clone(&self.backend);
        self.runtime.spawn(async move { then(backend.get(&path, range).await) });
    }

    /// Starts a [`Backend::get`] of a range and returns at once.
    pub(super) fn start_read(&self, path: ObjectPath, range: Range<u64>) -> JoinHandle<Result<Bytes>> {
        let backend = Arc::clone(&self.backend);
        self.runtime.spawn(async move { backend.get(&path, Some(range)).await })
    }

    /// The object, or `None` when it does not exist.
    pub fn find(&self, path: &ObjectPath) -> Result<Option<Bytes>> {
        match self.get(path, None) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// See [`Backend::list`].
    pub fn list(&self, prefix: &str) -> Result<Vec<(ObjectPath, ObjectStat)>> {
        self.runtime.block_on(self.backend.list(prefix))
    }

    /// See [`Backend::list_unknown`].
    pub fn list_unknown(&self) -> Result<Vec<String>> {
        self.runtime.block_on(self.backend.list_unknown())
    }

    /// See [`Backend::stat`].
    pub fn stat(&self, path: &ObjectPath) -> Result<Option<ObjectStat>> {
        self.runtime.block_on(self.backend.stat(path))
    }

    /// See [`Backend::delete`].
    pub fn delete(&self, path: &ObjectPath) -> Result<()> {
        self.runtime.block_on(self.backend.delete(path))
    }

    /// Waits for a request started before.
    pub(super) fn wait(&self, request: JoinHandle<Result<()>>) -> Result<()> {
        self.runtime
            .block_on(request)
            .map_err(|e| Error::new(ErrorKind::Failed, self.location(), "a request was cancelled").because(e))?
    }

    fn holds(&self, path: &ObjectPath, body: &Sealed) -> Result<bool> {
        Ok(self.find(path)?.is_some_and(|stored| stored == body.bytes()))
    }
}
