//! Dumps, flat exports and datacamp backups written by the real programs, read and written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "interchange/lines.rs"]
mod lines;
#[path = "interchange/reading.rs"]
mod reading;
#[path = "interchange/refusing.rs"]
mod refusing;
#[path = "interchange/relatives.rs"]
mod relatives;
#[path = "fixtures/shared.rs"]
mod shared;
#[path = "interchange/values.rs"]
mod values;
#[path = "interchange/writing.rs"]
mod writing;

use std::path::PathBuf;

use packstone::source::datoms::{DatomSource, Reading};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from("tests/fixtures").join(name)
}

/// All datoms of a source as EDN lines in its own order, and what it told.
fn lines_of(source: &mut dyn DatomSource) -> (Vec<String>, Reading) {
    let mut lines = Vec::new();
    let reading = source.read(&mut |datom| {
        lines.push(lines::line(datom));
        Ok(())
    });
    (lines, reading.unwrap())
}
