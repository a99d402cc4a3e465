//! Stores written, and read back.
