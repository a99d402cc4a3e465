//! What is different between two snapshots, or between a snapshot and a directory.

mod blobs;
mod datoms;
mod directory;
mod files;

pub use datoms::{DiffSummary, Difference, diff};
pub use directory::diff_directory;
pub use files::{FileChange, FileCounts, FileDiffOptions, FileDiffSummary, SnapshotPath, What, diff_files};
