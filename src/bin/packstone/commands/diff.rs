//! `diff`: what differs between two snapshots, or a snapshot and a directory.

use std::path::{Path, PathBuf};

use clap::Args;
use packstone::format::Snapshot;
use packstone::ops::{self, FileChange, FileCounts, FileDiffOptions, FileDiffSummary, FileTree, SnapshotPath, What};
use packstone::record::entry;
use packstone::repository::{Intent, Repository};
use serde_json::{Value, json};

use super::diff_datoms;
use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::lines::Lines;
use crate::nodes::{self, Names};
use crate::{reference, size, snapshot_path};

/// List what differs between two snapshots, or a snapshot and a directory
///
/// Lists what only one of two snapshots has and what they have differently, in time that grows with the difference.
///
/// Of files, lines begin with + for paths that only the second has, - for those that only the first has, M where the
/// content differs, T where it is another kind of thing, U where only permissions, owner, time or the like differ. Of
/// datoms, with + and -.
///
/// A second argument that begins with / or ./, or that is a directory and no reference to a snapshot, is a directory to
/// compare with, as after the backup: + is what the snapshot does not have.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The first snapshot: an id, the start of one, `latest`, or `latest~N`; of files with :PATH a part of it
    #[arg(value_name = "A[:PATH]")]
    a: String,
    /// The second snapshot, or a directory
    #[arg(value_name = "B[:PATH] | DIRECTORY")]
    b: String,
    /// List files of which only permissions, owner, time, links or extended attributes differ, too
    #[arg(long)]
    metadata: bool,
    /// Read files of a directory also where size and time agree with the snapshot
    #[arg(long)]
    content: bool,
    /// The branch of Datahike databases [default: their main branch]
    #[arg(long, value_name = "NAME", value_parser = super::restore::branch_name)]
    branch: Option<String>,
    /// Count only
    #[arg(long)]
    stat: bool,
    #[command(flatten)]
    filters: Filters,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.open_for(Intent::Reading)?;
    let (a_name, a_path) = snapshot_path::split(&arguments.a);
    let find = |name: &str| reference::find_one(context, &repository, name, &arguments.filters);
    let a = find(a_name)?;
    let options = FileDiffOptions { metadata: arguments.metadata, content: arguments.content };
    let first = SnapshotPath { snapshot: a.id, path: a_path };
    let (b_name, b_path) = snapshot_path::split(&arguments.b);
    if is_written_as_path(&arguments.b) {
        return with_directory(context, &repository, &a, first, arguments.b.into(), options, arguments.stat);
    }
    let b = match find(b_name) {
        Err(_) if Path::new(&arguments.b).is_dir() => {
            return with_directory(context, &repository, &a, first, arguments.b.into(), options, arguments.stat);
        }
        found => found?,
    };
    if arguments.content {
        return Err(Failure::usage("--content", "content of snapshots is compared in any case"));
    }
    let has_paths = first.path.is_some() || b_path.is_some();
    if !has_paths && !FileTree::is_in(&a) && !FileTree::is_in(&b) {
        return diff_datoms::run(context, &repository, [a.id, b.id], arguments.branch, arguments.stat);
    }
    if arguments.branch.is_some() {
        return Err(Failure::usage("--branch", "is for databases, but these snapshots are of files"));
    }
    context.output.info(format!("comparing snapshot {} to {}:\n", a.id.short(), b.id.short()))?;
    let second = SnapshotPath { snapshot: b.id, path: b_path };
    let lines = Lines::new();
    let sink = printer(context, &lines, arguments.stat);
    let result = context.wait(ops::diff_files(&repository, first, second, options, sink));
    lines.finish()?;
    report(context, &a, &json!(b.id.to_string()), &result?)
}

fn is_written_as_path(text: &str) -> bool {
    ["/", "./", "../"].iter().any(|start| text.starts_with(start)) || text == "." || text == ".."
}

fn with_directory(
    context: &Context,
    repository: &Repository,
    a: &Snapshot,
    first: SnapshotPath,
    directory: PathBuf,
    options: FileDiffOptions,
    stat: bool,
) -> Result<Code> {
    context.output.info(format!("comparing snapshot {} to {}:\n", a.id.short(), directory.display()))?;
    let lines = Lines::new();
    let sink = printer(context, &lines, stat);
    let target = json!(directory.to_string_lossy());
    let has_path = first.path.is_some();
    let result = context.wait(ops::diff_directory(repository, first, directory, options, sink));
    lines.finish()?;
    let summary = result.map_err(|failure| match failure.kind() {
        packstone::ErrorKind::NotFound if !has_path => {
            failure.hint("SNAPSHOT:PATH says with what of the snapshot to compare")
        }
        _ => failure,
    })?;
    for (path, why) in &summary.problems {
        context.output.problem(&path.display().to_string(), why);
    }
    let code = report(context, a, &target, &summary)?;
    Ok(if summary.problems.is_empty() { code } else { Code::Incomplete })
}

fn printer(
    context: &Context,
    lines: &Lines,
    stat: bool,
) -> impl FnMut(FileChange<'_>) -> packstone::Result<()> + Send + 'static {
    let (lines, as_json, names) = (lines.clone(), context.output.is_json(), Lines::names());
    move |change| match (stat, as_json) {
        (true, _) => Ok(()),
        (_, true) => lines.json(&as_value(&change)),
        (_, false) => lines.put(&as_line(&change, names)),
    }
}

/// restic's letters: one, or more where several things differ.
fn modifier(what: What) -> String {
    match what {
        What::Added => "+".to_owned(),
        What::Removed => "-".to_owned(),
        What::Changed { kind, content, metadata } => {
            let letters = [(kind, 'T'), (content, 'M'), (metadata && !content && !kind, 'U')];
            letters.iter().filter(|(holds, _)| *holds).map(|(_, letter)| letter).collect()
        }
    }
}

fn path(change: &FileChange<'_>) -> Vec<u8> {
    let mut path = entry::path_of_key(change.key).into_os_string().into_encoded_bytes();
    if change.is_directory && path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path
}

fn as_value(change: &FileChange<'_>) -> Value {
    let path = path(change);
    let mut value = json!({ "message_type": "change", "path": nodes::text(&path), "modifier": modifier(change.what) });
    if let Some(bytes) = nodes::whole(&path) {
        value["path_bytes"] = bytes;
    }
    value
}

fn as_line(change: &FileChange<'_>, names: Names) -> Vec<u8> {
    let mut line = format!("{:<5}", modifier(change.what)).into_bytes();
    names.put(&path(change), &mut line);
    line.push(b'\n');
    line
}

fn report(context: &Context, a: &Snapshot, target: &Value, summary: &FileDiffSummary) -> Result<Code> {
    let counts = |counts: &FileCounts| {
        json!({
            "files": counts.files,
            "dirs": counts.directories,
            "others": counts.others,
            "data_blobs": counts.chunks,
            "tree_blobs": counts.nodes,
            "bytes": counts.bytes,
        })
    };
    let output = &context.output;
    output.json(&json!({
        "message_type": "statistics",
        "source_snapshot": a.id.to_string(),
        "target_snapshot": target,
        "changed_files": summary.changed_files,
        "changed_metadata": summary.changed_metadata,
        "added": counts(&summary.added),
        "removed": counts(&summary.removed),
        "num_errors": summary.problems.len(),
    }))?;
    let (new, gone) = (&summary.added, &summary.removed);
    let unchanged = if summary.changed_metadata == 0 {
        String::new()
    } else {
        format!(", {:5} with other metadata", summary.changed_metadata)
    };
    output.info("")?;
    output.info(format!(
        "Files:       {:5} new, {:5} removed, {:5} changed{unchanged}",
        new.files, gone.files, summary.changed_files
    ))?;
    output.info(format!("Dirs:        {:5} new, {:5} removed", new.directories, gone.directories))?;
    output.info(format!("Others:      {:5} new, {:5} removed", new.others, gone.others))?;
    if new.chunks + new.nodes + gone.chunks + gone.nodes > 0 {
        output.info(format!("Data blobs:  {:5} new, {:5} removed", new.chunks, gone.chunks))?;
        output.info(format!("Tree blobs:  {:5} new, {:5} removed", new.nodes, gone.nodes))?;
    }
    output.info(format!("  Added:   {}", size::show(new.bytes)))?;
    output.info(format!("  Removed: {}", size::show(gone.bytes)))?;
    Ok(Code::Ok)
}
