//! The library's API, on real backends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod datoms;
mod fixtures;
mod prune;
mod roundtrip;
