//! Files into a directory.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use packstone::ErrorKind;
use packstone::ops::{
    self, Change, ChangeSink, Overwrite, PathPattern, RestoreFilesOptions, RestoreFilesSummary, Shard,
};
use packstone::repository::Intent;
use serde_json::json;

use super::{Arguments, cold};
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::{Output, counted, grouped};
use crate::progress::Status;
use crate::{describe, period, reference, shard, size};

/// Which files, and what happens to what is there.
#[derive(Args, Debug)]
pub struct FilesChoice {
    /// Only what this pattern names, as in .gitignore, counted from the root of the snapshot (repeatable)
    #[arg(short = 'i', long, value_name = "PATTERN")]
    include: Vec<String>,
    /// The same, with upper and lower case alike (repeatable)
    #[arg(long, value_name = "PATTERN")]
    iinclude: Vec<String>,
    /// Not what this pattern names (repeatable)
    #[arg(short = 'e', long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// The same, with upper and lower case alike (repeatable)
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<String>,
    /// Delete what is in the restored directories but not in the snapshot; what is excluded stays
    #[arg(long)]
    delete: bool,
    /// Change nothing, list what would be: + new, M changed, - deleted
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Only the k-th of n parts, for n processes or machines side by side with the same target; job/n takes k from a
    /// Kubernetes Indexed Job. They may start and end in any order
    #[arg(long, value_name = "k/n", value_parser = shard::parse)]
    shard: Option<Shard>,
    #[command(flatten)]
    thaw: cold::ThawChoice,
}

/// What happens to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OverwriteName {
    /// It becomes as in the snapshot; contents are compared
    Always,
    /// The same, but files of the same size and time count as the same
    IfChanged,
    /// Only what changed last before it did in the snapshot
    IfNewer,
    /// It stays
    Never,
}

impl OverwriteName {
    /// Whether anything is replaced.
    pub fn replaces(self) -> bool {
        self != Self::Never
    }
}

impl FilesChoice {
    /// Datoms are neither included by path nor deleted.
    pub fn refuse_for_datoms(&self) -> Result<()> {
        let given = [
            ("--include", !self.include.is_empty()),
            ("--iinclude", !self.iinclude.is_empty()),
            ("--exclude", !self.exclude.is_empty()),
            ("--iexclude", !self.iexclude.is_empty()),
            ("--delete", self.delete),
            ("--dry-run", self.dry_run),
            ("--shard", self.shard.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Failure::usage(name, "is for files, but the target is for datoms")),
            None => Ok(()),
        }
    }

    fn patterns(exact: &[String], any_case: &[String]) -> Vec<PathPattern> {
        let pattern = |any_case| move |text: &String| PathPattern { text: text.clone(), any_case };
        exact.iter().map(pattern(false)).chain(any_case.iter().map(pattern(true))).collect()
    }
}

pub fn run(context: &Context, arguments: &Arguments, target: PathBuf) -> Result<Code> {
    if let Some(name) = arguments.choice.first_given() {
        return Err(Failure::usage(name, "is for datoms, but the target is a directory for files")
            .hint(format!("for datoms write `--to datoms:{}`", target.display())));
    }
    let choice = &arguments.files;
    let (snapshot, path) = split(&arguments.snapshot)?;
    let options = RestoreFilesOptions {
        path,
        include: FilesChoice::patterns(&choice.include, &choice.iinclude),
        exclude: FilesChoice::patterns(&choice.exclude, &choice.iexclude),
        overwrite: match arguments.overwrite {
            None | Some(OverwriteName::Always) => Overwrite::Always,
            Some(OverwriteName::IfChanged) => Overwrite::IfChanged,
            Some(OverwriteName::IfNewer) => Overwrite::IfNewer,
            Some(OverwriteName::Never) => Overwrite::Never,
        },
        delete: choice.delete,
        dry_run: choice.dry_run,
        verify: arguments.verify,
        memory_bytes: context.sorting_memory_bytes() / 2,
        temporary: context.global.temp_dir.clone(),
        shard: choice.shard,
    };
    let repository = context.open_for(Intent::Reading)?;
    let snapshot = reference::find_one(context, &repository, snapshot, &arguments.filters)?;
    let output = &context.output;
    let thaw = cold::Restore { repository: &repository, snapshot: snapshot.id, target: &target, options: &options };
    if choice.thaw.is_expected(context)
        && let Some(code) = choice.thaw.plan(context, &thaw)?
    {
        return Ok(code);
    }
    let changes = (choice.dry_run || output.is_verbose()).then(|| print_changes(output));
    let progress = context.progress(Status::Lines);
    let restored =
        ops::restore_files(&repository, snapshot.id, target.clone(), options.clone(), changes, progress.clone());
    let result = context.wait(restored);
    progress.finish();
    if result.as_ref().is_err_and(|failure| failure.kind() == ErrorKind::Cold)
        && let Some(code) = choice.thaw.plan(context, &thaw)?
    {
        return Ok(code);
    }
    let summary = result.map_err(|failure| match failure.kind() {
        ErrorKind::Usage if failure.to_string().contains("no directory trees") => {
            failure.hint("its datoms are written to a file or directory: `--to datoms:PATH`")
        }
        _ => failure,
    })?;
    print(output, &summary, &target, choice.dry_run)?;
    Ok(match (summary.is_damaged, summary.problem_count) {
        (true, _) => Code::Damage,
        (false, 0) => Code::Ok,
        (false, _) => Code::Incomplete,
    })
}

/// The snapshot, and the path in it.
fn split(reference: &OsStr) -> Result<(&str, Option<PathBuf>)> {
    let bytes = reference.as_bytes();
    let colon = bytes.iter().position(|&byte| byte == b':');
    let snapshot = std::str::from_utf8(&bytes[..colon.unwrap_or(bytes.len())])
        .map_err(|_| Failure::usage(reference.display(), "names a snapshot, but is no text"))?;
    let path = colon.map(|at| Path::new("/").join(OsStr::from_bytes(&bytes[at + 1..])));
    Ok((snapshot, path))
}

fn print_changes(output: &Arc<Output>) -> ChangeSink {
    let output = Arc::clone(output);
    Arc::new(move |change, path| {
        let (sign, action) = match change {
            Change::New => ("+", "restored"),
            Change::Changed => ("M", "updated"),
            Change::Deleted => ("-", "deleted"),
        };
        // A reader that has gone shows when the result is printed.
        if output.is_json() {
            let item = path.display().to_string();
            let _ = output.json(&json!({ "message_type": "verbose_status", "action": action, "item": item }));
        } else {
            let mut line = format!("{sign} ").into_bytes();
            line.extend_from_slice(path.as_os_str().as_bytes());
            line.push(b'\n');
            let _ = std::io::stdout().lock().write_all(&line);
        }
    })
}

fn print(output: &Output, summary: &RestoreFilesSummary, target: &Path, dry_run: bool) -> Result<()> {
    let files = summary.files_restored + summary.files_unchanged + summary.files_skipped;
    output.json(&json!({
        "message_type": "summary",
        "snapshot_id": summary.snapshot.to_string(),
        "seconds_elapsed": summary.duration.as_secs(),
        "total_files": files + summary.directories,
        "files_restored": summary.files_restored,
        "files_unchanged": summary.files_unchanged,
        "files_skipped": summary.files_skipped,
        "files_deleted": summary.files_deleted,
        "directories": summary.directories,
        "total_bytes": summary.bytes_total,
        "bytes_restored": summary.bytes_restored,
        "bytes_skipped": summary.bytes_reused,
        "dry_run": dry_run,
        "error_count": summary.problem_count,
        "notes": describe::notes(summary.notes.iter().map(|(what, count)| (what, count))),
    }))?;
    for (what, count) in &summary.notes {
        output.note(&format!("{what} ({} times)", grouped(*count)));
    }
    if dry_run {
        output.line(format!(
            "dry run: {} would be restored, {} deleted, {} are as in the snapshot, {} would be left as they are",
            counted(summary.files_restored, "file"),
            grouped(summary.files_deleted),
            grouped(summary.files_unchanged),
            grouped(summary.files_skipped),
        ))?;
        return Ok(());
    }
    output.info(format!(
        "restored {} and {} of snapshot {} to {}: {} written, {} as they were, in {}",
        counted(summary.files_restored, "file"),
        if summary.directories == 1 {
            "1 directory".to_owned()
        } else {
            format!("{} directories", grouped(summary.directories))
        },
        summary.snapshot.short(),
        target.display(),
        size::show(summary.bytes_restored),
        size::show(summary.bytes_reused),
        period::show(u64::try_from(summary.duration.as_millis()).unwrap_or(u64::MAX)),
    ))?;
    if summary.files_unchanged + summary.files_skipped + summary.files_deleted > 0 {
        output.info(format!(
            "{} unchanged, {} left as they were, {} deleted",
            grouped(summary.files_unchanged),
            grouped(summary.files_skipped),
            grouped(summary.files_deleted)
        ))?;
    }
    if summary.problem_count > 0 {
        output
            .line(format!("not restored, or not wholly: {}, listed above", counted(summary.problem_count, "path")))?;
    }
    Ok(())
}
