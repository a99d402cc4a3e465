//! Datahike's stores: real ones read back, damaged ones refused, moving ones caught.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blobs;
mod branches;
mod migrate;
mod parents;
mod protocol;
mod stores;
mod sync;
mod walks;
mod world;
