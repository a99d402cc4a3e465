//! The backend as the rest of this floor sees it: blocking calls on a runtime, requests counted.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use crate::backend::{Backend, Counted, ObjectStat, PutNew, Requests, Traffic};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

/// Requests for small objects at once; the backend may do fewer.
const REQUESTS_AT_ONCE: usize = 32;

/// Objects as a backend lists them.
pub(super) type Listing = Vec<(ObjectPath, ObjectStat)>;

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

    /// Removes several objects at once.
    pub fn delete_all(&self, paths: Vec<ObjectPath>) -> Result<()> {
        let requests: Vec<_> = paths
            .into_iter()
            .map(|path| {
                let backend = Arc::clone(&self.backend);
                self.runtime.spawn(async move { backend.delete(&path).await })
            })
            .collect();
        let answers: Vec<Result<()>> = requests.into_iter().map(|request| self.wait(request)).collect();
        answers.into_iter().collect()
    }

    /// Starts a [`Backend::list`] and returns at once.
    pub(super) fn start_list(&self, prefix: &'static str) -> JoinHandle<Result<Listing>> {
        let backend = Arc::clone(&self.backend);
        self.runtime.spawn(async move { backend.list(prefix).await })
    }

    /// Starts to read an object that need not exist, and returns at once.
    pub(super) fn start_find(&self, path: ObjectPath) -> JoinHandle<Result<Option<Bytes>>> {
        let store = self.clone();
        self.runtime.spawn(async move { store.find_one(&path).await })
    }

    /// Several small objects, read at the same time; `None` for each that does not exist.
    pub(super) async fn find_all(&self, paths: Vec<ObjectPath>) -> Vec<Result<Option<Bytes>>> {
        let mut answers: Vec<_> = (0..paths.len()).map(|_| None).collect();
        let mut paths = paths.into_iter().enumerate();
        let mut requests = JoinSet::new();
        loop {
            while requests.len() < REQUESTS_AT_ONCE {
                let Some((n, path)) = paths.next() else { break };
                let store = self.clone();
                requests.spawn_on(async move { (n, store.find_one(&path).await) }, &self.runtime);
            }
            match requests.join_next().await {
                Some(Ok((n, answer))) => answers[n] = Some(answer),
                Some(Err(_)) => {}
                None => break,
            }
        }
        let cancelled = || Err(Error::new(ErrorKind::Failed, self.location(), "a request was cancelled"));
        answers.into_iter().map(|answer| answer.unwrap_or_else(cancelled)).collect()
    }

    /// Reads objects, at most `at_once` at the same time, makes something of each where that may take long, and hands it
    /// over in whatever order they come.
    pub(super) fn read_each<T: Send + 'static>(
        &self,
        paths: Vec<ObjectPath>,
        at_once: usize,
        make: impl Fn(usize, Result<Bytes>) -> T + Send + Sync + 'static,
        mut take: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let (send, mut receive) = tokio::sync::mpsc::channel(1);
        let shared = Arc::new((paths, AtomicUsize::new(0), make));
        for _ in 0..at_once.min(shared.0.len()) {
            let (shared, send, backend) = (Arc::clone(&shared), send.clone(), Arc::clone(&self.backend));
            self.runtime.spawn(async move {
                loop {
                    let n = shared.1.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = shared.0.get(n) else { return };
                    let answer = backend.get(path, None).await;
                    let making = Arc::clone(&shared);
                    let made = tokio::task::spawn_blocking(move || (making.2)(n, answer)).await;
                    let Ok(made) = made else { return };
                    if send.send(made).await.is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut taken = 0;
        while let Some(made) = receive.blocking_recv() {
            take(made)?;
            taken += 1;
        }
        if taken < shared.0.len() {
            return Err(Error::new(ErrorKind::Failed, self.location(), "a request was cancelled"));
        }
        Ok(())
    }

    /// Runs requests to their end.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Waits for a request started before.
    pub(super) fn wait<T>(&self, request: JoinHandle<Result<T>>) -> Result<T> {
        self.runtime
            .block_on(request)
            .map_err(|e| Error::new(ErrorKind::Failed, self.location(), "a request was cancelled").because(e))?
    }

    async fn find_one(&self, path: &ObjectPath) -> Result<Option<Bytes>> {
        match self.backend.get(path, None).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn holds(&self, path: &ObjectPath, body: &Sealed) -> Result<bool> {
        Ok(self.find(path)?.is_some_and(|stored| stored == body.bytes()))
    }
}
