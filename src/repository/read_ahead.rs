//! Objects, or ranges of them, read in an order that is known: some are on their way while others are worked on.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ObjectPath;

/// Bytes that are on their way or have come and were not taken.
const AHEAD_BYTES: u64 = 32 << 20;
/// Requests that are on their way or whose answers were not taken: short ones are not held back by bytes.
const AHEAD_REQUESTS: usize = 128;

/// A range of an object.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The object.
    pub path: ObjectPath,
    /// The bytes of it.
    pub range: Range<u64>,
}

/// Reads groups of ranges in their order, bounded in bytes. Any number of threads may take from it.
///
/// A store of this machine is read when a group is taken: there is nothing to be gained by asking earlier.
pub struct ReadAhead<'a, T> {
    store: Store,
    state: Mutex<State<'a, T>>,
}

/// What a group is for, and its ranges.
type Groups<'a, T> = Box<dyn Iterator<Item = (T, Vec<Wanted>)> + Send + 'a>;

struct State<'a, T> {
    /// Groups that were not asked for yet.
    coming: Groups<'a, T>,
    started: VecDeque<Started<T>>,
    bytes: u64,
    requests: usize,
}

struct Started<T> {
    what: T,
    answers: Vec<JoinHandle<Result<Bytes>>>,
    bytes: u64,
}

impl Store {
    /// Reads these groups of ranges, in this order. They are made shortly before they are asked for.
    pub fn read_ahead<'a, T>(&self, groups: impl Iterator<Item = (T, Vec<Wanted>)> + Send + 'a) -> ReadAhead<'a, T> {
        let state = State { coming: Box::new(groups), started: VecDeque::new(), bytes: 0, requests: 0 };
        ReadAhead { store: self.clone(), state: Mutex::new(state) }
    }
}

impl<T> ReadAhead<'_, T> {
    /// What the next group is for, and what was read for it; `None` after the last.
    pub fn take(&self) -> Option<(T, Vec<Result<Bytes>>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.store.is_local() {
            let (what, group) = state.coming.next()?;
            drop(state);
            return Some((what, group.into_iter().map(|w| self.store.get(&w.path, Some(w.range))).collect()));
        }
        self.start_some(&mut state);
        let Started { what, answers, bytes } = state.started.pop_front()?;
        state.bytes -= bytes;
        state.requests -= answers.len();
        self.start_some(&mut state);
        drop(state);
        let answer = |request: JoinHandle<Result<Bytes>>| {
            self.store.runtime().block_on(request).unwrap_or_else(|e| {
                Err(Error::new(ErrorKind::Failed, self.store.location(), "a request was cancelled").because(e))
            })
        };
        Some((what, answers.into_iter().map(answer).collect()))
    }

    fn start_some(&self, state: &mut State<'_, T>) {
        while state.started.is_empty() || (state.bytes < AHEAD_BYTES && state.requests < AHEAD_REQUESTS) {
            let Some((what, group)) = state.coming.next() else { return };
            let bytes = group.iter().map(|wanted| wanted.range.end.saturating_sub(wanted.range.start)).sum();
            let answers: Vec<_> =
                group.into_iter().map(|wanted| self.store.start_read(wanted.path, wanted.range)).collect();
            state.bytes += bytes;
            state.requests += answers.len();
            state.started.push_back(Started { what, answers, bytes });
        }
    }
}

impl<T> Drop for ReadAhead<'_, T> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for request in state.started.iter().flat_map(|started| &started.answers) {
            request.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::backend::{Backend, SimulatedBackend};
    use crate::error::ErrorKind;
    use crate::format::Sealed;
    use crate::id::PackId;

    #[test]
    fn every_group_comes_once_with_its_own_bytes() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let backend = SimulatedBackend::new();
        let (there, missing) = (ObjectPath::pack(PackId::new([1; 32])), ObjectPath::pack(PackId::new([2; 32])));
        let bytes: Vec<u8> = (0..=255).collect();
        runtime.block_on(backend.put(&there, Sealed::from_stored(bytes.into()))).unwrap();
        let store = Store::new(Arc::new(backend), runtime.handle().clone());
        let groups = (0..200u64).map(|n| {
            let mine = Wanted { path: there.clone(), range: n..n + 2 };
            (n, vec![mine, Wanted { path: missing.clone(), range: 0..1 }])
        });
        let ahead = store.read_ahead(groups);
        let met = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some((n, answers)) = ahead.take() {
                        assert_eq!(answers[0].as_ref().unwrap()[..], [n as u8, n as u8 + 1]);
                        assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
                        met.lock().unwrap().push(n);
                    }
                });
            }
        });
        let mut met = met.into_inner().unwrap();
        met.sort_unstable();
        assert!(met.into_iter().eq(0..200));
    }
}
