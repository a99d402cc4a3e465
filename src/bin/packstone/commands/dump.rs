//! `dump`: a snapshot's datoms to standard output.

use clap::Args;
use packstone::target::datoms::Location;

use super::restore::{self, Choice};
use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Result};

/// Write a snapshot's datoms to standard output
///
/// Writes a snapshot's datoms to standard output, EDN lines by default; the same as `restore --to datoms:-`.
///
/// With --json what is said about the run goes to standard error.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The snapshot: an id, the start of one, `latest`, or `latest~N`
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    filters: Filters,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let options = arguments.choice.options(context)?;
    restore::write(context, &arguments.snapshot, &arguments.filters, Location::Stdout, options)
}
