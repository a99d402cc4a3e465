//! From the log to a state: of now, or of a point in the past.

use std::cmp::Ordering;

use super::key::{T, complete};
use super::stream::{Head, KeyStream};
use crate::error::Result;

/// The datoms that are true after all events of `events`, as view keys.
pub struct Fold<S> {
    events: Head<S>,
    started: bool,
    datom: Vec<u8>,
}

impl<S: KeyStream> Fold<S> {
    /// `events` are view keys in ascending order.
    pub fn new(events: S) -> Self {
        Self { events: Head::new(events), started: false, datom: Vec::new() }
    }
}

impl<S: KeyStream> KeyStream for Fold<S> {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        if !self.started {
            self.started = true;
            self.events.advance()?;
        }
        while let Some(fact) = self.events.fact() {
            self.datom.clear();
            self.datom.extend_from_slice(fact);
            let mut since = None;
            while self.events.is_about(&self.datom) {
                since = self.events.asserts().then(|| self.events.t());
                self.events.advance()?;
            }
            if let Some(t) = since {
                complete(&mut self.datom, &t, true);
                return Ok(Some(&self.datom));
            }
        }
        Ok(None)
    }
}

/// The datoms that were true at a t below the log's greatest, as view keys.
pub struct Past<L, X>(Fold<UpTo<L, X>>);

impl<L: KeyStream, X: KeyStream> Past<L, X> {
    /// `log` and `exceptions` are view keys in ascending order; `t` is in the form it has in keys.
    pub fn new(log: L, exceptions: X, t: [u8; 8]) -> Self {
        let (log, exceptions) = (Head::new(log), Head::new(exceptions));
        Self(Fold::new(UpTo { log, exceptions, t, started: false, event: Vec::new() }))
    }
}

impl<L: KeyStream, X: KeyStream> KeyStream for Past<L, X> {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        self.0.next()
    }
}

/// Events of the log and asserting exceptions, neither later than t.
struct UpTo<L, X> {
    log: Head<L>,
    exceptions: Head<X>,
    t: T,
    started: bool,
    event: Vec<u8>,
}

impl<L: KeyStream, X: KeyStream> KeyStream for UpTo<L, X> {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        if !self.started {
            self.started = true;
            self.log.advance()?;
            self.exceptions.advance()?;
        }
        loop {
            while self.log.fact().is_some() && self.log.t() > self.t {
                self.log.advance()?;
            }
            while self.exceptions.fact().is_some() && !(self.exceptions.asserts() && self.exceptions.t() <= self.t) {
                self.exceptions.advance()?;
            }
            let order = match (self.log.key(), self.exceptions.key()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(log), Some(exception)) => log.cmp(exception),
            };
            match order {
                Ordering::Less => self.log.take(&mut self.event)?,
                Ordering::Greater => self.exceptions.take(&mut self.event)?,
                Ordering::Equal => {
                    self.exceptions.advance()?;
                    continue;
                }
            }
            return Ok(Some(&self.event));
        }
    }
}
