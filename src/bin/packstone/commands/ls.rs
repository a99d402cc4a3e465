//! `ls`: what is in a snapshot.

use clap::Args;

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::{Column, grouped};
use crate::{describe, reference, size, time};

/// Show what is in a snapshot
///
/// Shows a snapshot's roots: how many records of which kind, from when to when.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The snapshot: an id, the start of one, `latest`, or `latest~N`
    #[arg(value_name = "SNAPSHOT", default_value = "latest")]
    snapshot: String,
    #[command(flatten)]
    filters: Filters,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.open()?;
    let snapshot = reference::find_one(context, &repository, &arguments.snapshot, &arguments.filters)?;
    let output = &context.output;
    output.json(&describe::snapshot(&snapshot))?;
    output.info(format!(
        "snapshot {} of {} by {}@{}, label {}, {}",
        snapshot.id.short(),
        time::local(snapshot.time_ms),
        snapshot.user,
        snapshot.host,
        snapshot.label,
        describe::status(&snapshot),
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
