//! `backup`: a source into a new snapshot.

pub mod datahike;
mod files;
pub mod naming;
mod paths;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use packstone::ErrorKind;
use packstone::datahike::home;
use packstone::format::{RetentionClass, Statistics};
use packstone::ops::{self, BackupOptions, BackupSummary, DatomsSource, Parent, Source, StreamInput};
use packstone::repository::{Delta, Intent, Repository};
use packstone::source::datoms::{self as source, OnError, View};
use serde_json::json;

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::location::{self, Location};
use crate::output::{Output, counted, grouped};
use crate::progress::Status;
use crate::{describe, period, reference, size, time};
use datahike::DatahikeArguments;
use files::FileArguments;
use naming::Naming;

/// Back up files or datoms into a new snapshot
///
/// Reads a source and stores what is new in it as a snapshot. All paths together become one snapshot, every other source
/// one of its own.
///
/// What the repository has already is not stored again, so that a daily backup costs what has changed. Interrupt it when
/// you like: running it again continues. When it has printed a snapshot's id, that snapshot is safe.
#[derive(Args, Debug)]
pub struct Arguments {
    /// What to back up: paths of files and directories, datoms:PATH (a file or directory in any of the formats), datoms:-
    /// (standard input), datahike:PATH (the store of a Datahike database, while it is in use), or command:PROGRAM (what it
    /// writes)
    #[arg(required_unless_present_any = ["files_from", "files_from_verbatim", "files_from_raw", "stdin"],
          value_name = "SOURCE")]
    sources: Vec<OsString>,
    #[command(flatten)]
    files: FileArguments,
    /// The format of the datoms, instead of recognising it
    #[arg(long, value_enum, help_heading = "Datoms")]
    format: Option<Format>,
    /// Whether the datoms are a history or a current state, where the format does not say
    #[arg(long, value_enum, help_heading = "Datoms")]
    view: Option<ViewName>,
    /// The current view beside the history, where the one does not follow from the other
    #[arg(long, value_name = "datoms:PATH", help_heading = "Datoms")]
    current_view: Option<String>,
    /// What to do about a datom that cannot be represented: stop, or leave it out, list it and exit with 3 [default: abort]
    #[arg(long, value_enum, help_heading = "Datoms")]
    on_error: Option<OnErrorName>,
    /// Read a dump that was never finished or lost parts; what is missing is listed
    #[arg(long, help_heading = "Datoms")]
    allow_incomplete: bool,
    #[command(flatten)]
    datahike: DatahikeArguments,
    /// Give the entities of a Datomic log ids that Datahike can have; their own are kept as :packstone/original-id
    #[arg(long, help_heading = "Datoms")]
    remap_ids: bool,
    #[command(flatten)]
    naming: Naming,
    /// Time of the snapshot, RFC 3339 or `2026-01-31 12:00:00` [default: now]
    #[arg(long, value_parser = time::parse)]
    time: Option<i64>,
    /// The snapshot to compare with, or `none` [default: the latest of the same host and label]
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "force")]
    parent: Option<String>,
    /// Compare with no snapshot, like --parent none: read every file, whether it seems to have changed or not
    #[arg(long)]
    force: bool,
    /// Read and compare, but store nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write no snapshot when nothing differs from the parent
    #[arg(long)]
    skip_if_unchanged: bool,
    /// How hard to compress: off, auto, or a zstd level from 1 to 22
    #[arg(long, value_name = "HOW", env = "PACKSTONE_COMPRESSION", hide_env_values = true, default_value = "auto",
          value_parser = compression_level)]
    compression: i32,
    /// Whether what changed a little is stored as its difference to what it was
    #[arg(long, value_enum, default_value_t = DeltaName::Auto)]
    delta: DeltaName,
    /// How often a long backup saves a partial snapshot
    #[arg(long, value_name = "PERIOD", default_value = "5m", value_parser = period::parse)]
    partial_every: Duration,
    /// How long the data is meant to live; packs hold data of one class
    #[arg(long, value_enum, default_value_t = Class::Standard)]
    class: Class,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// `[e a v t op]` a line
    Edn,
    /// A JSON array or object a line
    Json,
    /// Datahike's flat CBOR export
    Cbor,
    /// Datahike's verifiable dump directory
    Dump,
    /// A datacamp backup directory
    Datacamp,
    /// DataScript's serializable form, a JSON object
    DatascriptJson,
    /// A DataScript database printed as EDN
    Datascript,
    /// DataScript's storage: a folder, or an SQLite database such as Logseq's
    DatascriptStorage,
    /// Datalevin's text dump
    Datalevin,
    /// A transaction log, as of Datomic, in EDN or Transit
    Log,
    /// Datoms, transactions or a DataScript database in Transit's JSON
    Transit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ViewName {
    History,
    Current,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnErrorName {
    Abort,
    Collect,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DeltaName {
    /// Where what it was is cheap to read
    Auto,
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Class {
    Short,
    Standard,
    Long,
}

/// Advice about a database of which something is missing.
const LOST_NODES: &str = "nothing was saved; is the database collecting its garbage, or is its store damaged?";

/// zstd's level; 0 is off.
pub(super) fn compression_level(text: &str) -> Result<i32, String> {
    match text {
        "off" => Ok(0),
        "auto" => Ok(BackupOptions::default().compression_level),
        number => number
            .parse()
            .ok()
            .filter(|level| (1..=22).contains(level))
            .ok_or_else(|| "off, auto, or a number from 1 to 22".to_owned()),
    }
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let sources = arguments.sources(context)?;
    if sources.len() > 1 && arguments.naming.label.is_some() {
        return Err(Failure::usage("--label", "names one backup job, but there are several sources"));
    }
    let repository = context.open_for(if arguments.dry_run { Intent::Reading } else { Intent::Writing })?;
    let options = arguments.options(context, &repository)?;
    let (mut worst, mut saved) = (Code::Ok, false);
    let several = sources.len() > 1;
    for source in sources {
        match one(context, &repository, source, options.clone()) {
            Ok(code) => {
                saved = true;
                worst = if worst == Code::Ok { code } else { worst };
            }
            // The other sources may be all right, unless it is the repository that is not.
            Err(failure) if several && is_about_source(failure.kind()) => {
                worst = failure.code();
                arguments.advise(failure).report_input(&context.output);
            }
            Err(failure) => return Err(arguments.advise(failure)),
        }
    }
    Ok(if saved && worst != Code::Ok { Code::Incomplete } else { worst })
}

fn one(context: &Context, repository: &Repository, source: Source, options: BackupOptions) -> Result<Code> {
    let dry_run = options.dry_run;
    let progress = context.progress(Status::Lines);
    let result = context.wait(ops::backup(repository, source, options, progress.clone()));
    progress.finish();
    let summary = result?;
    print(context, &summary, dry_run)?;
    Ok(if summary.snapshot.skipped_count > 0 { Code::Incomplete } else { Code::Ok })
}

fn is_about_source(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Data | ErrorKind::NotFound | ErrorKind::Failed | ErrorKind::Usage)
}

impl Arguments {
    /// What is to be backed up, one for each snapshot.
    fn sources(&self, context: &Context) -> Result<Vec<Source>> {
        if self.files.stdin_from_command || self.files.stdin {
            self.datahike.require_none()?;
        }
        if self.files.stdin_from_command {
            self.require_no_options_of("a command", true, false)?;
            let stream = self.files.stream(StreamInput::Command(self.sources.clone()))?;
            return Ok(vec![Source::Stream(stream)]);
        }
        if self.files.stdin {
            self.require_no_options_of("a stream", true, false)?;
            return Ok(vec![Source::Stream(self.files.stream(StreamInput::Stdin)?)]);
        }
        let (mut paths, mut sources) = (Vec::<PathBuf>::new(), Vec::new());
        let (mut datoms, mut databases, mut streams) = (0, 0, self.files.lists_from_stdin());
        streams += usize::from(self.current_view.as_deref() == Some("datoms:-"));
        for text in &self.sources {
            match location::parse(text)? {
                Location::Path(path) => paths.push(path),
                Location::Datoms(path) => {
                    datoms += 1;
                    sources.push(Source::Datoms(self.datoms(source::Location::Path(path))?));
                }
                Location::DatomsStream => {
                    (datoms, streams) = (datoms + 1, streams + 1);
                    sources.push(Source::Datoms(self.datoms(source::Location::Stdin)?));
                }
                Location::Datahike(place) => {
                    databases += 1;
                    sources.push(Source::Datahike(self.datahike.source(place)?));
                }
                Location::Command(line) => {
                    let words = words::split(&line).map_err(|why| Failure::usage(text.display(), why))?;
                    let words = words.into_iter().map(OsString::from).collect();
                    sources.push(Source::Stream(self.files.stream(StreamInput::Command(words))?));
                }
            }
        }
        if streams > 1 {
            return Err(Failure::usage("-", "standard input can be read only once"));
        }
        let has_paths = !paths.is_empty() || self.files.has_lists();
        if databases == 0 {
            self.datahike.require_none()?;
        }
        let has_commands = sources.len() > datoms + databases;
        let what = match (datoms, databases) {
            _ if has_commands => "a command",
            (0, 1..) => "a database",
            _ => "datoms",
        };
        if !has_paths {
            self.require_no_options_of(what, datoms == 0, has_commands)?;
        } else if datoms == 0 {
            self.require_no_options_of_datoms("files")?;
        }
        if !has_commands && let Some(option) = self.files.option_of_streams() {
            return Err(Failure::usage(option, "means nothing without a stream"));
        }
        let files = self.files.source(context, &paths)?;
        Ok(files.map(Source::Files).into_iter().chain(sources).collect())
    }

    fn datoms(&self, location: source::Location) -> Result<DatomsSource> {
        let mut source = DatomsSource::new(location);
        source.options = source::Options {
            format: self.format.map(|format| match format {
                Format::Edn => source::Format::Edn,
                Format::Json => source::Format::Json,
                Format::Cbor => source::Format::FlatCbor,
                Format::Dump => source::Format::Dump,
                Format::Datacamp => source::Format::Datacamp,
                Format::DatascriptJson => source::Format::Serializable,
                Format::Datascript => source::Format::DataScript,
                Format::DatascriptStorage => source::Format::Storage,
                Format::Datalevin => source::Format::Datalevin,
                Format::Log => source::Format::Log,
                Format::Transit => source::Format::Transit,
            }),
            on_error: match self.on_error.unwrap_or(OnErrorName::Abort) {
                OnErrorName::Abort => OnError::Abort,
                OnErrorName::Collect => OnError::Collect,
            },
            allow_incomplete: self.allow_incomplete,
            remap_ids: self.remap_ids,
        };
        source.view = self.view.map(|view| match view {
            ViewName::History => View::History,
            ViewName::Current => View::Current,
        });
        source.current_view = self.current_view.as_deref().map(location::source).transpose()?;
        Ok(source)
    }

    fn options(&self, context: &Context, repository: &Repository) -> Result<BackupOptions> {
        let parent = match self.parent.as_deref() {
            _ if self.force => Parent::None,
            None => Parent::Latest,
            Some("none") => Parent::None,
            Some(text) => Parent::Snapshot(reference::find_one(context, repository, text, &Filters::default())?.id),
        };
        Ok(BackupOptions {
            time_ms: self.time,
            parent,
            class: match self.class {
                Class::Short => RetentionClass::Short,
                Class::Standard => RetentionClass::Standard,
                Class::Long => RetentionClass::Long,
            },
            compression_level: self.compression,
            delta: match self.delta {
                DeltaName::Auto => Delta::Auto,
                DeltaName::On => Delta::On,
                DeltaName::Off => Delta::Off,
            },
            read_concurrency: self.files.read_concurrency,
            memory_bytes: context.sorting_memory_bytes(),
            temporary: context.global.temp_dir.clone(),
            partial_every: self.partial_every,
            dry_run: self.dry_run,
            skip_if_unchanged: self.skip_if_unchanged,
            ..self.naming.options()
        })
    }

    /// Refuses options that mean nothing for the only kinds of sources there are.
    fn require_no_options_of(&self, what: &str, without_datoms: bool, with_streams: bool) -> Result<()> {
        if let Some(option) = self.files.option_of_trees() {
            return Err(Failure::usage(option, format!("means nothing for {what}: it is for directory trees")));
        }
        if !with_streams
            && !self.files.stdin
            && !self.files.stdin_from_command
            && let Some(option) = self.files.option_of_streams()
        {
            return Err(Failure::usage(option, "means nothing without a stream"));
        }
        if without_datoms { self.require_no_options_of_datoms(what) } else { Ok(()) }
    }

    fn require_no_options_of_datoms(&self, what: &str) -> Result<()> {
        let options = [
            (self.format.is_some(), "--format"),
            (self.view.is_some(), "--view"),
            (self.current_view.is_some(), "--current-view"),
            (self.on_error.is_some(), "--on-error"),
            (self.allow_incomplete, "--allow-incomplete"),
            (self.remap_ids, "--remap-ids"),
        ];
        match options.iter().find(|(given, _)| *given) {
            Some((_, option)) => Err(Failure::usage(option, format!("means nothing for {what}: it is for datoms"))),
            None => Ok(()),
        }
    }

    /// Advice that only makes sense here.
    fn advise(&self, failure: Failure) -> Failure {
        match failure.kind() {
            // What it says of the whole is advice enough.
            ErrorKind::Data if self.names_database(failure.object()) || self.is_source(failure.object()) => failure,
            ErrorKind::Data if self.on_error != Some(OnErrorName::Collect) => failure.hint(
                "nothing was saved; `--on-error collect` leaves out and lists the datoms that cannot be represented",
            ),
            ErrorKind::Damaged if self.names_database(failure.object()) => failure.hint(LOST_NODES),
            ErrorKind::Failed if failure.comes_from_damage() && self.names_database(failure.object()) => {
                failure.hint(LOST_NODES)
            }
            ErrorKind::Damaged if self.names_source(failure.object()) => failure.hint(
                "the source is damaged or was never finished, and nothing was saved; `--allow-incomplete` reads what is \
                 left where the format can tell",
            ),
            ErrorKind::Data | ErrorKind::NotFound => {
                failure.hint("nothing was saved; correct the source and run again")
            }
            _ => failure,
        }
    }

    /// Whether an error is about a database that is backed up.
    fn names_database(&self, object: &str) -> bool {
        let sources = self.sources.iter().filter_map(|text| text.to_str());
        sources
            .filter_map(|text| text.strip_prefix("datahike:"))
            .any(|place| object.contains(&home::without_secrets(place)))
    }

    /// Whether an error is about a source of datoms as a whole, as opposed to something in it.
    fn is_source(&self, object: &str) -> bool {
        let sources = self.sources.iter().filter_map(|text| text.to_str());
        sources.filter_map(|text| text.strip_prefix("datoms:")).any(|path| path == object)
    }

    /// Whether an error is about a source, as opposed to the repository.
    fn names_source(&self, object: &str) -> bool {
        let sources = self.sources.iter().filter_map(|text| text.to_str()).chain(self.current_view.as_deref());
        sources.filter_map(|text| text.strip_prefix("datoms:")).any(|path| path == "-" || object.contains(path))
    }
}

fn print(context: &Context, summary: &BackupSummary, dry_run: bool) -> Result<()> {
    let (snapshot, output) = (&summary.snapshot, &context.output);
    let s = &snapshot.statistics;
    let of_files = describe::is_of_files(snapshot);
    let mut value = describe::snapshot(snapshot)["summary"].take();
    value["message_type"] = json!("summary");
    value["dry_run"] = json!(dry_run);
    if !of_files {
        value["total_datoms_processed"] = json!(s.records_new.saturating_add(s.records_unmodified));
    }
    value["backup_end"] = json!(time::rfc3339(snapshot.time_ms.saturating_add_unsigned(s.duration_ms)));
    value["source"] = json!(snapshot.sources.first().map(|source| source.location.as_str()));
    value["parent"] = json!(snapshot.parent.map(|id| id.to_string()));
    value["notes"] = describe::notes(summary.notes.iter().map(|(what, count)| (what, count)));
    value["error_count"] = json!(snapshot.skipped_count);
    if summary.committed {
        value["snapshot_id"] = json!(snapshot.id.to_string());
    }
    output.json(&value)?;
    match snapshot.parent {
        Some(parent) => output.info(format!("compared with snapshot {}", parent.short()))?,
        None => output.info("no earlier snapshot to compare with: everything is new")?,
    }
    let (processed, bytes, unit) = if of_files { print_files(output, s)? } else { print_datoms(output, s)? };
    output.info(format!(
        "Added to the repository: {} ({} stored in {})",
        size::show(s.bytes_added),
        size::show(s.bytes_stored),
        counted(s.packs_written, "pack"),
    ))?;
    output.info(format!(
        "processed {}, {} in {}",
        counted(processed, unit),
        size::show(bytes),
        period::show(s.duration_ms)
    ))?;
    for (what, count) in &summary.notes {
        output.info(format!("note: {what} ({} times)", grouped(*count)))?;
    }
    if snapshot.skipped_count > 0 {
        let (said, unit) = if of_files { ("not stored as they are", "path") } else { ("left out", "datom") };
        output.line(format!("{said}: {}, listed above", counted(snapshot.skipped_count, unit)))?;
    }
    match (summary.committed, dry_run) {
        (true, _) => output.line(format!("snapshot {} saved", snapshot.id.short())),
        (false, true) => output.line("dry run: nothing was stored"),
        (false, false) => output.line("nothing has changed: no snapshot was written"),
    }
}

/// What became of files; returns how many there are, their bytes, and what they are called.
fn print_files(output: &Output, s: &Statistics) -> Result<(u64, u64, &'static str)> {
    let figure = |name: &str| s.figures.iter().find(|(of, _)| of == name).map_or(0, |(_, number)| *number);
    for (title, kind) in [("Files:", "files"), ("Dirs: ", "dirs"), ("Other:", "others")] {
        let counts = ["new", "changed", "unmodified"].map(|change| figure(&format!("{kind}_{change}")));
        if kind != "others" || counts.iter().any(|count| *count > 0) {
            let [new, changed, unmodified] = counts.map(grouped);
            output.info(format!("{title}  {new:>7} new, {changed:>7} changed, {unmodified:>7} unmodified"))?;
        }
    }
    if s.records_removed > 0 {
        output.info(format!("Gone since the parent: {}", counted(s.records_removed, "path")))?;
    }
    Ok((figure("total_files"), figure("total_bytes"), "file"))
}

/// As [`print_files`], of datoms.
fn print_datoms(output: &Output, s: &Statistics) -> Result<(u64, u64, &'static str)> {
    output.info(format!(
        "Datoms:  {} new, {} removed, {} unmodified",
        grouped(s.records_new),
        grouped(s.records_removed),
        grouped(s.records_unmodified)
    ))?;
    if s.duplicates > 0 {
        output.info(format!("Duplicates in the source, kept once: {}", grouped(s.duplicates)))?;
    }
    Ok((s.records_new.saturating_add(s.records_unmodified), s.bytes_read, "datom"))
}
