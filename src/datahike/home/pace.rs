//! How often a store is asked whether a blob has changed: each question costs somebody something.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Home, Stamp, StoreKey};
use crate::error::Result;

/// One interval for all who wait, however often and however short.
pub(super) struct Pace {
    every: Duration,
    /// What was found to be as before, and when.
    asked: Mutex<Option<(StoreKey, Option<Stamp>, Instant)>>,
}

impl Pace {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, asked: Mutex::new(None) }
    }

    pub(super) fn every(&self) -> Duration {
        self.every
    }

    /// Waits until the stamp of a blob differs from `seen`. The same is not asked again before the interval has passed, so a
    /// short wait may end without a question, and a later one notices.
    pub(super) fn wait<H: Home + ?Sized>(
        &self,
        home: &H,
        key: StoreKey,
        seen: Option<Stamp>,
        timeout: Duration,
    ) -> Result<bool> {
        let until = Instant::now() + timeout;
        loop {
            let asked = self.asked().filter(|(asked, stamp, _)| (*asked, *stamp) == (key, seen));
            if let Some((.., at)) = asked {
                let due = at + self.every;
                thread::sleep(due.min(until).saturating_duration_since(Instant::now()));
                if due > until {
                    return Ok(false);
                }
            }
            let at = Instant::now();
            if home.stamps(&[key])?.first() != Some(&seen) {
                return Ok(true);
            }
            *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some((key, seen, at));
        }
    }

    fn asked(&self) -> Option<(StoreKey, Option<Stamp>, Instant)> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::{AtomicU64, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::datahike::home::Traffic;

    /// One blob, whose stamp is told by how often it was asked for.
    #[derive(Default)]
    struct Asked {
        questions: AtomicU64,
        changes_at: AtomicU64,
    }

    impl Home for Asked {
        fn name(&self) -> String {
            "asked".to_owned()
        }

        fn get(&self, _: StoreKey) -> Result<Option<Bytes>> {
            Ok(None)
        }

        fn stamps(&self, _: &[StoreKey]) -> Result<Vec<Option<Stamp>>> {
            let number = self.questions.fetch_add(1, Ordering::Relaxed) + 1;
            let changed = number >= self.changes_at.load(Ordering::Relaxed);
            Ok(vec![Some(Stamp::of(&[u8::from(changed)]))])
        }

        fn put_many(&self, _: Vec<(StoreKey, Bytes)>) -> Result<()> {
            Ok(())
        }

        fn remove_many(&self, _: &[StoreKey]) -> Result<()> {
            Ok(())
        }

        fn list(&self) -> Result<Vec<StoreKey>> {
            Ok(Vec::new())
        }

        fn traffic(&self) -> Traffic {
            Traffic::default()
        }
    }

    #[test]
    fn many_short_waits_ask_no_more_than_a_long_one() {
        let home = Asked { changes_at: AtomicU64::new(100), ..Asked::default() };
        let (pace, key) = (Pace::new(Duration::from_millis(100)), StoreKey([1; 16]));
        let seen = Some(Stamp::of(&[0]));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(450) {
            assert!(!pace.wait(&home, key, seen, Duration::from_millis(7)).unwrap());
        }
        let questions = home.questions.load(Ordering::Relaxed);
        assert!((2..=5).contains(&questions), "{questions} questions");
        // Another blob, or another state of this one, is asked for at once.
        assert!(pace.wait(&home, key, None, Duration::ZERO).unwrap());
        assert_eq!(home.questions.load(Ordering::Relaxed), questions + 1);
    }

    #[test]
    fn a_change_ends_the_wait() {
        let home = Asked { changes_at: AtomicU64::new(3), ..Asked::default() };
        let pace = Pace::new(Duration::from_millis(20));
        let begun = Instant::now();
        assert!(pace.wait(&home, StoreKey([1; 16]), Some(Stamp::of(&[0])), Duration::from_secs(60)).unwrap());
        assert!(begun.elapsed() >= Duration::from_millis(40) && begun.elapsed() < Duration::from_secs(30));
    }
}
