//! `stats`: what snapshots and the repository take.

use clap::Args;
use packstone::ops;
use serde_json::json;

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::{Column, counted, grouped};
use crate::progress::Status;
use crate::{reference, size};

/// Add up what snapshots and the repository take
///
/// Adds up what snapshots reach, counting what they share once, and what the repository takes.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The snapshots: ids, the start of ids, `latest`, `latest~N` [default: all]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    filters: Filters,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.open()?;
    let ids = if arguments.snapshots.is_empty() {
        let filter = arguments.filters.to_filter();
        let (live, _) = reference::live(context, repository.snapshots()?);
        live.iter().filter(|s| filter.allows(&reference::summary(s))).map(|s| s.id).collect()
    } else {
        let found = reference::find(context, &repository, &arguments.snapshots, &arguments.filters)?;
        found.iter().map(|s| s.id).collect()
    };
    let progress = context.progress(Status::Hidden);
    let stats = context.wait(ops::stats(&repository, ids, progress.clone()));
    progress.finish();
    let stats = stats?;
    let objects =
        stats.objects.iter().map(|(folder, count, bytes)| json!({ "folder": folder, "count": count, "bytes": bytes }));
    context.output.json(&json!({
        "snapshots_count": stats.snapshots,
        "total_records": stats.records,
        "total_row_bytes": stats.row_bytes,
        "total_blob_count": stats.blobs,
        "total_uncompressed_size": stats.blob_bytes,
        "total_size": stats.stored_bytes,
        "packs_count": stats.packs,
        "repository_size": stats.repository_bytes,
        "objects": objects.collect::<Vec<_>>(),
    }))?;
    let output = &context.output;
    output.line(format!(
        "{} with {}, {} uncompressed",
        counted(stats.snapshots, "snapshot"),
        counted(stats.records, "record"),
        size::show(stats.row_bytes)
    ))?;
    output.line(format!(
        "they share {}, {} uncompressed, {} stored",
        counted(stats.blobs, "blob"),
        size::show(stats.blob_bytes),
        size::show(stats.stored_bytes)
    ))?;
    output.line(format!(
        "the repository takes {} in {}",
        size::show(stats.repository_bytes),
        counted(stats.packs, "pack")
    ))?;
    let rows =
        stats.objects.iter().map(|(folder, count, bytes)| vec![folder.clone(), grouped(*count), size::show(*bytes)]);
    output.table(
        &[Column::Text("Folder"), Column::Number("Objects"), Column::Number("Size")],
        &rows.collect::<Vec<_>>(),
    )?;
    Ok(Code::Ok)
}
