//! A backend in memory for tests, with the faults of real ones on demand.
//!
//! Everything it does follows from what it was told and from the order of the calls: the same test fails the same way.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::backend::{Answer, Backend, ObjectStat, PutNew, Requests};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

/// What becomes of the write during which the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoppedWrite {
    /// Nothing of it is stored.
    Dropped,
    /// It is stored, but nobody is told.
    Applied,
    /// Half of it is stored under its name, as a store that breaks its promises would do.
    Torn,
}

/// How a stored object is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The lowest bit of the byte at this offset (counted round the object's end) is flipped.
    Flip(usize),
    /// Only this many bytes are left.
    Truncate(usize),
    /// No bytes are left.
    Empty,
}

/// The whole content of a [`SimulatedBackend`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredObjects {
    objects: BTreeMap<ObjectPath, (Bytes, i64)>,
    clock_ms: i64,
}

/// Objects in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct SimulatedBackend {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    stored: StoredObjects,
    requests: Requests,
    writes_left: Option<(u64, StoppedWrite)>,
    stopped: bool,
    transient: Option<Transient>,
    capacity_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Transient {
    seed: u64,
    one_in: u64,
}

enum Fate {
    Done,
    DoneButFails(Error),
    TornAndFails(Error),
    Fails(Error),
}

impl SimulatedBackend {
    /// An empty one without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `count` more writes (deletes are writes) succeed; at the next one the process dies: that write meets `fate`, and
    /// it and every later request fail with [`ErrorKind::Interrupted`].
    pub fn stop_after_writes(&self, count: u64, fate: StoppedWrite) {
        self.state().writes_left = Some((count, fate));
    }

    /// Whether the process has died.
    pub fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Makes about one in `one_in` requests fail with [`ErrorKind::Transient`], chosen by `seed`; half of the writes among
    /// them are carried out nevertheless. Zero turns this off.
    pub fn fail_transiently(&self, seed: u64, one_in: u64) {
        self.state().transient = (one_in > 0).then_some(Transient { seed, one_in });
    }

    /// Refuses writes with [`ErrorKind::NoSpace`] that would bring the stored bytes over `capacity_bytes`.
    pub fn limit_space(&self, capacity_bytes: Option<u64>) {
        self.state().capacity_bytes = capacity_bytes;
    }

    /// Ends all faults: the next process opens the store.
    pub fn heal(&self) {
        let mut state = self.state();
        state.writes_left = None;
        state.stopped = false;
        state.transient = None;
        state.capacity_bytes = None;
    }

    /// What has been asked so far, failed requests included.
    pub fn requests(&self) -> Requests {
        self.state().requests
    }

    /// A copy of everything that is stored.
    pub fn snapshot(&self) -> StoredObjects {
        self.state().stored.clone()
    }

    /// Puts everything back as it was; faults and counts stay.
    pub fn restore_state(&self, stored: StoredObjects) {
        self.state().stored = stored;
    }

    /// Sets the store's clock, in milliseconds since 1970; every write advances it by one.
    pub fn set_clock_ms(&self, clock_ms: i64) {
        self.state().stored.clock_ms = clock_ms;
    }

    /// The paths of all objects.
    pub fn paths(&self) -> Vec<ObjectPath> {
        self.state().stored.objects.keys().cloned().collect()
    }

    /// Spoils an object; whether it was there and had bytes to spoil.
    pub fn damage(&self, path: &ObjectPath, damage: Damage) -> bool {
        let mut state = self.state();
        let Some((body, _)) = state.stored.objects.get_mut(path).filter(|(body, _)| !body.is_empty()) else {
            return false;
        };
        let mut bytes = body.to_vec();
        match damage {
            Damage::Flip(at) => {
                let at = at % bytes.len();
                bytes[at] ^= 1;
            }
            Damage::Truncate(len) => bytes.truncate(len),
            Damage::Empty => bytes.clear(),
        }
        *body = bytes.into();
        true
    }

    /// Exchanges the contents of two objects; whether both were there.
    pub fn swap(&self, a: &ObjectPath, b: &ObjectPath) -> bool {
        let mut state = self.state();
        let objects = &mut state.stored.objects;
        let (Some(first), Some(second)) = (objects.get(a).cloned(), objects.get(b).cloned()) else { return false };
        objects.insert(a.clone(), second);
        objects.insert(b.clone(), first);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(
        &self,
        path: &ObjectPath,
        body: Sealed,
        class: fn(&mut Requests) -> &mut u64,
        new: bool,
    ) -> Result<PutNew> {
        let mut state = self.state();
        *class(&mut state.requests) += 1;
        let fate = state.write_fate(path);
        if let Fate::Fails(error) = fate {
            return Err(error);
        }
        if new && state.stored.objects.contains_key(path) {
            state.requests.written_bytes += body.len() as u64;
            return fate.answer(PutNew::Exists);
        }
        let mut body = body.bytes().clone();
        if matches!(fate, Fate::TornAndFails(_)) {
            body.truncate(body.len() / 2);
        }
        let replaced_bytes = state.stored.objects.get(path).map_or(0, |(body, _)| body.len());
        let total_bytes = state.stored.size_bytes() - replaced_bytes as u64 + body.len() as u64;
        if state.capacity_bytes.is_some_and(|capacity| total_bytes > capacity) {
            return Err(Error::new(ErrorKind::NoSpace, path, "the simulated store is full"));
        }
        state.stored.clock_ms += 1;
        state.requests.written_bytes += body.len() as u64;
        let modified_ms = state.stored.clock_ms;
        state.stored.objects.insert(path.clone(), (body, modified_ms));
        fate.answer(PutNew::Created)
    }

    fn remove(&self, path: &ObjectPath) -> Result<()> {
        let mut state = self.state();
        state.requests.delete += 1;
        let fate = state.write_fate(path);
        if let Fate::Fails(error) = fate {
            return Err(error);
        }
        state.stored.clock_ms += 1;
        state.stored.objects.remove(path);
        fate.answer(())
    }

    fn read<T>(
        &self,
        object: &str,
        class: fn(&mut Requests) -> &mut u64,
        answer: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let mut state = self.state();
        *class(&mut state.requests) += 1;
        if state.stopped {
            return Err(stopped(object));
        }
        if state.chance().is_some() {
            return Err(transient(object));
        }
        answer(&mut state)
    }
}

impl State {
    /// What the faults in force make of the next write.
    fn write_fate(&mut self, path: &ObjectPath) -> Fate {
        if self.stopped {
            return Fate::Fails(stopped(path.as_str()));
        }
        if let Some(chance) = self.chance() {
            let error = transient(path.as_str());
            return if chance % 2 == 0 { Fate::Fails(error) } else { Fate::DoneButFails(error) };
        }
        match &mut self.writes_left {
            Some((0, fate)) => {
                self.stopped = true;
                let error = stopped(path.as_str());
                match fate {
                    StoppedWrite::Dropped => Fate::Fails(error),
                    StoppedWrite::Applied => Fate::DoneButFails(error),
                    StoppedWrite::Torn => Fate::TornAndFails(error),
                }
            }
            Some((left, _)) => {
                *left -= 1;
                Fate::Done
            }
            None => Fate::Done,
        }
    }

    /// `Some` of further random bits when this request is to fail.
    fn chance(&mut self) -> Option<u64> {
        let transient = self.transient.as_mut()?;
        // One step of splitmix64.
        transient.seed = transient.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = transient.seed;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits % transient.one_in == 0).then_some(bits / transient.one_in)
    }
}

impl Fate {
    fn answer<T>(self, value: T) -> Result<T> {
        match self {
            Self::Done => Ok(value),
            Self::Fails(error) | Self::DoneButFails(error) | Self::TornAndFails(error) => Err(error),
        }
    }
}

impl StoredObjects {
    /// Bytes of all objects.
    pub fn size_bytes(&self) -> u64 {
        self.objects.values().map(|(body, _)| body.len() as u64).sum()
    }

    /// An object's bytes.
    pub fn get(&self, path: &ObjectPath) -> Option<&Bytes> {
        self.objects.get(path).map(|(body, _)| body)
    }

    /// All paths in order.
    pub fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.objects.keys()
    }
}

impl Backend for SimulatedBackend {
    fn location(&self) -> String {
        "simulated".to_owned()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.store(path, body, |requests| &mut requests.put, false).map(drop) })
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(async move { self.store(path, body, |requests| &mut requests.put_new, true) })
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.store(path, body, |requests| &mut requests.replace, false).map(drop) })
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            self.read(
                path.as_str(),
                |requests| &mut requests.get,
                |state| {
                    let found = state.stored.objects.get(path).map(|(body, _)| body.clone());
                    let body = found.ok_or_else(|| Error::new(ErrorKind::NotFound, path, "no such object"))?;
                    let range = range.unwrap_or(0..body.len() as u64);
                    if range.start > range.end {
                        return Err(Error::new(ErrorKind::Usage, path, "range ends before it starts"));
                    }
                    if range.end > body.len() as u64 {
                        let message =
                            format_args!("{} bytes long, but bytes up to {} were expected", body.len(), range.end);
                        return Err(Error::new(ErrorKind::Damaged, path, message));
                    }
                    state.requests.read_bytes += range.end - range.start;
                    Ok(body.slice(range.start as usize..range.end as usize))
                },
            )
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(async move {
            self.read(
                prefix,
                |requests| &mut requests.list,
                |state| {
                    let objects = state.stored.objects.iter().filter(|(path, _)| path.as_str().starts_with(prefix));
                    Ok(objects.map(|(path, object)| (path.clone(), object_stat(object))).collect())
                },
            )
        })
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        Box::pin(async move {
            self.read(
                path.as_str(),
                |requests| &mut requests.stat,
                |state| Ok(state.stored.objects.get(path).map(object_stat)),
            )
        })
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        Box::pin(async move { self.remove(path) })
    }
}

fn object_stat((body, modified_ms): &(Bytes, i64)) -> ObjectStat {
    ObjectStat { size_bytes: body.len() as u64, modified_ms: *modified_ms }
}

fn stopped(object: &str) -> Error {
    Error::new(ErrorKind::Interrupted, object, "the simulated process has died")
}

fn transient(object: &str) -> Error {
    Error::new(ErrorKind::Transient, object, "simulated passing failure")
}
