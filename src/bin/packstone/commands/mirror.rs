//! `mirror`: the same repository in several places.

use clap::{Args, Subcommand, ValueEnum};
use packstone::format::{MirrorMode, Placement};
use packstone::ops::{self, MirrorStatus, MirrorSyncOptions, MirrorSyncReport, NewMirror};
use packstone::repository::Repository;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::{Column, counted, grouped};
use crate::progress::Status;
use crate::{mirrors, period, size, time};

/// Keep the same repository in several places
///
/// A mirror is another place, a folder or an object store, that holds the same sealed objects: what one place has lost
/// or cannot give is read from another, and every mirror can be opened by itself with -r, to be read. Only the primary, the
/// place that was there first, is written by commands.
///
/// A mirror of mode sync is written during every run and is up to date when a command ends; one of mode async only by
/// `mirror sync`. When a mirror cannot be reached, commands go on without it, say so at their end, and end with the code they
/// would have ended with; `mirror sync`, or the next command, catches up.
///
/// Credentials are never stored: they come from each cloud's environment or from --mirror-option NAME:KEY=VALUE.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a mirror; `mirror sync` then fills it
    Add {
        /// What it is called: letters a-z, digits and -
        name: String,
        /// Where it is: a path or the address of an object store
        address: String,
        /// When it is written
        #[arg(long, value_enum, default_value_t = Mode::Sync)]
        mode: Mode,
        /// Option of its object store that is kept in the list, e.g. endpoint=URL; no credentials (repeatable)
        #[arg(long = "with", value_name = "KEY=VALUE")]
        with: Vec<String>,
        /// What the repository itself is called in the list, if this is its first mirror
        #[arg(long, value_name = "NAME", default_value = "primary")]
        primary_name: String,
    },
    /// Take a mirror from the list; its objects stay where they are
    Remove {
        /// The mirror
        name: String,
    },
    /// List the primary and its mirrors
    List,
    /// Say how far behind mirrors are
    Status {
        /// These mirrors [default: all]
        names: Vec<String>,
    },
    /// Bring mirrors up to date
    ///
    /// Copies what mirrors lack and removes what the primary has removed, in an order in which a mirror is a sound repository
    /// at every moment. Packs that the primary has lost are given back to it. An interrupted sync goes on when run again.
    Sync {
        /// These mirrors [default: all]
        names: Vec<String>,
        /// Say what would be copied, do nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
        /// Read every pack of both sides, and replace what is damaged
        #[arg(long)]
        read_data: bool,
        /// Also remove packs and snapshots that the primary does not know and no prune explains
        #[arg(long)]
        delete_extra: bool,
    },
    /// Make the mirror that -r names the primary, for when the old one is lost
    ///
    /// The old primary must not be written any more. It can become a mirror of the new one with `mirror add`.
    Promote {
        /// Do it even though the old primary can be reached
        #[arg(long)]
        force: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// During every run
    Sync,
    /// By `mirror sync` alone
    Async,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.open()?;
    match arguments.action {
        Action::Add { name, address, mode, with, primary_name } => {
            let mode = match mode {
                Mode::Sync => MirrorMode::Sync,
                Mode::Async => MirrorMode::Async,
            };
            add(context, &repository, Placement { name, address, mode, options: options(&with)? }, primary_name)
        }
        Action::Remove { name } => {
            context.wait(ops::mirror_remove(&repository, name.clone()))?;
            context.output.json(&json!({ "message_type": "mirror_removed", "name": name }))?;
            context.output.line(format!("removed mirror {name} from the list; its objects stay where they are"))?;
            Ok(Code::Ok)
        }
        Action::List => list(context, &repository),
        Action::Status { names } => status(context, &repository, names),
        Action::Sync { names, dry_run, read_data, delete_extra } => {
            sync(context, &repository, MirrorSyncOptions { names, mode: None, dry_run, read_data, delete_extra })
        }
        Action::Promote { force } => promote(context, &repository, force),
    }
}

/// Options for the list; what looks like a credential is refused.
fn options(with: &[String]) -> Result<Vec<(String, String)>> {
    const SECRET: [&str; 6] = ["secret", "password", "token", "credential", "access", "key"];
    let mut options = Vec::new();
    for option in with {
        let Some((key, value)) = option.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage("--with", "an option is written KEY=VALUE"));
        };
        if SECRET.iter().any(|word| key.to_ascii_lowercase().contains(word)) {
            return Err(Failure::usage("--with", format!("`{key}` may be a credential, and those are not stored"))
                .hint("give it in the environment or as --mirror-option NAME:KEY=VALUE"));
        }
        options.push((key.to_owned(), value.to_owned()));
    }
    Ok(options)
}

fn add(context: &Context, repository: &Repository, placement: Placement, primary_name: String) -> Result<Code> {
    let placement = Placement { address: mirrors::absolute(&placement.address)?, ..placement };
    let address = mirrors::absolute(&repository.location())?;
    let primary = Placement { name: primary_name, address, mode: MirrorMode::Sync, options: Vec::new() };
    if placement.name == primary.name || placement.address == primary.address {
        return Err(Failure::usage(&placement.name, "is the primary itself"));
    }
    let backend = mirrors::create(context, &placement)?;
    let name = placement.name.clone();
    context.wait(ops::mirror_add(repository, NewMirror { placement, primary, backend }))?;
    // It is filled by a command of its own.
    if let Ok(mirrored) = repository.mirrored() {
        mirrored.take_changed();
    }
    context.output.json(&json!({ "message_type": "mirror_added", "name": name }))?;
    context.output.line(format!("added mirror {name}; `packstone mirror sync {name}` fills it"))?;
    Ok(Code::Ok)
}

fn list(context: &Context, repository: &Repository) -> Result<Code> {
    let placements = context.wait(ops::mirror_list(repository))?.map_or_else(Vec::new, |list| list.placements);
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (i, placement) in placements.iter().enumerate() {
        let role = if i == 0 { "primary" } else { mode_name(placement.mode) };
        rows.push(vec![placement.name.clone(), role.to_owned(), placement.address.clone()]);
        values.push(json!({
            "name": placement.name,
            "role": if i == 0 { "primary" } else { "mirror" },
            "mode": (i > 0).then(|| mode_name(placement.mode)),
            "address": placement.address,
            "options": placement.options.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        }));
    }
    context.output.json(&json!(values))?;
    context.output.table(&["Name", "Mode", "Address"].map(Column::Text), &rows)?;
    Ok(Code::Ok)
}

/// Ends with 1 when a mirror cannot be reached: what is asked is whether all is well.
fn status(context: &Context, repository: &Repository, names: Vec<String>) -> Result<Code> {
    let progress = context.progress(Status::Hidden);
    let all = context.wait(ops::mirror_status(repository, names, progress.clone()));
    progress.finish();
    let all = all?;
    let output = &context.output;
    output.json(&Value::Array(all.iter().map(status_json).collect()))?;
    let columns = [
        Column::Text("Name"),
        Column::Text("Mode"),
        Column::Text("State"),
        Column::Number("Missing"),
        Column::Number("Bytes"),
        Column::Number("Removable"),
        Column::Text("Newest snapshot"),
    ];
    let mut rows = Vec::new();
    let mut code = Code::Ok;
    for status in &all {
        let state = match (&status.error, status.lag_ms) {
            (Some(_), _) => "unreachable".to_owned(),
            _ if status.is_current() => "up to date".to_owned(),
            (None, Some(lag)) if lag > 0 => format!("behind by {}", period::show(u64::try_from(lag).unwrap_or(0))),
            _ => "behind".to_owned(),
        };
        let newest = status.newest_ms.map(time::local).unwrap_or_default();
        rows.push(vec![
            status.name.clone(),
            mode_name(status.mode).to_owned(),
            state,
            grouped(status.objects_missing),
            size::show(status.bytes_missing),
            grouped(status.objects_stale),
            newest,
        ]);
    }
    output.table(&columns, &rows)?;
    for status in &all {
        if let Some(error) = &status.error {
            output.problem(&format!("mirror {}", status.name), &error.to_string());
            code = Code::Failed;
        }
    }
    Ok(code)
}

fn status_json(status: &MirrorStatus) -> Value {
    json!({
        "name": status.name,
        "mode": mode_name(status.mode),
        "location": status.location,
        "reachable": status.error.is_none(),
        "error": status.error.as_ref().map(ToString::to_string),
        "up_to_date": status.is_current(),
        "objects_missing": status.objects_missing,
        "bytes_missing": status.bytes_missing,
        "snapshots_missing": status.snapshots_missing,
        "objects_stale": status.objects_stale,
        "bytes_stale": status.bytes_stale,
        "extra_packs": status.extra_packs,
        "newest_snapshot": status.newest_ms.map(time::rfc3339),
        "lag_seconds": status.lag_ms.map(|lag| lag / 1000),
    })
}

fn sync(context: &Context, repository: &Repository, options: MirrorSyncOptions) -> Result<Code> {
    let dry_run = options.dry_run;
    let progress = context.progress(Status::Lines);
    let reports = context.wait(ops::mirror_sync(repository, options, progress.clone()));
    progress.finish();
    if let Ok(mirrored) = repository.mirrored() {
        mirrored.take_changed();
    }
    let mut code = Code::Ok;
    let reports = reports?;
    for report in &reports {
        print(context, report, dry_run)?;
        if let Some(error) = &report.error {
            context.output.problem(&format!("mirror {}", report.name), &error.to_string());
            code = Code::from(error.kind());
        } else if !report.damaged.is_empty() && code == Code::Ok {
            code = Code::Damage;
        }
    }
    if reports.is_empty() {
        context.output.info("there are no mirrors")?;
    }
    Ok(code)
}

fn print(context: &Context, report: &MirrorSyncReport, dry_run: bool) -> Result<()> {
    let output = &context.output;
    output.json(&json!({
        "message_type": "summary",
        "name": report.name,
        "dry_run": dry_run,
        "error": report.error.as_ref().map(ToString::to_string),
        "packs_copied": report.packs_copied,
        "bytes_copied": report.bytes_copied,
        "objects_copied": report.objects_copied,
        "snapshots_copied": report.snapshots_copied,
        "snapshots_forgotten": report.snapshots_forgotten,
        "objects_removed": report.removed,
        "bytes_removed": report.bytes_removed,
        "packs_healed": report.healed,
        "extra_packs": report.extra_packs,
        "extra_snapshots": report.extra_snapshots,
        "damaged": report.damaged.iter().map(|(object, why)| json!({ "object": object, "error": why })).collect::<Vec<_>>(),
    }))?;
    let (snapshots, packs) = (counted(report.snapshots_copied, "snapshot"), counted(report.packs_copied, "pack"));
    let bytes = size::show(report.bytes_copied);
    let verb = if dry_run { "would copy" } else { "copied" };
    output.line(format!(
        "mirror {}: {verb} {snapshots}, {packs}, {bytes}; removed {}",
        report.name,
        counted(report.removed, "object")
    ))?;
    if report.healed > 0 {
        let healed = counted(report.healed, "pack");
        output.line(format!("mirror {}: gave {healed} back to the primary", report.name))?;
    }
    if report.extra_packs > 0 {
        let packs = counted(report.extra_packs, "pack");
        output.note(&format!(
            "mirror {}: {packs} that the primary does not know; --delete-extra removes them",
            report.name
        ));
    }
    if report.extra_snapshots > 0 {
        let snapshots = counted(report.extra_snapshots, "snapshot");
        output.note(&format!(
            "mirror {}: {snapshots} that the primary does not know, so nothing was removed; --delete-extra removes them",
            report.name
        ));
    }
    Ok(())
}

fn promote(context: &Context, repository: &Repository, force: bool) -> Result<Code> {
    if !force
        && let Some(primary) = repository.mirrored()?.mirrors().first()
        && context
            .wait(primary.backend.stat(&packstone::format::ObjectPath::config()))
            .is_ok_and(|found| found.is_some())
    {
        return Err(Failure::usage(repository.location(), format!("the primary {} can be reached", primary.name))
            .hint("two primaries drift apart; --force does it nevertheless"));
    }
    context.wait(ops::mirror_promote(repository))?;
    context.output.json(&json!({ "message_type": "mirror_promoted" }))?;
    context
        .output
        .line(format!("{} is the primary now; do not write to the old one any more", repository.location()))?;
    Ok(Code::Ok)
}

fn mode_name(mode: MirrorMode) -> &'static str {
    match mode {
        MirrorMode::Sync => "sync",
        MirrorMode::Async => "async",
    }
}
