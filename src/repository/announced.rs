//! Frames that will be needed soon, on their way from a store that is far away.
//!
//! Whoever knows what comes next announces it. Neighbours in a pack come in one request, several requests run at once, and
//! what has come waits until it is taken. All of that is bounded in bytes; what does not fit starts when something is taken.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Store;
use crate::error::Result;
use crate::format::ObjectPath;
use crate::id::PackId;

/// Bytes that are on their way or wait to be taken.
const HELD_BYTES: u64 = 32 << 20;
/// Bytes of one request, unless a single frame has more.
pub(super) const READ_BYTES: u64 = 4 << 20;
/// Bytes between two frames that are read along rather than asking twice.
pub(super) const GAP_BYTES: u64 = 256 << 10;
/// Requests that may wait for others; further announcements are not heard.
const WAITING: usize = 4096;

/// A frame: its pack and where it lies there.
pub(super) type FramePlace = (PackId, Range<u64>);

/// Frames announced and not yet taken.
pub(super) struct Announced {
    store: Store,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    /// The read that brings a frame, by pack and offset.
    frames: HashMap<(PackId, u64), u64>,
    /// In the order in which they were announced.
    reads: BTreeMap<u64, Read>,
    next: u64,
    /// Reads that have not started.
    waiting: VecDeque<u64>,
    held_bytes: u64,
}

struct Read {
    pack: PackId,
    range: Range<u64>,
    /// Where the frames that nobody has taken start.
    frames: Vec<u64>,
    status: Status,
}

enum Status {
    Waiting,
    Running,
    Here(Bytes),
    /// Whoever wants the frame asks for it alone, and meets an error about that frame.
    Failed,
}

impl Announced {
    pub(super) fn new(store: Store) -> Self {
        Self { store, shared: Arc::default() }
    }

    /// These frames will be taken soon, roughly in this order.
    pub(super) fn announce(&self, frames: impl IntoIterator<Item = FramePlace>) {
        let mut state = self.shared.lock();
        let mut wanted: Vec<(usize, FramePlace)> = frames.into_iter().enumerate().collect();
        wanted.retain(|(_, (pack, range))| !state.frames.contains_key(&(*pack, range.start)));
        if wanted.is_empty() || state.waiting.len() >= WAITING {
            return;
        }
        wanted.sort_unstable_by_key(|(_, (pack, range))| (*pack, range.start));
        wanted.dedup_by(|b, a| a.1 == b.1);
        let mut reads: Vec<(usize, Read)> = Vec::new();
        for (order, (pack, range)) in wanted {
            match reads.last_mut() {
                Some((first, read)) if read.pack == pack && is_near(&read.range, &range, GAP_BYTES, READ_BYTES) => {
                    read.range.end = read.range.end.max(range.end);
                    read.frames.push(range.start);
                    *first = (*first).min(order);
                }
                _ => reads.push((order, Read { pack, frames: vec![range.start], range, status: Status::Waiting })),
            }
        }
        reads.sort_by_key(|(first, _)| *first);
        for (_, read) in reads {
            let number = state.next;
            state.next += 1;
            state.frames.extend(read.frames.iter().map(|start| ((read.pack, *start), number)));
            state.waiting.push_back(number);
            state.reads.insert(number, read);
        }
        self.start_some(&mut state);
    }

    /// The frame, if it was announced and could be read; waits for it.
    pub(super) fn take(&self, pack: PackId, range: &Range<u64>) -> Option<Bytes> {
        let mut state = self.shared.lock();
        let number = state.frames.remove(&(pack, range.start))?;
        loop {
            match &state.reads.get(&number)?.status {
                Status::Waiting => {
                    // What was announced earlier and passed over will hardly be taken.
                    state.forget_before(number);
                    state.waiting.retain(|waiting| *waiting != number);
                    self.start(&mut state, number);
                }
                Status::Running => {
                    state = self.shared.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Status::Here(_) | Status::Failed => break,
            }
        }
        let read = state.reads.get_mut(&number)?;
        let bytes = match &read.status {
            Status::Here(bytes) => slice(bytes, &read.range, range),
            _ => None,
        };
        read.frames.retain(|start| *start != range.start);
        if read.frames.is_empty() {
            state.forget(number);
        }
        self.start_some(&mut state);
        bytes
    }

    /// Starts what waits as long as there is room.
    fn start_some(&self, state: &mut State) {
        while let Some(number) = state.waiting.front().copied() {
            let Some(read) = state.reads.get(&number) else {
                state.waiting.pop_front();
                continue;
            };
            if state.held_bytes > 0 && state.held_bytes + length(&read.range) > HELD_BYTES {
                return;
            }
            state.waiting.pop_front();
            self.start(state, number);
        }
    }

    fn start(&self, state: &mut State, number: u64) {
        let Some(read) = state.reads.get_mut(&number) else { return };
        read.status = Status::Running;
        state.held_bytes += length(&read.range);
        let shared = Arc::clone(&self.shared);
        let (path, range) = (ObjectPath::pack(read.pack), read.range.clone());
        self.store.start_get(path, Some(range), move |result| shared.came(number, result));
    }
}

impl Shared {
    fn came(&self, number: u64, result: Result<Bytes>) {
        let mut state = self.lock();
        if let Some(read) = state.reads.get_mut(&number) {
            read.status = result.map_or(Status::Failed, Status::Here);
        }
        drop(state);
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops a read, with what of it was not taken.
    fn forget(&mut self, number: u64) {
        let Some(read) = self.reads.remove(&number) else { return };
        if !matches!(read.status, Status::Waiting) {
            self.held_bytes -= length(&read.range);
        }
        for start in read.frames {
            self.frames.remove(&(read.pack, start));
        }
    }

    /// Drops what has come and was announced before a read.
    fn forget_before(&mut self, number: u64) {
        let passed = self.reads.range(..number).filter(|(_, read)| matches!(read.status, Status::Here(_) | Status::Failed));
        let passed: Vec<u64> = passed.map(|(number, _)| *number).collect();
        for number in passed {
            self.forget(number);
        }
    }
}

/// Whether two ranges of a pack, the second not before the first, are better read in one request.
pub(super) fn is_near(read: &Range<u64>, next: &Range<u64>, gap_bytes: u64, read_bytes: u64) -> bool {
    next.start.saturating_sub(read.end) <= gap_bytes && next.end.saturating_sub(read.start) <= read_bytes
}

fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// A part of what was read.
fn slice(bytes: &Bytes, read: &Range<u64>, part: &Range<u64>) -> Option<Bytes> {
    let at = |offset: u64| offset.checked_sub(read.start).and_then(|at| usize::try_from(at).ok());
    let (from, to) = (at(part.start)?, at(part.end)?);
    (from <= to && to <= bytes.len()).then(|| bytes.slice(from..to))
}
