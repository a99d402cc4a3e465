//! How far a check in parts is.

use packstone::ops::{self, CheckRound};
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::{Output, counted};
use crate::{shard, size, time};

/// Reads what the parts have noted, and says it.
pub fn report(context: &Context, name: &str) -> Result<Code> {
    let repository = context.open()?;
    let rounds = context.wait(ops::check_rounds(&repository))?;
    let output = &context.output;
    let Some(round) = rounds.iter().find(|round| name.is_empty() || round.name == name) else {
        output.json(&json!({ "message_type": "summary", "round": null }))?;
        output.line("no part of a check has noted anything: `packstone check --read-data --shard 1/4` would")?;
        return Ok(Code::Incomplete);
    };
    output.json(&json!({ "message_type": "summary", "round": json(round) }))?;
    for record in &round.records {
        for (object, message) in &record.damage {
            output.problem(object, message);
        }
        for (id, blobs) in &record.harmed {
            output.line(format!("snapshot {} is harmed: {}", id.short(), counted(*blobs, "blob")))?;
        }
    }
    print(output, round)?;
    Ok(match (round.damage_count(), round.missing().is_empty()) {
        (1.., _) => Code::Damage,
        (0, false) => Code::Incomplete,
        (0, true) => Code::Ok,
    })
}

/// What all parts together have done.
pub fn json(round: &CheckRound) -> Value {
    let (packs, bytes) = round.read();
    let shards = round.records.iter().map(|record| {
        json!({
            "shard": record.shard, "host": record.host, "started_ms": record.started_ms, "ended_ms": record.ended_ms,
            "packs_read": record.packs_read, "bytes_read": record.bytes_read, "num_errors": record.damage_count,
        })
    });
    json!({
        "name": round.name,
        "shards": round.shards,
        "done": shards.collect::<Vec<_>>(),
        "missing": round.missing(),
        "packs_read": packs,
        "bytes_read": bytes,
        "num_errors": round.damage_count(),
        "is_of_one_state": round.is_of_one_state(),
    })
}

/// The same in a line or two.
pub fn print(output: &Output, round: &CheckRound) -> Result<()> {
    let missing = round.missing();
    let (packs, bytes) = round.read();
    if !missing.is_empty() {
        let done = round.records.len();
        return output.line(format!(
            "{done} of {} parts are done, still missing: {}",
            round.shards,
            shard::show(&missing)
        ));
    }
    let found = match round.damage_count() {
        0 => "no damage".to_owned(),
        damage => format!("damage: {}", counted(damage, "finding")),
    };
    output.line(format!(
        "all {} parts are done, {found}; {} read, {}",
        round.shards,
        counted(packs, "pack"),
        size::show(bytes)
    ))?;
    if !round.is_of_one_state() {
        let since = time::local(round.started_ms());
        output.info(format!("packs came or went meanwhile: what was stored since {since} may not have been read"))?;
    }
    Ok(())
}
