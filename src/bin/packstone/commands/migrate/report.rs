//! What `migrate` prints.

use std::sync::Arc;

use packstone::ops::{MigrateEnd, MigrateEvent, MigrateObserver, MigrateSummary};
use serde_json::{Value, json};

use crate::exit::Result;
use crate::output::{Output, counted};
use crate::progress::Progress;
use crate::signals::Graceful;
use crate::size;
use crate::time::milliseconds;

/// Prints what happens.
pub struct Report {
    output: Arc<Output>,
    target: String,
    progress: Arc<Progress>,
    graceful: Graceful,
}

impl Report {
    pub fn new(output: Arc<Output>, target: &str, progress: Arc<Progress>, graceful: Graceful) -> Self {
        let target = packstone::datahike::home::without_secrets(target);
        Self { output, target, progress, graceful }
    }

    /// The last line.
    pub fn ended(&self, summary: &MigrateSummary) -> Result<()> {
        let end = match summary.end {
            MigrateEnd::Stopped => "stopped",
            MigrateEnd::TakenOver => "taken-over",
            MigrateEnd::CutOver => "cut-over",
        };
        let snapshot = summary.snapshot.map(|id| id.to_string());
        self.output.json(&json!({
            "message_type": "summary",
            "target": self.target,
            "end": end,
            "snapshot_id": snapshot,
            "t": summary.t,
            "transactions": summary.transactions,
            "commits": summary.commits,
            "rewrites": summary.rewrites,
            "restarts": summary.restarts,
        }))?;
        let short = summary.snapshot.map_or_else(String::new, |id| id.short());
        let target = &self.target;
        self.output.line(match summary.end {
            MigrateEnd::CutOver => {
                format!("cut over: {target} is what the source is, snapshot {short}, and belongs to its users now")
            }
            MigrateEnd::TakenOver => format!("another run has taken over {target}"),
            MigrateEnd::Stopped => {
                let transactions = counted(summary.transactions, "transaction");
                format!("stopped: {transactions} taken over since snapshot {short}; the same command goes on")
            }
        })
    }

    /// Nobody reads the output any more: what is in the target stays so.
    fn say(&self, value: Value, line: Option<String>) {
        let printed = self.output.json(&value);
        let _ = match line {
            Some(line) => printed.and_then(|()| self.output.info(line)),
            None => printed,
        };
    }
}

impl MigrateObserver for Report {
    fn event(&self, event: MigrateEvent<'_>) {
        match event {
            MigrateEvent::TakingOver { run, wait } => {
                self.output.note(&format!("takes over from another run ({run}), in {} s", wait.as_secs()));
            }
            MigrateEvent::Writing { snapshot, reason } => {
                let id = snapshot.id.to_string();
                let value = json!({ "message_type": "writing", "snapshot_id": id, "reason": reason });
                let why = reason.map_or_else(String::new, |reason| format!(" anew: {reason}"));
                self.say(value, Some(format!("writing snapshot {} to {}{why}", snapshot.id.short(), self.target)));
            }
            MigrateEvent::CaughtUp { snapshot, changes } => {
                let id = snapshot.id.to_string();
                let (put, removed) = changes.unzip();
                let value = json!({
                    "message_type": "caught_up", "snapshot_id": id, "datoms_put": put, "datoms_removed": removed,
                });
                let changes = changes.map_or_else(String::new, |(put, removed)| {
                    format!(", {} came and {removed} went", counted(put, "datom"))
                });
                self.say(value, Some(format!("{} holds snapshot {}{changes}", self.target, snapshot.id.short())));
            }
            MigrateEvent::Undoing { snapshot, datoms } => {
                let id = snapshot.id.to_string();
                // Nobody reads the output any more: the snapshot stays.
                let _ = self.output.json(&json!({ "message_type": "undoing", "snapshot_id": id, "datoms": datoms }));
                self.output.note(&format!(
                    "{} held {} that the source does not have: taken out; as it was, it is snapshot {}",
                    self.target,
                    counted(datoms, "datom"),
                    snapshot.id.short(),
                ));
            }
            MigrateEvent::Following => {
                self.graceful.begin();
                self.progress.finish();
                let line = "following; stop the source's writers, then run this again with --cutover".to_owned();
                self.say(json!({ "message_type": "following" }), Some(line));
            }
            MigrateEvent::Applied { t, transactions, datoms, bytes, lag } => {
                let lag = milliseconds(lag);
                let value = json!({
                    "message_type": "applied",
                    "t": t,
                    "transactions": transactions,
                    "datoms": datoms,
                    "bytes": bytes,
                    "lag_ms": lag,
                });
                let line = || {
                    let (datoms, size) = (counted(datoms, "datom"), size::show(bytes));
                    format!("t {t} is in the target, {datoms}, {size}, after {lag:.1} ms")
                };
                self.say(value, self.output.is_verbose().then(line));
            }
            MigrateEvent::Lost { reason } => self.output.note(&format!("compares source and target: {reason}")),
            MigrateEvent::Comparing => {
                let line = "comparing the target with the source".to_owned();
                self.say(json!({ "message_type": "comparing" }), Some(line));
            }
            MigrateEvent::Retrying { error, wait } => {
                self.output.note(&format!("{error}; trying again in {:.1} s", wait.as_secs_f64()));
            }
            _ => {}
        }
    }
}
