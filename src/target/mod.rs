//! Where data is restored to, one folder per kind of target.

pub mod datahike;
pub mod datoms;
pub mod files;
