//! `snapshots`: the list.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use packstone::format::{Snapshot, Status};
use packstone::ops::{self, Unfolded};
use packstone::record::datom::Value as Edn;
use packstone::repository::Intent;
use serde_json::{Value, json};

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::{Column, counted, grouped};
use crate::{describe, edn, reference, size, time};

/// List snapshots
///
/// Lists snapshots, oldest first.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only these snapshots: ids, the start of ids, `latest`, `latest~N`
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// Only the newest N of each group
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    latest: Option<u64>,
    /// What makes a group
    #[arg(short, long, value_name = "KEY,...", value_enum, value_delimiter = ',')]
    group_by: Option<Vec<GroupKey>>,
    /// Print for programs, in this notation instead of JSON
    #[arg(long, value_enum, conflicts_with = "json")]
    format: Option<edn::Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GroupKey {
    Host,
    Label,
    Tags,
}

type Group = (Vec<(&'static str, String)>, Vec<Snapshot>);

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    context.output.speak(arguments.format, "snapshots");
    let repository = context.open_for(Intent::Listing)?;
    let (mut live, damaged) = reference::live(context, repository.snapshots()?);
    let (unfolded, lacks) = reference::unfolded(context, &repository)?;
    live.extend(unfolded.iter().map(|unfolded| unfolded.snapshot.clone()));
    live.sort_by_key(|snapshot| (snapshot.time_ms, snapshot.id));
    let filter = arguments.filters.to_filter();
    if arguments.snapshots.is_empty() {
        live.retain(|snapshot| filter.allows(&ops::Summary::from(snapshot)));
    } else {
        let summaries: Vec<_> = live.iter().map(ops::Summary::from).collect();
        let mut wanted = Vec::new();
        for text in &arguments.snapshots {
            wanted.push(ops::select(text, &summaries, &filter)?.id);
        }
        live.retain(|snapshot| wanted.contains(&snapshot.id));
    }
    let groups = group(live, arguments.group_by.as_deref(), arguments.latest);
    if context.output.is_edn() {
        context.output.edn(&manifests(&groups, arguments.group_by.is_some()))?;
    } else if context.output.is_json() {
        let list =
            |snapshots: &[Snapshot]| snapshots.iter().map(|snapshot| describe(snapshot, &unfolded)).collect::<Vec<_>>();
        context.output.json(&match arguments.group_by {
            None => json!(groups.iter().flat_map(|(_, snapshots)| list(snapshots)).collect::<Vec<_>>()),
            Some(_) => groups
                .iter()
                .map(|(key, snapshots)| {
                    let key: BTreeMap<_, _> = key.iter().cloned().collect();
                    json!({ "group_key": key, "snapshots": list(snapshots) })
                })
                .collect(),
        })?;
    } else {
        for (key, snapshots) in &groups {
            if arguments.group_by.is_some() {
                let names: Vec<_> = key.iter().map(|(name, value)| format!("{name} {value}")).collect();
                context.output.line(format!("snapshots of {}:", names.join(", ")))?;
            }
            table(context, snapshots, &unfolded)?;
        }
        let all: usize = groups.iter().map(|(_, snapshots)| snapshots.len()).sum();
        context.output.info(counted(all as u64, "snapshot"))?;
    }
    Ok(if damaged || lacks { Code::Damage } else { Code::Ok })
}

/// The manifests of snapshots, as they are grouped.
fn manifests(groups: &[Group], is_grouped: bool) -> Edn<'static> {
    let list = |snapshots: &[Snapshot]| snapshots.iter().map(edn::manifest).collect::<Vec<_>>();
    if !is_grouped {
        return Edn::Tuple(groups.iter().flat_map(|(_, snapshots)| list(snapshots)).collect());
    }
    let groups = groups.iter().map(|(key, snapshots)| {
        let text = |text: &str| Edn::String(text.as_bytes().to_vec().into());
        let key = key.iter().map(|(name, value)| (Edn::Keyword((*name).into()), text(value)));
        Edn::Map(vec![
            (Edn::Keyword("group-key".into()), Edn::Map(key.collect())),
            (Edn::Keyword("snapshots".into()), Edn::Tuple(list(snapshots))),
        ])
    });
    Edn::Tuple(groups.collect())
}

/// Groups in the order of their keys; without keys one group, but the newest still count by (host, label).
fn group(live: Vec<Snapshot>, keys: Option<&[GroupKey]>, latest: Option<u64>) -> Vec<Group> {
    let keep = latest.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let newest = |snapshots: &mut Vec<Snapshot>| {
        snapshots.drain(..snapshots.len().saturating_sub(keep));
    };
    let mut groups: BTreeMap<Vec<(&'static str, String)>, Vec<Snapshot>> = BTreeMap::new();
    for snapshot in live {
        let key = keys.unwrap_or(&[GroupKey::Host, GroupKey::Label]).iter().map(|key| match key {
            GroupKey::Host => ("host", snapshot.host.clone()),
            GroupKey::Label => ("label", snapshot.label.clone()),
            GroupKey::Tags => ("tags", snapshot.tags.join(",")),
        });
        groups.entry(key.collect()).or_default().push(snapshot);
    }
    groups.values_mut().for_each(newest);
    if keys.is_some() {
        return groups.into_iter().collect();
    }
    let mut all: Vec<_> = groups.into_values().flatten().collect();
    all.sort_by_key(|snapshot| (snapshot.time_ms, snapshot.id));
    vec![(Vec::new(), all)]
}

/// A snapshot, or a state of a followed database that none holds yet.
fn describe(snapshot: &Snapshot, unfolded: &[Unfolded]) -> Value {
    let mut value = describe::snapshot(snapshot);
    if let Some(state) = unfolded.iter().find(|state| state.snapshot.id == snapshot.id) {
        value["status"] = json!("sync");
        value["t"] = json!(state.t);
        value["sync"] = json!({
            "transactions": state.transactions, "segments": state.segments, "datoms_put": state.put,
            "datoms_removed": state.removed,
        });
    }
    value
}

fn table(context: &Context, snapshots: &[Snapshot], unfolded: &[Unfolded]) -> Result<()> {
    use Column::{Number, Text};
    let columns = [
        Text("ID"),
        Text("Time"),
        Text("Host"),
        Text("Label"),
        Text("Tags"),
        Number("Datoms"),
        Number("New"),
        Number("Stored"),
        Text("Status"),
    ];
    let rows = snapshots.iter().map(|snapshot| {
        vec![
            snapshot.id.short(),
            time::local(snapshot.time_ms),
            snapshot.host.clone(),
            snapshot.label.clone(),
            snapshot.tags.join(","),
            grouped(snapshot.roots.first().map_or(0, |root| root.records)),
            grouped(snapshot.statistics.records_new),
            size::show(snapshot.statistics.bytes_stored),
            match (
                unfolded.iter().find(|state| state.snapshot.id == snapshot.id),
                snapshot.status,
                snapshot.skipped_count,
            ) {
                (Some(state), ..) => format!("sync, t {}", state.t),
                (None, Status::Partial, _) => "partial".to_owned(),
                (None, Status::Complete, 0) => String::new(),
                (None, Status::Complete, count) => format!("{} left out", grouped(count)),
            },
        ]
    });
    context.output.table(&columns, &rows.collect::<Vec<_>>())
}
