//! The library's API, on real backends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;
mod crash;
mod damage;
mod datoms;
mod deltas;
mod diff;
mod fixtures;
mod forget;
mod prune;
mod roundtrip;
