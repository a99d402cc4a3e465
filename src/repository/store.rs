//! The backend as the rest of this floor sees it: blocking calls on a runtime, requests counted.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

use crate::backend::{Backend, Counted, Mirrored, ObjectStat, PutNew, Requests, Thaw, ThawOrder, Traffic};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

/// Requests for small objects at once; the backend may do fewer.
const REQUESTS_AT_ONCE: usize = 32;

/// No upload of an object takes as long.
const UPLOADS_ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Objects as a backend lists them.
pub(super) type Listing = Vec<(ObjectPath, ObjectStat)>;
/// Objects that are asked about at once.
const THAWS: usize = 32;

/// A backend and the runtime that drives it. Its methods block: call them from threads that may, such as those of
/// [`tokio::task::spawn_blocking`].
#[derive(Clone)]
pub struct Store {
    backend: Arc<Counted<Arc<dyn Backend>>>,
    runtime: Handle,
    conditional_put: bool,
}

impl Store {
    pub(super) fn new(backend: Arc<dyn Backend>, runtime: Handle) -> Self {
        Self { backend: Arc::new(Counted::new(backend)), runtime, conditional_put: true }
    }

    /// The same store, whose own `put_new` counts for nothing unless `honoured`: then an object is created by looking,
    /// writing and reading back, which is enough where nobody races.
    pub(super) fn with_conditional_put(self, honoured: bool) -> Self {
        Self { conditional_put: honoured, ..self }
    }

    /// The backend underneath, its requests counted here.
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend) as Arc<dyn Backend>
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

    /// The mirrors, where there may be some.
    pub fn mirrored(&self) -> Option<&Mirrored> {
        self.backend.mirrored()
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
        if !self.conditional_put {
            return self.put_unless_there(path, body);
        }
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

    /// See [`Backend::get`], and what `open` makes of the bytes. What is damaged and came over a wire is asked for once more:
    /// nothing below notices a flipped bit in an answer.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when it is so both times.
    pub fn get_and_open<T>(
        &self,
        path: &ObjectPath,
        range: Option<Range<u64>>,
        open: impl Fn(Bytes) -> Result<T>,
    ) -> Result<T> {
        match self.get(path, range.clone()).and_then(&open) {
            Err(damage) if damage.kind() == ErrorKind::Damaged && !self.is_local() => {
                self.get_again(path, range).and_then(open)
            }
            result => result,
        }
    }

    /// What `open` makes of an object that was read before, or, where that is damaged and came over a wire, of what is read
    /// once more.
    pub fn open_or_read_again<T>(
        &self,
        path: &ObjectPath,
        object: Bytes,
        open: impl Fn(Bytes) -> Result<T>,
    ) -> Result<T> {
        match open(object) {
            Err(damage) if damage.kind() == ErrorKind::Damaged && !self.is_local() => {
                self.get_again(path, None).and_then(open)
            }
            result => result,
        }
    }

    /// Reads what was read before and was damaged, by another way where there is one.
    pub fn get_again(&self, path: &ObjectPath, range: Option<Range<u64>>) -> Result<Bytes> {
        tracing::warn!(%path, "damaged: reading once more");
        self.backend.doubt(path);
        self.get(path, range)
    }

    /// See [`Backend::get`]; what came over a wire and is not `whole` is asked for once more, and then taken as it comes.
    pub fn get_checked(
        &self,
        path: &ObjectPath,
        range: Option<Range<u64>>,
        whole: impl Fn(&[u8]) -> bool,
    ) -> Result<Bytes> {
        let bytes = self.get(path, range.clone())?;
        if self.is_local() || whole(&bytes) {
            return Ok(bytes);
        }
        self.get_again(path, range)
    }

    /// See [`Store::get_checked`], of a whole object; `None` when it does not exist.
    pub fn find_checked(&self, path: &ObjectPath, whole: impl Fn(&[u8]) -> bool) -> Result<Option<Bytes>> {
        match self.get_checked(path, None, whole) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// See [`Store::get_and_open`]; `None` when the object does not exist.
    pub fn find_and_open<T>(&self, path: &ObjectPath, open: impl Fn(Bytes) -> Result<T>) -> Result<Option<T>> {
        match self.get_and_open(path, None, open) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    /// Removes uploads that were begun more than a day ago and never ended: see [`Backend::clean_uploads`].
    pub fn clean_uploads(&self) -> Result<u64> {
        self.runtime.block_on(self.backend.clean_uploads(UPLOADS_ABANDONED))
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

    /// See [`Backend::thaw`]: for many objects, several at a time.
    pub fn thaw(&self, paths: &[ObjectPath], order: Option<ThawOrder>) -> Result<Vec<Thaw>> {
        self.runtime.block_on(async {
            let mut found = Vec::with_capacity(paths.len());
            for some in paths.chunks(THAWS) {
                let ask = |path: &ObjectPath| {
                    let (backend, path) = (Arc::clone(&self.backend), path.clone());
                    self.runtime.spawn(async move { backend.thaw(&path, order.as_ref()).await })
                };
                let asked: Vec<_> = some.iter().map(ask).collect();
                for answer in asked {
                    let cancelled =
                        |e| Error::new(ErrorKind::Failed, self.location(), "a request was cancelled").because(e);
                    found.push(answer.await.map_err(cancelled)??);
                }
            }
            Ok(found)
        })
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

    fn put_unless_there(&self, path: &ObjectPath, body: Sealed) -> Result<PutNew> {
        if let Some(there) = self.find(path)? {
            return Ok(if there == body.bytes() { PutNew::Created } else { PutNew::Exists });
        }
        self.put(path, body.clone())?;
        Ok(if self.holds(path, &body)? { PutNew::Created } else { PutNew::Exists })
    }

    fn holds(&self, path: &ObjectPath, body: &Sealed) -> Result<bool> {
        Ok(self.find(path)?.is_some_and(|stored| stored == body.bytes()))
    }
}
