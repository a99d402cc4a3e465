//! `completions`: scripts for shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::args::Cli;
use crate::context::Context;
use crate::exit::{Code, Result};

/// Print a completion script for a shell
///
/// Prints a completion script for a shell, e.g. `packstone completions bash > ~/.local/share/bash-completion/completions/packstone`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "packstone", &mut script);
    if context.output.is_json() {
        let script = String::from_utf8_lossy(&script);
        context.output.json(&json!({ "shell": arguments.shell.to_string(), "script": script }))?;
    } else {
        context.output.raw(&script)?;
    }
    Ok(Code::Ok)
}
