//! `restore`: a snapshot's files into a directory, or its datoms into a file or directory.

mod cold;
mod datahike;
mod files;

use std::ffi::OsString;

use clap::{Args, ValueEnum};
use packstone::ErrorKind;
use packstone::ops::{self, AttributeFilter, RestoreOptions, TimePoint, View};
use packstone::repository::Intent;
use packstone::target::datoms::{self as target, Location};
use serde_json::json;

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::location::Location as Place;
use crate::output::{counted, grouped};
use crate::progress::Status;
use crate::{describe, location, reference, size};

/// Restore a snapshot's files, or write its datoms
///
/// Restores a snapshot's files below a directory, or writes its datoms, as of its time or earlier, to a file or directory.
///
/// Every byte is verified before it is written; when something is damaged nothing that looks complete is left. Running an
/// interrupted restore of files again continues it.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The snapshot: an id, the start of one, `latest`, or `latest~N`, the N-th before the latest; with `:PATH` only that
    /// directory's content, or that file, comes right below the target
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: OsString,
    /// Where to write: a directory for files; datoms:PATH, or datoms:- for standard output; datahike:PATH for a store that
    /// Datahike opens
    #[arg(short = 't', long = "to", visible_alias = "target", value_name = "TARGET")]
    target: OsString,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    files: files::FilesChoice,
    /// What happens to what is there. Files: by default they become as in the snapshot; `if-changed` takes those of the same
    /// size and time for the same. Datoms: nothing is replaced unless this is given
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, default_missing_value = "always")]
    overwrite: Option<files::OverwriteName>,
    /// Datoms in a chunk of a dump directory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    dump_chunk_datoms: Option<u64>,
    /// Do not compress the chunks of a dump directory
    #[arg(long)]
    no_gzip: bool,
    /// Make the addresses of a Datahike store hashes of its nodes [default: as in the database that was backed up]
    #[arg(long)]
    crypto_hash: bool,
    /// Read restored files again; what is written is verified before in any case
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    filters: Filters,
}

/// Which datoms, and in which format.
#[derive(Args, Debug)]
pub struct Choice {
    /// The format to write [default: what the target's name ends in, else EDN lines]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Only what was true at the end, not how it came about
    #[arg(long, conflicts_with = "history")]
    current: bool,
    /// Every datom with its transaction, retractions too [default, where the source had a history]
    #[arg(long)]
    history: bool,
    /// The database as of a transaction id or an RFC 3339 time: nothing later
    #[arg(long, value_name = "T")]
    as_of: Option<TimePoint>,
    /// Only what is later than this transaction id or time
    #[arg(long, value_name = "T")]
    since: Option<TimePoint>,
    /// Nothing later than this transaction id or time
    #[arg(long, value_name = "T")]
    until: Option<TimePoint>,
    /// The branch of a Datahike database [default: its main branch]
    #[arg(long, value_name = "NAME", value_parser = branch_name)]
    branch: Option<String>,
    /// Only this entity (repeatable)
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    entity: Vec<i64>,
    /// Only this attribute, `:ns/name` or `:ns/*` (repeatable)
    #[arg(long, value_name = "A")]
    attribute: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// `[e a v t op]` a line
    Edn,
    /// A JSON array a line
    Json,
    /// Datahike's flat CBOR export
    Cbor,
    /// Datahike's verifiable dump directory
    Dump,
}

/// The name of a branch, which may be given with its colon.
pub fn branch_name(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.strip_prefix(':').unwrap_or(text).to_owned())
}

impl Choice {
    /// The first of these options that is given; they say nothing about files.
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--format", self.format.is_some()),
            ("--current", self.current),
            ("--history", self.history),
            ("--as-of", self.as_of.is_some()),
            ("--since", self.since.is_some()),
            ("--until", self.until.is_some()),
            ("--branch", self.branch.is_some()),
            ("--entity", !self.entity.is_empty()),
            ("--attribute", !self.attribute.is_empty()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// The first of these options that is given and takes part of a history, or says how it is written as text.
    fn first_partial(&self) -> Option<&'static str> {
        let given = [
            ("--format", self.format.is_some()),
            ("--since", self.since.is_some()),
            ("--until", self.until.is_some()),
            ("--entity", !self.entity.is_empty()),
            ("--attribute", !self.attribute.is_empty()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// As options of the library, with its defaults for how the target is written.
    pub fn options(&self, context: &Context) -> Result<RestoreOptions> {
        let mut options = RestoreOptions {
            view: match (self.current, self.history) {
                (true, _) => View::Current,
                (_, true) => View::History,
                _ => View::AsBackedUp,
            },
            as_of: self.as_of,
            since: self.since,
            until: self.until,
            branch: self.branch.clone(),
            entities: self.entity.clone(),
            attributes: AttributeFilter::parse(&self.attribute)?,
            memory_bytes: context.sorting_memory_bytes(),
            temporary: context.global.temp_dir.clone(),
            ..Default::default()
        };
        options.target.format = self.format.map(|format| match format {
            Format::Edn => target::Format::Edn,
            Format::Json => target::Format::Json,
            Format::Cbor => target::Format::FlatCbor,
            Format::Dump => target::Format::Dump,
        });
        Ok(options)
    }
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let location = match location::parse(&arguments.target)? {
        Place::Path(target) => return files::run(context, &arguments, target),
        Place::Datoms(path) => Location::Path(path),
        Place::DatomsStream => Location::Stdout,
        Place::Datahike(location) => return datahike::run(context, &arguments, &location),
        Place::Command(_) => {
            return Err(Failure::usage(arguments.target.display(), "a command is no target")
                .hint("`packstone dump` writes to standard output"));
        }
    };
    arguments.files.refuse_for_datoms()?;
    let mut options = arguments.choice.options(context)?;
    options.target.overwrite = arguments.overwrite.is_some_and(files::OverwriteName::replaces);
    options.target.dump_gzip = !arguments.no_gzip;
    if let Some(datoms) = arguments.dump_chunk_datoms {
        options.target.dump_chunk_datoms = datoms;
    }
    let snapshot = arguments.snapshot.to_str();
    let snapshot =
        snapshot.ok_or_else(|| Failure::usage(arguments.snapshot.display(), "names a snapshot, but is no text"))?;
    write(context, snapshot, &arguments.filters, location, options)
}

/// Restores and says what was written.
pub fn write(
    context: &Context,
    snapshot: &str,
    filters: &Filters,
    location: Location,
    options: RestoreOptions,
) -> Result<Code> {
    let output = &context.output;
    if location == Location::Stdout {
        output.keep_stdout_for_data();
    }
    let repository = context.open_for(Intent::Reading)?;
    let may_overwrite = options.target.overwrite;
    let snapshot = reference::find_one_readable(context, &repository, snapshot, filters)?;
    let progress = context.progress(Status::Lines);
    let result = context.wait(ops::restore(&repository, snapshot.id, location.clone(), options, progress.clone()));
    progress.finish();
    let summary = result.map_err(|failure| match failure.kind() {
        ErrorKind::AlreadyExists if !may_overwrite => failure.hint("--overwrite replaces it"),
        ErrorKind::Usage if failure.to_string().contains("no datoms") => {
            failure.hint("its files are restored into a directory: `--to PATH`")
        }
        _ => failure,
    })?;
    output.json(&json!({
        "message_type": "summary",
        "snapshot_id": summary.snapshot.to_string(),
        "view": if summary.current { "current" } else { "history" },
        "datoms_restored": summary.datoms,
        "bytes_restored": summary.bytes,
        "notes": describe::notes(&summary.notes),
    }))?;
    for (what, count) in &summary.notes {
        output.note(&format!("{what} ({} times)", grouped(*count)));
    }
    if let Location::Path(path) = location {
        output.info(format!(
            "restored {} ({}) of snapshot {} to {}, {}",
            counted(summary.datoms, "datom"),
            if summary.current { "current state" } else { "history" },
            summary.snapshot.short(),
            path.display(),
            size::show(summary.bytes),
        ))?;
    }
    Ok(Code::Ok)
}
