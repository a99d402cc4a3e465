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
mod help;
mod json;
mod keys;
mod look;
mod migrate;
mod mirror;
mod references;
mod shards;
mod sync;
mod world;
