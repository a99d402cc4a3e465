//! `diff` of snapshots of datoms.

use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use packstone::Error;
use packstone::id::SnapshotId;
use packstone::ops::{self, Difference};
use packstone::record::datom::edn;
use packstone::repository::Repository;
use serde_json::json;

use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::{counted, grouped};

/// Prints the datoms that only one of two snapshots has; just their number if `stat`.
pub fn run(
    context: &Context,
    repository: &Repository,
    [a, b]: [SnapshotId; 2],
    branch: Option<String>,
    stat: bool,
) -> Result<Code> {
    let lines = Arc::new(Mutex::new(BufWriter::new(std::io::stdout())));
    let sink = {
        let (lines, as_json) = (lines.clone(), context.output.is_json());
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
    let result = context.wait(ops::diff(repository, a, b, branch, sink));
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
