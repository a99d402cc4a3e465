//! A branch of a Datahike database from its parent's trees and what changed in the store since.

use std::collections::BTreeMap;

use super::cursor::{self, Cursor};
use super::datahike::DatahikeSource;
use super::datoms::{Trees, sort_key};
use super::log::{HASH_LEN, RootNames, resemble_parent};
use super::run::Run;
use crate::datahike::WalkStats;
use crate::error::{Error, ErrorKind, Result};
use crate::format::NamedRoot;
use crate::ops::datoms::{KeyChanges, key_changes};
use crate::ops::mark;
use crate::progress::Event;
use crate::record::datom::{self, Datoms, Digest};
use crate::repository::Writer;
use crate::source::datahike::{BranchReading, Datahike, FullReason, IncrementOptions, Increments, LeafTable, Next};
use crate::source::datoms::View;
use crate::tree::{self, Change};

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

/// Tells a branch from the parent; the reason where it cannot be told.
pub(super) fn tell(
    run: &mut Run<'_>,
    database: &Datahike,
    known: &Known,
    branch: &str,
) -> Result<std::result::Result<Told, FullReason>> {
    let names = RootNames::of_branch(branch);
    let parent = run.parent.clone().and_then(|parent| names.in_snapshot(parent));
    let (Some((parent, log, exceptions)), Some(table)) = (parent, known.tables.get(branch)) else {
        return Ok(Err(FullReason::NoTable));
    };
    let options = IncrementOptions { branch: branch.to_owned(), ..IncrementOptions::default() };
    let mut increments = Increments::new(database.store().clone(), options, Some(table.clone()));
    let (head, schema, facts) = match increments.next()? {
        Next::Full(reason) => return Ok(Err(reason)),
        Next::Unchanged(head) => (*head, None, Vec::new()),
        Next::Changed(difference) => (difference.head, Some(difference.schema), difference.facts),
    };
    let schema = match schema {
        Some(schema) => schema,
        None => database.store().schema(&head)?,
    };
    let read = increments.read_stats();
    let changes = key_changes(&facts)?;
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
        facts.len(),
        read.nodes,
        read.blobs,
        read.bytes,
        read.shared_nodes
    );
    run.observer.event(Event::Note(&message));
    let current = WalkStats { branches: read.nodes, skipped: read.shared_nodes, ..WalkStats::default() };
    let table = increments.into_table().unwrap_or_else(|| table.clone());
    let temporal = WalkStats::default();
    let reading = BranchReading { head, schema, current, temporal, attempts: 1, notes: Vec::new(), table };
    let trees = Trees {
        log: edited.log,
        exceptions: edited.exceptions,
        view: View::History,
        duplicates: 0,
        added: edited.added,
        removed: edited.removed,
    };
    Ok(Ok(Told { reading, trees }))
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
    let (log, added, removed) = edit_tree(writer, log, changes.log)?;
    let (exceptions, ..) = edit_tree(writer, exceptions, changes.exceptions)?;
    Ok(EditedTrees { log, exceptions, added, removed })
}

fn edit_tree(writer: &mut Writer, named: &NamedRoot, changes: Vec<(Vec<u8>, bool)>) -> Result<(NamedRoot, u64, u64)> {
    if changes.is_empty() {
        return Ok((named.clone(), 0, 0));
    }
    let mut digest = Digest::decode(&named.digest).map_err(|e| Error::damaged(format!("digest of {}", named.name), e))?;
    let (mut puts, mut removals) = (0, 0);
    let mut stored = Vec::with_capacity(changes.len());
    let mut row = Vec::new();
    for (whole, put) in changes {
        let datom = datom::decode_key(&whole).map_err(|e| Error::damaged("datom key", e))?;
        sort_key(writer, &datom, &mut row)?;
        let (key, hash) = row.split_last_chunk::<HASH_LEN>().expect("this cannot fail because a hash was appended");
        let hash = u64::from_be_bytes(*hash);
        if put {
            puts += 1;
            digest.add_hash(hash);
            stored.push((key.to_vec(), Change::Put(Vec::new())));
        } else {
            removals += 1;
            digest.remove_hash(hash);
            stored.push((key.to_vec(), Change::Remove));
        }
    }
    // Keys of long values are in another order than the values.
    stored.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    writer.flush()?;
    let parameters = writer.repository().tree_parameters(&Datoms);
    let reader = writer.repository().reader();
    let (root, stats) = tree::edit(&reader, writer, &parameters, &mark::root(named), stored.into_iter().map(Ok))?;
    if (stats.added, stats.removed) != (puts, removals) {
        let message = format!(
            "{} of {puts} new and {} of {removals} vanished datoms did not fit the parent's tree",
            puts - stats.added.min(puts),
            removals - stats.removed.min(removals)
        );
        return Err(Error::new(ErrorKind::Data, &named.name, message));
    }
    Ok((mark::named(&named.name, root, digest.encode().to_vec()), puts, removals))
}
