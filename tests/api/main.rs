//! The library's API, on real backends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;
mod copy;
mod crash;
mod damage;
mod datoms;
mod deltas;
mod deltas_written;
mod diff;
mod file_model;
mod files;
mod fixtures;
mod forget;
mod latency;
mod look;
mod mirror;
mod panics;
mod prune;
mod restore_files;
mod rewrite;
mod round_trips;
mod roundtrip;
mod semantics;
mod sessions;
#[path = "../fixtures/shared.rs"]
mod shared;
mod sync;
mod weak;
mod wrong_answers;
