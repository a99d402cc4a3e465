//! Datahike's stores: real ones read back, damaged ones refused, moving ones caught.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blobs;
mod branches;
mod faults;
#[path = "../fixtures/heads.rs"]
mod heads;
mod migrate;
mod protocol;
mod scripted;
#[path = "../fixtures/shared.rs"]
mod shared;
mod stores;
mod sync;
#[path = "../fixtures/unpack.rs"]
mod unpack;
mod walks;
mod world;
