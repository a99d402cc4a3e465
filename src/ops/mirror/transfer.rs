//! Many objects at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::{Error, Result};
use crate::progress::{Event, Observer};

/// Packs on their way at once: each is in memory as a whole.
pub(super) const PACKS: usize = 3;
/// Small objects on their way at once.
pub(super) const SMALL: usize = 8;

/// Does `work` for every item, several at a time, until one fails.
pub(super) fn each<T: Sync>(
    items: &[T],
    threads: usize,
    observer: &dyn Observer,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let failed = || failure.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if failed().is_some() {
                        return;
                    }
                    match work(item) {
                        Ok(()) => {
                            let done = 1 + done.fetch_add(1, Ordering::Relaxed) as u64;
                            observer.event(Event::Progress { done });
                        }
                        Err(error) => {
                            failed().get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
