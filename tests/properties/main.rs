//! What holds for whole parts of the library, whatever they are given.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod nonces;
mod trees;
