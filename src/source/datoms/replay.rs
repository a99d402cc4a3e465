//! A stream that can be read more than once: a file is opened again, standard input is copied to a temporary file.

use std::fs::File;
use std::io::{self, Seek};
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::source::datoms::input::Input;

/// What can be read again.
pub(super) struct Replay {
    name: String,
    place: Place,
}

enum Place {
    File(PathBuf),
    /// The plain bytes, and how many bytes they were before decompression.
    Copy(File, u64),
}

impl Replay {
    /// A stream of which nothing is taken yet; `path` is where it came from, if that can be opened again.
    pub(super) fn new(mut input: Input, path: Option<PathBuf>) -> Result<Self> {
        let name = input.name().to_owned();
        let place = match path {
            Some(path) => Place::File(path),
            None => {
                let mut copy = tempfile::tempfile().map_err(|error| Error::io("temporary file", error))?;
                input.copy_to(&mut copy)?;
                Place::Copy(copy, input.stored_bytes())
            }
        };
        Ok(Self { name, place })
    }

    /// The stream from its start.
    pub(super) fn input(&self) -> Result<Input> {
        match &self.place {
            Place::File(path) => Input::open(path),
            Place::Copy(copy, _) => {
                let again = || -> io::Result<File> {
                    let mut copy = copy.try_clone()?;
                    copy.rewind()?;
                    Ok(copy)
                };
                let copy = again().map_err(|error| Error::io("temporary file", error))?;
                Input::plain(self.name.clone(), Box::new(copy))
            }
        }
    }

    /// Bytes of the source, of which `read` were taken in one pass.
    pub(super) fn stored_bytes(&self, read: u64) -> u64 {
        match &self.place {
            Place::File(_) => read,
            Place::Copy(_, stored) => *stored,
        }
    }
}
