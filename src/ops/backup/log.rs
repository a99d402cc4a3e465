//! Sorted datoms into trees: a history as it is, a state as what it adds to the parent's history.

use super::datoms::Trees;
use super::run::{RECORDS_PER_TICK, Run};
use crate::datahike::MAIN_BRANCH;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, Snapshot};
use crate::ops::datoms::{
    Fold, KeyStream, StateOptions, ViewOrder, append_state, attribute_len, exceptions, root_names,
};
use crate::ops::{mark, values};
use crate::progress::Event;
use crate::record::datom::{Datoms, Digest, Summary, number_bound, view_fact};
use crate::sorter::{Sorted, Sorter};
use crate::source::datoms::{Reading, View};
use crate::tree::{self, Builder, Change, Pushed, Root};

/// What the trees of one database, or of one branch of it, are called in a snapshot.
pub(super) struct RootNames {
    pub(super) log: String,
    pub(super) exceptions: String,
    /// The branch, as messages say it before what they say of it.
    said: String,
    /// Trees of the same backup that are finished: a partial snapshot keeps them too.
    done: Vec<NamedRoot>,
}

impl RootNames {
    /// Of a database that has no branches.
    pub(super) fn main() -> Self {
        Self { said: String::new(), ..Self::of_branch(MAIN_BRANCH) }
    }

    /// Of a branch.
    pub(super) fn of_branch(branch: &str) -> Self {
        let (log, exceptions) = root_names(Some(branch));
        Self { log, exceptions, said: format!("branch :{branch}: "), done: Vec::new() }
    }

    /// The same, while other trees are finished.
    pub(super) fn after(self, done: Vec<NamedRoot>) -> Self {
        Self { done, ..self }
    }

    /// The trees of these names in a snapshot.
    pub(super) fn in_snapshot(&self, snapshot: &Snapshot) -> Option<(Snapshot, NamedRoot, NamedRoot)> {
        let find = |name: &str| snapshot.roots.iter().find(|root| root.name == name).cloned();
        let (log, exceptions) = (find(&self.log)?, find(&self.exceptions)?);
        Some((snapshot.clone(), log, exceptions))
    }
}

/// What a source says of time.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// It has no transactions.
    pub(super) timeless: bool,
    /// The latest transaction.
    pub(super) max_t: Option<i64>,
}

impl From<&Reading> for Times {
    fn from(reading: &Reading) -> Self {
        let max_t = reading.properties.get("max-t").and_then(|text| text.parse().ok());
        Self { timeless: reading.timeless, max_t }
    }
}

/// Bytes after each key in a sorter: the datom's share of the digest.
const HASH_LEN: usize = 8;

/// Stores a history, and where it does not fold to `current`, the exceptions.
pub(super) fn from_history(
    run: &mut Run<'_>,
    names: &RootNames,
    datoms: Sorted,
    current: Option<Sorted>,
) -> Result<Trees> {
    let mut folding = current.is_some().then(|| ViewOrder::new(run.sorter_options(3)));
    let (log, digest, duplicates) = build_log(run, names, datoms, folding.as_mut())?;
    let exceptions = match (folding, current) {
        (Some(log), Some(current)) => {
            run.observer.event(Event::Stage { name: "comparing the current view with the history", total: None });
            let mut view = ViewOrder::new(run.sorter_options(3));
            each_hashed(current, |key, _| view.push(key))?;
            let found = exceptions(Fold::new(log.finish()?), view.finish()?, run.sorter_options(3))?;
            if found.not_folded > 0 || found.not_current > 0 {
                let message = format!(
                    "{}of {} current datoms {} do not follow from the history, which gives {} others",
                    names.said, found.current, found.not_folded, found.not_current
                );
                run.observer.event(Event::Note(&message));
            }
            found.keys
        }
        _ => Sorter::new(run.sorter_options(3)).finish()?,
    };
    let exceptions = build_exceptions(run, names, exceptions)?;
    let (added, removed) = compare_with_parent(run, names, &log)?;
    let log = mark::named(&names.log, log, digest.encode().to_vec());
    Ok(Trees { log, exceptions, view: View::History, duplicates, added, removed })
}

/// Stores a state: the first one as it is, later ones as events that lead from the parent's state to this one.
pub(super) fn from_state(
    run: &mut Run<'_>,
    names: &RootNames,
    datoms: Sorted,
    stated: View,
    times: Times,
) -> Result<Trees> {
    let Some((parent, log, old_exceptions)) = run.before(names) else {
        let trees = from_history(run, names, datoms, None)?;
        return Ok(Trees { view: if stated == View::Current { View::Current } else { View::History }, ..trees });
    };
    run.observer.event(Event::Stage { name: "comparing with the parent snapshot", total: Some(datoms.len()) });
    if parent.gc_checked != run.writer.gc_checked() {
        // Nodes are taken over unread from here on: none of them may be in a pack condemned since.
        mark::require_known(&mut run.writer, &parent.roots)?;
    }
    let mut state = ViewOrder::new(run.sorter_options(4));
    let mut latest_t = latest_t(times, &log);
    let mut duplicates = 0;
    let mut last = Vec::new();
    each_hashed(datoms, |key, _| {
        if !times.timeless {
            latest_t = latest_t.max(*key.first_chunk().ok_or_else(short_key)?);
        }
        if last == key {
            duplicates += 1;
            return Ok(());
        }
        last.clear();
        last.extend_from_slice(key);
        state.push(key)
    })?;
    let mut state = Unique { keys: state.finish()?, last: Vec::new(), repeated: false };
    let reader = run.writer.repository().reader();
    let parameters = run.writer.repository().tree_parameters(&Datoms);
    let old_log = view_order(run, &reader, &parameters, &mark::root(&log))?;
    let old_exceptions = view_order(run, &reader, &parameters, &mark::root(&old_exceptions))?;
    let options = StateOptions {
        latest_t,
        timeless: times.timeless,
        attribute_len: &attribute_len,
        sorter: run.sorter_options(4),
    };
    let appended = append_state(old_log, old_exceptions, &mut state, options)?;
    if state.repeated && stated == View::Unstated {
        return Err(Error::new(
            ErrorKind::Data,
            "source",
            "asserts the same fact at two transactions, which a current state cannot: say whether it is history or current state",
        ));
    }
    let message = format!(
        "a state of {} datoms: {} appeared or moved, {} vanished since the parent",
        appended.current, appended.asserted, appended.retracted
    );
    run.observer.event(Event::Note(&message));
    if appended.groups_too_large > 0 {
        let message = format!(
            "{} attributes of single entities lost too many values at once to tell when: retracted at the latest transaction",
            appended.groups_too_large
        );
        run.observer.event(Event::Note(&message));
    }
    run.writer.flush()?;
    let mut digest = Digest::decode(&log.digest).map_err(|e| Error::damaged("digest of the parent's log", e))?;
    let mut events = appended.events;
    let changes = std::iter::from_fn(|| match events.next() {
        Ok(Some(key)) => match values::hash(&reader, key) {
            Ok(hash) => {
                digest.add_hash(hash);
                Some(Ok((key.to_vec(), Change::Put(Vec::new()))))
            }
            Err(error) => Some(Err(error)),
        },
        Ok(None) => None,
        Err(error) => Some(Err(error)),
    });
    resemble_parent(run, &names.log);
    let (root, stats) = tree::edit(&reader, &mut run.writer, &parameters, &mark::root(&log), changes)?;
    let exceptions = build_exceptions(run, names, appended.exceptions)?;
    let log = mark::named(&names.log, root, digest.encode().to_vec());
    Ok(Trees { log, exceptions, view: View::Current, duplicates, added: stats.added, removed: 0 })
}

/// The t of what happened last, as far as is known before the datoms are seen, in the form it has in keys: the source may
/// state one that only retracted; without transactions it is one later than the parent's.
fn latest_t(times: Times, log: &NamedRoot) -> [u8; 8] {
    if times.timeless {
        let newest = Summary::decode(&log.summary).ok().filter(|_| log.records > 0).map_or(0, |summary| summary.t_max);
        return number_bound(newest.saturating_add(1));
    }
    times.max_t.map_or([0; 8], number_bound)
}

/// Hands out the rows of a sorter as keys and hashes.
fn each_hashed(mut rows: Sorted, mut take: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
    while let Some(row) = rows.next()? {
        let (key, hash) = row.split_last_chunk::<HASH_LEN>().ok_or_else(short_key)?;
        take(key, u64::from_be_bytes(*hash))?;
    }
    Ok(())
}

fn build_log(
    run: &mut Run<'_>,
    names: &RootNames,
    mut datoms: Sorted,
    mut folding: Option<&mut ViewOrder>,
) -> Result<(Root, Digest, u64)> {
    run.observer.event(Event::Stage { name: "storing datoms", total: Some(datoms.len()) });
    let parameters = run.writer.repository().tree_parameters(&Datoms);
    resemble_parent(run, &names.log);
    let mut builder = Builder::new(&parameters);
    let mut digest = Digest::new();
    let (mut done, mut duplicates) = (0_u64, 0);
    while let Some(row) = datoms.next()? {
        let (key, hash) = row.split_last_chunk::<HASH_LEN>().ok_or_else(short_key)?;
        match builder.push(&mut run.writer, key, &[])? {
            Pushed::Duplicate => duplicates += 1,
            Pushed::New => {
                digest.add_hash(u64::from_be_bytes(*hash));
                if let Some(folding) = &mut folding {
                    folding.push(key)?;
                }
            }
        }
        done += 1;
        if done.is_multiple_of(RECORDS_PER_TICK) {
            run.observer.event(Event::Progress { done });
            run.maybe_partial(|writer| {
                let none = Root::empty(parameters.kind().code());
                let mut roots = names.done.clone();
                roots.push(mark::named(&names.log, builder.checkpoint(writer)?, digest.encode().to_vec()));
                roots.push(mark::named(&names.exceptions, none, Digest::new().encode().to_vec()));
                Ok(roots)
            })?;
        }
    }
    Ok((builder.finish(&mut run.writer)?, digest, duplicates))
}

fn build_exceptions(run: &mut Run<'_>, names: &RootNames, mut keys: Sorted) -> Result<NamedRoot> {
    let parameters = run.writer.repository().tree_parameters(&Datoms);
    resemble_parent(run, &names.exceptions);
    let mut builder = Builder::new(&parameters);
    let mut digest = Digest::new();
    if !keys.is_empty() {
        run.writer.flush()?;
    }
    let reader = run.writer.repository().reader();
    while let Some(key) = keys.next()? {
        digest.add_hash(values::hash(&reader, key)?);
        let _: Pushed = builder.push(&mut run.writer, key, &[])?;
    }
    Ok(mark::named(&names.exceptions, builder.finish(&mut run.writer)?, digest.encode().to_vec()))
}

/// New nodes of a tree are compared with the parent's tree of that name.
pub(super) fn resemble_parent(run: &mut Run<'_>, name: &str) {
    let parameters = run.writer.repository().tree_parameters(&Datoms);
    let older = run.parent.as_ref().and_then(|parent| parent.roots.iter().find(|root| root.name == name));
    let older = older.map_or_else(|| Root::empty(parameters.kind().code()), mark::root);
    run.writer.resemble(&parameters, &older);
}

/// How many datoms the parent's log lacks, and how many of its own are gone.
fn compare_with_parent(run: &mut Run<'_>, names: &RootNames, log: &Root) -> Result<(u64, u64)> {
    let old = run.parent.as_ref().and_then(|parent| names.in_snapshot(parent));
    let Some((_, old, _)) = old else { return Ok((log.records, 0)) };
    if run.options.dry_run {
        return Ok((log.records.saturating_sub(old.records), old.records.saturating_sub(log.records)));
    }
    run.writer.flush()?;
    let reader = run.writer.repository().reader();
    let parameters = run.writer.repository().tree_parameters(&Datoms);
    let (mut added, mut removed) = (0, 0);
    tree::diff(&reader, &parameters, &mark::root(&old), log, &mut |item| {
        match item {
            tree::DiffItem::Added { .. } => added += 1,
            tree::DiffItem::Removed { .. } => removed += 1,
            tree::DiffItem::Changed { .. } => {}
        }
        Ok(())
    })?;
    Ok((added, removed))
}

fn view_order(
    run: &Run<'_>,
    reader: &dyn tree::ReadNode,
    parameters: &tree::TreeParameters,
    root: &Root,
) -> Result<Sorted> {
    let mut order = ViewOrder::new(run.sorter_options(4));
    let mut walker = tree::Walker::new(reader, parameters, root, tree::KeyRange::all())?;
    while let Some((key, _)) = walker.next_record()? {
        order.push(key)?;
    }
    order.finish()
}

/// A state's view keys, noticing when one fact stands at two transactions.
struct Unique {
    keys: Sorted,
    last: Vec<u8>,
    repeated: bool,
}

impl KeyStream for Unique {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        let Some(key) = self.keys.next()? else { return Ok(None) };
        let fact = view_fact(key);
        self.repeated |= self.last == fact;
        self.last.clear();
        self.last.extend_from_slice(fact);
        Ok(Some(key))
    }
}

fn short_key() -> Error {
    Error::new(ErrorKind::Failed, "datom key", "too short")
}
