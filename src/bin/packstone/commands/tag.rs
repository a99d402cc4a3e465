//! `tag`: changing the tags of snapshots.

use clap::Args;
use packstone::ops::{self, Replaced, TagChange, TagOptions};
use serde_json::json;

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::counted;
use crate::progress::Status;
use crate::reference::{self, tag_lists};

/// Change the tags of snapshots
///
/// Changes the tags of the named snapshots, or of all that --host, --label and --tag allow.
///
/// A snapshot never changes: one with the other tags takes its place, under a new id, and the old one is forgotten.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").args(["set", "add", "remove"]).multiple(true).required(true))]
pub struct Arguments {
    /// The snapshots: ids, the start of ids, `latest`, or `latest~N` [default: all that the filters allow]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// These tags instead of those there are, separated by commas (repeatable); '' takes all away
    #[arg(long, value_name = "TAG,...", conflicts_with_all = ["add", "remove"])]
    set: Vec<String>,
    /// Add these tags, separated by commas (repeatable)
    #[arg(long, value_name = "TAG,...")]
    add: Vec<String>,
    /// Take these tags away, separated by commas (repeatable)
    #[arg(long, value_name = "TAG,...")]
    remove: Vec<String>,
    /// Say what would happen, do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    filters: Filters,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.open()?;
    let named = reference::find(context, &repository, &arguments.snapshots, &arguments.filters)?;
    let options = TagOptions {
        ids: named.iter().map(|snapshot| snapshot.id).collect(),
        filter: arguments.filters.to_filter(),
        change: TagChange {
            set: (!arguments.set.is_empty()).then(|| tags(&arguments.set)),
            add: tags(&arguments.add),
            remove: tags(&arguments.remove),
        },
        dry_run: arguments.dry_run,
    };
    if options.change.set.is_none() && options.change.add.is_empty() && options.change.remove.is_empty() {
        return Err(Failure::usage("", "no tag to add or remove").hint("--set '' takes all tags away"));
    }
    let progress = context.progress(Status::Lines);
    let report = context.wait(ops::tag(&repository, options, progress.clone()));
    progress.finish();
    let report = report?;
    for replaced in &report.changed {
        print_replaced(context, replaced, arguments.dry_run)?;
    }
    let changed = report.changed.len() as u64;
    context.output.json(&json!({
        "message_type": "summary",
        "changed_snapshots": changed,
        "unchanged_snapshots": report.unchanged,
        "dry_run": arguments.dry_run,
    }))?;
    let verb = if arguments.dry_run { "dry run: would change" } else { "changed" };
    context.output.line(format!("{verb} the tags of {}", counted(changed, "snapshot")))?;
    Ok(Code::Ok)
}

/// Old and new id, and what the tags are now.
pub(super) fn print_replaced(context: &Context, replaced: &Replaced, dry_run: bool) -> Result<()> {
    let (old, new) = (&replaced.old, &replaced.new);
    context.output.json(&json!({
        "message_type": "changed",
        "old_snapshot_id": old.id.to_string(),
        "new_snapshot_id": (!dry_run).then(|| new.id.to_string()),
        "tags": new.tags,
    }))?;
    let id = if dry_run { "a new snapshot".to_owned() } else { new.id.short() };
    context.output.info(format!("{} -> {id}, tags: {}", old.id.short(), new.tags.join(",")))
}

/// Tags of several lists that are each separated by commas.
pub(super) fn tags(texts: &[String]) -> Vec<String> {
    tag_lists(texts).into_iter().flatten().filter(|tag| !tag.is_empty()).collect()
}
