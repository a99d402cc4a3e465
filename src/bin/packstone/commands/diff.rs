//! `diff`: the datoms that differ between two snapshots.

use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use packstone::Error;
use packstone::ops::{self, Difference};
use packstone::record::datom::edn;
use serde_json::json;

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::{counted, grouped};
use crate::reference;

/// List the datoms that differ between two snapshots
///
/// Lists the datoms that only one of two snapshots has, in time that grows with the difference.
///
/// Lines begin with + for datoms that only the second has and with - for those that only the first has.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The first snapshot: an id, the start of one, `latest`, or `latest~N`
    #[arg(value_name = "A")]
    a: String,
    /// The second snapshot
    #[arg(value_name = "B")]
    b: String,
    /// Count only
    #[arg(long)]
    stat: bool,
    #[command(flatten)]
    filters: Filters,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.open()?;
    let found = reference::find(context, &repository, &[arguments.a, arguments.b], &arguments.filters)?;
    let (a, b) = (found[0].id, found[1].id);
    let lines = Arc::new(Mutex::new(BufWriter::new(std::io::stdout())));
    let sink = {
        let (lines, stat, as_json) = (lines.clone(), arguments.stat, context.output.is_json());
        let mut text = Vec::new();
        move |difference, datom: &packstone::record::datom::Datom<'_>| {
            if stat {
                return Ok(());
            }
            let sign = match difference {
                Difference::Added => "+",
                Difference::Removed => "-",
            };
            text.clear();
            if as_json {
                let mut item = Vec::new();
                edn::print_datom(datom, &mut item);
                let item = String::from_utf8_lossy(&item);
                let value = json!({ "message_type": "change", "modifier": sign, "item": item.trim_end() });
                text.extend_from_slice(value.to_string().as_bytes());
            } else {
                text.extend_from_slice(sign.as_bytes());
                text.push(b' ');
                edn::print_datom(datom, &mut text);
            }
            while text.last() == Some(&b'\n') {
                text.pop();
            }
            text.push(b'\n');
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.write_all(&text).map_err(|e| Error::io("standard output", e))
        }
    };
    let result = context.wait(ops::diff(&repository, a, b, sink));
    let flushed = lines.lock().unwrap_or_else(PoisonError::into_inner).flush();
    let summary = result?;
    flushed.map_err(|e| Error::io("standard output", e))?;
    context.output.json(&json!({
        "message_type": "statistics",
        "source_snapshot": a.to_string(),
        "target_snapshot": b.to_string(),
        "added": { "datoms": summary.added, "exceptions": summary.exceptions_added },
        "removed": { "datoms": summary.removed, "exceptions": summary.exceptions_removed },
    }))?;
    context.output.info(format!(
        "{} added, {} removed",
        counted(summary.added, "datom"),
        counted(summary.removed, "datom")
    ))?;
    if summary.exceptions_added + summary.exceptions_removed > 0 {
        context.output.info(format!(
            "current view apart from the history: {} added, {} removed",
            grouped(summary.exceptions_added),
            grouped(summary.exceptions_removed)
        ))?;
    }
    Ok(Code::Ok)
}
