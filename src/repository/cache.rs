//! A bounded cache in memory in which nothing is loaded twice at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Result;

/// Values by key, the least recently used ones dropped when they exceed a number of bytes together.
pub(super) struct Cache<K, V> {
    state: Mutex<State<K, V>>,
    loaded: Condvar,
    limit_bytes: usize,
}

struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    bytes: usize,
    clock: u64,
}

enum Entry<V> {
    Loading,
    Ready { value: Arc<V>, bytes: usize, used: u64 },
}

impl<K: Copy + Eq + Hash, V> Cache<K, V> {
    pub(super) fn new(limit_bytes: usize) -> Self {
        let state = State { entries: HashMap::new(), bytes: 0, clock: 0 };
        Self { state: Mutex::new(state), loaded: Condvar::new(), limit_bytes }
    }

    /// The value, from the cache or by `load`, which returns it with its size; waits when another thread is loading it.
    pub(super) fn get(&self, key: K, load: impl FnOnce() -> Result<(V, usize)>) -> Result<Arc<V>> {
        let mut state = self.lock();
        loop {
            state.clock += 1;
            let now = state.clock;
            match state.entries.get_mut(&key) {
                Some(Entry::Ready { value, used, .. }) => {
                    *used = now;
                    return Ok(Arc::clone(value));
                }
                Some(Entry::Loading) => state = self.loaded.wait(state).unwrap_or_else(PoisonError::into_inner),
                None => break,
            }
        }
        state.entries.insert(key, Entry::Loading);
        drop(state);
        let result = load();
        let mut state = self.lock();
        self.loaded.notify_all();
        match result {
            Ok((value, bytes)) => {
                let value = Arc::new(value);
                let used = state.clock;
                state.entries.insert(key, Entry::Ready { value: Arc::clone(&value), bytes, used });
                state.bytes += bytes;
                self.evict(&mut state);
                Ok(value)
            }
            Err(error) => {
                state.entries.remove(&key);
                Err(error)
            }
        }
    }

    /// The value, if it is there; waits for nothing.
    pub(super) fn peek(&self, key: &K) -> Option<Arc<V>> {
        match self.lock().entries.get(key)? {
            Entry::Ready { value, .. } => Some(Arc::clone(value)),
            Entry::Loading => None,
        }
    }

    /// Whether the value is there or being loaded.
    pub(super) fn has(&self, key: &K) -> bool {
        self.lock().entries.contains_key(key)
    }

    fn evict(&self, state: &mut State<K, V>) {
        while state.bytes > self.limit_bytes {
            let oldest = state.entries.iter().filter_map(|(key, entry)| match entry {
                Entry::Ready { used, bytes, .. } => Some((*used, *key, *bytes)),
                Entry::Loading => None,
            });
            let Some((_, key, bytes)) = oldest.min_by_key(|(used, _, _)| *used) else { return };
            state.entries.remove(&key);
            state.bytes -= bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
