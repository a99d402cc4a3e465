//! `rewrite`: snapshots with paths taken out, or another host, time or tags.

use std::path::PathBuf;

use clap::Args;
use packstone::ops::{self, RewriteOptions, TagChange};
use serde_json::json;

use super::tag::tags;
use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::{counted, grouped};
use crate::progress::Status;
use crate::{reference, size, time};

/// Take paths out of snapshots
///
/// Makes new snapshots of the named ones, or of all that --host, --label and --tag allow, without the paths that match, or
/// with another host, time or tags.
///
/// The new ones get the tag `rewrite` and the old ones stay, unless --forget is given. Snapshots with nothing to change are
/// left alone. What only forgotten snapshots held is freed by `packstone prune`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").multiple(true).required(true)
    .args(["exclude", "iexclude", "exclude_file", "add_tag", "remove_tag", "new_host", "new_time"]))]
pub struct Arguments {
    /// The snapshots: ids, the start of ids, `latest`, or `latest~N` [default: all that the filters allow]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// Take out what matches, in the syntax of .gitignore, and everything below it (repeatable)
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// The same without regard to upper and lower case (repeatable)
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<String>,
    /// Take out what matches a line of FILE (repeatable)
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// Forget the old snapshots once the new ones are there
    #[arg(long)]
    forget: bool,
    /// Add these tags, separated by commas (repeatable)
    #[arg(long, value_name = "TAG,...")]
    add_tag: Vec<String>,
    /// Take these tags away, separated by commas (repeatable)
    #[arg(long, value_name = "TAG,...")]
    remove_tag: Vec<String>,
    /// Another host
    #[arg(long, value_name = "HOST")]
    new_host: Option<String>,
    /// Another time: `2026-01-31T12:00:00Z`, or `2026-01-31 12:00:00` by the local clock
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    new_time: Option<i64>,
    /// Say what would happen, do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    filters: Filters,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    if arguments.new_time.is_some() && arguments.snapshots.len() != 1 {
        return Err(Failure::usage("--new-time", "several snapshots cannot all be of this time")
            .hint("name the one snapshot that is meant"));
    }
    let repository = context.open()?;
    let named = reference::find(context, &repository, &arguments.snapshots, &arguments.filters)?;
    let options = RewriteOptions {
        ids: named.iter().map(|snapshot| snapshot.id).collect(),
        filter: arguments.filters.to_filter(),
        excludes: arguments.exclude,
        iexcludes: arguments.iexclude,
        exclude_files: arguments.exclude_file,
        tags: TagChange { set: None, add: tags(&arguments.add_tag), remove: tags(&arguments.remove_tag) },
        host: arguments.new_host,
        time_ms: arguments.new_time,
        forget: arguments.forget,
        dry_run: arguments.dry_run,
    };
    let progress = context.progress(Status::Lines);
    let report = context.wait(ops::rewrite(&repository, options, progress.clone()));
    progress.finish();
    let report = report?;
    let output = &context.output;
    for one in &report.rewritten {
        let (old, new) = (&one.replaced.old, &one.replaced.new);
        output.json(&json!({
            "message_type": "changed",
            "old_snapshot_id": old.id.to_string(),
            "new_snapshot_id": (!arguments.dry_run).then(|| new.id.to_string()),
            "tags": new.tags,
            "entries_removed": one.entries_removed,
            "bytes_removed": one.bytes_removed,
            "forgotten": arguments.forget && !arguments.dry_run,
        }))?;
        let id = if arguments.dry_run { "a new snapshot".to_owned() } else { new.id.short() };
        let entries = match one.entries_removed {
            1 => "1 entry".to_owned(),
            n => format!("{} entries", grouped(n)),
        };
        output.info(format!("{} -> {id}, without {entries} of {}", old.id.short(), size::show(one.bytes_removed)))?;
    }
    let rewritten = report.rewritten.len() as u64;
    output.json(&json!({
        "message_type": "summary",
        "changed_snapshots": rewritten,
        "unchanged_snapshots": report.unchanged,
        "dry_run": arguments.dry_run,
    }))?;
    let verb = if arguments.dry_run { "dry run: would rewrite" } else { "rewrote" };
    output.line(format!(
        "{verb} {}, {} had nothing to change",
        counted(rewritten, "snapshot"),
        grouped(report.unchanged)
    ))?;
    Ok(Code::Ok)
}
