//! The bytes of the repository: vectors in both directions, properties, damage.
//!
//! `PACKSTONE_WRITE_VECTORS=1 cargo test --test format` writes the vectors anew: only for a change of the format.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damage;
mod entries;
mod fixture;
mod frames_and_packs;
mod hostile;
mod migration;
mod properties;
mod records;
mod slots;
mod vectors;
