//! Homes of Datahike stores on real servers: those that the environment names (tests/services/services.sh start prints the
//! variables), and SQLite. What is skipped is said.

#![cfg(all(feature = "s3", feature = "postgres", feature = "mysql", feature = "sqlite", feature = "redis"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broken;
mod conformance;
mod fixtures;
mod migrations;
mod passwords;
mod place;
mod proxy;
mod requests;
mod servers;
#[path = "../fixtures/unpack.rs"]
mod unpack;
