//! `mount`: snapshots as directories.

#[cfg(feature = "mount")]
mod attributes;
#[cfg(feature = "mount")]
mod directory;
#[cfg(feature = "mount")]
mod filesystem;
#[cfg(feature = "mount")]
mod inodes;
#[cfg(feature = "mount")]
mod names;
#[cfg(feature = "mount")]
mod session;
#[cfg(feature = "mount")]
mod snapshots;

use std::path::PathBuf;

use clap::Args;

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Result};

/// Mount snapshots as a read-only file system
///
/// Shows the directory trees of snapshots below DIRECTORY until Ctrl-C or an unmount: by id in `ids`, by time in `snapshots`,
/// by host and time in `hosts`, by tag and time in `tags`, each with a link `latest`. Shown are the snapshots that there were
/// at the time of mounting; those of datoms are left out, since they have no files.
#[derive(Args, Debug)]
pub struct Arguments {
    /// An empty directory
    #[arg(value_name = "DIRECTORY")]
    mount_point: PathBuf,
    /// Let other users in too; the permissions of files then count for them
    #[arg(long)]
    allow_other: bool,
    /// Show root as the owner of everything
    #[arg(long)]
    owner_root: bool,
    /// With --allow-other, let everybody read everything whatever the permissions say
    #[arg(long, requires = "allow_other")]
    no_default_permissions: bool,
    /// Names of snapshots, with the directives of strftime [default: RFC 3339, by the local clock]
    #[arg(long, value_name = "TEMPLATE")]
    time_template: Option<String>,
    #[command(flatten)]
    filters: Filters,
}

/// Serves the file system until it is unmounted.
#[cfg(feature = "mount")]
pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    session::run(context, &arguments)
}

/// Says how to get it.
#[cfg(not(feature = "mount"))]
pub fn run(_: &Context, arguments: Arguments) -> Result<Code> {
    // Read, so that the options are the same in every build.
    let Arguments { mount_point, allow_other, owner_root, no_default_permissions, time_template, filters } = arguments;
    let _ = (allow_other, owner_root, no_default_permissions, time_template, filters);
    Err(crate::exit::Failure::usage(mount_point.display(), "this packstone was built without the command `mount`")
        .hint("build it with `cargo install packstone --features mount`; it needs FUSE, which Linux has"))
}
