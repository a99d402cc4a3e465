//! What `sync` prints of one repository.

use std::sync::Arc;

use packstone::ops::{SyncEvent, SyncObserver, SyncSummary};
use serde_json::{Value, json};

use super::metrics::Metrics;
use crate::exit::Result;
use crate::output::{Output, counted, grouped};
use crate::signals::Graceful;
use crate::size;
use crate::time::milliseconds;

/// Prints and counts what happens in one repository.
pub struct Report {
    output: Arc<Output>,
    metrics: Arc<Metrics>,
    repository: String,
    graceful: Arc<Graceful>,
}

impl Report {
    pub fn new(output: Arc<Output>, metrics: Arc<Metrics>, repository: &str, graceful: Arc<Graceful>) -> Self {
        Self { output, metrics, repository: repository.to_owned(), graceful }
    }

    /// The last line.
    pub fn ended(&self, summary: &SyncSummary) -> Result<()> {
        self.output.json(&json!({
            "message_type": "summary",
            "repository": self.repository,
            "snapshot_id": summary.snapshot.as_ref().map(|snapshot| snapshot.id.to_string()),
            "t": summary.t,
            "transactions": summary.transactions,
            "segments": summary.segments,
            "bytes": summary.bytes,
            "folds": summary.folds,
            "restarts": summary.restarts,
        }))?;
        let snapshot = summary.snapshot.as_ref().map_or_else(String::new, |snapshot| snapshot.id.short());
        if summary.segments == 0 {
            let until = summary.t.map_or_else(String::new, |t| format!("everything up to t {t}: "));
            return self.output.line(format!("{}: {until}all of it is in snapshot {snapshot}", self.repository));
        }
        self.output.line(format!(
            "{}: {} in {}, {}; all of it is in snapshot {snapshot}",
            self.repository,
            counted(summary.transactions, "transaction"),
            counted(summary.segments, "segment"),
            size::show(summary.bytes),
        ))
    }

    /// Nobody reads the output any more: what is durable stays so.
    fn say(&self, value: Value, line: Option<String>) {
        let printed = self.output.json(&value);
        let _ = match line {
            Some(line) => printed.and_then(|()| self.output.info(format!("{}: {line}", self.repository))),
            None => printed,
        };
    }
}

impl SyncObserver for Report {
    fn event(&self, event: SyncEvent<'_>) {
        self.metrics.count(&self.repository, &event);
        let repository = &self.repository;
        match event {
            SyncEvent::Recovered { snapshot } => {
                let id = snapshot.id.to_string();
                let value = json!({ "message_type": "recovered", "repository": repository, "snapshot_id": id });
                let line = format!("what an earlier run left behind is snapshot {}", snapshot.id.short());
                self.say(value, Some(line));
            }
            SyncEvent::Following { snapshot } => {
                self.graceful.begin();
                let id = snapshot.id.to_string();
                let value = json!({ "message_type": "following", "repository": repository, "snapshot_id": id });
                self.say(value, Some(format!("following on top of snapshot {}", snapshot.id.short())));
            }
            SyncEvent::Durable { t, transactions, put, removed, segments, bytes, lag } => {
                let value = json!({
                    "message_type": "durable",
                    "repository": repository,
                    "t": t,
                    "transactions": transactions,
                    "datoms_put": put,
                    "datoms_removed": removed,
                    "segments": segments,
                    "bytes": bytes,
                    "lag_ms": milliseconds(lag),
                });
                let line = || {
                    let (put, lag) = (counted(put, "datom"), milliseconds(lag));
                    format!("t {t} is durable, {put}, {} bytes, after {lag:.1} ms", grouped(bytes))
                };
                self.say(value, self.output.is_verbose().then(line));
            }
            SyncEvent::Folded { snapshot, segments } => {
                let id = snapshot.id.to_string();
                let value = json!({
                    "message_type": "folded", "repository": repository, "snapshot_id": id, "segments": segments,
                });
                let line = format!("{} folded into snapshot {}", counted(segments, "segment"), snapshot.id.short());
                self.say(value, Some(line));
            }
            SyncEvent::Lost { reason } => self.output.note(&format!("{repository}: reads the database anew: {reason}")),
            SyncEvent::Retrying { error, wait } => {
                let message = format!("{error}; trying again in {:.1} s", wait.as_secs_f64());
                self.output.note(&format!("{repository}: {message}"));
            }
            _ => {}
        }
    }
}
