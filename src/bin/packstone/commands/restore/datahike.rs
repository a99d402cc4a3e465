//! Restoring a database to a store that Datahike opens: `--to datahike:PATH`.

use packstone::datahike::home;
use packstone::ops::{self, DatabaseOptions};
use packstone::repository::Intent;
use packstone::{Error, ErrorKind};
use serde_json::json;

use super::Arguments;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::{counted, grouped};
use crate::progress::Status;
use crate::{describe, reference, size};

pub(super) fn run(context: &Context, arguments: &Arguments, location: &str) -> Result<Code> {
    arguments.files.refuse_for_datoms()?;
    let choice = &arguments.choice;
    if let Some(option) = choice.first_partial() {
        return Err(Failure::usage(option, "a database is restored whole: not with this option")
            .hint("--as-of, --current and --branch choose a state; `datoms:PATH` takes parts"));
    }
    let snapshot = arguments.snapshot.to_str();
    let snapshot =
        snapshot.ok_or_else(|| Failure::usage(arguments.snapshot.display(), "names a snapshot, but is no text"))?;
    let repository = context.open_for(Intent::Reading)?;
    let snapshot = reference::find_one_readable(context, &repository, snapshot, &arguments.filters)?;
    let home = home::create(location).map_err(hinted)?;
    let options = DatabaseOptions {
        branch: choice.branch.clone(),
        as_of: choice.as_of,
        current: choice.current,
        crypto_hash: arguments.crypto_hash.then_some(true),
        memory_bytes: context.sorting_memory_bytes(),
        temporary: context.global.temp_dir.clone(),
        ..DatabaseOptions::default()
    };
    let progress = context.progress(Status::Lines);
    let restored =
        ops::restore_database(&repository, snapshot.id, home, location.to_owned(), options, progress.clone());
    let result = context.wait(async { Ok(restored.await) });
    progress.finish();
    let summary = result?.map_err(hinted)?;
    let output = &context.output;
    output.json(&json!({
        "message_type": "summary",
        "snapshot_id": summary.snapshot.to_string(),
        "view": if choice.current { "current" } else { "history" },
        "branches": summary.branches,
        "datoms_restored": summary.datoms,
        "blobs_restored": summary.blobs,
        "bytes_restored": summary.bytes,
        "notes": describe::notes(&summary.notes),
    }))?;
    for (what, count) in &summary.notes {
        output.note(&format!("{what} ({} times)", grouped(*count)));
    }
    output.info(format!(
        "restored {} of snapshot {} to {}, branches {}: {}, {}",
        counted(summary.datoms, "datom"),
        summary.snapshot.short(),
        home::without_secrets(location),
        summary.branches.join(", "),
        counted(summary.blobs, "blob"),
        size::show(summary.bytes),
    ))?;
    Ok(Code::Ok)
}

fn hinted(error: Error) -> Failure {
    let exists = error.kind() == ErrorKind::AlreadyExists;
    let failure = Failure::from(error);
    if exists { failure.hint("a database is never replaced: name an empty or a new place") } else { failure }
}
