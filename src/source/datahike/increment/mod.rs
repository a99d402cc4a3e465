//! What changed in a branch since a snapshot: only nodes that are not shared with the snapshot are read.
//!
//! The snapshot's nodes are in a [`LeafTable`]. Changed leaves of both indices give changed datoms; all events of the facts
//! these are about, before and after, give what changes in the log and in the current view, which is more than the changed
//! datoms where, say, one moves from the current to the temporal index. Whatever cannot be told for certain is answered
//! with [`Next::Full`]: then the whole store is to be read, which gives the same result.

mod compare;
mod declared;
mod facts;
mod leaves;
mod lookup;
mod merge;
mod record;
mod shelf;
mod table;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use facts::{FactChange, FactState};
pub use record::{IndexRecorder, table_of};
pub use shelf::ReadStats;
pub use table::{Entry, HeadMark, IndexTable, LeafTable};
pub use trouble::FullReason;

use crate::datahike::{Head, SchemaMeta, Store, field};
use crate::error::{ErrorKind, Result};
use crate::record::datom::{Attribute, Datom, Value, encode_key, split_key};
use compare::{Compared, Terms, compare, top};
use facts::{IndexChange, both_states, changed_facts, fact_changes};
use merge::Limits;
use shelf::Shelf;
use trouble::Trouble;

/// Type byte of attributes that are keywords, and of those that are strings, in canonical bytes.
const KEYWORD: u8 = 1;
const STRING: u8 = 3;
/// Wait before a node that cannot be read is read again.
const PAUSE: Duration = Duration::from_millis(20);

/// How to look for changes.
#[derive(Clone, Debug)]
pub struct IncrementOptions {
    /// Name of the branch, without the colon.
    pub branch: String,
    /// How often reading starts over when the database moves on or a node cannot be read.
    pub attempts: u32,
    /// Changed datoms that may be kept in memory.
    pub max_changes: usize,
    /// Bytes of keys of changed datoms, with whole values, that may be kept in memory; half of it where no history is
    /// kept, as what that changes is worked out of several copies. At most twice as much is in use.
    pub max_bytes: usize,
    /// So many changed leaves of an index are compared in any case; more only while they are less than half of it, as each
    /// is read as it is and as it was.
    pub few_leaves: usize,
}

impl Default for IncrementOptions {
    fn default() -> Self {
        let branch = crate::datahike::MAIN_BRANCH.to_owned();
        Self { branch, attempts: 5, max_changes: 200_000, max_bytes: 32 << 20, few_leaves: 500 }
    }
}

/// What [`Increments::next`] found.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time is in memory")]
pub enum Next {
    /// The branch is where it was.
    Unchanged(Box<Head>),
    /// It has moved on.
    Changed(Difference),
    /// What changed cannot be told; the whole store must be read.
    Full(FullReason),
}

/// How a branch differs from what it was.
#[derive(Debug)]
#[non_exhaustive]
pub struct Difference {
    /// Where the branch is now.
    pub head: Head,
    /// What it says about attributes.
    pub schema: SchemaMeta,
    /// What changed, ascending by fact.
    pub facts: Vec<FactChange>,
    /// What was read.
    pub read: ReadStats,
}

/// Follows one branch of a store.
pub struct Increments {
    shelf: Shelf,
    options: IncrementOptions,
    table: Option<LeafTable>,
    /// The schema last read, with the address of its blob.
    schema: Option<([u8; 16], SchemaMeta)>,
}

impl Increments {
    /// Begins at what `table` knows.
    pub fn new(store: Store, options: IncrementOptions, table: Option<LeafTable>) -> Self {
        Self { shelf: Shelf::new(store), options, table, schema: None }
    }

    /// The nodes of the branch as of the last call that did not fail and did not want everything read.
    pub fn table(&self) -> Option<&LeafTable> {
        self.table.as_ref()
    }

    /// The same, to keep.
    pub fn into_table(self) -> Option<LeafTable> {
        self.table
    }

    /// What was read by the last call.
    pub fn read_stats(&self) -> ReadStats {
        self.shelf.stats()
    }

    /// Compares the branch as it is now with what it was at the last call, and moves on.
    ///
    /// # Errors
    /// Only what the home or the head itself fails with; what else is in the way is a [`Next::Full`].
    #[allow(clippy::should_implement_trait, reason = "a branch has no last state, so this is no iterator")]
    pub fn next(&mut self) -> Result<Next> {
        self.advance(None)
    }

    /// The same with the branch as it was at a head, whose nodes were written by that time.
    ///
    /// # Errors
    /// Those of [`Increments::next`].
    pub fn next_at(&mut self, head: &Head, written_by: Option<i64>) -> Result<Next> {
        self.advance(Some((head, written_by)))
    }

    fn advance(&mut self, at: Option<(&Head, Option<i64>)>) -> Result<Next> {
        self.shelf.reset_stats();
        let Some(table) = &self.table else { return Ok(Next::Full(FullReason::NoTable)) };
        let mut attempt = 1;
        loop {
            let (head, written_by) = match at {
                Some((head, written_by)) => (head.clone(), written_by),
                None => self.shelf.store().settled_head(&self.options.branch, Some(&table.head.hash))?,
            };
            if head.bytes_hash == table.head.hash {
                return Ok(Next::Unchanged(Box::new(head)));
            }
            self.shelf.begin(&head, written_by);
            let told = schema_of(&self.shelf, self.schema.as_ref(), &head).and_then(|schema| {
                let (facts, table) = changes(&self.shelf, table, &head, &schema, &self.options)?;
                Ok((schema, facts, table))
            });
            match told {
                Ok((schema, facts, table)) => {
                    self.schema = head.schema_key.map(|key| (key, schema.clone()));
                    self.table = Some(table);
                    return Ok(Next::Changed(Difference { head, schema, facts, read: self.shelf.stats() }));
                }
                Err(Trouble::Stopped(error)) => return Err(error),
                Err(Trouble::Before(reason)) => return Ok(Next::Full(reason)),
                Err(Trouble::Now(what)) if attempt >= self.options.attempts => {
                    return Ok(Next::Full(FullReason::Store(what)));
                }
                Err(Trouble::Now(_)) => {
                    attempt += 1;
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}

/// What a head says of attributes, unless that is known. Its blob may be collected once there is a newer head.
fn schema_of(shelf: &Shelf, known: Option<&([u8; 16], SchemaMeta)>, head: &Head) -> Result<SchemaMeta, Trouble> {
    match (known, head.schema_key) {
        (Some((known, schema)), Some(key)) if *known == key => Ok(schema.clone()),
        _ => shelf.store().schema(head).map_err(|error| match error.kind() {
            ErrorKind::Damaged => Trouble::Now(error.to_string()),
            _ => Trouble::Stopped(error),
        }),
    }
}

/// What changed from the table to the head, and the head's table.
fn changes(
    shelf: &Shelf,
    old: &LeafTable,
    head: &Head,
    schema: &SchemaMeta,
    options: &IncrementOptions,
) -> Result<(Vec<FactChange>, LeafTable), Trouble> {
    let temporal = match (&old.temporal, &head.temporal_eavt) {
        (Some(old), Some(now)) => Some((old, now)),
        (None, None) => None,
        _ => return Err(Trouble::Before(FullReason::History)),
    };
    let attributes = attributes(schema);
    let new_names = match temporal {
        Some(_) => check_schema(&old.attributes, schema, head)?,
        None => Vec::new(),
    };
    let IncrementOptions { max_changes, max_bytes, few_leaves, .. } = *options;
    let terms = Terms { content_addresses: head.has_content_addresses(), few_leaves };
    let bytes = if temporal.is_some() { max_bytes } else { max_bytes / 2 };
    let mut limits = Limits { changes: max_changes, bytes };
    let mut indices = vec![(&old.current, &head.eavt)];
    indices.extend(temporal);
    let mut compared = Vec::with_capacity(indices.len());
    for (old, now) in &indices {
        compared.push(compare(shelf, old, now, &terms, &mut limits)?);
    }
    for key in compared.iter().flat_map(|compared| &compared.difference.added) {
        check_t(key, head)?;
    }
    let current = compared.first().expect("this cannot fail because there is always a current index");
    for name in &new_names {
        declared::require_new(shelf, head, name, &current.difference)?;
    }
    let facts = changed_facts(compared.iter().map(|compared| &compared.difference))?;
    if facts.len() > max_changes {
        return Err(Trouble::Before(FullReason::TooMany));
    }
    let (mut states, mut tables) = (Vec::new(), Vec::new());
    for (Compared { difference, table }, (_, root)) in compared.into_iter().zip(&indices) {
        states.push(both_states(IndexChange { difference, after: lookup::events(shelf, top(root), &facts)? })?);
        tables.push(table);
    }
    let mut states = states.into_iter();
    let current = states.next().expect("this cannot fail because there is always a current index");
    let from_current = |attribute: &[u8]| temporal.is_some() && is_from_current(&attributes, attribute);
    let facts = fact_changes(facts, current, states.next(), &from_current)?;
    // What is being read is not collected while it is reachable; once the branch has moved on it may be.
    let now = shelf.store().head(&head.branch)?;
    if now.bytes_hash != head.bytes_hash {
        if let Some(node) = shelf.too_new() {
            let what = format!("node {node} was written after the head that names it: its address was used again");
            return Err(Trouble::Now(what));
        }
        for (table, (before, _)) in tables.iter().zip(&indices) {
            check_stamps(shelf, table, before)?;
        }
    }
    let mut tables = tables.into_iter();
    let current = tables.next().expect("this cannot fail because there is always a current index");
    Ok((facts, LeafTable { head: mark(head), attributes, current, temporal: tables.next() }))
}

/// What tells this head from others.
fn mark(head: &Head) -> HeadMark {
    HeadMark { hash: head.bytes_hash, commit: head.commit, max_tx: head.max_tx }
}

/// Canonical bytes of all declared attributes: whether the history takes their datoms from the current index.
fn attributes(schema: &SchemaMeta) -> BTreeMap<Vec<u8>, bool> {
    declared_names(schema).iter().map(|name| (canonical(name), schema.is_history_while_current(name))).collect()
}

fn declared_names(schema: &SchemaMeta) -> BTreeSet<Attribute<'_>> {
    let mut names: BTreeSet<Attribute<'_>> = schema.idents.keys().map(|id| Attribute::Id(*id)).collect();
    let idents = schema.idents.values().map(|name| Attribute::Keyword(name.as_str().into()));
    names.extend(idents);
    if let Value::Map(entries) = &schema.schema {
        names.extend(entries.iter().filter_map(|(key, _)| match key {
            Value::Keyword(name) => Some(Attribute::Keyword(name.as_ref().into())),
            Value::Long(id) => Some(Attribute::Id(*id)),
            _ => None,
        }));
    }
    names
}

fn canonical(attribute: &Attribute<'_>) -> Vec<u8> {
    let datom = Datom { e: 0, a: attribute.clone(), v: Value::Long(0), t: 0, added: true };
    let mut key = Vec::new();
    encode_key(&datom, &mut key).expect("this cannot fail because the value is a number");
    split_key(&key).expect("this cannot fail because it was just encoded").a.to_vec()
}

fn is_from_current(attributes: &BTreeMap<Vec<u8>, bool>, attribute: &[u8]) -> bool {
    match attribute.split_first() {
        // The schema does not tell names that are strings from keywords.
        Some((&STRING, name)) => attributes.get([&[KEYWORD], name].concat().as_slice()) == Some(&true),
        _ => attributes.get(attribute) == Some(&true),
    }
}

/// Refuses a schema under which facts that did not change are in the history or not for another reason than before.
/// Returns the attributes of which that is so unless all their current datoms are new.
fn check_schema<'s>(
    before: &BTreeMap<Vec<u8>, bool>,
    schema: &'s SchemaMeta,
    head: &Head,
) -> Result<Vec<Attribute<'s>>, Trouble> {
    let is_written_first = matches!(field(&head.config, "schema-flexibility"), Some(Value::Keyword(k)) if k == "write");
    let mut new = Vec::new();
    let mut gone: BTreeMap<&Vec<u8>, bool> = before.iter().map(|(name, from_current)| (name, *from_current)).collect();
    for attribute in declared_names(schema) {
        let name = canonical(&attribute);
        match (gone.remove(&name), schema.is_history_while_current(&attribute)) {
            // Other databases take what is not declared, under names of any kind.
            (None, true) if is_written_first => new.push(attribute),
            (before, now) if before.unwrap_or(false) == now => {}
            _ => return Err(Trouble::Before(FullReason::Schema(spelled(&name)))),
        }
    }
    match gone.into_iter().find(|(_, from_current)| *from_current) {
        Some((name, _)) => Err(Trouble::Before(FullReason::Schema(spelled(name)))),
        None => Ok(new),
    }
}

/// The name in an attribute's canonical bytes, for messages.
fn spelled(attribute: &[u8]) -> String {
    let name = String::from_utf8_lossy(attribute.get(1..).unwrap_or_default()).into_owned();
    name.trim_end_matches('\0').to_owned()
}

fn check_t(view: &[u8], head: &Head) -> Result<(), Trouble> {
    if facts::split(view)?.t > crate::record::datom::number_bound(head.max_tx) {
        return Err(Trouble::Now("a datom is of a later transaction than the branch".to_owned()));
    }
    Ok(())
}

/// Refuses an index of which a node was written again after it was read.
fn check_stamps(shelf: &Shelf, table: &IndexTable, before: &IndexTable) -> Result<(), Trouble> {
    let read: Vec<_> = table
        .nodes
        .iter()
        .filter(|(key, entry)| before.nodes.get(key) != Some(entry))
        .filter_map(|(key, entry)| Some((key.address?, entry.stamp?)))
        .collect();
    let addresses: Vec<_> = read.iter().map(|(address, _)| *address).collect();
    for ((address, stamp), now) in read.iter().zip(shelf.stamps(&addresses)?) {
        if now != Some(*stamp) {
            let name = crate::datahike::hasch::spell(address);
            return Err(Trouble::Now(format!("node {name} went or was written again while it was read")));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
