//! Restoring: a snapshot, or part of it, to a target.

mod datoms;
mod files;

pub use datoms::{RestoreOptions, RestoreSummary, View, restore};
pub use files::{
    Change, ChangeSink, Overwrite, PathPattern, RestoreFilesOptions, RestoreFilesSummary, ThawPlan, restore_files,
    thaw_for_restore,
};
