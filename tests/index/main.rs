//! The index against a plain map of what it was told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cache;
mod model;
mod packs;
