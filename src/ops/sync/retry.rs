//! What is tried again when it fails, and how long is waited before.

use std::thread;
use std::time::{Duration, Instant};

use super::Stop;
use crate::error::ErrorKind;

/// The longest that a call waits before it looks whether it is to stop.
pub(in crate::ops) const TICK: Duration = Duration::from_millis(250);
/// The first wait before a failed attempt is repeated; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// How long the next failure is waited out.
pub(in crate::ops) struct Backoff {
    wait: Duration,
    max: Duration,
}

impl Backoff {
    /// Before the first failure; no wait after that one is longer than `max`.
    pub(in crate::ops) fn new(max: Duration) -> Self {
        Self { wait: FIRST_WAIT, max }
    }

    /// Something worked since the last failure.
    pub(in crate::ops) fn reset(&mut self) {
        self.wait = FIRST_WAIT;
    }

    /// The next wait.
    pub(in crate::ops) fn wait(&self) -> Duration {
        self.wait
    }

    /// Waits unless it is to stop.
    pub(in crate::ops) fn sleep(&mut self, stop: &Stop) {
        stop.sleep(self.wait);
        self.wait = (self.wait * 2).min(self.max);
    }
}

impl Stop {
    /// Sleeps unless it is to stop.
    pub(in crate::ops) fn sleep(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.is_asked() {
            thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }
}

/// Whether it may work when the same request is repeated.
pub(super) fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Transient | ErrorKind::Throttled | ErrorKind::NoSpace | ErrorKind::Failed)
}

/// Whether following a database may work later. Before it was reached for the first time that is so only of what is sure to
/// pass.
pub(in crate::ops) fn may_pass(kind: ErrorKind, was_reached: bool) -> bool {
    match kind {
        ErrorKind::Transient | ErrorKind::Throttled => true,
        kind => was_reached && (is_passing(kind) || kind == ErrorKind::NotFound),
    }
}
