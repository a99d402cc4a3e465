//! Changing the tags of snapshots. A snapshot never changes: one with other tags takes its place.

use std::sync::Arc;

use super::{Filter, derived};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::progress::{Event, Observer};
use crate::repository::{Repository, Writer, WriterOptions};

/// What becomes of the tags of snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagChange {
    /// The tags instead of those there are; an empty list takes all away.
    pub set: Option<Vec<String>>,
    /// Tags to add.
    pub add: Vec<String>,
    /// Tags to take away.
    pub remove: Vec<String>,
}

/// Which snapshots get which tags.
#[derive(Clone, Debug, Default)]
pub struct TagOptions {
    /// These snapshots; those that the filter allows when empty.
    pub ids: Vec<SnapshotId>,
    /// Which snapshots are meant when none are named.
    pub filter: Filter,
    /// What becomes of their tags.
    pub change: TagChange,
    /// Say what would happen, do nothing.
    pub dry_run: bool,
}

/// A snapshot and the one that was made of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replaced {
    /// As it was.
    pub old: Snapshot,
    /// As it is, or would be; in a dry run with the id of `old`.
    pub new: Snapshot,
}

/// What `tag` did, or would do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TagReport {
    /// Snapshots that got other tags, oldest first.
    pub changed: Vec<Replaced>,
    /// How many had these tags already.
    pub unchanged: u64,
}

impl TagChange {
    /// Whether it can change nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The tags, sorted, each once.
    pub fn apply(&self, tags: &[String]) -> Vec<String> {
        let mut tags = self.set.clone().unwrap_or_else(|| tags.to_vec());
        tags.extend(self.add.iter().cloned());
        tags.retain(|tag| !tag.is_empty() && !self.remove.contains(tag));
        tags.sort();
        tags.dedup();
        tags
    }
}

/// Publishes each snapshot anew with other tags, then forgets it as it was.
///
/// The new one has the property `original`: the id that the snapshot had first. An interruption leaves a snapshot twice at
/// worst, never not at all.
///
/// # Errors
/// [`ErrorKind::Usage`] when the change is empty or both sets and adds or removes.
pub async fn tag(repository: &Repository, options: TagOptions, observer: Arc<dyn Observer>) -> Result<TagReport> {
    let change = &options.change;
    if change.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "tag", "neither tags to set, to add nor to remove"));
    }
    if change.set.is_some() && !(change.add.is_empty() && change.remove.is_empty()) {
        return Err(Error::new(ErrorKind::Usage, "tag", "tags are either set, or added and removed"));
    }
    let repository = repository.clone();
    super::blocking(move || {
        if options.dry_run {
            return plan(&repository.snapshots()?.live(), &options);
        }
        let mut writer = repository.writer(WriterOptions::default())?;
        let mut report = plan(&writer.snapshots().live(), &options)?;
        let total = report.changed.len() as u64;
        observer.event(Event::Stage { name: "changing tags", total: Some(total) });
        for (done, replaced) in (1..).zip(&mut report.changed) {
            replace(&mut writer, replaced)?;
            observer.event(Event::Progress { done });
        }
        writer.abandon()?;
        Ok(report)
    })
    .await
}

fn plan(live: &[&Snapshot], options: &TagOptions) -> Result<TagReport> {
    let mut report = TagReport::default();
    for old in derived::chosen(live, &options.ids, &options.filter)? {
        let tags = options.change.apply(&old.tags);
        if tags == old.tags {
            report.unchanged += 1;
            continue;
        }
        let new = Snapshot { tags, ..derived::successor(&old) };
        report.changed.push(Replaced { old, new });
    }
    Ok(report)
}

/// The new one first: whoever looks in between sees both.
fn replace(writer: &mut Writer, replaced: &mut Replaced) -> Result<()> {
    derived::take_over(writer, &replaced.old)?;
    derived::publish(writer, &mut replaced.new)?;
    writer.repository().forget(replaced.old.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|&tag| tag.to_owned()).collect()
    }

    #[test]
    fn tags_are_set_added_and_removed() {
        let had = list(&["b", "c"]);
        let add = TagChange { add: list(&["a", "c", ""]), ..TagChange::default() };
        assert_eq!(add.apply(&had), list(&["a", "b", "c"]));
        let remove = TagChange { remove: list(&["b", "x"]), ..TagChange::default() };
        assert_eq!(remove.apply(&had), list(&["c"]));
        let set = TagChange { set: Some(list(&["z", "y", "z"])), ..TagChange::default() };
        assert_eq!(set.apply(&had), list(&["y", "z"]));
        let clear = TagChange { set: Some(Vec::new()), ..TagChange::default() };
        assert_eq!(clear.apply(&had), list(&[]));
        assert!(!clear.is_empty() && TagChange::default().is_empty());
    }
}
