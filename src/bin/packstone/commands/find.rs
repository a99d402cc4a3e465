//! `find`: paths that match, in which snapshots.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use packstone::ops::{self, BlobStart, Case, Criteria, FindOptions, Found, Pattern, SizeTest, Wanted};
use packstone::record::entry::Time;
use packstone::repository::Intent;
use serde_json::{Value, json};

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::lines::Lines;
use crate::nodes::{self, Shape};
use crate::output::counted;
use crate::progress::Status;
use crate::{reference, size, time};

/// Find paths in snapshots
///
/// Finds paths by name, size, time, or the blobs they hold, in all snapshots or some.
///
/// A pattern without a slash is compared with names, one with a slash with the ends of paths, one that begins with a slash
/// with whole paths. `*` and `?` stay within a name, `**` does not.
#[derive(Args, Debug)]
pub struct Arguments {
    /// What the name or path must be like: any of these
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// The same as PATTERN (repeatable)
    #[arg(short, long, value_name = "PATTERN")]
    name: Vec<String>,
    /// The same, whatever the case of letters (repeatable)
    #[arg(long, value_name = "PATTERN")]
    iname: Vec<String>,
    /// Do not tell upper from lower case
    #[arg(short, long)]
    ignore_case: bool,
    /// Only files of more (+10M), fewer (-1K) or exactly as many bytes (repeatable)
    #[arg(long, value_name = "[+-]SIZE", value_parser = size_test, allow_hyphen_values = true)]
    size: Vec<SizeTest>,
    /// Only what was changed at this time or before
    #[arg(short = 'N', long, value_name = "TIME", value_parser = moment)]
    newest: Option<Time>,
    /// Only what was changed at this time or later
    #[arg(short = 'O', long, value_name = "TIME", value_parser = moment)]
    oldest: Option<Time>,
    /// Only what holds one of these blobs: ids or the start of ids
    #[arg(long, value_name = "ID", num_args = 1..)]
    blob: Vec<BlobStart>,
    /// Only what holds a blob of one of these packs: ids or the start of ids
    #[arg(long, value_name = "ID", num_args = 1..)]
    pack: Vec<BlobStart>,
    /// Only in these snapshots (repeatable) [default: all]
    #[arg(short, long, value_name = "SNAPSHOT")]
    snapshot: Vec<String>,
    /// Show permissions, owner, size and time of each path
    #[arg(short, long)]
    long: bool,
    /// Show sizes in KiB, MiB, ...
    #[arg(long)]
    human_readable: bool,
    #[command(flatten)]
    filters: Filters,
}

/// `+10M`: more; `-1K`: fewer; `512`: exactly.
fn size_test(text: &str) -> Result<SizeTest, String> {
    Ok(match text.split_at_checked(1) {
        Some(("+", rest)) => SizeTest::Above(size::parse(rest)?),
        Some(("-", rest)) => SizeTest::Below(size::parse(rest)?),
        _ => SizeTest::Exactly(size::parse(text)?),
    })
}

/// A time to the millisecond; a day is its beginning by the local clock.
fn moment(text: &str) -> Result<Time, String> {
    let whole = if text.len() == 10 { format!("{text} 00:00:00") } else { text.to_owned() };
    let ms = time::parse(&whole)?;
    let nanos = u32::try_from(ms.rem_euclid(1000)).expect("a remainder of 1000 is small") * 1_000_000;
    Ok(Time { seconds: ms.div_euclid(1000), nanos })
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let options = options(&arguments)?;
    let repository = context.open_for(Intent::Reading)?;
    let ids = if arguments.snapshot.is_empty() {
        let filter = arguments.filters.to_filter();
        let (live, _) = reference::live(context, repository.snapshots()?);
        live.iter().filter(|s| filter.allows(&ops::Summary::from(*s))).map(|s| s.id).collect()
    } else {
        let found = reference::find(context, &repository, &arguments.snapshot, &arguments.filters)?;
        found.iter().map(|s| s.id).collect()
    };
    let lines = Lines::new();
    let shape = Shape { names: Lines::names(), long: arguments.long, human_readable: arguments.human_readable };
    let by_blob = !arguments.blob.is_empty() || !arguments.pack.is_empty();
    let progress = context.progress(Status::Hidden);
    let (hits, printed) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(0_u64)));
    let sink = {
        let (lines, hits, printed) = (lines.clone(), hits.clone(), printed.clone());
        let (as_json, quiet) = (context.output.is_json(), context.output.is_quiet());
        move |found: &Found<'_>| {
            hits.fetch_add(found.len() as u64, Ordering::Relaxed);
            let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
            let first = *printed == 0;
            match (as_json, by_blob) {
                (true, true) => put_objects(&lines, found, &mut printed),
                (true, false) => {
                    *printed += 1;
                    put_matches(&lines, found, first)
                }
                (false, _) => {
                    *printed += 1;
                    put_text(&lines, found, shape, first, quiet)
                }
            }
        }
    };
    if context.output.is_json() {
        lines.put(b"[")?;
    }
    let result = context.wait(ops::find(&repository, ids, options, progress.clone(), sink));
    progress.finish();
    if context.output.is_json() {
        lines.put(b"]\n")?;
    }
    lines.finish()?;
    let snapshots = result?;
    if context.output.is_verbose() {
        let found = counted(hits.load(Ordering::Relaxed), "match").replace("matchs", "matches");
        context.output.info(format!("{found} in {}", counted(snapshots, "snapshot")))?;
    }
    Ok(Code::Ok)
}

fn options(arguments: &Arguments) -> Result<FindOptions> {
    let case = if arguments.ignore_case { Case::Ignored } else { Case::Matters };
    let mut patterns = Vec::new();
    for text in arguments.patterns.iter().chain(&arguments.name) {
        patterns.push(Pattern::parse(text, case)?);
    }
    for text in &arguments.iname {
        patterns.push(Pattern::parse(text, Case::Ignored)?);
    }
    let criteria =
        Criteria { patterns, sizes: arguments.size.clone(), oldest: arguments.oldest, newest: arguments.newest };
    let wanted = Wanted { blobs: arguments.blob.clone(), packs: arguments.pack.clone() };
    let nothing = criteria.patterns.is_empty()
        && criteria.sizes.is_empty()
        && criteria.oldest.is_none()
        && criteria.newest.is_none()
        && wanted.blobs.is_empty()
        && wanted.packs.is_empty();
    if nothing {
        return Err(Failure::usage("find", "nothing to look for").hint("give a PATTERN, such as '*.txt'"));
    }
    Ok(FindOptions { criteria, wanted })
}

fn put_text(lines: &Lines, found: &Found<'_>, shape: Shape, first: bool, quiet: bool) -> packstone::Result<()> {
    let mut text = Vec::new();
    if !quiet {
        let snapshot = found.snapshot;
        let gap = if first { "" } else { "\n" };
        let head = format!(
            "{gap}Found matching entries in snapshot {} from {}\n",
            snapshot.id.short(),
            time::local(snapshot.time_ms)
        );
        text.extend_from_slice(head.as_bytes());
    }
    for (node, level) in found.nodes {
        text.extend_from_slice(format!("node {node} of the tree, level {level}\n").as_bytes());
    }
    lines.put(&text)?;
    for path in found.paths() {
        let (key, entry, blobs) = path?;
        text.clear();
        shape.put(key, &entry, &mut text);
        if shape.long {
            for blob in blobs {
                text.extend_from_slice(format!("  {blob}\n").as_bytes());
            }
        }
        lines.put(&text)?;
    }
    Ok(())
}

/// restic's shape: an object for each snapshot.
fn put_matches(lines: &Lines, found: &Found<'_>, first: bool) -> packstone::Result<()> {
    lines.put(if first { b"{\"matches\":[" } else { b",{\"matches\":[" })?;
    for (i, path) in found.paths().enumerate() {
        let (key, entry, _) = path?;
        let comma = if i == 0 { "" } else { "," };
        lines.put(format!("{comma}{}", Value::from(nodes::fields(key, &entry))).as_bytes())?;
    }
    let snapshot = json!(found.snapshot.id.to_string());
    lines.put(format!("],\"hits\":{},\"snapshot\":{snapshot}}}", found.len()).as_bytes())
}

/// restic's shape: an object for each blob in each path.
fn put_objects(lines: &Lines, found: &Found<'_>, printed: &mut u64) -> packstone::Result<()> {
    let snapshot = found.snapshot;
    let mut put = |mut object: Value| {
        object["snapshot"] = json!(snapshot.id.to_string());
        object["time"] = json!(time::rfc3339(snapshot.time_ms));
        let comma = if *printed == 0 { "" } else { "," };
        *printed += 1;
        lines.put(format!("{comma}{object}").as_bytes())
    };
    for (node, level) in found.nodes {
        put(json!({ "object_type": "tree", "id": node.to_string(), "level": level }))?;
    }
    for path in found.paths() {
        let (key, entry, blobs) = path?;
        for blob in blobs {
            let mut object = json!({ "object_type": "blob", "id": blob.to_string() });
            for (field, value) in nodes::fields(key, &entry) {
                if field.starts_with("path") {
                    object[field] = value;
                }
            }
            put(object)?;
        }
    }
    Ok(())
}
