//! History and current state together, fact by fact.

use std::collections::VecDeque;

use super::key::{T, complete};
use super::stream::{Head, KeyStream};
use crate::error::Result;

/// What a datom is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// It is in the history.
    pub history: bool,
    /// It is true at the end.
    pub current: bool,
}

/// Every datom of a log, and of the state at its end or at a t before, each once.
pub struct Merged<L, X> {
    log: Head<L>,
    exceptions: Head<X>,
    past: Option<T>,
    started: bool,
    /// What is left of the present fact.
    waiting: VecDeque<(T, bool, Parts)>,
    fact: Vec<u8>,
    key: Vec<u8>,
}

impl<L: KeyStream, X: KeyStream> Merged<L, X> {
    /// `log` and `exceptions` are view keys in ascending order. `past` is a t below the log's greatest, in the form it has
    /// in keys; without one it is the present.
    pub fn new(log: L, exceptions: X, past: Option<[u8; 8]>) -> Self {
        let (log, exceptions) = (Head::new(log), Head::new(exceptions));
        Self { log, exceptions, past, started: false, waiting: VecDeque::new(), fact: Vec::new(), key: Vec::new() }
    }

    /// The next datom as a view key.
    pub fn next(&mut self) -> Result<Option<(&[u8], Parts)>> {
        if !self.started {
            self.started = true;
            self.log.advance()?;
            self.exceptions.advance()?;
        }
        while self.waiting.is_empty() {
            let Some(fact) = [self.log.fact(), self.exceptions.fact()].into_iter().flatten().min() else {
                return Ok(None);
            };
            self.fact.clear();
            self.fact.extend_from_slice(fact);
            self.take_fact()?;
        }
        let Some((t, asserts, parts)) = self.waiting.pop_front() else { return Ok(None) };
        self.key.clear();
        self.key.extend_from_slice(&self.fact);
        complete(&mut self.key, &t, asserts);
        Ok(Some((&self.key, parts)))
    }

    fn take_fact(&mut self) -> Result<()> {
        let wanted = |t: &T| self.past.is_none_or(|past| *t <= past);
        let mut events = Vec::new();
        while self.log.is_about(&self.fact) {
            let t = self.log.t();
            if wanted(&t) {
                events.push((t, self.log.asserts()));
            }
            self.log.advance()?;
        }
        let (mut corrected, mut stated) = (false, Vec::new());
        while self.exceptions.is_about(&self.fact) {
            corrected = true;
            let t = self.exceptions.t();
            if self.exceptions.asserts() && wanted(&t) {
                stated.push(t);
            }
            self.exceptions.advance()?;
        }
        let current: Vec<T> = if self.past.is_none() && corrected {
            stated
        } else {
            // In the past an exception is one more assertion.
            let mut all: Vec<_> = events.iter().copied().chain(stated.into_iter().map(|t| (t, true))).collect();
            all.sort_unstable();
            all.last().filter(|(_, asserts)| *asserts).map(|(t, _)| *t).into_iter().collect()
        };
        for &(t, asserts) in &events {
            let current = asserts && current.contains(&t);
            self.waiting.push_back((t, asserts, Parts { history: true, current }));
        }
        for t in current {
            if !events.contains(&(t, true)) {
                self.waiting.push_back((t, true, Parts { history: false, current: true }));
            }
        }
        Ok(())
    }
}
