//! `stats`: what snapshots and the repository take.

use clap::{Args, ValueEnum};
use packstone::id::SnapshotId;
use packstone::ops::{self, RestoreSize};
use packstone::repository::Repository;
use serde_json::json;

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::{Column, counted, grouped};
use crate::progress::Status;
use crate::{bill, describe, edn, reference, size, time};

/// Days of a month of 730 hours, as stores reckon, rounded up.
const DAYS_A_MONTH: u64 = 31;

/// Add up what snapshots and the repository take
///
/// Adds up what restoring snapshots would write, what they reach, counting what they share once, and what the repository
/// takes.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The snapshots: ids, the start of ids, `latest`, `latest~N` [default: all]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// What to add up [default: all of it]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// For each snapshot, what it takes and what forgetting it would free
    #[arg(long, conflicts_with = "mode")]
    by_snapshot: bool,
    /// What the repository costs a month by the store's list prices, and what an unchanged backup every day adds
    #[arg(long, conflicts_with_all = ["mode", "by_snapshot", "snapshots"])]
    cost: bool,
    /// Print for programs, in this notation instead of JSON
    #[arg(long, value_enum, conflicts_with = "json")]
    format: Option<edn::Format>,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// What restoring each snapshot would write
    RestoreSize,
    /// Blobs that the snapshots reach, each once
    RawData,
    /// Files of different content in all the snapshots
    FilesByContents,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    context.output.speak(arguments.format, "stats");
    let repository = context.open()?;
    if arguments.cost {
        return cost(context, &repository);
    }
    let ids: Vec<SnapshotId> = if arguments.snapshots.is_empty() {
        let filter = arguments.filters.to_filter();
        let (live, _) = reference::live(context, repository.snapshots()?);
        live.iter().filter(|s| filter.allows(&ops::Summary::from(*s))).map(|s| s.id).collect()
    } else {
        let found = reference::find(context, &repository, &arguments.snapshots, &arguments.filters)?;
        found.iter().map(|s| s.id).collect()
    };
    if arguments.by_snapshot {
        return by_snapshot(context, &repository, ids);
    }
    match arguments.mode {
        None => everything(context, &repository, ids),
        Some(Mode::RestoreSize) => restore_size(context, &repository, ids),
        Some(Mode::RawData) => raw_data(context, &repository, ids),
        Some(Mode::FilesByContents) => by_contents(context, &repository, ids),
    }
}

fn everything(context: &Context, repository: &Repository, ids: Vec<SnapshotId>) -> Result<Code> {
    let restored = restored(context, repository, ids.clone())?;
    let stats = stats(context, repository, ids)?;
    let objects =
        stats.objects.iter().map(|(folder, count, bytes)| json!({ "folder": folder, "count": count, "bytes": bytes }));
    context.output.json(&json!({
        "snapshots_count": stats.snapshots,
        "total_file_count": restored.files,
        "total_restore_size": restored.bytes,
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
    if restored.paths > 0 {
        output.line(format!(
            "restoring each of them writes {}, {}",
            counted(restored.files, "file"),
            size::show(restored.bytes)
        ))?;
    }
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

fn stats(context: &Context, repository: &Repository, ids: Vec<SnapshotId>) -> Result<ops::Stats> {
    let progress = context.progress(Status::Hidden);
    let stats = context.wait(ops::stats(repository, ids, progress.clone()));
    progress.finish();
    stats
}

/// What restoring each of the snapshots would write, added up.
fn restored(context: &Context, repository: &Repository, ids: Vec<SnapshotId>) -> Result<RestoreSize> {
    let progress = context.progress(Status::Hidden);
    let sizes = context.wait(ops::restore_sizes(repository, ids, progress.clone()));
    progress.finish();
    let mut sum = RestoreSize::default();
    for (_, size) in sizes? {
        sum.paths += size.paths;
        sum.files += size.files;
        sum.bytes = sum.bytes.saturating_add(size.bytes);
    }
    Ok(sum)
}

fn restore_size(context: &Context, repository: &Repository, ids: Vec<SnapshotId>) -> Result<Code> {
    let count = ids.len() as u64;
    let sum = restored(context, repository, ids)?;
    context.output.json(&json!({
        "total_size": sum.bytes,
        "total_file_count": sum.files,
        "snapshots_count": count,
    }))?;
    context.output.line(format!(
        "restoring each of {} writes {}, {}",
        counted(count, "snapshot"),
        counted(sum.files, "file"),
        size::show(sum.bytes)
    ))?;
    Ok(Code::Ok)
}

fn raw_data(context: &Context, repository: &Repository, ids: Vec<SnapshotId>) -> Result<Code> {
    let stats = stats(context, repository, ids)?;
    let ratio = if stats.stored_bytes == 0 { 1.0 } else { stats.blob_bytes as f64 / stats.stored_bytes as f64 };
    let saving = if stats.blob_bytes == 0 { 0.0 } else { (1.0 - 1.0 / ratio) * 100.0 };
    context.output.json(&json!({
        "total_size": stats.stored_bytes,
        "total_uncompressed_size": stats.blob_bytes,
        "compression_ratio": ratio,
        "compression_progress": 100,
        "compression_space_saving": saving,
        "total_blob_count": stats.blobs,
        "snapshots_count": stats.snapshots,
    }))?;
    context.output.line(format!(
        "{} reach {}, {} uncompressed, {} stored: {ratio:.2} to 1",
        counted(stats.snapshots, "snapshot"),
        counted(stats.blobs, "blob"),
        size::show(stats.blob_bytes),
        size::show(stats.stored_bytes)
    ))?;
    Ok(Code::Ok)
}

fn by_contents(context: &Context, repository: &Repository, ids: Vec<SnapshotId>) -> Result<Code> {
    let count = ids.len() as u64;
    let progress = context.progress(Status::Hidden);
    let (memory_bytes, temporary) = (context.sorting_memory_bytes(), context.global.temp_dir.clone());
    let sum = context.wait(ops::different_files(repository, ids, memory_bytes, temporary, progress.clone()));
    progress.finish();
    let sum = sum?;
    context.output.json(&json!({
        "total_size": sum.bytes,
        "total_file_count": sum.files,
        "snapshots_count": count,
    }))?;
    context.output.line(format!(
        "{} of different content in {}, {}",
        counted(sum.files, "file"),
        counted(count, "snapshot"),
        size::show(sum.bytes)
    ))?;
    Ok(Code::Ok)
}

fn by_snapshot(context: &Context, repository: &Repository, ids: Vec<SnapshotId>) -> Result<Code> {
    let progress = context.progress(Status::Hidden);
    let sizes = context.wait(ops::snapshot_sizes(repository, ids, progress.clone()));
    progress.finish();
    let sizes = sizes?;
    let list = sizes.iter().map(|size| {
        let mut value = describe::snapshot(&size.snapshot);
        value["restore_size"] = json!(size.restore.bytes);
        value["file_count"] = json!(size.restore.files);
        value["blob_count"] = json!(size.blobs);
        value["stored_size"] = json!(size.stored_bytes);
        value["exclusive_blob_count"] = json!(size.exclusive_blobs);
        value["exclusive_size"] = json!(size.exclusive_bytes);
        value
    });
    context.output.json(&list.collect())?;
    use Column::{Number, Text};
    let columns = [
        Text("ID"),
        Text("Time"),
        Text("Host"),
        Text("Label"),
        Number("Files"),
        Number("Restore size"),
        Number("Stored"),
        Number("Freed by forgetting"),
    ];
    let rows = sizes.iter().map(|size| {
        vec![
            size.snapshot.id.short(),
            time::local(size.snapshot.time_ms),
            size.snapshot.host.clone(),
            size.snapshot.label.clone(),
            grouped(size.restore.files),
            size::show(size.restore.bytes),
            size::show(size.stored_bytes),
            size::show(size.exclusive_bytes),
        ]
    });
    context.output.table(&columns, &rows.collect::<Vec<_>>())?;
    Ok(Code::Ok)
}

fn cost(context: &Context, repository: &Repository) -> Result<Code> {
    let tariff = context.bill.tariff(&context.repository()?)?;
    let prices = tariff.prices;
    let cost = context.wait(ops::storage_cost(repository, move |_| prices))?;
    let daily = cost.unchanged_backup_cost.times(DAYS_A_MONTH);
    let folders = cost.folders.iter().map(|folder| {
        json!({
            "folder": folder.folder,
            "count": folder.objects,
            "bytes": folder.bytes,
            "charged_bytes": folder.charged_bytes,
            "month": bill::amount(folder.month),
        })
    });
    context.output.json(&json!({
        "prices": tariff.json(),
        "objects": folders.collect::<Vec<_>>(),
        "storage_month": bill::amount(cost.month),
        "unchanged_backup": {
            "requests": bill::requests(&cost.unchanged_backup),
            "cost": bill::amount(cost.unchanged_backup_cost),
            "month": bill::amount(daily),
        },
        "total_month": bill::amount(cost.month + daily),
        "minimum_storage_days": prices.minimum_storage_days(),
    }))?;
    let output = &context.output;
    output.line(format!("a month by {}:", tariff))?;
    let mut rows: Vec<_> = cost
        .folders
        .iter()
        .map(|of| vec![of.folder.clone(), grouped(of.objects), size::show(of.bytes), of.month.rounded().to_string()])
        .collect();
    let (objects, bytes) = cost.folders.iter().fold((0, 0), |(o, b), folder| (o + folder.objects, b + folder.bytes));
    rows.push(vec!["all".to_owned(), grouped(objects), size::show(bytes), cost.month.rounded().to_string()]);
    let columns =
        [Column::Text("Folder"), Column::Number("Objects"), Column::Number("Size"), Column::Number("A month")];
    output.table(&columns, &rows)?;
    output.line(format!(
        "an unchanged backup takes about {} and costs {}, every day {} a month",
        counted(cost.unchanged_backup.total(), "request"),
        cost.unchanged_backup_cost.rounded(),
        daily.rounded()
    ))?;
    output.line(format!("together {} {}", (cost.month + daily).rounded(), tariff.currency))?;
    if prices.minimum_storage_days() > 0 {
        output.info(format!(
            "what is deleted within {} days is charged for all of them",
            prices.minimum_storage_days()
        ))?;
    }
    Ok(Code::Ok)
}
