//! A stream of bytes as the only file of a tree: standard input, or what a command writes.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use super::chunks::{Cutter, Cutting, Stop};
use super::extents::ExtentList;
use super::figures::{Change, Figures};
use super::like::Resemblance;
use super::parents::Parents;
use super::read::{Streamed, ended};
use super::{FILES, usable};
use crate::error::{Error, ErrorKind, Result};
use crate::format::SourceDescription;
use crate::ops::backup::run::{RECORDS_PER_TICK, Run, Stored, named};
use crate::progress::Event;
use crate::record::entry::{Body, Content, Entry, Time, key_of_path, parent_of};
use crate::record::{Entries, Extents};
use crate::repository::machine;
use crate::source::files::{Names, Stream};
use crate::tree::{Builder, Pushed};

/// A stream of bytes that becomes one file.
#[derive(Clone, Debug)]
pub struct StreamSource {
    /// Where the bytes come from.
    pub input: StreamInput,
    /// What the file is called: an absolute path.
    pub name: PathBuf,
}

/// Where a stream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamInput {
    /// Standard input of this process.
    Stdin,
    /// What a command writes to its standard output; the first word is the program. If it fails, so does the backup.
    Command(Vec<OsString>),
}
