//! Listing directories before they are needed.
//!
//! Threads take the directory that comes next in the order of keys, so that what is listed is what the consumer asks for
//! soonest. They pause while listings hold more memory than they may. The consumer never depends on them: what nobody has
//! begun it lists itself, and while another lists what it waits for it helps with what comes after.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::listing::{Listing, Rest, Rules, Task};

/// How far ahead, and with how many hands.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub threads: usize,
    pub held_bytes: usize,
}

/// Listings that are there, and the threads that make more.
pub(super) struct Ahead {
    desk: Arc<Desk>,
    threads: Vec<JoinHandle<()>>,
}

/// Which listing.
pub(super) type Number = u64;

struct Desk {
    rules: Rules,
    held_bytes_max: usize,
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

#[derive(Default)]
struct State {
    nodes: HashMap<Number, Node>,
    /// Listings of which something is still to be begun, by the key of that.
    order: BinaryHeap<Reverse<(Vec<u8>, Number)>>,
    last: Number,
    held_bytes: usize,
    is_paused: bool,
    is_stopping: bool,
    idle: usize,
    is_awaited: bool,
}

/// A listing with what follows from it: first its directories, then what continues it.
struct Node {
    listing: Arc<Listing>,
    rest: Option<Rest>,
    slots: usize,
    begun: usize,
    made: HashMap<usize, io::Result<Number>>,
    held_bytes: usize,
}

/// What was claimed: a slot of a node.
struct Claim {
    node: Number,
    slot: usize,
    task: Task,
}

impl Ahead {
    /// Starts the threads.
    pub fn new(rules: Rules, limits: Limits) -> Self {
        let desk = Arc::new(Desk {
            rules,
            held_bytes_max: limits.held_bytes,
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let mut threads = Vec::new();
        for _ in 0..limits.threads {
            let desk = Arc::clone(&desk);
            let thread = std::thread::Builder::new().name("walk".into()).spawn(move || desk.work());
            // With fewer threads it takes longer.
            threads.extend(thread.ok());
        }
        Self { desk, threads }
    }

    /// The root directory as if it were in another one.
    pub fn first(&self) -> (Number, Arc<Listing>) {
        let listing = self.desk.rules.list_above();
        let mut state = self.desk.lock();
        let number = self.desk.add(&mut state, listing, None);
        (number, Arc::clone(&state.nodes[&number].listing))
    }

    /// The listing in a slot of another: of its directory of that number, or what continues it. Each is given once.
    pub fn take(&self, node: Number, slot: usize) -> io::Result<(Number, Arc<Listing>)> {
        let desk = &*self.desk;
        let mut state = desk.lock();
        loop {
            let Some(from) = state.nodes.get_mut(&node) else { return Err(unknown()) };
            if let Some(made) = from.made.remove(&slot) {
                let number = made?;
                let listing = state.nodes.get(&number).map(|node| Arc::clone(&node.listing)).ok_or_else(unknown)?;
                return Ok((number, listing));
            }
            let claim = match from.begun <= slot {
                true => Some(state.claim(node).ok_or_else(unknown)?),
                false => desk.claim_next(&mut state),
            };
            state = match claim {
                Some(claim) => desk.make(state, claim),
                None => {
                    state.is_awaited = true;
                    desk.done.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    /// Whether something continues a listing.
    pub fn has_rest(&self, node: Number) -> bool {
        let state = self.desk.lock();
        state.nodes.get(&node).is_some_and(|node| node.slots > node.listing.descents.len())
    }

    /// Forgets a listing of which everything was taken.
    pub fn drop_listing(&self, node: Number) {
        let mut state = self.desk.lock();
        if let Some(node) = state.nodes.remove(&node) {
            state.held_bytes -= node.held_bytes;
        }
        // Not at once below the limit: the threads would be woken for one directory each.
        if state.is_paused && state.held_bytes < self.desk.held_bytes_max / 4 * 3 {
            state.is_paused = false;
            if state.idle > 0 {
                self.desk.work.notify_all();
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.desk.lock().is_stopping = true;
        self.desk.work.notify_all();
        for thread in self.threads.drain(..) {
            // A panic there was handed to the consumer.
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        while !state.is_stopping {
            state = match self.claim_next(&mut state) {
                Some(claim) => self.make(state, claim),
                None => {
                    state.idle += 1;
                    let mut state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                    state
                }
            };
        }
    }

    fn claim_next(&self, state: &mut State) -> Option<Claim> {
        while !state.is_paused
            && let Some(Reverse((_, node))) = state.order.pop()
        {
            let Some(claim) = state.claim(node) else { continue };
            state.enqueue(node);
            if state.idle > 0 && !state.order.is_empty() {
                self.work.notify_one();
            }
            return Some(claim);
        }
        None
    }

    /// Does what was claimed, without the lock.
    fn make<'a>(&'a self, state: MutexGuard<'a, State>, claim: Claim) -> MutexGuard<'a, State> {
        drop(state);
        let Claim { node, slot, task } = claim;
        let made = catch_unwind(AssertUnwindSafe(|| self.rules.list(task)))
            .unwrap_or_else(|_| Err(io::Error::other("listing it panicked")));
        let mut state = self.lock();
        let made = made.map(|(listing, rest)| self.add(&mut state, listing, rest));
        if let Some(node) = state.nodes.get_mut(&node) {
            node.made.insert(slot, made);
        }
        if std::mem::take(&mut state.is_awaited) {
            self.done.notify_all();
        }
        state
    }

    fn add(&self, state: &mut State, listing: Listing, rest: Option<Rest>) -> Number {
        state.last += 1;
        let number = state.last;
        let held_bytes = size_of::<Node>() + listing.held_bytes() + rest.as_ref().map_or(0, Rest::held_bytes);
        let slots = listing.descents.len() + usize::from(rest.is_some());
        let listing = Arc::new(listing);
        state.nodes.insert(number, Node { listing, rest, slots, begun: 0, made: HashMap::new(), held_bytes });
        state.held_bytes += held_bytes;
        state.is_paused |= state.held_bytes >= self.held_bytes_max;
        if slots > 0 {
            state.enqueue(number);
            if state.idle > 0 && !state.is_paused {
                self.work.notify_one();
            }
        }
        number
    }
}

impl State {
    /// Begins the next slot of a node.
    fn claim(&mut self, number: Number) -> Option<Claim> {
        let node = self.nodes.get_mut(&number)?;
        let slot = node.begun;
        if slot >= node.slots {
            return None;
        }
        let task = match node.listing.descents.get(slot) {
            Some(&descent) => Task::Directory(node.listing.directory(descent)?),
            None => Task::Rest(node.rest.take()?),
        };
        node.begun += 1;
        Some(Claim { node: number, slot, task })
    }

    /// Lines a node up by what it has to begin next.
    fn enqueue(&mut self, number: Number) {
        let Some(node) = self.nodes.get(&number) else { return };
        if node.begun >= node.slots {
            return;
        }
        let item = match node.listing.descents.get(node.begun) {
            Some(descent) => node.listing.items.get(descent.item),
            None => node.listing.items.last(),
        };
        let key = item.map_or_else(|| node.listing.key.clone(), |item| node.listing.key_of(item));
        self.order.push(Reverse((key, number)));
    }
}

fn unknown() -> io::Error {
    io::Error::other("listed already")
}
