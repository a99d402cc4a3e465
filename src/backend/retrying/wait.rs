//! How long to wait before a request is repeated.

use std::fmt;
use std::time::Duration;

use crate::error::Error;

/// Nobody waits longer than this because a store asks for it.
const ASKED_MOST: Duration = Duration::from_secs(15 * 60);

/// How hard to try.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// How often a request is repeated after its first failure.
    pub retries: u32,
    /// The wait before the first repetition, doubled for each further one; a random part of up to half is taken off.
    pub first_wait: Duration,
    /// No wait is longer, but for what the store asks for.
    pub max_wait: Duration,
    /// The most requests at once.
    pub connections: usize,
    /// A request that takes longer than this, and than a second for each 64 KiB of its body, counts as failed. Listings
    /// take as long as they take.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 8,
            first_wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(60),
            connections: 32,
            patience: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// The wait before repetition `n`, counted from 0, with its random part.
    pub(in crate::backend) fn wait(&self, n: u32) -> Duration {
        let doubled = self.first_wait.saturating_mul(1_u32.checked_shl(n).unwrap_or(u32::MAX));
        jittered(doubled.min(self.max_wait))
    }
}

/// The cause of an error whose store says when it wants to be asked again.
#[derive(Debug)]
pub struct RetryAfter {
    wait: Duration,
}

impl RetryAfter {
    /// Not before this time has passed.
    pub fn new(wait: Duration) -> Self {
        Self { wait: wait.min(ASKED_MOST) }
    }

    /// What the store asks for with this error.
    pub(super) fn of(error: &Error) -> Option<Duration> {
        let source = std::error::Error::source(error)?;
        source.downcast_ref::<Self>().map(|asked| asked.wait)
    }
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to be asked again in {} s", self.wait.as_secs())
    }
}

impl std::error::Error for RetryAfter {}

/// Between half of `wait` and all of it.
fn jittered(wait: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness the wait is only less spread.
    let _ = getrandom::fill(&mut random);
    wait.mul_f64(1.0 - 0.5 * f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_lose_at_most_half() {
        let policy = RetryPolicy::default();
        for (n, full) in [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (31, 60), (32, 60), (1000, 60)] {
            let full = Duration::from_secs(full);
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..50 {
                let wait = policy.wait(n);
                assert!(wait >= full / 2 && wait <= full, "{n}: {wait:?}");
                seen.insert(wait);
            }
            assert!(seen.len() > 25, "waits are spread");
        }
    }
}
