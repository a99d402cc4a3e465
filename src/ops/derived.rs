//! Snapshots made of other snapshots: published one after another, each in a session of its own.

use super::{Filter, Summary, mark};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Outcome, Snapshot};
use crate::id::SnapshotId;
use crate::repository::{Chain, Commit, Writer};

/// Property of a snapshot that replaces or copies another: the id of the first one, which stays through further changes.
pub(super) const ORIGINAL: &str = "original";
/// Property of a copied snapshot: the repository and the snapshot that it was copied from, as `repository/snapshot`.
pub(super) const COPIED_FROM: &str = "copied-from";

/// How often a commit is tried when pruners close the session in between.
const ATTEMPTS: u32 = 3;

/// The snapshots that are meant: these, or without any those that the filter allows; oldest first.
///
/// # Errors
/// [`ErrorKind::NotFound`] when one of `ids` is not live.
pub(super) fn chosen(live: &[&Snapshot], ids: &[SnapshotId], filter: &Filter) -> Result<Vec<Snapshot>> {
    if let Some(id) = ids.iter().find(|id| live.iter().all(|snapshot| snapshot.id != **id)) {
        return Err(Error::new(ErrorKind::NotFound, format!("snapshot {}", id.short()), "no such snapshot"));
    }
    let wanted = |s: &&&Snapshot| if ids.is_empty() { filter.allows(&Summary::from(**s)) } else { ids.contains(&s.id) };
    Ok(live.iter().filter(wanted).map(|snapshot| (*snapshot).clone()).collect())
}

/// A snapshot to be changed, ready to be published in place of `old` or beside it: it knows what it was made of.
pub(super) fn successor(old: &Snapshot) -> Snapshot {
    let mut new = old.clone();
    if property(old, ORIGINAL).is_none() {
        set_property(&mut new, ORIGINAL, old.id.to_string());
    }
    new
}

/// A property's text.
pub(super) fn property<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a str> {
    snapshot.properties.iter().find(|(found, _)| found == name).map(|(_, text)| text.as_str())
}

/// Sets a property; they stay sorted by name.
pub(super) fn set_property(snapshot: &mut Snapshot, name: &str, text: String) {
    remove_property(snapshot, name);
    let at = snapshot.properties.partition_point(|(other, _)| other.as_str() < name);
    snapshot.properties.insert(at, (name.to_owned(), text));
}

fn remove_property(snapshot: &mut Snapshot, name: &str) {
    snapshot.properties.retain(|(other, _)| other != name);
}

/// What the source said about the data, without what was noted when the snapshot was made of another.
pub(super) fn source_properties(snapshot: &Snapshot) -> impl Iterator<Item = &(String, String)> {
    snapshot.properties.iter().filter(|(name, _)| name != ORIGINAL && name != COPIED_FROM && !Chain::is_mark(name))
}

/// Makes the trees of `old` safe to be taken over unread by what `writer` commits next.
///
/// # Errors
/// [`ErrorKind::NotFound`] when it has been forgotten since it was listed.
pub(super) fn take_over(writer: &mut Writer, old: &Snapshot) -> Result<()> {
    // Only now, with the session registered, does a snapshot that is still there keep its blobs from every pruner.
    match writer.repository().outcome(old.id)? {
        Some(Outcome::Committed(_)) => {}
        _ => {
            let object = format!("snapshot {}", old.id.short());
            return Err(Error::new(ErrorKind::NotFound, object, "was forgotten meanwhile"));
        }
    }
    if old.gc_checked != writer.gc_checked() {
        mark::require_known(writer, &old.roots)?;
    }
    Ok(())
}

/// Commits a snapshot under the id of the writer's session, which `snapshot` is given; the writer goes on in a session that
/// was registered before.
pub(super) fn publish(writer: &mut Writer, snapshot: &mut Snapshot) -> Result<()> {
    for _ in 0..ATTEMPTS {
        writer.flush()?;
        if writer.must_check() {
            mark::require_known(writer, &snapshot.roots)?;
        }
        snapshot.id = writer.id();
        snapshot.gc_checked = writer.gc_checked();
        if let Commit::Done = writer.commit_partial(snapshot)? {
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::Busy, "session", "closed by a pruner each time it was about to commit"))
}
