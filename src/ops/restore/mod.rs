//! Restoring: a snapshot, or part of it, to a target.

mod datahike;
mod datoms;
mod files;

pub use datahike::{DatabaseOptions, DatabaseSummary, restore_database};
pub use datoms::{RestoreOptions, RestoreSummary, View, restore};
pub use files::{
    Change, ChangeSink, Overwrite, PathPattern, RestoreFilesOptions, RestoreFilesSummary, ThawPlan, restore_files,
    thaw_for_restore,
};
