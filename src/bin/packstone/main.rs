//! The program: parse, call the library, print. It takes no decisions about data.

mod args;
mod commands;
mod context;
mod describe;
mod exit;
mod lines;
mod location;
mod mirrors;
mod ncdu;
mod nodes;
mod output;
mod period;
mod place;
mod progress;
mod reference;
mod secrets;
mod signals;
mod size;
mod snapshot_path;
mod time;

use std::process::ExitCode;

use clap::Parser;

use context::Context;
use exit::Code;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::report_usage(&error),
    };
    let output = output::Output::new(&cli.global);
    let result = start_log().and_then(|()| Context::new(cli.global, output.clone())).and_then(|context| {
        let code = commands::run(&context, cli.command)?;
        context.finish();
        Ok(code)
    });
    let code = match result {
        Ok(Code::Ok) => Code::Ok,
        Ok(code) => {
            output.exit_error(code, code.meaning());
            code
        }
        Err(failure) => failure.report(&output),
    };
    code.into()
}

/// What the library traces goes to standard error, filtered by `PACKSTONE_LOG`.
fn start_log() -> exit::Result<()> {
    let Some(filter) = context::variable("PACKSTONE_LOG")? else { return Ok(()) };
    let filter = filter
        .parse::<tracing_subscriber::EnvFilter>()
        .map_err(|e| exit::Failure::usage("PACKSTONE_LOG", "not a log filter such as `packstone=debug`").because(e))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
