//! `verify`: proving snapshots, or comparing a database with one.

mod database;

use clap::Args;
use packstone::ops;
use serde_json::json;

use crate::args::Filters;
use crate::commands::restore::branch_name;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::location::Location;
use crate::output::counted;
use crate::progress::Status;
use crate::{location, reference, size};

/// Prove snapshots, or compare a database with one
///
/// Opens and hashes again everything that snapshots reach, and recomputes their counts and digests. Exits with 13 when
/// anything is not as it was written.
///
/// With `--against SNAPSHOT` a database is named instead, as `datahike:PATH`: it is read, and compared with that snapshot.
/// Nothing is written. Exits with 1 when they differ.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The snapshots: ids, the start of ids, `latest`, `latest~N`; with --against the database
    #[arg(required = true, value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// Compare a database, `datahike:PATH`, with this snapshot
    #[arg(long, value_name = "SNAPSHOT")]
    against: Option<String>,
    /// Compare only this branch of the database (repeatable) [default: all branches]
    #[arg(long, value_name = "NAME", value_parser = branch_name, requires = "against")]
    branch: Vec<String>,
    /// How many differences are shown
    #[arg(long, value_name = "N", default_value_t = 10, requires = "against")]
    differences: usize,
    /// File with the key of an encrypted store, as text [default: the variable PACKSTONE_DATAHIKE_KEY]
    #[arg(long, value_name = "FILE", requires = "against")]
    datahike_key_file: Option<std::path::PathBuf>,
    #[command(flatten)]
    filters: Filters,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    if let Some(snapshot) = &arguments.against {
        return database::run(context, &arguments, snapshot);
    }
    for name in &arguments.snapshots {
        if let Ok(Location::Datahike(_)) = location::parse(name.as_ref()) {
            return Err(Failure::usage(name, "is a database, not a snapshot")
                .hint("`--against SNAPSHOT` compares it with a snapshot"));
        }
    }
    let repository = context.open()?;
    let output = &context.output;
    let mut code = Code::Ok;
    for snapshot in reference::find_readable(context, &repository, &arguments.snapshots, &arguments.filters)? {
        let progress = context.progress(Status::Lines);
        let report = context.wait(ops::verify(&repository, snapshot.id, progress.clone()));
        progress.finish();
        let report = report?;
        for (blob, error) in &report.damaged {
            output.problem(&format!("blob {blob}"), &error.to_string());
        }
        for mismatch in &report.mismatches {
            output.problem(&format!("snapshot {}", snapshot.id.short()), mismatch);
        }
        output.json(&json!({
            "message_type": "summary",
            "snapshot_id": snapshot.id.to_string(),
            "sound": report.is_sound(),
            "nodes": report.nodes,
            "chunks": report.chunks,
            "records": report.records,
            "bytes": report.bytes,
            "num_errors": report.damaged.len() + report.mismatches.len(),
            "broken_blobs": report.damaged.iter().map(|(blob, _)| blob.to_string()).collect::<Vec<_>>(),
            "mismatches": report.mismatches,
        }))?;
        if report.is_sound() {
            output.line(format!(
                "snapshot {} is proved: {}, {} and {}, {} hashed again",
                snapshot.id.short(),
                counted(report.records, "record"),
                counted(report.nodes, "node"),
                counted(report.chunks, "chunk"),
                size::show(report.bytes)
            ))?;
        } else {
            code = Code::Damage;
            output.line(format!("snapshot {} is damaged", snapshot.id.short()))?;
            output.hint(
                "`packstone check --read-data` says which packs are damaged and which other snapshots are harmed",
            );
        }
    }
    Ok(code)
}
