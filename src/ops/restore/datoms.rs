//! Restoring datoms: history or state, all or in part, now or as of an earlier time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::Snapshot;
use crate::id::SnapshotId;
use crate::ops::attributes::{AttributeFilter, canonical};
use crate::ops::datoms::{
    Current, DumpOrder, Fold, KeyStream, Past, TimePoint, TimeResolver, ViewOrder, Window, attribute_len,
    branch_properties, find_roots, log_key,
};
use crate::ops::{mark, values};
use crate::progress::{Event, Observer};
use crate::record::datom::{self, Attribute, Datoms, KeyParts, Summary, Value};
use crate::repository::{Reader, Repository};
use crate::sorter::{Sorter, SorterOptions};
use crate::target::datoms::{self as target, DatomTarget, Description, Location, Order, Written};
use crate::tree::{KeyRange, Root, TreeParameters, Walker};

/// How often progress is told.
const RECORDS_PER_TICK: u64 = 1 << 16;

/// What of a snapshot is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// What the source was: its history, or its state where it had no history.
    #[default]
    AsBackedUp,
    /// Every datom with its transaction, retractions too.
    History,
    /// What was true at the end.
    Current,
}

/// Which datoms, and how.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The branch, where the snapshot is of a database with branches; the main one by default.
    pub branch: Option<String>,
    /// History or state.
    pub view: View,
    /// The database as of this point: nothing later.
    pub as_of: Option<TimePoint>,
    /// Only what is later than this point.
    pub since: Option<TimePoint>,
    /// Nothing later than this point.
    pub until: Option<TimePoint>,
    /// Only these entities; all when empty.
    pub entities: Vec<i64>,
    /// Only these attributes.
    pub attributes: AttributeFilter,
    /// How the target is written.
    pub target: target::Options,
    /// Anonymous memory that sorting may take, roughly.
    pub memory_bytes: usize,
    /// Where sorted runs are spilled; the system's temporary folder by default.
    pub temporary: Option<PathBuf>,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            branch: None,
            view: View::AsBackedUp,
            as_of: None,
            since: None,
            until: None,
            entities: Vec::new(),
            attributes: AttributeFilter::default(),
            target: target::Options::default(),
            memory_bytes: 128 << 20,
            temporary: None,
        }
    }
}

/// What a restore did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestoreSummary {
    /// The snapshot it is from.
    pub snapshot: SnapshotId,
    /// Datoms written.
    pub datoms: u64,
    /// Bytes written.
    pub bytes: u64,
    /// The state rather than the history.
    pub current: bool,
    /// What the target's format cannot hold: what, and how often.
    pub notes: BTreeMap<String, u64>,
}

/// Writes a snapshot's datoms, or those that the options choose, to `location`. Every byte is verified before it is
/// written; after an error nothing that looks complete is left there.
pub async fn restore(
    repository: &Repository,
    snapshot: SnapshotId,
    location: Location,
    options: RestoreOptions,
    observer: Arc<dyn Observer>,
) -> Result<RestoreSummary> {
    let repository = repository.clone();
    crate::ops::blocking(move || {
        let snapshot = crate::ops::open_snapshot(&repository, snapshot)?;
        let mut restore = Restore::new(&repository, &snapshot, &options, &*observer)?;
        let (written, current) = restore.run(&location)?;
        Ok(RestoreSummary {
            snapshot: snapshot.id,
            datoms: written.datoms,
            bytes: written.bytes,
            current,
            notes: written.notes,
        })
    })
    .await
}

/// A snapshot's log and exceptions, for reading.
pub(super) struct Restore<'a> {
    reader: Reader,
    parameters: TreeParameters,
    snapshot: &'a Snapshot,
    log: Root,
    exceptions: Root,
    options: &'a RestoreOptions,
    observer: &'a dyn Observer,
}

impl<'a> Restore<'a> {
    /// Of the branch that the options name.
    pub(super) fn new(
        repository: &Repository,
        snapshot: &'a Snapshot,
        options: &'a RestoreOptions,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        let (log, exceptions) = find_roots(snapshot, options.branch.as_deref())?;
        Ok(Self {
            reader: repository.reader(),
            parameters: repository.tree_parameters(&Datoms),
            snapshot,
            log: mark::root(log),
            exceptions: mark::root(exceptions),
            options,
            observer,
        })
    }

    /// Records of the log.
    pub(super) fn records(&self) -> u64 {
        self.log.records
    }

    /// Where long values are read.
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The t that `--as-of` stands for, `Some(None)` before the first transaction.
    pub(super) fn as_of(&self) -> Result<Option<Option<i64>>> {
        self.options.as_of.map(|point| self.resolve(point)).transpose()
    }

    /// Tells when the t that `--as-of` stands for is before the first transaction: there was nothing then.
    pub(super) fn tell_if_empty(&self, as_of: Option<Option<i64>>) -> Result<()> {
        let Some(as_of) = as_of.filter(|_| self.log.records > 0) else { return Ok(()) };
        let summary = Summary::decode(&self.log.summary).map_err(|e| Error::damaged("tree log", e))?;
        if as_of.is_none_or(|t| t < summary.t_min) {
            let of = self.options.branch.as_ref().map(|branch| format!(" of branch :{branch}")).unwrap_or_default();
            let message = format!(
                "the time asked for is before the first transaction{of} in the snapshot, {}: nothing was there yet",
                summary.t_min
            );
            self.observer.event(Event::Note(&message));
        }
        Ok(())
    }

    /// Every key of the log in a window.
    pub(super) fn each_log(&self, window: Window, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.each(&self.log, window, take)
    }

    /// Every exception.
    pub(super) fn each_exception(&self, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.each(&self.exceptions, Window::all(), take)
    }

    fn run(&mut self, location: &Location) -> Result<(Written, bool)> {
        let current = match self.options.view {
            View::Current => true,
            View::History => false,
            View::AsBackedUp => self.properties().get("view").is_some_and(|view| view == "current"),
        };
        let as_of = self.as_of()?;
        self.tell_if_empty(as_of)?;
        let until = self.options.until.map(|point| self.resolve(point)).transpose()?;
        let since = self.options.since.map(|point| self.resolve(point)).transpose()?;
        let mut window = Window::all();
        for until in [as_of, until].into_iter().flatten() {
            window = window.until(until);
        }
        if let Some(since) = since {
            window = window.since(since);
        }
        let description = Description { history: !current, properties: self.properties() };
        let mut out = target::create(location, &self.options.target, &description)?;
        if current {
            self.write_current(&mut *out, window)?;
        } else {
            self.write_history(&mut *out, window)?;
        }
        Ok((out.finish()?, current))
    }

    /// What the snapshot tells about the database, or about the branch.
    pub(super) fn properties(&self) -> BTreeMap<String, String> {
        let all = self.snapshot.properties.iter().map(|(name, value)| (name, value));
        branch_properties(all, self.options.branch.as_deref())
    }

    fn write_history(&self, out: &mut dyn DatomTarget, window: Window) -> Result<()> {
        self.observer.event(Event::Stage { name: "restoring history", total: Some(self.log.records) });
        match out.order() {
            Order::Dump => {
                let mut emit = |key: &[u8]| out.put(&values::datom(&self.reader, key)?);
                let is_instant = self.instant_test()?;
                let mut order = DumpOrder::new(self.sorter(1), &is_instant, &attribute_len);
                self.each(&self.log, window, &mut |key| order.push(key, &mut emit))?;
                order.finish(&mut emit)
            }
            Order::Transaction => self.each(&self.log, window, &mut |key| out.put(&values::datom(&self.reader, key)?)),
            Order::Entity => {
                let mut order = ViewOrder::new(self.sorter(1));
                self.each(&self.log, window, &mut |key| order.push(key))?;
                self.emit_view(out, &mut order.finish()?)
            }
        }
    }

    fn write_current(&self, out: &mut dyn DatomTarget, window: Window) -> Result<()> {
        self.observer.event(Event::Stage { name: "folding history", total: Some(self.log.records) });
        let mut log = ViewOrder::new(self.sorter(3));
        self.each(&self.log, window, &mut |key| log.push(key))?;
        let mut exceptions = ViewOrder::new(self.sorter(3));
        self.each(&self.exceptions, Window::all(), &mut |key| exceptions.push(key))?;
        let (log, exceptions) = (log.finish()?, exceptions.finish()?);
        self.observer.event(Event::Stage { name: "restoring current state", total: None });
        match self.past(window)? {
            Shape::Now => self.emit_state(out, &mut Current::new(Fold::new(log), exceptions)),
            Shape::Past(t) => self.emit_state(out, &mut Past::new(log, exceptions, datom::number_bound(t))),
            Shape::Part => self.emit_state(out, &mut Fold::new(log)),
        }
    }

    /// Whether a window ends at the present, in the past, or does not begin at the beginning.
    pub(super) fn past(&self, window: Window) -> Result<Shape> {
        let Some((first, last)) = window.bounds() else { return Ok(Shape::Part) };
        let greatest = if self.log.records == 0 {
            i64::MIN
        } else {
            let summary = Summary::decode(&self.log.summary).map_err(|e| Error::damaged("tree log", e))?;
            summary.t_max
        };
        Ok(match (first, last) {
            (i64::MIN, last) if last >= greatest => Shape::Now,
            (i64::MIN, last) => Shape::Past(last),
            _ => Shape::Part,
        })
    }

    /// View keys to the target, in the order that it wants.
    fn emit_state(&self, out: &mut dyn DatomTarget, state: &mut dyn KeyStream) -> Result<()> {
        if out.order() == Order::Entity {
            return self.emit_view(out, state);
        }
        let mut by_transaction = Sorter::new(self.sorter(3));
        let mut key = Vec::new();
        while let Some(view) = state.next()? {
            log_key(view, &mut key)?;
            by_transaction.push(&key)?;
        }
        let mut keys = by_transaction.finish()?;
        let dump = out.order() == Order::Dump;
        let mut emit = |key: &[u8]| out.put(&values::datom(&self.reader, key)?);
        if !dump {
            return keys.for_each(emit);
        }
        let is_instant = self.instant_test()?;
        let mut order = DumpOrder::new(self.sorter(3), &is_instant, &attribute_len);
        keys.for_each(|key| order.push(key, &mut emit))?;
        order.finish(&mut emit)
    }

    fn emit_view(&self, out: &mut dyn DatomTarget, state: &mut dyn KeyStream) -> Result<()> {
        let mut key = Vec::new();
        let mut done = 0_u64;
        while let Some(view) = state.next()? {
            log_key(view, &mut key)?;
            out.put(&values::datom(&self.reader, &key)?)?;
            done += 1;
            if done.is_multiple_of(RECORDS_PER_TICK) {
                self.observer.event(Event::Progress { done });
            }
        }
        Ok(())
    }

    /// Every key of a tree that is in the window and chosen by entity and attribute; only leaves that may hold such are
    /// read.
    fn each(&self, root: &Root, window: Window, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let Some((first, last)) = window.bounds() else { return Ok(()) };
        let to = last.checked_add(1).map(|end| datom::number_bound(end).to_vec());
        let range = KeyRange { from: datom::number_bound(first).to_vec(), to };
        let filter = &self.options.attributes;
        let entities = &self.options.entities;
        let everything = entities.is_empty() && filter.contains(&[]);
        let mut walker = Walker::new(&self.reader, &self.parameters, root, range)?.only(|bytes| {
            Summary::decode(bytes).is_ok_and(|summary| {
                filter.may_be_in(&summary)
                    && (entities.is_empty() || entities.iter().any(|e| summary.may_contain_e(*e..=*e)))
            })
        });
        let mut done = 0_u64;
        while let Some((node, rows)) = walker.next_leaf()? {
            for row in rows {
                let key = node.rows.key(row);
                if everything || self.wants(&split(key)?) {
                    take(key)?;
                }
            }
            done += node.rows.len() as u64;
            if done % RECORDS_PER_TICK < node.rows.len() as u64 {
                self.observer.event(Event::Progress { done });
            }
        }
        Ok(())
    }

    fn wants(&self, key: &KeyParts<'_>) -> bool {
        let entities = &self.options.entities;
        (entities.is_empty() || entities.contains(&key.e)) && self.options.attributes.contains(key.a)
    }

    /// The t that a point in time stands for; `None` before the first transaction.
    fn resolve(&self, point: TimePoint) -> Result<Option<i64>> {
        let mut resolver = TimeResolver::new(point);
        if resolver.needs_instants() {
            self.each_instant(&mut |t, ms| resolver.push(t, ms))?;
        }
        Ok(resolver.finish())
    }

    /// Every transaction with its `:db/txInstant`.
    fn each_instant(&self, take: &mut dyn FnMut(i64, i64)) -> Result<()> {
        let instants = self.instant_attributes()?;
        let mut walker = Walker::new(&self.reader, &self.parameters, &self.log, KeyRange::all())?.only(|bytes| {
            let summary = Summary::decode(bytes);
            summary.is_ok_and(|s| instants.iter().any(|attribute| s.may_contain_attribute(attribute)))
        });
        while let Some((key, _)) = walker.next_record()? {
            let parts = split(key)?;
            if !parts.added || !instants.iter().any(|attribute| attribute == parts.a) {
                continue;
            }
            let v = datom::decode_value(parts.v).map_err(|e| Error::damaged("datom key", e))?;
            if let Value::Instant(ms) = v {
                take(parts.e, ms);
            }
        }
        Ok(())
    }

    /// Canonical bytes of `:db/txInstant`: the keyword, or where attributes are ids, the entity with that ident.
    fn instant_attributes(&self) -> Result<Vec<Vec<u8>>> {
        let keyword = canonical(Attribute::Keyword("db/txInstant".into()))?;
        let summary = Summary::decode(&self.log.summary);
        if summary.is_ok_and(|summary| summary.may_contain_attribute(&keyword)) {
            return Ok(vec![keyword]);
        }
        let mut attributes = vec![keyword];
        let mut walker = Walker::new(&self.reader, &self.parameters, &self.log, KeyRange::all())?;
        while let Some((key, _)) = walker.next_record()? {
            let parts = split(key)?;
            let names_it = datom::decode_value(parts.v).is_ok_and(|v| v == Value::Keyword("db/txInstant".into()));
            if names_it {
                attributes.push(canonical(Attribute::Id(parts.e))?);
            }
        }
        Ok(attributes)
    }

    /// Tells the key of a transaction's own `:db/txInstant`.
    fn instant_test(&self) -> Result<impl Fn(&[u8]) -> bool + use<>> {
        let attributes = if self.log.records == 0 { Vec::new() } else { self.instant_attributes()? };
        Ok(move |key: &[u8]| {
            datom::split_key(key).is_ok_and(|parts| parts.e == parts.t && attributes.iter().any(|a| a == parts.a))
        })
    }

    pub(super) fn sorter(&self, parts: usize) -> SorterOptions {
        SorterOptions { memory_bytes: self.options.memory_bytes / parts, directory: self.options.temporary.clone() }
    }
}

/// How much of time a window takes in.
pub(super) enum Shape {
    /// All.
    Now,
    /// All up to a t.
    Past(i64),
    /// Not the beginning.
    Part,
}

fn split(key: &[u8]) -> Result<KeyParts<'_>> {
    datom::split_key(key).map_err(|e| Error::damaged("datom key", e))
}
