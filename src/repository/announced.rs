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
const READ_BYTES: u64 = 4 << 20;
/// Bytes between two frames that are read along rather than asking twice.
const GAP_BYTES: u64 = 256 << 10;
/// Requests that may wait for others; further announcements are not heard.
const WAITING: usize = 4096;
/// What has come is dropped when it was passed over so often: so many that were announced later have been taken.
const PASSED_OVER: u32 = 16;

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
    passed_over: u32,
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
                Some((first, read)) if read.pack == pack && read.is_near(&range) => {
                    read.range.end = read.range.end.max(range.end);
                    read.frames.push(range.start);
                    *first = (*first).min(order);
                }
                _ => reads.push((
                    order,
                    Read { pack, frames: vec![range.start], range, status: Status::Waiting, passed_over: 0 },
                )),
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
                // Whoever waits for it is not made to wait for others.
                Status::Waiting => {
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
            state.pass_over(number);
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

    /// A read was taken: drops what came for one before it that nobody seems to want any more.
    fn pass_over(&mut self, number: u64) {
        let mut unwanted = Vec::new();
        for (number, read) in self.reads.range_mut(..number) {
            if matches!(read.status, Status::Here(_) | Status::Failed) {
                read.passed_over += 1;
                if read.passed_over > PASSED_OVER {
                    unwanted.push(*number);
                }
            }
        }
        for number in unwanted {
            self.forget(number);
        }
    }
}

impl Read {
    /// Whether a range of its pack, that does not begin before its own, is better read with it.
    fn is_near(&self, next: &Range<u64>) -> bool {
        next.start.saturating_sub(self.range.end) <= GAP_BYTES
            && next.end.saturating_sub(self.range.start) <= READ_BYTES
    }
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::backend::{Backend, SimulatedBackend};
    use crate::format::Sealed;

    const PACK: PackId = PackId::new([1; 32]);
    const FRAME: u64 = 1000;

    /// A pack of frames of 1,000 bytes, each filled with its number.
    fn far(frames: u8) -> (tokio::runtime::Runtime, SimulatedBackend, Announced) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let backend = SimulatedBackend::new();
        let bytes: Vec<u8> = (0..frames).flat_map(|n| vec![n; FRAME as usize]).collect();
        runtime.block_on(backend.put(&ObjectPath::pack(PACK), Sealed::from_stored(bytes.into()))).unwrap();
        let store = Store::new(Arc::new(backend.clone()), runtime.handle().clone());
        (runtime, backend, Announced::new(store))
    }

    fn frame(number: u8) -> Range<u64> {
        u64::from(number) * FRAME..(u64::from(number) + 1) * FRAME
    }

    #[test]
    fn neighbours_come_in_one_request() {
        let (_runtime, backend, announced) = far(20);
        announced.announce((3..17).rev().map(|n| (PACK, frame(n))));
        for number in 3..17 {
            assert_eq!(announced.take(PACK, &frame(number)).unwrap(), vec![number; FRAME as usize]);
        }
        assert_eq!(backend.requests().get, 1);
        assert_eq!(announced.take(PACK, &frame(3)), None, "what was taken is gone");
        let state = announced.shared.lock();
        assert_eq!((state.held_bytes, state.reads.len(), state.frames.len()), (0, 0, 0));
    }

    #[test]
    fn what_nobody_takes_is_dropped() {
        let (_runtime, _backend, announced) = far(100);
        announced.announce([(PACK, frame(0))]);
        for number in 1..60 {
            announced.announce([(PACK, frame(number))]);
            assert!(announced.take(PACK, &frame(number)).is_some());
        }
        assert_eq!(announced.take(PACK, &frame(0)), None);
        assert_eq!(announced.shared.lock().held_bytes, 0);
    }

    #[test]
    fn what_cannot_be_read_is_left_to_whoever_wants_it() {
        let (_runtime, _backend, announced) = far(1);
        announced.announce([(PackId::new([2; 32]), frame(0)), (PACK, frame(3))]);
        assert_eq!(announced.take(PackId::new([2; 32]), &frame(0)), None);
        assert_eq!(announced.take(PACK, &frame(3)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_frame_is_what_lies_there(
            rounds in proptest::collection::vec(
                (proptest::collection::vec(0u8..50, 0..20), proptest::collection::vec(0u8..50, 0..20)), 1..8),
        ) {
            let (_runtime, _backend, announced) = far(50);
            for (told, taken) in rounds {
                announced.announce(told.into_iter().map(|n| (PACK, frame(n))));
                for number in taken {
                    if let Some(bytes) = announced.take(PACK, &frame(number)) {
                        prop_assert_eq!(bytes, vec![number; FRAME as usize]);
                    }
                }
            }
        }
    }
}
