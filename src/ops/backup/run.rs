//! One attempt at a backup, whatever the source: session, trees, snapshot.

use std::time::Instant;

use super::log::RootNames;
use super::{BackupOptions, BackupSummary, Parent, Source, datahike, datoms, files};
use crate::backend::Requests;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, Outcome, Snapshot, SourceDescription, Statistics, Status};
use crate::id::SnapshotId;
use crate::progress::{Event, Observer};
use crate::repository::{Commit, Repository, Writer, WriterOptions, machine};
use crate::sorter::SorterOptions;
use crate::source::datahike::database_id;

/// Everything that a source needs to store what it reads.
pub(super) struct Run<'a> {
    pub(super) writer: Writer,
    pub(super) options: &'a BackupOptions,
    pub(super) observer: &'a dyn Observer,
    pub(super) parent: Option<Snapshot>,
    /// The id of the database, where it has one: snapshots of another are no parents, whatever they are called.
    database: Option<[u8; 16]>,
    /// A partial snapshot of the same job that is newer than the parent: what an interrupted backup had stored.
    pub(super) interrupted: Option<Snapshot>,
    /// The snapshot as far as it is known before the source has been read.
    draft: Snapshot,
    started: Instant,
    partial_at: Instant,
    partial_bytes: u64,
    partials: Vec<SnapshotId>,
}

/// What a source has stored.
pub(super) struct Stored {
    pub(super) roots: Vec<NamedRoot>,
    pub(super) sources: Vec<SourceDescription>,
    pub(super) properties: Vec<(String, String)>,
    pub(super) skipped: Vec<(String, String)>,
    pub(super) skipped_count: u64,
    pub(super) notes: Vec<(String, u64)>,
    pub(super) bytes_read: u64,
    pub(super) records_new: u64,
    pub(super) records_removed: u64,
    pub(super) records_unmodified: u64,
    pub(super) duplicates: u64,
    pub(super) figures: Vec<(String, u64)>,
}

pub(super) fn run(
    repository: &Repository,
    source: &Source,
    options: &BackupOptions,
    observer: &dyn Observer,
) -> Result<BackupSummary> {
    let started = Instant::now();
    let requests_before = repository.store().requests();
    let writer = repository.writer(WriterOptions {
        compression_level: options.compression_level,
        class: options.class,
        delta: options.delta,
        dry_run: options.dry_run,
    })?;
    let draft = draft(&writer, source, options);
    let parent = find_parent(&writer, options, &draft)?;
    let interrupted = find_interrupted(&writer, options, &draft, parent.as_ref());
    let mut run = Run {
        writer,
        options,
        observer,
        parent,
        database: None,
        interrupted,
        draft,
        started,
        partial_at: started,
        partial_bytes: 0,
        partials: Vec::new(),
    };
    run.draft.parent = run.parent.as_ref().map(|parent| parent.id);
    run.draft.previous = run.previous_hash();
    let stored = match source {
        Source::Datoms(source) => datoms::store(&mut run, source)?,
        Source::Datahike(source) => datahike::store(&mut run, source)?,
        Source::Files(source) => files::store(&mut run, source)?,
        Source::Stream(source) => files::store_stream(&mut run, source)?,
    };
    run.finish(stored, &requests_before)
}

impl Run<'_> {
    /// Options for one of `parts` sorters that are alive at the same time.
    pub(super) fn sorter_options(&self, parts: u32) -> SorterOptions {
        let memory_bytes = self.options.memory_bytes / parts as usize;
        SorterOptions { memory_bytes, directory: self.options.temporary.clone() }
    }

    /// Says which database this is: where the parent is of another, the newest snapshot of this one takes its place.
    pub(super) fn of_database(&mut self, id: [u8; 16]) {
        self.database = Some(id);
        let Some(parent) = &self.parent else { return };
        if self.options.parent != Parent::Latest || self.is_of_database(parent) {
            return;
        }
        let own = self.earlier().next();
        let instead = match &own {
            Some(own) => format!("it is compared with snapshot {}", own.id.short()),
            None => "this is the first of this one".to_owned(),
        };
        let message = format!("snapshot {} of this name is of another database: {instead}", parent.id.short());
        self.observer.event(Event::Note(&message));
        self.parent = own;
        self.draft.parent = self.parent.as_ref().map(|parent| parent.id);
    }

    /// The parent's trees of these names; where it has none, those of the newest snapshot of the job that does.
    pub(super) fn before(&self, names: &RootNames) -> Option<(Snapshot, NamedRoot, NamedRoot)> {
        let parent = self.parent.as_ref()?;
        if let Some(found) = names.in_snapshot(parent) {
            return Some(found);
        }
        let found = self.earlier().find_map(|snapshot| names.in_snapshot(&snapshot))?;
        let message = format!("snapshot {} is the newest that has {}", found.0.id.short(), names.log);
        self.observer.event(Event::Note(&message));
        Some(found)
    }

    /// The complete snapshots of this job and database, the newest first; none where the parent was chosen.
    fn earlier(&self) -> impl Iterator<Item = Snapshot> {
        let live = match self.options.parent {
            Parent::Latest => self.writer.snapshots().live(),
            _ => Vec::new(),
        };
        let is_ours = |s: &&Snapshot| {
            s.host == self.draft.host
                && s.label == self.draft.label
                && s.status == Status::Complete
                && self.is_of_database(s)
        };
        live.into_iter().rev().filter(is_ours).cloned()
    }

    /// Whether a snapshot is of this database, as far as both say.
    fn is_of_database(&self, snapshot: &Snapshot) -> bool {
        self.database.is_none_or(|id| database_id(&snapshot.properties).is_none_or(|of| of == id))
    }

    /// Keeps in the snapshot what the next run of the same source is to know.
    pub(super) fn keep_cursor(&mut self, cursor: Vec<u8>) {
        self.draft.cursor = cursor;
    }

    /// Publishes a partial snapshot when it is time; `roots` makes the roots of what is stored so far.
    pub(super) fn maybe_partial(&mut self, roots: impl FnOnce(&mut Writer) -> Result<Vec<NamedRoot>>) -> Result<()> {
        let bytes = self.writer.statistics().bytes_stored - self.partial_bytes;
        let due = self.partial_at.elapsed() >= self.options.partial_every || bytes >= self.options.partial_every_bytes;
        if !due || self.options.dry_run {
            return Ok(());
        }
        let mut snapshot = self.draft.clone();
        snapshot.id = self.writer.id();
        snapshot.status = Status::Partial;
        snapshot.roots = roots(&mut self.writer)?;
        snapshot.gc_checked = self.writer.gc_checked();
        snapshot.statistics = self.statistics();
        if let Commit::Done = self.writer.commit_partial(&snapshot)? {
            self.observer.event(Event::Note(&format!("partial snapshot {} saved", snapshot.id.short())));
            self.partials.push(snapshot.id);
        }
        self.partial_at = Instant::now();
        self.partial_bytes = self.writer.statistics().bytes_stored;
        Ok(())
    }

    fn finish(mut self, stored: Stored, requests_before: &Requests) -> Result<BackupSummary> {
        let unchanged = self.parent.as_ref().is_some_and(|parent| {
            let same_properties = crate::ops::derived::source_properties(parent).eq(&stored.properties);
            parent.status == Status::Complete && parent.roots == stored.roots && same_properties
        });
        let committed = !(self.options.dry_run || unchanged && self.options.skip_if_unchanged);
        if committed {
            self.writer.flush()?;
        }
        let mut statistics = self.statistics();
        statistics.records_new = stored.records_new;
        statistics.records_removed = stored.records_removed;
        statistics.records_unmodified = stored.records_unmodified;
        statistics.bytes_read = stored.bytes_read;
        statistics.duplicates = stored.duplicates;
        statistics.figures = stored.figures;
        statistics.requests = requests_since(self.writer.repository().store().requests(), requests_before);
        let mut snapshot = self.draft.clone();
        snapshot.roots = stored.roots;
        snapshot.sources = stored.sources;
        snapshot.properties = stored.properties;
        snapshot.skipped = stored.skipped;
        snapshot.skipped_count = stored.skipped_count;
        snapshot.statistics = statistics;
        if committed {
            self.commit(&mut snapshot)?;
        } else {
            snapshot.id = self.writer.id();
            self.writer.abandon()?;
        }
        Ok(BackupSummary { snapshot, committed, notes: stored.notes })
    }

    /// Commits, again with a new session where a pruner has closed the old one and nothing was lost by that.
    fn commit(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        for _ in 0..super::ATTEMPTS {
            if self.writer.must_check() {
                crate::ops::mark::require_known(&mut self.writer, &snapshot.roots)?;
            }
            snapshot.id = self.writer.id();
            snapshot.gc_checked = self.writer.gc_checked();
            if let Commit::Done = self.writer.commit(snapshot)? {
                for partial in self.superseded(snapshot) {
                    self.writer.repository().forget(partial)?;
                }
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Busy, "session", "closed by a pruner each time it was about to commit"))
    }

    /// Partial snapshots of the same job: the complete one holds everything they do.
    fn superseded(&self, complete: &Snapshot) -> Vec<SnapshotId> {
        let earlier = self
            .writer
            .snapshots()
            .live()
            .into_iter()
            .filter(|s| s.status == Status::Partial && s.host == complete.host && s.label == complete.label);
        self.partials.iter().copied().chain(earlier.map(|s| s.id)).collect()
    }

    fn statistics(&self) -> Statistics {
        let written = self.writer.statistics();
        Statistics {
            blobs_added: written.blobs_added,
            bytes_added: written.bytes_added,
            bytes_stored: written.bytes_stored,
            packs_written: written.packs_written,
            duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..Statistics::default()
        }
    }

    /// Hash of the newest snapshot object of this host and label, so that its disappearance would show.
    fn previous_hash(&self) -> Option<[u8; 32]> {
        let list = self.writer.snapshots();
        let live = list.live();
        let previous = live.iter().rfind(|s| s.host == self.draft.host && s.label == self.draft.label)?;
        list.all.iter().find(|listed| listed.id == previous.id)?.hash
    }
}

fn draft(writer: &Writer, source: &Source, options: &BackupOptions) -> Snapshot {
    let mut tags = options.tags.clone();
    tags.sort();
    tags.dedup();
    Snapshot {
        id: writer.id(),
        time_ms: options.time_ms.unwrap_or_else(machine::now_ms),
        host: options.host.clone().unwrap_or_else(|| machine::Machine::this().host),
        user: options.user.clone().unwrap_or_else(machine::user_name),
        label: options.label.clone().unwrap_or_else(|| source.location()),
        tags,
        program: machine::program(),
        sources: source.descriptions(),
        status: Status::Complete,
        roots: Vec::new(),
        parent: None,
        previous: None,
        cursor: Vec::new(),
        gc_checked: 0,
        class: options.class,
        skipped: Vec::new(),
        skipped_count: 0,
        statistics: Statistics::default(),
        properties: Vec::new(),
    }
}

fn find_parent(writer: &Writer, options: &BackupOptions, draft: &Snapshot) -> Result<Option<Snapshot>> {
    match options.parent {
        Parent::None => Ok(None),
        Parent::Latest => {
            let live = writer.snapshots().live();
            Ok(live
                .into_iter()
                .rfind(|s| s.host == draft.host && s.label == draft.label && s.status == Status::Complete)
                .cloned())
        }
        Parent::Snapshot(id) => match writer.repository().outcome(id)? {
            Some(Outcome::Committed(snapshot)) => Ok(Some(snapshot)),
            _ => Err(Error::new(ErrorKind::NotFound, format!("snapshot {id}"), "no such snapshot to compare with")),
        },
    }
}

/// The newest partial snapshot of a job since its last complete one.
fn find_interrupted(
    writer: &Writer,
    options: &BackupOptions,
    draft: &Snapshot,
    parent: Option<&Snapshot>,
) -> Option<Snapshot> {
    if options.parent != Parent::Latest {
        return None;
    }
    let live = writer.snapshots().live();
    let newest = live.into_iter().rfind(|s| s.host == draft.host && s.label == draft.label)?;
    let newer = newest.status == Status::Partial && parent.is_none_or(|parent| parent.time_ms <= newest.time_ms);
    newer.then(|| newest.clone())
}

/// How often time is looked at while records stream by.
pub(super) const RECORDS_PER_TICK: u64 = 1 << 16;

/// Requests by class, for the snapshot's statistics.
fn requests_since(now: Requests, before: &Requests) -> Vec<(String, u64)> {
    [
        ("delete", now.delete - before.delete),
        ("get", now.get - before.get),
        ("list", now.list - before.list),
        ("put", now.put - before.put),
        ("put_new", now.put_new - before.put_new),
        ("replace", now.replace - before.replace),
        ("stat", now.stat - before.stat),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(class, count)| (class.to_owned(), count))
    .collect()
}
