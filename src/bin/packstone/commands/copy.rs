//! `copy`: snapshots from another repository into this one.

use clap::Args;
use packstone::ops::{self, CopyOptions, Shard};
use serde_json::json;

use super::backup::compression_level;
use crate::args::{Filters, FromRepository};
use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::{counted, grouped};
use crate::progress::Status;
use crate::{reference, shard, size, time};

/// Copy snapshots from another repository into this one
///
/// Copies the named snapshots of the repository that --from-repo names, or all that --host, --label and --tag allow, into
/// the repository that -r names. Snapshots that were copied before are recognised and left out; of the others, only what
/// differs from a snapshot that is there already is read.
///
/// The two repositories may have different passwords, keys and chunk sizes. Files are cut anew as this repository cuts them, so
/// that what is copied and what is backed up here share chunks. An interrupted copy goes on when it is run again.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The snapshots: ids, the start of ids, `latest`, or `latest~N` [default: all complete ones that the filters allow]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// How hard to compress: off, auto, or a zstd level from 1 to 22
    #[arg(long, value_name = "HOW", env = "PACKSTONE_COMPRESSION", hide_env_values = true, default_value = "auto",
          value_parser = compression_level)]
    compression: i32,
    /// Say which snapshots would be copied, do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Only the k-th of n parts, for n machines side by side; job/n takes k from a Kubernetes Indexed Job. When all parts have
    /// ended, a copy without this puts them together
    #[arg(long, value_name = "k/n", value_parser = shard::parse)]
    shard: Option<Shard>,
    #[command(flatten)]
    from: FromRepository,
    #[command(flatten)]
    filters: Filters,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let from = context.open_from(&arguments.from)?;
    let to = context.open()?;
    let named = reference::find(context, &from, &arguments.snapshots, &arguments.filters)?;
    let options = CopyOptions {
        ids: named.iter().map(|snapshot| snapshot.id).collect(),
        filter: arguments.filters.to_filter(),
        memory_bytes: context.sorting_memory_bytes(),
        temporary: context.global.temp_dir.clone(),
        compression_level: arguments.compression,
        dry_run: arguments.dry_run,
        shard: arguments.shard,
        ..CopyOptions::default()
    };
    let progress = context.progress(Status::Lines);
    let report = context.wait(ops::copy(&from, &to, options, progress.clone()));
    progress.finish();
    let report = report?;
    let output = &context.output;
    for (source, copy) in &report.present {
        output.json(&json!({
            "message_type": "skipped",
            "source_snapshot_id": source.to_string(),
            "snapshot_id": copy.to_string(),
        }))?;
        if output.is_verbose() {
            output.info(format!("{} is here as {}", source.short(), copy.short()))?;
        }
    }
    for copied in &report.copied {
        let snapshot = &copied.snapshot;
        output.json(&json!({
            "message_type": "copied",
            "source_snapshot_id": copied.source.to_string(),
            "snapshot_id": (!arguments.dry_run).then(|| snapshot.id.to_string()),
        }))?;
        let id = if arguments.dry_run { "a new snapshot".to_owned() } else { snapshot.id.short() };
        let (when, host) = (time::local(snapshot.time_ms), &snapshot.host);
        output.info(format!("{} -> {id}, of {when}, host {host}, label {}", copied.source.short(), snapshot.label))?;
    }
    let (copied, present) = (report.copied.len() as u64, report.present.len() as u64);
    output.json(&json!({
        "message_type": "summary",
        "copied_snapshots": copied,
        "skipped_snapshots": present,
        "bytes_read": report.bytes_read,
        "data_blobs": report.written.blobs_added,
        "data_added": report.written.bytes_added,
        "data_added_packed": report.written.bytes_stored,
        "packs_written": report.written.packs_written,
        "dry_run": arguments.dry_run,
        "shard": arguments.shard.map(|shard| shard.to_string()),
        "shards_missing": report.shards_missing,
    }))?;
    let verb = match (arguments.dry_run, arguments.shard) {
        (false, None) => "copied".to_owned(),
        (true, None) => "dry run: would copy".to_owned(),
        (false, Some(shard)) => format!("copied part {shard} of"),
        (true, Some(shard)) => format!("dry run: would copy part {shard} of"),
    };
    output.line(format!("{verb} {}, {} here already", counted(copied, "snapshot"), grouped(present)))?;
    if !arguments.dry_run && copied > 0 {
        let (read, stored) = (size::show(report.bytes_read), size::show(report.written.bytes_stored));
        let packs = counted(report.written.packs_written, "pack");
        output.info(format!("read {read} of content, stored {stored} in {packs}"))?;
    }
    match (arguments.shard, &report.shards_missing[..]) {
        (None, _) => {}
        (Some(_), []) => output.line("every part is here: `packstone copy` without --shard puts them together")?,
        (Some(shard), missing) => {
            output.info(format!("of {} parts are still to be copied: {}", shard.n(), shard::show(missing)))?;
        }
    }
    Ok(Code::Ok)
}
