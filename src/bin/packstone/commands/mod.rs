//! The commands, one file each: their arguments, the call to the library, and what is printed.

pub mod backup;
pub mod cache;
pub mod cat;
pub mod check;
pub mod completions;
pub mod copy;
pub mod demo;
pub mod diff;
mod diff_datoms;
pub mod doctor;
pub mod dump;
pub mod find;
pub mod forget;
pub mod init;
pub mod key;
pub mod ls;
pub mod migrate;
pub mod mirror;
pub mod mount;
pub mod prune;
pub mod repair;
pub mod restore;
pub mod rewrite;
pub mod snapshots;
pub mod stats;
pub mod sync;
pub mod tag;
mod unlock;
pub mod verify;

use crate::args::Command;
use crate::context::Context;
use crate::exit::{Code, Result};

/// Runs a command.
pub fn run(context: &Context, command: Command) -> Result<Code> {
    match command {
        Command::Init(arguments) => init::run(context, arguments),
        Command::Backup(arguments) => backup::run(context, arguments),
        Command::Restore(arguments) => restore::run(context, arguments),
        Command::Dump(arguments) => dump::run(context, arguments),
        Command::Snapshots(arguments) => snapshots::run(context, arguments),
        Command::Find(arguments) => find::run(context, arguments),
        Command::Ls(arguments) => ls::run(context, arguments),
        Command::Diff(arguments) => diff::run(context, arguments),
        Command::Stats(arguments) => stats::run(context, arguments),
        Command::Cat(arguments) => cat::run(context, arguments),
        Command::Verify(arguments) => verify::run(context, arguments),
        Command::Check(arguments) => check::run(context, arguments),
        Command::Doctor(arguments) => doctor::run(context, arguments),
        Command::Forget(arguments) => forget::run(context, arguments),
        Command::Prune(arguments) => prune::run(context, arguments),
        Command::Migrate(arguments) => migrate::run(context, arguments),
        Command::Sync(arguments) => sync::run(context, arguments),
        Command::Repair(arguments) => repair::run(context, arguments),
        Command::Tag(arguments) => tag::run(context, arguments),
        Command::Rewrite(arguments) => rewrite::run(context, arguments),
        Command::Copy(arguments) => copy::run(context, arguments),
        Command::Mirror(arguments) => mirror::run(context, arguments),
        Command::Mount(arguments) => mount::run(context, arguments),
        Command::Key(arguments) => key::run(context, arguments),
        Command::Cache(arguments) => cache::run(context, &arguments),
        Command::Completions(arguments) => completions::run(context, arguments),
        Command::Demo(arguments) => demo::run(context, arguments),
        Command::Unlock => unlock::run(context),
        Command::Repo { command } => run(context, command.into()),
    }
}
