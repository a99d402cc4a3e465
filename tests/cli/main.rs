//! The program as its users meet it: what it prints and the code it ends with.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod bill;
mod cache;
mod codes;
mod copy;
mod datahike;
mod days;
mod demo;
mod doctor;
mod edn;
mod files;
#[path = "../fixtures/heads.rs"]
mod heads;
mod help;
mod json;
mod keys;
mod look;
mod migrate;
mod mirror;
mod references;
mod shards;
mod sync;
#[path = "../fixtures/unpack.rs"]
mod unpack;
mod world;
