//! `sync`: a database followed, transaction by transaction.

mod metrics;
mod report;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use packstone::ErrorKind;
use packstone::ops::{self, BackupOptions, DatahikeSource, FollowedDatahike, Stop, SyncOptions, SyncSummary};
use packstone::repository::Repository;

use crate::commands::backup::datahike::DatahikeArguments;
use crate::commands::backup::naming::Naming;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::location::{self, Location};
use crate::signals::Graceful;
use crate::{period, size};
use metrics::Metrics;
use report::Report;

/// The first and the longest wait before a repository that could not be opened is tried again; it doubles.
const OPEN_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Follow a database: every transaction is backed up within moments
///
/// Backs up a Datahike database, then follows it: every transaction is durable in the repository within moments, as a small
/// segment; segments are folded into snapshots now and then, and when the command stops. `restore` gives back any state up
/// to the last durable transaction, also when this process or its machine died: `latest` is the newest such state.
///
/// Nothing is asked of the repository while nothing happens, but for the registration of its session, which is renewed
/// about every ten minutes. SIGINT and SIGTERM fold what there is and end; a second one, or one before the first backup is
/// done, ends at once, and the next run goes on.
///
/// Mirrors of the repository receive what was folded, not segments.
#[derive(Args, Debug)]
pub struct Arguments {
    /// What to follow: datahike:PATH
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Another repository that follows the same database by itself, opened with the same password or key (repeatable)
    #[arg(long, value_name = "REPOSITORY")]
    also: Vec<String>,
    /// At most about this many transactions wait for a segment
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    batch_size: u64,
    /// How long transactions may wait to share a segment [default: not at all]
    #[arg(long, value_name = "PERIOD", value_parser = period::parse)]
    interval: Option<Duration>,
    /// How often segments are folded into a snapshot
    #[arg(long, value_name = "PERIOD", default_value = "15m", value_parser = period::parse)]
    fold_every: Duration,
    /// Fold also when what segments change takes this much memory
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size::parse)]
    fold_size: u64,
    /// Catch up, fold and end: for cron
    #[arg(long)]
    once: bool,
    /// File for Prometheus (text format, for the node exporter's textfile collector)
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
    #[command(flatten)]
    datahike: DatahikeArguments,
    #[command(flatten)]
    naming: Naming,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let source = arguments.source()?;
    let options = arguments.options(context);
    let stop = Stop::default();
    let graceful = Arc::new(Graceful::new(stop.clone(), context.output.clone()));
    // The first is opened before anything else, so that what cannot work says so at once.
    let first = context.open()?;
    let names: Vec<_> = std::iter::once(first.location()).chain(arguments.also.iter().cloned()).collect();
    let metrics = Arc::new(Metrics::new(arguments.metrics_file.clone(), &names)?);
    let others = arguments.also.iter().map(|text| (text.clone(), context.open_at(text)));
    let mut targets = vec![(first.location(), Some(first))];
    for (text, opened) in others {
        match opened {
            Ok(repository) => targets.push((text, Some(repository))),
            Err(failure) if may_pass(failure.kind()) && !arguments.once => {
                context.output.problem(&text, &failure.to_string());
                targets.push((text, None));
            }
            Err(failure) => return Err(failure),
        }
    }
    let several = targets.len() > 1;
    let over = AtomicBool::new(false);
    let results: Vec<Result<SyncSummary>> = thread::scope(|scope| {
        scope.spawn(|| metrics.keep_written(|| over.load(Ordering::SeqCst)));
        let targets: Vec<_> = targets
            .into_iter()
            .map(|(text, repository)| {
                let (source, options, stop) = (source.clone(), options.clone(), stop.clone());
                let report = Report::new(context.output.clone(), metrics.clone(), &text, graceful.clone());
                let metrics = metrics.clone();
                scope.spawn(move || {
                    let result = follow(context, &text, repository, source, options, &stop, report);
                    if let (Err(failure), true) = (&result, several) {
                        context.output.problem(&text, &failure.to_string());
                    }
                    metrics.ended(&text, result.is_ok());
                    result
                })
            })
            .collect();
        let ended: Vec<_> = targets.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::SeqCst);
        ended.into_iter().map(|target| target.expect("a panic would be a bug, and ends the program")).collect()
    });
    metrics.write(&context.output);
    let failed = results.iter().filter(|result| result.is_err()).count();
    let done = results.len() > failed;
    match results.into_iter().find_map(Result::err) {
        Some(failure) if !several || !done => Err(failure),
        Some(_) => Ok(Code::Incomplete),
        None => Ok(Code::Ok),
    }
}

fn follow(
    context: &Context,
    text: &str,
    repository: Option<Repository>,
    source: DatahikeSource,
    options: SyncOptions,
    stop: &Stop,
    report: Report,
) -> Result<SyncSummary> {
    let repository = match repository {
        Some(repository) => repository,
        None => match open_again(context, text, stop)? {
            Some(repository) => repository,
            None => return Ok(SyncSummary::default()),
        },
    };
    let report = Arc::new(report);
    let followed = Box::new(FollowedDatahike::new(source));
    let summary = context.wait(ops::sync(&repository, followed, options, stop.clone(), report.clone()))?;
    report.ended(&summary)?;
    Ok(summary)
}

/// Tries until it opens; none when it is to stop.
fn open_again(context: &Context, text: &str, stop: &Stop) -> Result<Option<Repository>> {
    let (mut wait, longest) = OPEN_AGAIN;
    loop {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            if stop.is_asked() {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(250));
        }
        wait = (wait * 2).min(longest);
        match context.open_at(text) {
            Err(failure) if may_pass(failure.kind()) => context.output.problem(text, &failure.to_string()),
            opened => return opened.map(Some),
        }
    }
}

fn may_pass(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Transient | ErrorKind::Throttled | ErrorKind::Failed | ErrorKind::NoRepository)
}

impl Arguments {
    fn source(&self) -> Result<DatahikeSource> {
        match location::parse(OsStr::new(&self.source))? {
            Location::Datahike(place) => self.datahike.source(place),
            _ => Err(Failure::usage(&self.source, "only databases can be followed").hint("write `datahike:PATH`")),
        }
    }

    fn options(&self, context: &Context) -> SyncOptions {
        let backup = BackupOptions {
            memory_bytes: context.sorting_memory_bytes(),
            temporary: context.global.temp_dir.clone(),
            skip_if_unchanged: true,
            ..self.naming.options()
        };
        SyncOptions {
            backup,
            batch_transactions: self.batch_size,
            interval: self.interval.unwrap_or_default(),
            fold_every: self.fold_every,
            fold_bytes: usize::try_from(self.fold_size).unwrap_or(usize::MAX),
            once: self.once,
            retry_max_wait: context.global.retry_max_wait,
            ..SyncOptions::default()
        }
    }
}
