//! The grammar of sources and targets: `datoms:PATH`, `datoms:-`; a plain path means files.

use std::path::PathBuf;

use packstone::source::datoms as source;
use packstone::target::datoms as target;

use crate::exit::{Failure, Result};

/// Kinds of sources that are planned, so that their names are not taken for paths.
const PLANNED: [&str; 9] =
    ["datahike", "datomic", "sqlite", "postgres", "kafka", "command", "files", "logs", "vectors"];

/// What stands behind `datoms:`.
enum Place {
    Path(PathBuf),
    Standard,
}

/// Whether a source or target is a plain path, which means files; `./kind:name` is one too.
pub fn is_path(text: &str) -> bool {
    match text.split_once(':') {
        Some((kind, _)) => kind != "datoms" && !PLANNED.contains(&kind),
        None => true,
    }
}

/// Where a backup reads datoms.
pub fn source(text: &str) -> Result<source::Location> {
    Ok(match place(text)? {
        Place::Path(path) => source::Location::Path(path),
        Place::Standard => source::Location::Stdin,
    })
}

/// Where a restore writes datoms.
pub fn target(text: &str) -> Result<target::Location> {
    Ok(match place(text)? {
        Place::Path(path) => target::Location::Path(path),
        Place::Standard => target::Location::Stdout,
    })
}

fn place(text: &str) -> Result<Place> {
    match text.split_once(':') {
        Some(("datoms", "")) => Err(Failure::usage(text, "a path, or - for a stream, must follow the colon")),
        Some(("datoms", "-")) => Ok(Place::Standard),
        Some(("datoms", path)) => Ok(Place::Path(path.into())),
        Some((kind, _)) if PLANNED.contains(&kind) => {
            Err(Failure::usage(text, format!("`{kind}:` is not supported by this version"))
                .hint("this version knows `datoms:PATH` and `datoms:-`"))
        }
        _ => Err(Failure::usage(text, "a plain path means a directory tree, and those come with a later version")
            .hint(format!("for datoms in a file or directory write `datoms:{text}`"))),
    }
}
