//! What users ask for, one file each: plan, then do.
//!
//! These functions are `async` and do their work on a blocking thread of the current tokio runtime.

mod backup;
mod check;
mod datoms;
mod diff;
mod forget;
mod mark;
mod prune;
mod repair;
mod restore;
mod select;
mod stats;
mod values;
mod verify;

pub use backup::{BackupOptions, BackupSummary, Parent, Source, backup};
pub use check::{CheckOptions, CheckReport, Finding, ReadData, check};
pub use diff::{DiffSummary, diff};
pub use forget::{ForgetOptions, ForgetReport, forget};
pub use prune::{PruneOptions, PruneReport, prune};
pub use repair::{RepairReport, repair_index};
pub use restore::{RestoreOptions, RestoreSummary, View, restore};
pub use stats::{Stats, stats};
pub use verify::{VerifyReport, verify};

use crate::error::{Error, ErrorKind, Result};

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::new(ErrorKind::Interrupted, "", "the runtime is shutting down").because(error)),
    }
}
//! What users ask for: backup, restore, check, prune and the others.

pub mod datoms;
pub mod select;
