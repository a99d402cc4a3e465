//! `migrate`: a database moved to another store while it is in use.

mod report;

use std::ffi::OsStr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use packstone::datahike::{Home, home};
use packstone::ops::{self, BackupOptions, DatahikeSource, FollowedDatahike, MigrateOptions, Place, Stop};
use packstone::{Error, ErrorKind};

use crate::commands::backup::datahike::secret;
use crate::commands::backup::naming::Naming;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::location::{self, Location};
use crate::period;
use crate::progress::Status;
use crate::signals::Graceful;
use report::Report;

/// Move a database to another store while it is in use
///
/// Backs up a Datahike database and restores it to another store, then follows the source: every transaction, whole, is in
/// the target within moments. Stop the source's writers and run the same command with --cutover, in another terminal or
/// after stopping this one: it takes over what is left, compares the whole target with the source, and lets go of it.
/// Until then only this command may write to the target; opening it for reading is fine.
///
/// SIGINT and SIGTERM end it between two commits, or at once before it follows and when they come twice; the same command
/// goes on where it ended, also after it was killed. Source and target may be any stores of Datahike: a folder, s3://, postgres://, mysql://, sqlite:, redis://. The repository gets
/// snapshots of both, the last of which is the source as it was cut over.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The database: datahike:PATH
    #[arg(value_name = "SOURCE")]
    source: String,
    /// An empty place, or what an earlier run left: datahike:PATH
    #[arg(value_name = "TARGET")]
    target: String,
    /// Take over from a run that follows, catch up, compare, and leave the target to its users
    #[arg(long)]
    cutover: bool,
    /// With --cutover, compare only what was written since the last comparison, not the whole target
    #[arg(long, requires = "cutover", conflicts_with = "once")]
    quick: bool,
    /// Catch up and end
    #[arg(long, conflicts_with = "cutover")]
    once: bool,
    /// How long transactions may wait to share a commit of the target
    #[arg(long, value_name = "PERIOD", default_value = "1s", value_parser = period::parse)]
    interval: Duration,
    /// How often to begin again when nodes vanish while the source is read [default: 5]
    #[arg(long, value_name = "N")]
    attempts: Option<NonZero<u32>>,
    /// File with the key of an encrypted source, as text [default: the variable PACKSTONE_DATAHIKE_KEY]
    #[arg(long, value_name = "FILE")]
    datahike_key_file: Option<PathBuf>,
    #[command(flatten)]
    naming: Naming,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let source = arguments.source()?;
    let location = place(&arguments.target, "only databases can be migrated to")?;
    if location == source.location {
        return Err(Failure::usage(&arguments.target, "source and target are the same"));
    }
    let options = arguments.options(context);
    let repository = context.open()?;
    let home = open_or_create(&location)?;
    let stop = Stop::default();
    let graceful = Graceful::new(stop.clone(), context.output.clone());
    let progress = context.progress(Status::Lines);
    let report = Arc::new(Report::new(context.output.clone(), &location, progress.clone(), graceful));
    let followed = Box::new(FollowedDatahike::new(source));
    let place = Place { home, location };
    let result = context.wait(async {
        Ok(ops::migrate(&repository, followed, place, options, stop, report.clone(), progress.clone()).await)
    });
    progress.finish();
    let summary = result?.map_err(hinted)?;
    report.ended(&summary)?;
    Ok(Code::Ok)
}

/// The store at a location, which is made where there is none.
fn open_or_create(location: &str) -> Result<Arc<dyn Home>> {
    match home::create(location) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(home::open(location).map_err(|_| error)?),
        made => Ok(made?),
    }
}

/// The store that an argument names.
fn place(text: &str, otherwise: &str) -> Result<String> {
    match location::parse(OsStr::new(text))? {
        Location::Datahike(place) => Ok(place),
        _ => Err(Failure::usage(text, otherwise).hint("write `datahike:PATH`")),
    }
}

fn hinted(error: Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::AlreadyExists => "name an empty or a new place, or the one this migration began with",
        ErrorKind::Busy if error.message().ends_with("is migrating to it") => {
            "with --cutover this run takes over from that one"
        }
        ErrorKind::Busy if error.message().starts_with("somebody else has written") => {
            "only migrate may write to the target until it is cut over; the same command takes out what others wrote, \
             and keeps a snapshot of it"
        }
        _ => return error.into(),
    };
    Failure::from(error).hint(hint)
}

impl Arguments {
    fn source(&self) -> Result<DatahikeSource> {
        let place = place(&self.source, "only databases can be migrated")?;
        let mut source = DatahikeSource::new(place, secret(self.datahike_key_file.as_deref())?);
        if let Some(attempts) = self.attempts {
            source.options.attempts = attempts.get();
        }
        Ok(source)
    }

    fn options(&self, context: &Context) -> MigrateOptions {
        let backup = BackupOptions {
            // Beside what is sorted, nodes of the target are kept.
            memory_bytes: context.sorting_memory_bytes() / 2,
            temporary: context.global.temp_dir.clone(),
            skip_if_unchanged: true,
            ..self.naming.options()
        };
        MigrateOptions {
            backup,
            interval: self.interval,
            once: self.once,
            cut_over: self.cutover,
            quick: self.quick,
            retry_max_wait: context.global.retry_max_wait,
        }
    }
}
