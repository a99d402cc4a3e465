//! What was met on the way, by class.

use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was met on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retries {
    /// Failures that may pass.
    pub transient: u64,
    /// Requests of the store to slow down.
    pub throttled: u64,
    /// Requests that took too long.
    pub timeouts: u64,
    /// Answers that did not hold what they should and were asked for again.
    pub wrong_answers: u64,
    /// Times that the store was full.
    pub full: u64,
    /// Requests that the store refused for want of rights.
    pub denied: u64,
    /// Requests sent again.
    pub repeated: u64,
    /// Requests given up.
    pub given_up: u64,
}

impl Retries {
    /// Whether anything was met.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for Retries {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            transient: self.transient + other.transient,
            throttled: self.throttled + other.throttled,
            timeouts: self.timeouts + other.timeouts,
            wrong_answers: self.wrong_answers + other.wrong_answers,
            full: self.full + other.full,
            denied: self.denied + other.denied,
            repeated: self.repeated + other.repeated,
            given_up: self.given_up + other.given_up,
        }
    }
}

#[derive(Debug, Default)]
pub(in crate::backend) struct Counts {
    pub(in crate::backend) transient: AtomicU64,
    pub(in crate::backend) throttled: AtomicU64,
    pub(in crate::backend) timeouts: AtomicU64,
    pub(in crate::backend) wrong_answers: AtomicU64,
    pub(in crate::backend) full: AtomicU64,
    pub(in crate::backend) denied: AtomicU64,
    pub(in crate::backend) repeated: AtomicU64,
    pub(in crate::backend) given_up: AtomicU64,
}

impl Counts {
    pub(in crate::backend) fn read(&self) -> Retries {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Retries {
            transient: read(&self.transient),
            throttled: read(&self.throttled),
            timeouts: read(&self.timeouts),
            wrong_answers: read(&self.wrong_answers),
            full: read(&self.full),
            denied: read(&self.denied),
            repeated: read(&self.repeated),
            given_up: read(&self.given_up),
        }
    }
}

/// One more.
pub(in crate::backend) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
