//! `ls`: what is in a snapshot.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, ValueEnum};
use packstone::ErrorKind;
use packstone::format::Snapshot;
use packstone::ops::{self, FileTree, ListOptions, ListOrder};
use packstone::record::entry::Entry;
use packstone::repository::{Intent, Repository};
use serde_json::{Value, json};

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::lines::Lines;
use crate::ncdu::Export;
use crate::nodes::{self, Shape};
use crate::output::{Column, grouped};
use crate::{describe, reference, size, snapshot_path, time};

/// Show what is in a snapshot
///
/// Lists the paths of a snapshot of files: all of them, or those of some directories. Of a snapshot of datoms it shows how
/// many of which kind there are, from when to when.
///
/// Names with control characters are escaped on a terminal and written as they are elsewhere.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The snapshot: an id, the start of one, `latest`, or `latest~N`; SNAPSHOT:PATH is everything below a directory
    #[arg(value_name = "SNAPSHOT[:PATH]", default_value = "latest")]
    snapshot: String,
    /// Only these files, and these directories with what is directly in them
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Show permissions, owner, size and time of each path
    #[arg(short, long)]
    long: bool,
    /// Show what is in directories within the given ones too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Show sizes in KiB, MiB, ...
    #[arg(long)]
    human_readable: bool,
    /// The order
    #[arg(short, long, value_enum, default_value_t = Sort::Name)]
    sort: Sort,
    /// The other way round
    #[arg(long)]
    reverse: bool,
    /// Write everything in the format that `ncdu -f -` reads
    #[arg(long, conflicts_with_all = ["long", "sort", "reverse"])]
    ncdu: bool,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// By path
    Name,
    /// The largest first
    Size,
    /// The newest first
    #[value(alias = "mtime")]
    Time,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.open_for(Intent::Reading)?;
    let (name, within) = snapshot_path::split(&arguments.snapshot);
    let snapshot = reference::find_one(context, &repository, name, &arguments.filters)?;
    let asked = within.is_some() || !arguments.paths.is_empty() || arguments.ncdu;
    if !FileTree::is_in(&snapshot) && !asked {
        return overview(context, &snapshot);
    }
    let recursive = arguments.recursive || arguments.ncdu || arguments.paths.is_empty();
    let paths = match (within, arguments.paths.is_empty()) {
        (Some(within), true) => vec![within],
        (Some(within), false) => {
            arguments.paths.iter().map(|path| within.join(path.strip_prefix("/").unwrap_or(path))).collect()
        }
        (None, _) => arguments.paths.clone(),
    };
    let options = ListOptions {
        paths,
        recursive,
        order: match arguments.sort {
            Sort::Name => ListOrder::Path,
            Sort::Size => ListOrder::Size,
            Sort::Time => ListOrder::Time,
        },
        reverse: arguments.reverse,
        memory_bytes: context.sorting_memory_bytes(),
        temporary: context.global.temp_dir.clone(),
    };
    if arguments.ncdu {
        return export(context, &repository, &snapshot, options);
    }
    head(context, &snapshot)?;
    let lines = Lines::new();
    let shape = Shape { names: Lines::names(), long: arguments.long, human_readable: arguments.human_readable };
    let (out, as_json, mut line) = (lines.clone(), context.output.is_json(), Vec::new());
    let result = context.wait(ops::ls(&repository, snapshot.id, options, move |key, entry| {
        if as_json {
            return out.json(&node(key, entry));
        }
        line.clear();
        shape.put(key, entry, &mut line);
        out.put(&line)
    }));
    lines.finish()?;
    result.map_err(missing)?;
    Ok(Code::Ok)
}

/// What was meant is often one directory up.
fn missing(failure: Failure) -> Failure {
    match failure.kind() {
        ErrorKind::NotFound => failure.hint("`packstone ls SNAPSHOT` lists every path"),
        _ => failure,
    }
}

fn node(key: &[u8], entry: &Entry) -> Value {
    let mut fields = nodes::fields(key, entry);
    fields.insert("message_type".to_owned(), json!("node"));
    fields.insert("struct_type".to_owned(), json!("node"));
    fields.into()
}

fn head(context: &Context, snapshot: &Snapshot) -> Result<()> {
    let mut value = describe::snapshot(snapshot);
    value["message_type"] = json!("snapshot");
    value["struct_type"] = json!("snapshot");
    context.output.json(&value)?;
    let paths: Vec<_> = snapshot.sources.iter().map(|source| source.location.as_str()).collect();
    context.output.info(format!(
        "snapshot {} of [{}] at {} by {}@{}:",
        snapshot.id.short(),
        paths.join(" "),
        time::local(snapshot.time_ms),
        snapshot.user,
        snapshot.host,
    ))
}

fn export(context: &Context, repository: &Repository, snapshot: &Snapshot, options: ListOptions) -> Result<Code> {
    let lines = Lines::new();
    let mut bytes = Vec::new();
    let export = Arc::new(Mutex::new(Export::begin(snapshot.time_ms / 1000, &mut bytes)));
    let (out, shared) = (lines.clone(), export.clone());
    out.put(&bytes)?;
    let result = context.wait(ops::ls(repository, snapshot.id, options, move |key, entry| {
        let mut bytes = Vec::new();
        shared.lock().unwrap_or_else(PoisonError::into_inner).put(key, entry, &mut bytes);
        out.put(&bytes)
    }));
    if result.is_ok() {
        let mut end = Vec::new();
        export.lock().unwrap_or_else(PoisonError::into_inner).finish(&mut end);
        lines.put(&end)?;
    }
    lines.finish()?;
    result.map_err(missing)?;
    Ok(Code::Ok)
}

/// Of a snapshot of datoms: its roots and what its source said.
fn overview(context: &Context, snapshot: &Snapshot) -> Result<Code> {
    let output = &context.output;
    output.json(&describe::snapshot(snapshot))?;
    output.info(format!(
        "snapshot {} of {} by {}@{}, label {}, {}",
        snapshot.id.short(),
        time::local(snapshot.time_ms),
        snapshot.user,
        snapshot.host,
        snapshot.label,
        describe::status(snapshot),
    ))?;
    for source in &snapshot.sources {
        let options: Vec<_> = source.options.iter().map(|(name, value)| format!(", {name} {value}")).collect();
        let point = if source.consistency_point.is_empty() { "" } else { ", as of " };
        output.info(format!("source {}{}{point}{}", source.location, options.concat(), source.consistency_point))?;
    }
    use Column::{Number, Text};
    let columns = [
        Text("Root"),
        Text("Kind"),
        Number("Records"),
        Number("Size"),
        Text("T from"),
        Text("T to"),
        Number("Retractions"),
    ];
    let rows = snapshot.roots.iter().map(|root| {
        let bounds = describe::bounds(root);
        let shown = |number: Option<i64>| number.map(|n| n.to_string()).unwrap_or_default();
        vec![
            root.name.clone(),
            describe::kind(root),
            grouped(root.records),
            size::show(root.row_bytes),
            shown(bounds.map(|b| b.t_min)),
            shown(bounds.map(|b| b.t_max)),
            bounds.map(|b| grouped(b.retractions)).unwrap_or_default(),
        ]
    });
    output.table(&columns, &rows.collect::<Vec<_>>())?;
    for (name, value) in &snapshot.properties {
        let mut value = value.clone();
        if !output.is_verbose() && value.chars().count() > 100 {
            value = value.chars().take(100).chain("... (-v shows all)".chars()).collect();
        }
        output.line(format!("{name}: {value}"))?;
    }
    for (item, why) in &snapshot.skipped {
        output.line(format!("left out: {item}: {why}"))?;
    }
    Ok(Code::Ok)
}
