//! What `backup datahike:PATH` takes.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::Args;
use packstone::ops::DatahikeSource;
use packstone::{Error, datahike};

use crate::commands::restore::branch_name;
use crate::context::variable;
use crate::exit::{Failure, Result};

/// Variable that holds the key of an encrypted store.
const KEY_VARIABLE: &str = "PACKSTONE_DATAHIKE_KEY";

/// Options of Datahike databases.
#[derive(Args, Debug)]
pub struct DatahikeArguments {
    /// Only this branch (repeatable) [default: all branches]
    #[arg(long, value_name = "NAME", value_parser = branch_name, help_heading = "Datahike")]
    branch: Vec<String>,
    /// How often in a row to read without getting further than before, when nodes vanish as the database collects its
    /// garbage [default: 5]
    #[arg(long, value_name = "N", help_heading = "Datahike")]
    attempts: Option<NonZero<u32>>,
    /// Read everything, though the parent snapshot tells what has not changed; the two are compared
    #[arg(long, help_heading = "Datahike")]
    full: bool,
    /// Read everything in every Nth snapshot, this one among them, and compare; 0 for never [default: 10]
    #[arg(long, value_name = "N", help_heading = "Datahike")]
    full_every: Option<u32>,
    /// File with the key of an encrypted store, as text [default: the variable PACKSTONE_DATAHIKE_KEY]
    #[arg(long, value_name = "FILE", help_heading = "Datahike")]
    datahike_key_file: Option<PathBuf>,
}

impl DatahikeArguments {
    /// The database at a place.
    pub fn source(&self, place: String) -> Result<DatahikeSource> {
        let mut source = DatahikeSource::new(place, self.secret()?);
        source.options.branches = self.branch.clone();
        if let Some(attempts) = self.attempts {
            source.options.attempts = attempts.get();
        }
        source.full = self.full;
        source.full_every = self.full_every.unwrap_or(source.full_every);
        Ok(source)
    }

    /// Refuses options where there is no such database.
    pub fn require_none(&self) -> Result<()> {
        let options = [
            (!self.branch.is_empty(), "--branch"),
            (self.attempts.is_some(), "--attempts"),
            (self.full, "--full"),
            (self.full_every.is_some(), "--full-every"),
            (self.datahike_key_file.is_some(), "--datahike-key-file"),
        ];
        match options.iter().find(|(given, _)| *given) {
            Some((_, option)) => Err(Failure::usage(option, "is for databases: `datahike:PATH`")),
            None => Ok(()),
        }
    }

    fn secret(&self) -> Result<Option<datahike::Secret>> {
        secret(self.datahike_key_file.as_deref())
    }
}

/// The key of an encrypted store: from a file, or the environment.
pub fn secret(file: Option<&Path>) -> Result<Option<datahike::Secret>> {
    match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| Error::io(path.display(), e))?;
            Ok(Some(datahike::Secret::text(text.trim_end_matches(['\n', '\r']))))
        }
        None => Ok(variable(KEY_VARIABLE)?.map(|text| datahike::Secret::text(&text))),
    }
}
