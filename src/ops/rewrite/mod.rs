//! Snapshots with paths taken out, or with another host, time or tags. A snapshot never changes: another one is made of it.

mod patterns;
mod removal;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::{Filter, Replaced, TagChange, derived};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Snapshot, Statistics};
use crate::id::SnapshotId;
use crate::progress::{Event, Observer};
use crate::repository::{Repository, Writer, WriterOptions};

use patterns::Patterns;
use removal::{Removal, Removals};

/// The tag of a rewritten snapshot that stands beside the one it was made of.
const REWRITE_TAG: &str = "rewrite";

/// Which snapshots are made anew, and how.
#[derive(Clone, Debug, Default)]
pub struct RewriteOptions {
    /// These snapshots; those that the filter allows when empty.
    pub ids: Vec<SnapshotId>,
    /// Which snapshots are meant when none are named.
    pub filter: Filter,
    /// Patterns of paths to take out of directory trees, in the syntax of `.gitignore`.
    pub excludes: Vec<String>,
    /// The same, without regard to upper and lower case.
    pub iexcludes: Vec<String>,
    /// Files of such patterns.
    pub exclude_files: Vec<PathBuf>,
    /// What becomes of the tags.
    pub tags: TagChange,
    /// Another host.
    pub host: Option<String>,
    /// Another time, in milliseconds since 1970-01-01T00:00Z.
    pub time_ms: Option<i64>,
    /// Forget each snapshot once the one made of it is there. Without, the new one gets the tag `rewrite`.
    pub forget: bool,
    /// Say what would happen, do nothing.
    pub dry_run: bool,
}

/// What became of one snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rewritten {
    /// Before and after.
    pub replaced: Replaced,
    /// Entries taken out.
    pub entries_removed: u64,
    /// Bytes of regular files among them.
    pub bytes_removed: u64,
}

/// What `rewrite` did, or would do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RewriteReport {
    /// Snapshots that were made anew, oldest first.
    pub rewritten: Vec<Rewritten>,
    /// How many had nothing to change.
    pub unchanged: u64,
}

/// Publishes what is left of each snapshot as a new one. What only the old ones reach is freed by `forget` and `prune`.
///
/// An interruption leaves old snapshots as they were, and some of them beside the new one; running again goes on.
///
/// # Errors
/// [`ErrorKind::Usage`] when there is nothing to change, or when paths are to be taken out of a named snapshot that has no
/// directory tree.
pub async fn rewrite(
    repository: &Repository,
    options: RewriteOptions,
    observer: Arc<dyn Observer>,
) -> Result<RewriteReport> {
    let repository = repository.clone();
    super::blocking(move || {
        let patterns = Patterns::new(&options.excludes, &options.iexcludes, &options.exclude_files)?;
        if patterns.is_empty() && options.tags.is_empty() && options.host.is_none() && options.time_ms.is_none() {
            return Err(Error::new(ErrorKind::Usage, "rewrite", "neither paths to take out nor anything to change"));
        }
        let writer = repository.writer(WriterOptions { dry_run: options.dry_run, ..WriterOptions::default() })?;
        let live: Vec<Snapshot> = writer.snapshots().live().into_iter().cloned().collect();
        let removals = Removals::new(&repository, &patterns);
        Run { options: &options, writer, live, removals, report: RewriteReport::default() }.finish(&*observer)
    })
    .await
}

struct Run<'a> {
    options: &'a RewriteOptions,
    writer: Writer,
    live: Vec<Snapshot>,
    removals: Removals<'a>,
    report: RewriteReport,
}

impl Run<'_> {
    fn finish(mut self, observer: &dyn Observer) -> Result<RewriteReport> {
        let live: Vec<&Snapshot> = self.live.iter().collect();
        let chosen = derived::chosen(&live, &self.options.ids, &self.options.filter)?;
        observer.event(Event::Stage { name: "rewriting snapshots", total: Some(chosen.len() as u64) });
        for (done, old) in (1..).zip(chosen) {
            if !self.removals.apply_to(&old) {
                let object = format!("snapshot {}", old.id.short());
                if !self.options.ids.is_empty() {
                    return Err(Error::new(ErrorKind::Usage, object, "has no directory tree to take paths out of"));
                }
                observer.event(Event::Note(&format!("{object} has no directory tree and stays as it is")));
                self.report.unchanged += 1;
            } else {
                self.rewrite(old)?;
            }
            observer.event(Event::Progress { done });
        }
        self.writer.abandon()?;
        Ok(self.report)
    }

    fn rewrite(&mut self, old: Snapshot) -> Result<()> {
        let started = Instant::now();
        let before = self.writer.statistics();
        if !self.options.dry_run {
            derived::take_over(&mut self.writer, &old)?;
        }
        let removal = self.removals.take_out(&mut self.writer, &old, self.options.dry_run)?;
        let Some(mut new) = self.changed(&old, &removal) else {
            self.report.unchanged += 1;
            return Ok(());
        };
        if !self.options.dry_run {
            self.writer.flush()?;
            let written = self.writer.statistics();
            new.statistics = Statistics {
                records_removed: removal.entries,
                records_unmodified: new.roots.iter().map(|root| root.records).sum(),
                blobs_added: written.blobs_added - before.blobs_added,
                bytes_added: written.bytes_added - before.bytes_added,
                bytes_stored: written.bytes_stored - before.bytes_stored,
                packs_written: written.packs_written - before.packs_written,
                figures: figures(&old.statistics.figures, &removal),
                duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                ..Statistics::default()
            };
            match self.already_there(&new) {
                Some(_) if !self.options.forget => {
                    self.report.unchanged += 1;
                    return Ok(());
                }
                Some(id) => new.id = id,
                None => derived::publish(&mut self.writer, &mut new)?,
            }
            if self.options.forget {
                self.writer.repository().forget(old.id)?;
            }
        }
        self.report.rewritten.push(Rewritten {
            replaced: Replaced { old, new },
            entries_removed: removal.entries,
            bytes_removed: removal.bytes,
        });
        Ok(())
    }

    /// The snapshot as it is to be; `None` when that is as it was.
    fn changed(&self, old: &Snapshot, removal: &Removal) -> Option<Snapshot> {
        let mut new = old.clone();
        if let Some(root) = &removal.root {
            new.roots.iter_mut().filter(|named| named.name == root.name).for_each(|named| *named = root.clone());
        }
        new.tags = self.options.tags.apply(&old.tags);
        new.host = self.options.host.clone().unwrap_or_else(|| old.host.clone());
        new.time_ms = self.options.time_ms.unwrap_or(old.time_ms);
        if new == *old && removal.entries == 0 {
            return None;
        }
        if !self.options.forget {
            let mark = TagChange { add: vec![REWRITE_TAG.to_owned()], ..TagChange::default() };
            new.tags = mark.apply(&new.tags);
        }
        new.properties = derived::successor(old).properties;
        Some(new)
    }

    /// A snapshot that an earlier run has made of the same one.
    fn already_there(&self, new: &Snapshot) -> Option<SnapshotId> {
        let same = |s: &&Snapshot| {
            s.id != new.id
                && (s.time_ms, &s.host, &s.label, &s.tags) == (new.time_ms, &new.host, &new.label, &new.tags)
                && (&s.roots, &s.properties, s.status) == (&new.roots, &new.properties, new.status)
        };
        self.live.iter().find(same).map(|snapshot| snapshot.id)
    }
}

/// What of the figures of the backup still says something about what is left.
fn figures(old: &[(String, u64)], removal: &Removal) -> Vec<(String, u64)> {
    let left = |(name, number): &(String, u64)| {
        let gone = match name.as_str() {
            "total_bytes" => removal.bytes,
            "total_files" => removal.files,
            _ => return None,
        };
        Some((name.clone(), number.saturating_sub(gone)))
    };
    old.iter().filter_map(left).collect()
}
