//! `repair`: making what is left usable.

use clap::{Args, Subcommand};
use packstone::ops;
use serde_json::json;

use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::counted;
use crate::progress::Status;

/// Make what is left after damage usable
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Rebuild the index from the directories of all packs
    Index {
        /// Read and count, change nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let What::Index { dry_run } = arguments.what;
    let repository = context.open()?;
    let progress = context.progress(Status::Lines);
    let report = context.wait(ops::repair_index(&repository, dry_run, progress.clone()));
    progress.finish();
    let report = report?;
    let output = &context.output;
    for (object, why) in &report.damaged {
        output.problem(object, why);
    }
    let damaged = report.damaged.iter().map(|(object, why)| json!({ "object": object, "message": why }));
    output.json(&json!({
        "message_type": "summary",
        "dry_run": dry_run,
        "packs": report.packs,
        "blobs": report.blobs,
        "index_objects_removed": report.removed,
        "damaged": damaged.collect::<Vec<_>>(),
    }))?;
    let verb = if dry_run { "dry run: would index" } else { "indexed" };
    output.line(format!("{verb} {} with {}", counted(report.packs, "pack"), counted(report.blobs, "blob")))?;
    if report.removed > 0 {
        output.info(format!("replaced {}", counted(report.removed, "index object")))?;
    }
    if report.damaged.is_empty() {
        return Ok(Code::Ok);
    }
    output.hint("`packstone check --read-data` says which snapshots need what could not be read");
    Ok(Code::Damage)
}
