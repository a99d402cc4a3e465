//! `verify datahike:PATH --against SNAPSHOT`: whether a database is what a snapshot holds.

use packstone::ErrorKind;
use packstone::datahike::home;
use packstone::ops::{self, BranchFound, CompareOptions, DatahikeSource, DatomDifference};
use packstone::record::datom::edn;
use packstone::repository::Intent;
use serde_json::json;

use super::Arguments;
use crate::commands::backup::datahike::secret;
use crate::context::Context;
use crate::exit::{self, Code, Failure, Result};
use crate::location::Location;
use crate::output::{counted, grouped};
use crate::progress::Status;
use crate::{location, reference};

pub(super) fn run(context: &Context, arguments: &Arguments, snapshot: &str) -> Result<Code> {
    let [place] = arguments.snapshots.as_slice() else {
        return Err(Failure::usage("--against", "one database is compared with one snapshot"));
    };
    let Location::Datahike(place) = location::parse(place.as_ref())? else {
        return Err(Failure::usage(place, "is no database").hint("a Datahike store is written `datahike:PATH`"));
    };
    let repository = context.open_for(Intent::Reading)?;
    let snapshot = reference::find_one_readable(context, &repository, snapshot, &arguments.filters)?;
    let options = CompareOptions {
        differences: arguments.differences,
        memory_bytes: context.sorting_memory_bytes(),
        temporary: context.global.temp_dir.clone(),
    };
    let mut source = DatahikeSource::new(place.clone(), secret(arguments.datahike_key_file.as_deref())?);
    source.options.branches.clone_from(&arguments.branch);
    let progress = context.progress(Status::Lines);
    let compared = context.wait(ops::compare_database(&repository, snapshot.id, source, options, progress.clone()));
    progress.finish();
    let shown_place = home::without_secrets(&place);
    let compared = compared.map_err(|failure| match failure.kind() {
        ErrorKind::Damaged if failure.object().contains(&shown_place) => failure.hint(exit::STORE_IS_DAMAGED),
        _ => failure,
    })?;
    let output = &context.output;
    let mut code = Code::Ok;
    for branch in &compared {
        let root = |id: &Option<_>| id.as_ref().map(ToString::to_string);
        output.json(&json!({
            "message_type": "summary",
            "snapshot_id": snapshot.id.to_string(),
            "branch": branch.branch,
            "database_branch": branch.database_branch,
            "in_snapshot": branch.found != BranchFound::InDatabase,
            "in_database": branch.found != BranchFound::InSnapshot,
            "equal": branch.equal,
            "snapshot_root": root(&branch.snapshot_root),
            "database_root": root(&branch.database_root),
            "num_differences": branch.differences_count,
            "differences": branch.differences.iter().map(|difference| json!({
                "datom": shown(difference),
                "in_snapshot": parts(difference.in_snapshot),
                "in_database": parts(difference.in_database),
            })).collect::<Vec<_>>(),
        }))?;
        let (name, mut other) = (&branch.database_branch, format!("snapshot {}", snapshot.id.short()));
        if *name != branch.branch {
            other = format!(":{} of {other}", branch.branch);
        }
        if branch.equal {
            output.line(format!(":{name} is equal to {other}"))?;
            continue;
        }
        code = Code::Differs;
        match branch.found {
            BranchFound::InSnapshot => output.line(format!(":{name} of {other} is not in this database"))?,
            BranchFound::InDatabase => output.line(format!(":{name} is not in this snapshot"))?,
            BranchFound::InBoth => {
                let differences = counted(branch.differences_count, "difference");
                output.line(format!(":{name} differs from {other}: {differences}"))?;
            }
        }
        for difference in &branch.differences {
            let (was, is) = (parts(difference.in_snapshot), parts(difference.in_database));
            output.line(format!("  {}: snapshot {was}, database {is}", shown(difference)))?;
        }
        let more = branch.differences_count - branch.differences.len() as u64;
        if more > 0 {
            output.line(format!("  and {} more", grouped(more)))?;
        }
    }
    Ok(code)
}

fn shown(difference: &DatomDifference) -> String {
    let mut text = Vec::new();
    edn::print_datom(&difference.datom, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn parts((history, current): (bool, bool)) -> &'static str {
    match (history, current) {
        (true, true) => "both",
        (true, false) => "history",
        (false, true) => "current",
        (false, false) => "none",
    }
}
