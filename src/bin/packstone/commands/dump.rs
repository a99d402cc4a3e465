//! `dump`: a file, or a directory as an archive, or datoms, to standard output.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use packstone::Error;
use packstone::format::Snapshot;
use packstone::ops::{self, Archive, DumpOptions, DumpSummary, FileTree, SnapshotPath};
use packstone::repository::{Intent, Repository};
use packstone::target::datoms::Location;
use serde_json::json;

use super::restore::{self, Choice};
use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::counted;
use crate::{reference, size, snapshot_path};

/// Write a file, a directory as an archive, or datoms to standard output
///
/// Writes a file's bytes, or a directory as an archive, or a snapshot's datoms, to standard output. Datoms are written as
/// EDN lines by default, the same as `restore --to datoms:-`.
///
/// With --json what is said about the run goes to standard error.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The snapshot: an id, the start of one, `latest`, or `latest~N`; with :PATH, names in the archive begin below it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: String,
    /// The file or directory in the snapshot [default: everything]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// How a directory is written
    #[arg(short, long, value_enum, default_value_t = Format::Tar)]
    archive: Format,
    /// A file to write instead of standard output; what was there is replaced once all is written
    #[arg(short, long, value_name = "FILE")]
    target: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With owners, devices, links, extended attributes
    Tar,
    /// Files, directories and symbolic links
    Zip,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let choice = arguments.choice.options(context)?;
    let (name, within) = snapshot_path::split(&arguments.snapshot);
    let repository = context.open_for(Intent::Reading)?;
    let snapshot = reference::find_one_readable(context, &repository, name, &arguments.filters)?;
    let of_files = within.is_some() || arguments.path.is_some() || arguments.target.is_some();
    if !of_files && !FileTree::is_in(&snapshot) {
        return restore::write(context, name, &arguments.filters, Location::Stdout, choice);
    }
    let path = match (&within, arguments.path) {
        (Some(within), Some(path)) => Some(within.join(path.strip_prefix("/").unwrap_or(&path))),
        (Some(within), None) => Some(within.clone()),
        (None, path) => path,
    };
    let archive = match arguments.archive {
        Format::Tar => Archive::Tar,
        Format::Zip => Archive::Zip,
    };
    let place = SnapshotPath { snapshot: snapshot.id, path };
    let options = DumpOptions { archive, below: within };
    let summary = match &arguments.target {
        None => {
            context.output.keep_stdout_for_data();
            context.wait(ops::dump_files(&repository, place, options, io::stdout()))?
        }
        Some(target) => to_file(context, &repository, place, options, target)?,
    };
    report(context, &snapshot, &summary)
}

/// Into a file that takes its name when it is complete; devices and pipes are written to as they are.
fn to_file(
    context: &Context,
    repository: &Repository,
    place: SnapshotPath,
    options: DumpOptions,
    target: &Path,
) -> Result<DumpSummary> {
    let io = |e| Failure::from(Error::io(target.display(), e));
    if target.metadata().is_ok_and(|there| !there.is_file()) {
        let file = File::options().write(true).open(target).map_err(io)?;
        return context.wait(ops::dump_files(repository, place, options, file));
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    let writer = file.reopen().map_err(io)?;
    let summary = context.wait(ops::dump_files(repository, place, options, writer))?;
    let mut file = file.persist(target).map_err(|e| io(e.error))?;
    file.flush().and_then(|()| file.sync_all()).map_err(io)?;
    Ok(summary)
}

fn report(context: &Context, snapshot: &Snapshot, summary: &DumpSummary) -> Result<Code> {
    for (path, why) in &summary.left_out {
        context.output.problem(&path.display().to_string(), why);
    }
    context.output.json(&json!({
        "message_type": "summary",
        "snapshot_id": snapshot.id.to_string(),
        "files": summary.files,
        "dirs": summary.directories,
        "others": summary.others,
        "bytes": summary.bytes,
        "num_errors": summary.left_out.len(),
    }))?;
    if context.output.is_verbose() {
        let paths = summary.files + summary.directories + summary.others;
        context.output.line(format!("wrote {}, {}", counted(paths, "path"), size::show(summary.bytes)))?;
    }
    Ok(if summary.left_out.is_empty() { Code::Ok } else { Code::Incomplete })
}
