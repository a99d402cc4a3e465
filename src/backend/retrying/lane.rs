//! How many requests may run at once: more while the store answers, half as many when it says that it is too much.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// Requests at once in the beginning.
const FIRST_LIMIT: usize = 8;
/// Refusals within this time of one another count once.
const BURST: Duration = Duration::from_secs(1);

/// Additive increase, multiplicative decrease; first come, first served.
pub(super) struct Lane {
    slots: Semaphore,
    state: Mutex<State>,
    most: usize,
}

struct State {
    limit: f64,
    /// Slots that are to vanish when those that run give them back.
    surplus: usize,
    /// When the limit was last lowered: one burst of refusals lowers it once.
    lowered: Option<Instant>,
    /// The store asked for silence until then.
    silent_until: Option<Instant>,
}

/// A request under way.
pub(super) struct Slot<'a> {
    lane: &'a Lane,
    permit: Option<SemaphorePermit<'a>>,
}

impl Lane {
    pub(super) fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let first = FIRST_LIMIT.min(most);
        let state = State { limit: first as f64, surplus: 0, lowered: None, silent_until: None };
        Self { slots: Semaphore::new(first), state: Mutex::new(state), most }
    }

    /// Waits until one more request may run.
    pub(super) async fn enter(&self) -> Slot<'_> {
        let permit = self.slots.acquire().await.expect("nothing closes the semaphore");
        let slot = Slot { lane: self, permit: Some(permit) };
        while let Some(until) = self.silent_until() {
            sleep_until(until).await;
        }
        slot
    }

    /// A request succeeded: one more at once for each, and after the first refusal one more for each round of all.
    pub(super) fn grow(&self) {
        let mut state = self.lock();
        let before = state.limit as usize;
        let step = if state.lowered.is_none() { 1.0 } else { 1.0 / state.limit };
        state.limit = (state.limit + step).min(self.most as f64);
        for _ in before..state.limit as usize {
            match state.surplus {
                0 => self.slots.add_permits(1),
                _ => state.surplus -= 1,
            }
        }
    }

    /// The store says that it is too much.
    pub(super) fn halve(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        if state.lowered.is_some_and(|at| now.duration_since(at) < BURST) {
            return;
        }
        state.lowered = Some(now);
        let before = state.limit as usize;
        state.limit = (state.limit / 2.0).max(1.0);
        let too_many = before - state.limit as usize;
        state.surplus += too_many - self.slots.forget_permits(too_many);
    }

    /// The store asks not to be asked for a while.
    pub(super) fn be_silent(&self, period: Duration) {
        let mut state = self.lock();
        let until = Instant::now() + period;
        state.silent_until = Some(state.silent_until.map_or(until, |other| other.max(until)));
    }

    /// Requests that may run at once.
    pub(super) fn limit(&self) -> usize {
        self.lock().limit as usize
    }

    fn silent_until(&self) -> Option<Instant> {
        self.lock().silent_until.filter(|until| *until > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut state = self.lane.lock();
        if state.surplus > 0 {
            state.surplus -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime can be had").block_on(test);
    }

    /// Lets every task that can run do so.
    async fn settle() {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn waiters_are_let_in_as_the_limit_grows() {
        run(async {
            let lane = Arc::new(Lane::new(32));
            let inside = Arc::new(AtomicUsize::new(0));
            for _ in 0..40 {
                let (lane, inside) = (Arc::clone(&lane), Arc::clone(&inside));
                tokio::spawn(async move {
                    let _slot = lane.enter().await;
                    inside.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                });
            }
            settle().await;
            assert_eq!(inside.load(Ordering::SeqCst), FIRST_LIMIT);
            for expected in FIRST_LIMIT + 1..=32 {
                lane.grow();
                settle().await;
                assert_eq!(inside.load(Ordering::SeqCst), expected);
            }
            lane.grow();
            settle().await;
            assert_eq!(inside.load(Ordering::SeqCst), 32);
        });
    }

    #[test]
    fn half_as_many_run_after_a_refusal_and_one_more_after_each_round() {
        run(async {
            let lane = Lane::new(16);
            let mut slots = Vec::new();
            for _ in 0..8 {
                lane.grow();
            }
            for _ in 0..16 {
                slots.push(lane.enter().await);
            }
            lane.halve();
            lane.halve();
            assert_eq!(lane.limit(), 8, "one burst counts once");
            // Eight of those that run must end before another may begin.
            slots.truncate(8);
            assert_eq!(lane.slots.available_permits(), 0);
            slots.truncate(5);
            assert_eq!(lane.slots.available_permits(), 3);
            for _ in 0..8 {
                lane.grow();
            }
            assert_eq!(lane.limit(), 8);
            lane.grow();
            assert_eq!(lane.limit(), 9);
            assert_eq!(lane.slots.available_permits(), 4);
            slots.clear();
            assert_eq!(lane.slots.available_permits(), 9);
        });
    }

    #[test]
    fn the_limit_never_falls_below_one_and_slots_are_never_lost() {
        run(async {
            let lane = Lane::new(8);
            for _ in 0..10 {
                let slot = lane.enter().await;
                lane.lock().lowered = None;
                lane.halve();
                drop(slot);
            }
            assert_eq!((lane.limit(), lane.slots.available_permits()), (1, 1));
            for _ in 0..100 {
                drop(lane.enter().await);
                lane.grow();
            }
            assert_eq!((lane.limit(), lane.slots.available_permits()), (8, 8));
        });
    }

    #[test]
    fn nobody_enters_while_the_store_wants_silence() {
        run(async {
            let lane = Lane::new(8);
            let before = Instant::now();
            lane.be_silent(Duration::from_millis(60));
            lane.be_silent(Duration::from_millis(10));
            drop(lane.enter().await);
            assert!(before.elapsed() >= Duration::from_millis(60));
        });
    }
}
