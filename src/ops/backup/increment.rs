//! A branch of a Datahike database from its parent's trees and what changed in the store since.

use std::collections::BTreeMap;

use super::cursor::{self, Cursor};
use super::datahike::DatahikeSource;
use super::datoms::Trees;
use super::log::{RootNames, resemble_parent};
use super::run::Run;
use crate::datahike::WalkStats;
use crate::error::{Error, ErrorKind, Result};
use crate::format::NamedRoot;
use crate::ops::datoms::{KeyChanges, KnownState, key_changes};
use crate::ops::edit::{self, Already, Sink};
use crate::ops::{mark, values};
use crate::progress::Event;
use crate::record::datom::{self, Datoms, Summary};
use crate::repository::{Repository, Writer};
use crate::source::datahike::{
    BranchReading, Datahike, FactChange, FullReason, IncrementOptions, Increments, LeafTable, Next,
};
use crate::source::datoms::View;
use crate::tree;

/// The part of the memory, as a divisor, that the keys of changes may take: there are several copies.
const MEMORY_PART: usize = 4;
/// Memory for the exceptions of a database without history ...
const KNOWN_BYTES: usize = 64 << 20;
/// ... each of which takes this beside its key.
const KNOWN_OVERHEAD_BYTES: usize = 128;

/// What the parent knows of the store.
pub(super) struct Known {
    tables: BTreeMap<String, LeafTable>,
    /// Increments in a row up to the parent.
    pub(super) increments: u64,
    /// Whether everything is to be read this time, and why, to be said aloud.
    pub(super) full: Option<String>,
}

impl Known {
    /// What the parent of this run knows.
    pub(super) fn of_parent(run: &Run<'_>, source: &DatahikeSource) -> Self {
        let Some(parent) = &run.parent else {
            return Self { tables: BTreeMap::new(), increments: 0, full: None };
        };
        let tables = cursor::tables(run.writer.repository(), parent);
        let increments = Cursor::decode(&parent.cursor).map_or(0, |cursor| cursor.increments);
        let is_due = source.full_every > 0 && increments.saturating_add(1) >= u64::from(source.full_every);
        let full = match (source.full, is_due && !tables.is_empty()) {
            (true, _) => Some("everything is read, as asked for".to_owned()),
            (false, true) => {
                let count = increments.saturating_add(1);
                Some(format!("increment {count} since everything was read last: everything is read and compared"))
            }
            _ => None,
        };
        Self { tables, increments, full }
    }

    /// Whether anything is known of a branch.
    pub(super) fn has(&self, branch: &str) -> bool {
        self.tables.contains_key(branch)
    }
}

/// A branch that was told from its parent.
pub(super) struct Told {
    pub(super) reading: BranchReading,
    pub(super) trees: Trees,
}

/// Tells a branch from the parent, as it is now or as it was when it was read whole; the reason where it cannot be told.
pub(super) fn tell(
    run: &mut Run<'_>,
    database: &Datahike,
    known: &Known,
    branch: &str,
    at: Option<&BranchReading>,
) -> Result<std::result::Result<Told, FullReason>> {
    let names = RootNames::of_branch(branch);
    let parent = run.parent.as_ref().and_then(|parent| names.in_snapshot(parent));
    let (Some((parent, log, exceptions)), Some(table)) = (parent, known.tables.get(branch)) else {
        return Ok(Err(FullReason::NoTable));
    };
    let attempts = database.options().attempts;
    let usual = IncrementOptions::default();
    let max_bytes = usual.max_bytes.min(run.options.memory_bytes / MEMORY_PART);
    let options = IncrementOptions { branch: branch.to_owned(), attempts, max_bytes, ..usual };
    let mut increments = Increments::new(database.store().clone(), options, Some(table.clone()));
    let next = match at {
        Some(reading) => increments.next_at(&reading.head, reading.written_by)?,
        None => increments.next()?,
    };
    let (head, schema, facts) = match next {
        Next::Full(reason) => return Ok(Err(reason)),
        Next::Unchanged(head) => (*head, None, Vec::new()),
        Next::Changed(difference) => (difference.head, Some(difference.schema), difference.facts),
    };
    let schema = schema.or_else(|| at.map(|reading| reading.schema.clone()));
    let schema = match schema.map_or_else(|| database.store().schema(&head), Ok) {
        // It may be collected once there is a newer head.
        Err(error) if error.kind() == ErrorKind::Damaged => return Ok(Err(FullReason::Store(error.to_string()))),
        schema => schema?,
    };
    let read = increments.read_stats();
    let changes = match head.keeps_history() {
        true => key_changes(&facts)?,
        false => match state_changes(run.writer.repository(), &log, &exceptions, &facts, head.max_tx)? {
            Ok(changes) => changes,
            Err(reason) => return Ok(Err(reason)),
        },
    };
    let facts_count = facts.len();
    drop(facts);
    if parent.gc_checked != run.writer.gc_checked() {
        // Nodes are taken over unread from here on: none of them may be in a pack condemned since.
        mark::require_known(&mut run.writer, &parent.roots)?;
    }
    resemble_parent(run, &names.log);
    let edited = match edit_trees(&mut run.writer, &log, &exceptions, changes) {
        Err(error) if error.kind() == ErrorKind::Data => {
            return Ok(Err(FullReason::Table(error.message().to_owned())));
        }
        edited => edited?,
    };
    let message = format!(
        "branch :{branch} since its parent: {} facts changed; {} nodes read ({} blobs, {} bytes), {} left out",
        facts_count, read.nodes, read.blobs, read.bytes, read.shared_nodes
    );
    run.observer.event(Event::Note(&message));
    let current = WalkStats {
        leaves: read.leaves,
        branches: read.nodes - read.leaves,
        verified: read.verified,
        skipped: read.shared_nodes,
        ..WalkStats::default()
    };
    let table = increments.into_table().unwrap_or_else(|| table.clone());
    let temporal = WalkStats::default();
    let view = if head.keeps_history() { View::History } else { View::Current };
    let notes = Vec::new();
    let reading = BranchReading { head, schema, current, temporal, attempts: 1, notes, table, written_by: None };
    let trees = Trees {
        log: edited.log,
        exceptions: edited.exceptions,
        view,
        duplicates: 0,
        added: edited.added,
        removed: edited.removed,
    };
    Ok(Ok(Told { reading, trees }))
}

/// What changed facts of a database without history change in the trees of its snapshots.
fn state_changes(
    repository: &Repository,
    log: &NamedRoot,
    exceptions: &NamedRoot,
    facts: &[FactChange],
    max_t: i64,
) -> Result<std::result::Result<KeyChanges, FullReason>> {
    if facts.is_empty() {
        return Ok(Ok(KeyChanges::default()));
    }
    let Some(mut known) = known_state(repository, log, exceptions)? else { return Ok(Err(FullReason::TooMany)) };
    Ok(known.changes(facts, max_t)?.map_err(FullReason::State))
}

/// What the trees of a database without history say beside its datoms; nothing where that is too much to keep in memory.
pub(in crate::ops) fn known_state(
    repository: &Repository,
    log: &NamedRoot,
    exceptions: &NamedRoot,
) -> Result<Option<KnownState>> {
    let latest = match log.records {
        0 => None,
        _ => Some(Summary::decode(&log.summary).map_err(|e| Error::damaged(format!("summary of {}", log.name), e))?),
    };
    let mut known = KnownState::new(latest.map(|summary| summary.t_max));
    let reader = repository.reader();
    let parameters = repository.tree_parameters(&Datoms);
    let mut walker = tree::Walker::new(&reader, &parameters, &mark::root(exceptions), tree::KeyRange::all())?;
    let (mut bytes, mut whole) = (0, Vec::new());
    while let Some((key, _)) = walker.next_record()? {
        whole.clear();
        datom::encode_key(&values::datom(&reader, key)?, &mut whole).map_err(|e| Error::damaged("datom key", e))?;
        bytes += whole.len() + KNOWN_OVERHEAD_BYTES;
        if bytes > KNOWN_BYTES {
            return Ok(None);
        }
        known.except(&whole)?;
    }
    Ok(Some(known))
}

/// Trees with changes.
pub(in crate::ops) struct EditedTrees {
    pub(in crate::ops) log: NamedRoot,
    pub(in crate::ops) exceptions: NamedRoot,
    /// Datoms the log did not have.
    pub(in crate::ops) added: u64,
    /// Datoms the log no longer has.
    pub(in crate::ops) removed: u64,
}

/// Makes changes in the trees of a branch; long values are stored. The trees' nodes are taken over unread: see
/// [`mark::require_known`].
///
/// # Errors
/// [`ErrorKind::Data`] when a tree has what is to be put, or has not what is to be removed.
pub(in crate::ops) fn edit_trees(
    writer: &mut Writer,
    log: &NamedRoot,
    exceptions: &NamedRoot,
    changes: KeyChanges,
) -> Result<EditedTrees> {
    let mut edit = |named: &NamedRoot, keys: Vec<(Vec<u8>, bool)>| {
        if !keys.is_empty() {
            writer.flush()?;
        }
        let reader = writer.repository().reader();
        let keys = keys.iter().map(|(key, put)| (key.as_slice(), *put));
        edit::edit(&reader, &mut Sink::Packs(writer), named, keys, Already::Refuse)
    };
    let log = edit(log, changes.log)?;
    let exceptions = edit(exceptions, changes.exceptions)?.root;
    Ok(EditedTrees { log: log.root, exceptions, added: log.added, removed: log.removed })
}

#[cfg(test)]
mod tests;
