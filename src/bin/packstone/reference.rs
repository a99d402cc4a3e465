//! From what the user writes to snapshots.

use packstone::format::Snapshot;
use packstone::ops::{self, Unfolded};
use packstone::repository::{Repository, SnapshotList};

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Failure, Result};

impl Filters {
    /// As the library understands them.
    pub fn to_filter(&self) -> ops::Filter {
        ops::Filter { hosts: self.host.clone(), labels: self.label.clone(), tags: tag_lists(&self.tag) }
    }
}

/// Lists of tags, each separated by commas.
pub fn tag_lists(texts: &[String]) -> Vec<Vec<String>> {
    texts.iter().map(|text| text.split(',').map(|tag| tag.trim().to_owned()).collect()).collect()
}

/// The live snapshots, and a problem printed for each object that does not open.
pub fn live(context: &Context, list: SnapshotList) -> (Vec<Snapshot>, bool) {
    let mut damaged = false;
    for (_, error) in list.damaged() {
        damaged = true;
        context.output.problem(error.object(), error.message());
    }
    (list.live().into_iter().cloned().collect(), damaged)
}

/// The states of followed databases that no snapshot holds yet, and a problem printed for each that cannot be read.
pub fn unfolded(context: &Context, repository: &Repository) -> Result<(Vec<Unfolded>, bool)> {
    let (unfolded, damaged) = ops::unfolded_or_damaged(repository)?;
    for error in &damaged {
        context.output.problem(error.object(), error.message());
    }
    Ok((unfolded, !damaged.is_empty()))
}

/// The snapshots that references mean, in their order.
pub fn find(
    context: &Context,
    repository: &Repository,
    references: &[String],
    filters: &Filters,
) -> Result<Vec<Snapshot>> {
    let (live, _) = live(context, repository.snapshots()?);
    choose(&live, references, filters)
}

fn choose(live: &[Snapshot], references: &[String], filters: &Filters) -> Result<Vec<Snapshot>> {
    let summaries: Vec<_> = live.iter().map(ops::Summary::from).collect();
    let filter = filters.to_filter();
    references
        .iter()
        .map(|reference| {
            let id = ops::select(reference, &summaries, &filter)
                .map_err(|e| Failure::from(e).hint("`packstone snapshots` lists what there is"))?
                .id;
            Ok(live.iter().find(|snapshot| snapshot.id == id).expect("it was selected from these").clone())
        })
        .collect()
}

/// The same among what can be read: snapshots, and states of followed databases that no snapshot holds yet.
pub fn find_readable(
    context: &Context,
    repository: &Repository,
    references: &[String],
    filters: &Filters,
) -> Result<Vec<Snapshot>> {
    let (mut live, _) = live(context, repository.snapshots()?);
    live.extend(unfolded(context, repository)?.0.into_iter().map(|unfolded| unfolded.snapshot));
    choose(&live, references, filters)
}

/// What one reference means among what can be read.
pub fn find_one_readable(
    context: &Context,
    repository: &Repository,
    reference: &str,
    filters: &Filters,
) -> Result<Snapshot> {
    let found = find_readable(context, repository, &[reference.to_owned()], filters)?;
    Ok(found.into_iter().next().expect("one reference gives one snapshot"))
}

/// The snapshot that one reference means.
pub fn find_one(context: &Context, repository: &Repository, reference: &str, filters: &Filters) -> Result<Snapshot> {
    let found = find(context, repository, &[reference.to_owned()], filters)?;
    Ok(found.into_iter().next().expect("one reference gives one snapshot"))
}
