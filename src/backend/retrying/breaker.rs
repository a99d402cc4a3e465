//! Knowing when it is hopeless: after a request was given up while nothing else succeeded, nothing is tried twice until
//! something succeeds again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Breaker {
    successes: AtomicU64,
    hopeless: AtomicBool,
    opened: Notify,
}

/// When a request began, in successes of others.
pub(super) struct Mark(u64);

impl Breaker {
    pub(super) fn mark(&self) -> Mark {
        Mark(self.successes.load(Ordering::SeqCst))
    }

    pub(super) fn succeeded(&self) {
        self.successes.fetch_add(1, Ordering::SeqCst);
        self.hopeless.store(false, Ordering::SeqCst);
    }

    /// A request that began at `mark` was given up.
    pub(super) fn gave_up(&self, mark: &Mark) {
        if self.successes.load(Ordering::SeqCst) == mark.0 {
            self.hopeless.store(true, Ordering::SeqCst);
            self.opened.notify_waiters();
        }
    }

    pub(super) fn is_hopeless(&self) -> bool {
        self.hopeless.load(Ordering::SeqCst)
    }

    /// Waits until it is hopeless.
    pub(super) async fn opened(&self) {
        loop {
            let opened = self.opened.notified();
            if self.is_hopeless() {
                return;
            }
            opened.await;
        }
    }
}
