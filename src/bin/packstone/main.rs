//! The program: parse, call the library, print. It takes no decisions about data.

mod args;
mod bill;
mod commands;
mod context;
mod describe;
mod edn;
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
mod shard;
mod signals;
mod size;
mod snapshot_path;
mod time;
mod trouble;

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
        let result = commands::run(&context, cli.command);
        if result.is_ok() {
            context.finish();
        }
        context.bill.print(&output);
        context.report_trouble();
        result
    });
    let code = match result {
        Ok(Code::Ok) => Code::Ok,
        Ok(code) => {
            output.exit_error(code, code.meaning(), None);
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
