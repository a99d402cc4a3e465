//! `doctor`: what the store honours, and what lies about in the repository.

use std::time::Duration;

use clap::Args;
use packstone::backend::{Fitness, LocalBackend, Probe, ProbeOptions};
use packstone::ops::{self, DoctorOptions, DoctorReport};
use packstone::repository::{OpenSession, Protocol};
use serde_json::{Value, json};

use crate::context::Context;
use crate::describe;
use crate::exit::{Code, Result};
use crate::output::{Column, Output, counted, grouped};
use crate::place::Place;
use crate::size;

/// Probe the store and look for leftovers
///
/// Probes what the store honours: creating only what is absent, also when eight race for it, reading and listing what was
/// just written, overwritten or removed, ranges, objects in parts, its clock. Then says what lies in the repository besides
/// snapshots and their data: unknown objects, sessions of backups that have ended or died, leftovers.
///
/// Its own objects are below `probe/` and removed again. Exit code 1 when the store does not keep what the repository
/// counts on.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Rounds of eight that race to create the same object [default: up to 50, as many as fit into 10 seconds]
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// If the store cannot create an object only if it is absent, make do without from now on: nothing else may run while
    /// `prune` does, nor during this command
    #[arg(long)]
    allow_weak: bool,
}

/// What is said about a repository where nobody can be fenced.
pub const WEAK: &str = "this repository runs the weaker protocol: backups may run side by side, but `prune` refuses while any \
                        session is open, and backups wait for a moment and then refuse while it runs";

/// Temporaries of a running backup are younger.
const TEMPORARY: Duration = Duration::from_secs(24 * 3600);

/// How much of a probe is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// What is wrong.
    Briefly,
    /// Everything.
    Fully,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.open()?;
    let options = DoctorOptions {
        probe: ProbeOptions {
            rounds: arguments.rounds.unwrap_or(50),
            racing_time: if arguments.rounds.is_some() { Duration::MAX } else { Duration::from_secs(10) },
            ..Default::default()
        },
        allow_weak: arguments.allow_weak,
    };
    let report = context.wait(ops::doctor(&repository, options))?;
    let local = match context.repository()? {
        Place::Local(path) => Some(tidy(context, path)?),
        #[cfg(feature = "cloud")]
        Place::Cloud(_) => None,
    };
    print(context, &report, local)?;
    Ok(if report.is_sound() { Code::Ok } else { Code::Failed })
}

/// What the doctor did to a folder.
struct Tidied {
    temporaries: u64,
    reserve_was_missing: bool,
}

fn tidy(context: &Context, path: std::path::PathBuf) -> Result<Tidied> {
    context.wait(async {
        let backend = LocalBackend::open(path).await?;
        let temporaries = backend.clean_temporaries(TEMPORARY).await?;
        Ok(Tidied { temporaries, reserve_was_missing: backend.restore_reserve().await? })
    })
}

fn print(context: &Context, report: &DoctorReport, local: Option<Tidied>) -> Result<()> {
    let output = &context.output;
    let protocol = if report.protocol == Protocol::Full { "full" } else { "weak" };
    let sessions = |sessions: &[OpenSession]| sessions.iter().map(describe::session).collect::<Vec<_>>();
    let objects = report
        .objects
        .iter()
        .map(|(folder, (count, bytes))| json!({ "folder": folder, "objects": count, "bytes": bytes }));
    output.json(&json!({
        "message_type": "summary",
        "sound": report.is_sound(),
        "protocol": protocol,
        "protocol_changed": report.changed,
        "probe": probe_json(&report.probe),
        "objects": objects.collect::<Vec<_>>(),
        "unknown": report.unknown,
        "open_sessions": sessions(&report.open_sessions),
        "stale_sessions": sessions(&report.stale_sessions),
        "exclusive": report.exclusive.iter().map(|marker| marker.path.to_string()).collect::<Vec<_>>(),
        "probes_removed": report.probes_removed,
        "uploads_removed": report.uploads_removed.as_ref().ok(),
        "temporaries_removed": local.as_ref().map(|tidied| tidied.temporaries),
        "reserve_restored": local.as_ref().map(|tidied| tidied.reserve_was_missing),
    }))?;
    show_probe(output, &report.probe, Shown::Fully)?;
    if !output.is_quiet() {
        let row = |(folder, (count, bytes)): (&String, &(u64, u64))| {
            vec![folder.clone(), grouped(*count), size::show(*bytes)]
        };
        let rows: Vec<_> = report.objects.iter().map(row).collect();
        output.table(&[Column::Text("Objects"), Column::Number("Number"), Column::Number("Size")], &rows)?;
    }
    for name in &report.unknown {
        output.note(&format!("{name}: not an object of this repository"));
    }
    for (sessions, what) in
        [(&report.open_sessions, "is open"), (&report.stale_sessions, "has ended: `prune` closes it")]
    {
        for session in sessions {
            let of = session
                .record
                .as_ref()
                .map_or_else(String::new, |r| format!(" of process {} on {}", r.process_id, r.host));
            output.note(&format!("session {}{of} {what}", session.id.short()));
        }
    }
    for marker in &report.exclusive {
        let of =
            marker.record.as_ref().map_or_else(String::new, |r| format!("process {} on {} ", r.process_id, r.host));
        output
            .note(&format!("{}: {of}prunes alone; if it has died there, `prune --exclusive` takes over", marker.path));
    }
    if report.probes_removed > 0 {
        output.info(format!("removed {} of a probe that was cut short", counted(report.probes_removed, "object")))?;
    }
    match &report.uploads_removed {
        Ok(0) => {}
        Ok(count) => output.info(format!("removed {}", counted(*count, "unfinished upload")))?,
        Err(error) => output.note(&format!("unfinished uploads cannot be seen: {error}")),
    }
    if let Some(tidied) = local {
        if tidied.temporaries > 0 {
            output.info(format!("removed {}", counted(tidied.temporaries, "leftover temporary file")))?;
        }
        if tidied.reserve_was_missing {
            output.info("set the reserve for a full disk aside again")?;
        }
    }
    if report.changed {
        output.note("the repository was told that its store cannot create an object only if it is absent");
    }
    match (report.protocol, report.is_sound()) {
        (Protocol::Full, true) => output.line("the store keeps what this repository counts on"),
        (Protocol::Weak, true) => {
            output.note(WEAK);
            output.line("the store keeps what the weaker protocol counts on")
        }
        (Protocol::Full, false) if report.probe.fitness() == Fitness::Weak => {
            output.hint("do not prune while anything else runs; `packstone doctor --allow-weak` makes the repository see to that");
            output.line("the store does not keep what this repository counts on")
        }
        (_, false) => {
            output.hint("copy the repository to another store: what is written here might be lost");
            output.line("the store does not keep what this repository counts on")
        }
    }
}

/// The findings, for people.
pub fn show_probe(output: &Output, probe: &Probe, shown: Shown) -> Result<()> {
    let problems = probe.findings.iter().filter_map(|finding| Some((finding.guarantee, finding.problem.as_ref()?)));
    for (guarantee, problem) in problems.filter(|_| shown == Shown::Briefly) {
        output.note(&format!("the store does not honour `{}`: {problem}", guarantee.name()));
    }
    if shown == Shown::Fully && !output.is_quiet() {
        let row = |finding: &packstone::backend::Finding| {
            let answer = finding.problem.as_ref().map_or_else(|| "yes".to_owned(), |problem| format!("NO: {problem}"));
            vec![finding.guarantee.name().to_owned(), answer]
        };
        let rows: Vec<_> = probe.findings.iter().map(row).collect();
        output.table(&[Column::Text("Probed"), Column::Text("Honoured")], &rows)?;
    }
    match probe.clock_skew_ms {
        Some(skew) if skew.abs() > 60_000 => {
            output.note(&format!("the store's clock is {} s off this machine's", skew / 1000));
        }
        _ => {}
    }
    Ok(())
}

/// The findings, for programs.
pub fn probe_json(probe: &Probe) -> Value {
    let fitness = match probe.fitness() {
        Fitness::Full => "full",
        Fitness::Weak => "weak",
        Fitness::Unfit => "unfit",
    };
    let findings = probe.findings.iter().map(|finding| {
        let problem = finding.problem.as_ref().map_or(Value::Null, |problem| json!(problem));
        (finding.guarantee.key().to_owned(), json!({ "honoured": finding.problem.is_none(), "problem": problem }))
    });
    json!({
        "fitness": fitness,
        "rounds": probe.rounds,
        "clock_skew_ms": probe.clock_skew_ms,
        "findings": findings.collect::<serde_json::Map<_, _>>(),
    })
}
