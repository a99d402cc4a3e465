//! `check`: auditing the repository.

mod parts;

use clap::Args;
use packstone::ops::{self, CheckOptions, ReadData, Shard};
use serde_json::json;

use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::counted;
use crate::progress::Status;
use crate::{shard, size};

/// Audit the whole repository
///
/// Audits the whole repository: every object opens, and everything a snapshot needs is there.
///
/// Without --read-data the content of packs is not read, only that they exist with the right length and a sound
/// directory. Exits with 13 when data is lost, naming objects and snapshots harmed.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Read every pack and verify every blob
    #[arg(long, conflicts_with = "read_data_subset")]
    read_data: bool,
    /// Read some packs: n/t (the n-th of t parts), x% of them or about a SIZE, chosen at random
    #[arg(long, value_name = "n/t|x%|SIZE", value_parser = subset)]
    read_data_subset: Option<ReadData>,
    /// Only the k-th of n parts, for n machines side by side; job/n takes k from a Kubernetes Indexed Job. What was found is
    /// noted in the repository; the first part also does what cannot be divided
    #[arg(long, value_name = "k/n", value_parser = shard::parse, requires = "read_data")]
    shard: Option<Shard>,
    /// What the parts that belong together call this check, where several could run within three days
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    round: String,
    /// Read nothing but what the parts of the last check in parts have noted: whether all are done, and what they found
    #[arg(long, conflicts_with_all = ["read_data", "read_data_subset"])]
    shard_report: bool,
}

fn subset(text: &str) -> Result<ReadData, String> {
    let wrong = || format!("`{text}` is none of n/t (1/5), x% (10%) and a size (500MiB)");
    if let Some((n, of)) = text.split_once('/') {
        let (n, of): (u64, u64) = (n.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
        return if (1..=of).contains(&n) { Ok(ReadData::Part { n, of }) } else { Err(wrong()) };
    }
    if let Some(number) = text.strip_suffix('%') {
        let percent: f64 = number.parse().map_err(|_| wrong())?;
        return if percent > 0.0 && percent <= 100.0 { Ok(ReadData::Percent(percent)) } else { Err(wrong()) };
    }
    size::parse(text).ok().filter(|bytes| *bytes > 0).map(ReadData::Bytes).ok_or_else(wrong)
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    if !arguments.round.is_empty() && arguments.shard.is_none() && !arguments.shard_report {
        return Err(Failure::usage("--round", "names a check in parts: give --shard or --shard-report too"));
    }
    if arguments.shard_report {
        return parts::report(context, &arguments.round);
    }
    let read_data = match arguments.read_data_subset {
        _ if arguments.read_data => ReadData::All,
        Some(some) => some,
        None => ReadData::None,
    };
    let options = CheckOptions { read_data, shard: arguments.shard, round: arguments.round };
    let repository = context.open()?;
    let progress = context.progress(Status::Lines);
    let report = context.wait(ops::check(&repository, options, progress.clone()));
    progress.finish();
    let report = report?;
    let output = &context.output;
    for finding in &report.findings {
        if finding.is_damage {
            output.problem(&finding.object, &finding.message);
        } else {
            output.note(&format!("{}: {}", finding.object, finding.message));
        }
    }
    let damage: Vec<_> = report.findings.iter().filter(|finding| finding.is_damage).collect();
    let harmed = report.harmed.iter().map(|(id, blobs)| json!({ "id": id.to_string(), "blobs": blobs }));
    output.json(&json!({
        "message_type": "summary",
        "num_errors": damage.len(),
        "findings": report.findings.iter().map(|finding| json!({
            "object": finding.object, "message": finding.message, "is_damage": finding.is_damage,
        })).collect::<Vec<_>>(),
        "broken_packs": damage.iter().filter(|f| f.object.starts_with("packs/")).map(|f| &f.object).collect::<Vec<_>>(),
        "harmed_snapshots": harmed.collect::<Vec<_>>(),
        "snapshots": report.snapshots,
        "chains": report.chains,
        "segments": report.segments,
        "packs": report.packs,
        "blobs": report.blobs,
        "packs_read": report.packs_read,
        "packs_cold": report.packs_cold,
        "bytes_read": report.bytes_read,
        "suggest_repair_index": report.suggest_repair_index,
        "suggest_prune": report.suggest_prune,
        "round": report.round.as_ref().map(parts::json),
    }))?;
    for (id, blobs) in &report.harmed {
        output.line(format!("snapshot {} is harmed: {}", id.short(), counted(*blobs, "blob")))?;
    }
    output.info(format!(
        "checked {}, {} and {}",
        counted(report.snapshots, "snapshot"),
        counted(report.packs, "pack"),
        counted(report.blobs, "blob")
    ))?;
    output.info(match report.packs_read {
        0 => "the content of packs was not read: --read-data does".to_owned(),
        packs => format!("read {} whole, {}", counted(packs, "pack"), size::show(report.bytes_read)),
    })?;
    if report.packs_cold > 0 {
        let cold = counted(report.packs_cold, "pack");
        output.info(format!("{cold} in a cold class: of those, place and length were compared with the index"))?;
    }
    if report.suggest_repair_index {
        output.hint("`packstone repair index` rebuilds the index from the packs");
    }
    if report.suggest_prune {
        output.hint("`packstone prune` frees what nothing needs");
    }
    if let Some(round) = &report.round {
        parts::print(output, round)?;
    }
    if report.is_sound() {
        output.line("no damage was found")?;
        Ok(Code::Ok)
    } else {
        output.line(format!("damage was found: {}", counted(damage.len() as u64, "finding")))?;
        if !report.harmed.is_empty() && !report.suggest_repair_index {
            output.hint(
                "back up the source again: what is missing is stored anew; snapshots that are not listed are whole",
            );
        }
        Ok(Code::Damage)
    }
}
