//! `prune`: freeing what no snapshot reaches.

use clap::Args;
use packstone::ops::{self, PruneOptions, PruneReport};
use packstone::repository::Leftovers;
use serde_json::json;

use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::{Column, counted, grouped};
use crate::progress::Status;
use crate::size;

/// Free what no snapshot reaches
///
/// Frees what no snapshot reaches. Backups may run at the same time.
///
/// Packs are condemned first and removed when every backup that might count on them has ended; those that wait are
/// removed by the next prune.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    limits: Limits,
    /// On a store where nobody can be fenced (see `doctor`): nothing else runs, by your word, so close every session
    #[arg(long)]
    exclusive: bool,
    /// Print the plan, change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// How much is tidied up.
#[derive(Args, Clone, Debug)]
pub struct Limits {
    /// Share of unused bytes that may stay in the repository: 5%, or unlimited to copy nothing
    #[arg(long, value_name = "LIMIT", default_value = "5%", value_parser = percent)]
    max_unused: f64,
    /// The most bytes of packs that one run copies
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    max_repack_size: Option<u64>,
}

fn percent(text: &str) -> Result<f64, String> {
    if text == "unlimited" {
        return Ok(100.0);
    }
    let number = text.strip_suffix('%').or((text == "0").then_some(text)).and_then(|number| number.parse().ok());
    number.filter(|n| (0.0..=100.0).contains(n)).ok_or_else(|| format!("`{text}` is neither like 5% nor unlimited"))
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.open()?;
    let leftovers = if arguments.exclusive { Leftovers::Remove } else { Leftovers::Respect };
    run_with(context, &repository, &arguments.limits, leftovers, arguments.dry_run)
}

/// Prunes an open repository.
pub fn run_with(
    context: &Context,
    repository: &packstone::repository::Repository,
    limits: &Limits,
    leftovers: Leftovers,
    dry_run: bool,
) -> Result<Code> {
    let options = PruneOptions {
        dry_run,
        leftovers,
        max_unused_percent: limits.max_unused,
        max_repack_bytes: limits.max_repack_size,
        ..Default::default()
    };
    let progress = context.progress(Status::Lines);
    let report = context.wait(ops::prune(repository, options, progress.clone()));
    progress.finish();
    print(context, &report?, dry_run)?;
    Ok(Code::Ok)
}

fn print(context: &Context, report: &PruneReport, dry_run: bool) -> Result<()> {
    let output = &context.output;
    let ids = |ids: &[packstone::id::SnapshotId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    output.json(&json!({
        "message_type": "summary",
        "dry_run": dry_run,
        "packs": report.packs,
        "bytes": report.bytes,
        "unused_bytes": report.unused_bytes,
        "base_bytes": report.base_bytes,
        "packs_dead": report.packs_dead,
        "bytes_dead": report.bytes_dead,
        "packs_repacked": report.packs_repacked,
        "bytes_repacked": report.bytes_repacked,
        "bytes_copied": report.bytes_copied,
        "packs_waiting": report.packs_waiting,
        "bytes_waiting": report.bytes_waiting,
        "packs_removed": report.packs_removed,
        "bytes_removed": report.bytes_removed,
        "blobs_rescued": report.blobs_rescued,
        "open_sessions": ids(&report.open_sessions),
        "fenced_sessions": ids(&report.fenced_sessions),
        "folded_sessions": ids(&report.folded_sessions),
        "index_objects_before": report.index_objects.0,
        "index_objects_after": report.index_objects.1,
        "tombstones_removed": report.tombstones_removed,
        "uploads_removed": report.uploads_removed,
    }))?;
    output.info(format!(
        "the repository has {} of {}, {} of it unused",
        counted(report.packs, "pack"),
        size::show(report.bytes),
        size::show(report.unused_bytes)
    ))?;
    if report.base_bytes > 0 {
        let held = size::show(report.base_bytes);
        output.info(format!("of the rest, {held} are kept only because differences to them are"))?;
    }
    let row = |what: &str, packs: u64, bytes: u64| vec![what.to_owned(), grouped(packs), size::show(bytes)];
    let mut rows = vec![
        row("without anything live", report.packs_dead, report.bytes_dead),
        row("partly live, copied", report.packs_repacked, report.bytes_repacked),
    ];
    if report.packs_waiting > 0 {
        rows.push(row("condemned, waiting", report.packs_waiting, report.bytes_waiting));
    }
    if !dry_run {
        rows.push(row("removed", report.packs_removed, report.bytes_removed));
    }
    if !output.is_quiet() {
        output.table(&[Column::Text("Packs"), Column::Number("Number"), Column::Number("Size")], &rows)?;
    }
    if report.bytes_copied > 0 {
        output.info(format!("live bytes copied to new packs: {}", size::show(report.bytes_copied)))?;
    }
    if report.uploads_removed > 0 {
        output.info(format!("unfinished uploads removed: {}", grouped(report.uploads_removed)))?;
    }
    if report.blobs_rescued > 0 {
        output.info(format!("blobs rescued for new snapshots: {}", grouped(report.blobs_rescued)))?;
    }
    for session in &report.open_sessions {
        output.note(&format!(
            "session {} is still open: condemned packs wait until it ends, and the next prune removes them",
            session.short()
        ));
    }
    for snapshot in &report.folded_sessions {
        output.note(&format!("snapshot {} was made of what a `sync` left behind", snapshot.short()));
    }
    for session in &report.fenced_sessions {
        output.note(&format!(
            "session {} was closed: its process has ended, or showed no life for two days",
            session.short()
        ));
    }
    match dry_run {
        true => {
            let freed = (report.bytes_dead + report.bytes_repacked).saturating_sub(report.bytes_copied);
            output.line(format!("dry run: would free about {}", size::show(freed)))
        }
        false => {
            let freed = report.bytes_removed.saturating_sub(report.bytes_copied);
            output.line(format!("freed {}", size::show(freed)))
        }
    }
}
