//! `SNAPSHOT:PATH`: a directory or file in a snapshot.

use std::path::PathBuf;

/// The two parts; ids and `latest~N` hold no colon.
pub fn split(text: &str) -> (&str, Option<PathBuf>) {
    match text.split_once(':') {
        Some((snapshot, path)) => (snapshot, Some(PathBuf::from("/").join(path))),
        None => (text, None),
    }
}
