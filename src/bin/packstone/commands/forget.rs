//! `forget`: removing snapshots by id or by rules.

use clap::Args;
use packstone::format::Snapshot;
use packstone::ops::{self, ForgetOptions, ForgetReport};
use packstone::repository::Leftovers;
use packstone::retention::{Count, Duration, KeepPolicy};
use serde_json::{Value, json};

use super::prune;
use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::{Column, counted};
use crate::progress::Status;
use crate::reference::{self, tag_lists};
use crate::{describe, time};

/// Forget snapshots, by id or by rules
///
/// Forgets snapshots: those named, or those that no --keep rule keeps.
///
/// Rules apply to each group of snapshots of one host and label, and count the newest of each hour, day, ... What only
/// forgotten snapshots reached is freed by `prune`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The snapshots: ids, the start of ids, `latest`, `latest~N`; without any the rules decide
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    rules: Rules,
    #[command(flatten)]
    filters: Filters,
    /// Say what would happen, do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Prune afterwards
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    limits: prune::Limits,
}

/// What to keep. N is a number or `unlimited`, a DURATION is like 1y6m7d3h.
#[derive(Args, Debug)]
#[command(next_help_heading = "Rules")]
struct Rules {
    /// The newest N
    #[arg(short = 'l', long, value_name = "N", allow_negative_numbers = true)]
    keep_last: Option<Count>,
    /// The newest of each of the last N hours that have any
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    keep_hourly: Option<Count>,
    /// The newest of each of the last N days that have any
    #[arg(short = 'd', long, value_name = "N", allow_negative_numbers = true)]
    keep_daily: Option<Count>,
    /// The newest of each of the last N weeks that have any
    #[arg(short = 'w', long, value_name = "N", allow_negative_numbers = true)]
    keep_weekly: Option<Count>,
    /// The newest of each of the last N months that have any
    #[arg(short = 'm', long, value_name = "N", allow_negative_numbers = true)]
    keep_monthly: Option<Count>,
    /// The newest of each of the last N quarters that have any
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    keep_quarterly: Option<Count>,
    /// The newest of each of the last N years that have any
    #[arg(short = 'y', long, value_name = "N", allow_negative_numbers = true)]
    keep_yearly: Option<Count>,
    /// All younger than DURATION, counted from the newest
    #[arg(long, value_name = "DURATION")]
    keep_within: Option<Duration>,
    /// The newest of each hour younger than DURATION
    #[arg(long, value_name = "DURATION")]
    keep_within_hourly: Option<Duration>,
    /// The newest of each day younger than DURATION
    #[arg(long, value_name = "DURATION")]
    keep_within_daily: Option<Duration>,
    /// The newest of each week younger than DURATION
    #[arg(long, value_name = "DURATION")]
    keep_within_weekly: Option<Duration>,
    /// The newest of each month younger than DURATION
    #[arg(long, value_name = "DURATION")]
    keep_within_monthly: Option<Duration>,
    /// The newest of each quarter younger than DURATION
    #[arg(long, value_name = "DURATION")]
    keep_within_quarterly: Option<Duration>,
    /// The newest of each year younger than DURATION
    #[arg(long, value_name = "DURATION")]
    keep_within_yearly: Option<Duration>,
    /// Those with all of these tags, separated by commas (repeatable)
    #[arg(long, value_name = "TAG,...")]
    keep_tag: Vec<String>,
    /// None older than DURATION, whatever the rules of time and number say
    #[arg(long, value_name = "DURATION")]
    max_age: Option<Duration>,
    /// No more than N, whatever the rules of time and number say
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_count: Option<u32>,
}

impl Rules {
    fn policy(&self) -> KeepPolicy {
        KeepPolicy {
            last: self.keep_last.unwrap_or_default(),
            hourly: self.keep_hourly.unwrap_or_default(),
            daily: self.keep_daily.unwrap_or_default(),
            weekly: self.keep_weekly.unwrap_or_default(),
            monthly: self.keep_monthly.unwrap_or_default(),
            quarterly: self.keep_quarterly.unwrap_or_default(),
            yearly: self.keep_yearly.unwrap_or_default(),
            within: self.keep_within.unwrap_or_default(),
            within_hourly: self.keep_within_hourly.unwrap_or_default(),
            within_daily: self.keep_within_daily.unwrap_or_default(),
            within_weekly: self.keep_within_weekly.unwrap_or_default(),
            within_monthly: self.keep_within_monthly.unwrap_or_default(),
            within_quarterly: self.keep_within_quarterly.unwrap_or_default(),
            within_yearly: self.keep_within_yearly.unwrap_or_default(),
            tags: tag_lists(&self.keep_tag),
            ids: Vec::new(),
            max_age: self.max_age,
            max_count: self.max_count,
        }
    }
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let policy = arguments.rules.policy();
    let filter = arguments.filters.to_filter();
    if arguments.snapshots.is_empty() && policy.is_empty() {
        return Err(Failure::usage("", "neither snapshots nor a rule given: that would forget nothing, or everything")
            .hint("name snapshots, or say what to keep, e.g. --keep-daily 7 --keep-monthly 12; -n shows what would happen"));
    }
    if !arguments.snapshots.is_empty() && !policy.is_empty() {
        return Err(Failure::usage("", "snapshots are named and rules are given: which one counts?"));
    }
    let repository = context.open()?;
    let named = reference::find(context, &repository, &arguments.snapshots, &arguments.filters)?;
    let options = ForgetOptions {
        ids: named.iter().map(|snapshot| snapshot.id).collect(),
        policy,
        hosts: filter.hosts,
        labels: filter.labels,
        tags: filter.tags,
        dry_run: arguments.dry_run,
    };
    let progress = context.progress(Status::Hidden);
    let report = context.wait(ops::forget(&repository, options, progress.clone()));
    progress.finish();
    let report = report?;
    print(context, &report, arguments.dry_run)?;
    let removed: usize = report.groups.iter().map(|group| group.remove.len()).sum();
    if removed > 0 && !arguments.dry_run && !arguments.prune {
        context.output.info("`packstone prune` frees what only they needed")?;
    }
    if arguments.prune && removed > 0 {
        return prune::run_with(context, &repository, &arguments.limits, Leftovers::Respect, arguments.dry_run);
    }
    Ok(Code::Ok)
}

fn print(context: &Context, report: &ForgetReport, dry_run: bool) -> Result<()> {
    let output = &context.output;
    let groups = report.groups.iter().map(|group| {
        let reasons = group
            .keep
            .iter()
            .map(|(snapshot, why)| json!({ "snapshot": describe::snapshot(snapshot), "matches": why }));
        json!({
            "host": group.host,
            "label": group.label,
            "keep": group.keep.iter().map(|(snapshot, _)| describe::snapshot(snapshot)).collect::<Vec<_>>(),
            "remove": group.remove.iter().map(describe::snapshot).collect::<Vec<_>>(),
            "reasons": reasons.collect::<Vec<_>>(),
        })
    });
    output.json(&groups.collect::<Value>())?;
    let columns =
        [Column::Text(""), Column::Text("ID"), Column::Text("Time"), Column::Text("Tags"), Column::Text("Reasons")];
    for group in &report.groups {
        output.info(format!("snapshots of host {}, label {}:", group.host, group.label))?;
        let row = |what: &str, snapshot: &Snapshot, why: &[String]| {
            let tags = snapshot.tags.join(",");
            vec![what.to_owned(), snapshot.id.short(), time::local(snapshot.time_ms), tags, why.join(", ")]
        };
        let keep = group.keep.iter().map(|(snapshot, why)| row("keep", snapshot, why));
        let remove = group.remove.iter().map(|snapshot| row("forget", snapshot, &[]));
        if !output.is_quiet() {
            output.table(&columns, &keep.chain(remove).collect::<Vec<_>>())?;
        }
    }
    let kept: usize = report.groups.iter().map(|group| group.keep.len()).sum();
    let removed: usize = report.groups.iter().map(|group| group.remove.len()).sum();
    let verb = if dry_run { "dry run: would forget" } else { "forgot" };
    output.line(format!("{verb} {}, kept {kept}", counted(removed as u64, "snapshot")))?;
    Ok(())
}
