//! What is read, one folder per kind of source.

pub mod datahike;
pub mod datoms;
pub mod files;
