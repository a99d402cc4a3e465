//! The grammar of sources and targets: `datoms:PATH`, `datoms:-`, `datahike:PATH`, `command:PROGRAM ARGUMENT ...`; a plain
//! path means files.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use packstone::datahike::home;
use packstone::source::datoms as source;

use crate::exit::{Failure, Result};

/// Kinds of sources that are planned, so that their names are not taken for paths.
const PLANNED: [&str; 7] = ["datomic", "sqlite", "postgres", "kafka", "files", "logs", "vectors"];

/// What a word names.
pub enum Location {
    /// Files: `./kind:name` is a plain path too.
    Path(PathBuf),
    /// Datoms, in a file or directory.
    Datoms(PathBuf),
    /// Datoms on standard input or output.
    DatomsStream,
    /// A Datahike database, where its store is.
    Datahike(String),
    /// What a command writes: the line behind the colon.
    Command(String),
}

/// What a source or target names.
pub fn parse(text: &OsStr) -> Result<Location> {
    let shown = text.display();
    let Some((kind, place)) = split(text) else { return Ok(Location::Path(text.into())) };
    match kind {
        "datoms" if place.is_empty() => Err(Failure::usage(shown, "a path, or - for a stream, must follow the colon")),
        "datoms" if place == "-" => Ok(Location::DatomsStream),
        "datoms" => Ok(Location::Datoms(place.into())),
        "datahike" => match place.to_str() {
            Some(place) if !place.is_empty() => Ok(Location::Datahike(place.to_owned())),
            _ => Err(Failure::usage(shown, "the place of a store, in text, must follow the colon")),
        },
        "command" => match place.to_str() {
            Some(line) if !line.trim().is_empty() => Ok(Location::Command(line.to_owned())),
            _ => Err(Failure::usage(shown, "a command, in text, must follow the colon")),
        },
        kind if PLANNED.contains(&kind) => {
            Err(Failure::usage(shown, format!("`{kind}:` is not supported by this version")).hint(
                "this version knows plain paths, `datoms:PATH`, `datoms:-`, `datahike:PATH` and `command:PROGRAM`",
            ))
        }
        kind if is_address(kind, &place) => {
            Err(Failure::usage(shown, "this is an address, but of nothing that is known")
                .hint("a Datahike database is `datahike:ADDRESS`, in small letters; a path can begin with `./`"))
        }
        _ => Ok(Location::Path(text.into())),
    }
}

/// Whether a word is meant as the address of something rather than as a path.
fn is_address(kind: &str, place: &OsStr) -> bool {
    let is_database =
        kind.eq_ignore_ascii_case("datahike") && place.to_str().is_some_and(|place| place.contains("://"));
    is_database || place.as_bytes().starts_with(b"//") && !kind.contains('/')
}

/// A word of the command line as it may be shown: without what stands in an address beside the place, such as a password.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    if let Some((kind, place)) = text.split_once(':').filter(|(kind, _)| kind.eq_ignore_ascii_case("datahike")) {
        return format!("{kind}:{}", home::without_secrets(place)).into();
    }
    match text.contains("://") && text.contains(['@', '?']) {
        true => home::without_secrets(text).into(),
        false => text.into(),
    }
}

/// Where a backup reads datoms.
pub fn source(text: &str) -> Result<source::Location> {
    Ok(match datoms(text)? {
        Some(path) => source::Location::Path(path),
        None => source::Location::Stdin,
    })
}

/// The path of datoms, `None` for a stream of them.
fn datoms(text: &str) -> Result<Option<PathBuf>> {
    match parse(OsStr::new(text))? {
        Location::Datoms(path) => Ok(Some(path)),
        Location::DatomsStream => Ok(None),
        Location::Path(_) | Location::Datahike(_) | Location::Command(_) => {
            Err(Failure::usage(text, "is no place of datoms")
                .hint(format!("for datoms write `datoms:{}`", without_secrets(text))))
        }
    }
}

/// The kind before the first colon, and what follows it.
fn split(text: &OsStr) -> Option<(&str, OsString)> {
    let bytes = text.as_bytes();
    let colon = bytes.iter().position(|&byte| byte == b':')?;
    let kind = std::str::from_utf8(&bytes[..colon]).ok()?;
    Some((kind, OsString::from_vec(bytes[colon + 1..].to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_place_has_no_password() {
        for (text, shown) in [
            ("postgres://u:hunter2@host/d?table=t&password=hunter2", "postgres://host/d?table=t"),
            ("datahike:s3://id:hunter2@bucket/p", "datahike:s3://bucket/p"),
            ("datahike:redis://:hunter2@host:1/0", "datahike:redis://host:1/0"),
            ("datahike:/a/b@c?d", "datahike:/a/b@c?d"),
            ("datahike:Postgres://u:hunter2@host/d", "datahike:postgres://host/d"),
            ("Datahike:postgres://u:hunter2@host/d", "Datahike:postgres://host/d"),
            ("Postgres://u:hunter2@host/d", "postgres://host/d"),
            ("datahike:postgres:u:hunter2@host/d", "datahike:postgres:..."),
            ("datahike:postgres://u:1?hunter2@host/d", "datahike:postgres:..."),
            ("datahike:mysql://u:p@:/hunter2%40@host/d", "datahike:mysql://host/d"),
            ("s3://bucket/prefix", "s3://bucket/prefix"),
            ("--as-of", "--as-of"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn an_address_of_nothing_known_is_no_path() {
        for text in ["Postgres://u:hunter2@host/d", "Datahike:postgres://u:hunter2@host/d", "ftp://u:hunter2@host/d"] {
            let refused = parse(OsStr::new(text)).err().map(|failure| failure.to_string());
            assert!(refused.is_some_and(|told| !told.contains("hunter2")), "{text}");
        }
        for path in ["./ftp://x", "a:b", "Datahike:x", "x/y://z"] {
            assert!(matches!(parse(OsStr::new(path)), Ok(Location::Path(_))), "{path}");
        }
    }
}
