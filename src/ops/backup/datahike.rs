//! A Datahike database into the trees of its branches.

use std::collections::BTreeMap;

use super::datoms::{Trees, sort_key};
use super::log::{RootNames, from_history, from_state};
use super::run::{RECORDS_PER_TICK, Run, Stored};
use crate::datahike::{Head, Secret};
use crate::error::Result;
use crate::format::{NamedRoot, SourceDescription};
use crate::progress::Event;
use crate::record::datom::Datom;
use crate::sorter::{Sorter, SorterOptions};
use crate::source::datahike::{self as source, BranchReading, Datahike, Part};
use crate::source::datoms::View;

/// A Datahike database in its store.
#[derive(Clone, Debug)]
pub struct DatahikeSource {
    /// Where the store is, without `datahike:` before it.
    pub location: String,
    /// How to read it.
    pub options: source::Options,
}

impl DatahikeSource {
    /// All branches of the database at a location; `secret` where the store is encrypted.
    pub fn new(location: impl Into<String>, secret: Option<Secret>) -> Self {
        Self { location: location.into(), options: source::Options { secret, ..source::Options::default() } }
    }

    pub(super) fn location(&self) -> String {
        format!("datahike:{}", crate::datahike::home::without_secrets(&self.location))
    }
}

pub(super) fn store(run: &mut Run<'_>, source: &DatahikeSource) -> Result<Stored> {
    let database = Datahike::open(&source.location, source.options.clone())?;
    let branches = database.branches()?;
    let mut all = All::default();
    for branch in &branches {
        let message = format!("reading branch :{branch}");
        run.observer.event(Event::Stage { name: &message, total: None });
        let (reading, current, history) = read(run, &database, branch)?;
        let names = RootNames::of_branch(branch).after(all.roots.clone());
        let trees = match history {
            Some(history) => from_history(run, &names, history.finish()?, Some(current.finish()?))?,
            None => from_state(run, &names, current.finish()?, View::Current)?,
        };
        all.add(branch, reading, trees);
    }
    let names: Vec<_> = branches.iter().map(|branch| format!(":{branch}")).collect();
    all.properties.insert("branches".to_owned(), format!("[{}]", names.join(" ")));
    let consistency_point = all.consistency_point;
    let mut options = vec![("format".to_owned(), "datahike".to_owned())];
    options.extend(source.options.branches.iter().map(|branch| ("branch".to_owned(), format!(":{branch}"))));
    Ok(Stored {
        sources: vec![SourceDescription { location: source.location(), options, consistency_point, atomic: true }],
        properties: all.properties.into_iter().collect(),
        skipped: Vec::new(),
        skipped_count: 0,
        notes: all.notes,
        bytes_read: source::bytes_read(database.store().home()),
        records_new: all.added,
        records_removed: all.removed,
        records_unmodified: all.records - all.added.min(all.records),
        duplicates: 0,
        figures: all.figures.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        roots: all.roots,
    })
}

/// What all branches came to.
#[derive(Default)]
struct All {
    roots: Vec<NamedRoot>,
    properties: BTreeMap<String, String>,
    consistency_point: String,
    notes: Vec<(String, u64)>,
    figures: BTreeMap<&'static str, u64>,
    records: u64,
    added: u64,
    removed: u64,
}

impl All {
    fn add(&mut self, branch: &str, reading: BranchReading, trees: Trees) {
        for (name, value) in reading.properties() {
            let name = if source::is_main(branch) { name } else { format!("branch/{branch}/{name}") };
            self.properties.insert(name, value);
        }
        let point = match source::is_main(branch) {
            true => format!("t {}", reading.head.max_tx),
            false => format!(":{branch} t {}", reading.head.max_tx),
        };
        self.consistency_point.push_str(if self.consistency_point.is_empty() { "" } else { ", " });
        self.consistency_point.push_str(&point);
        for stats in [&reading.current, &reading.temporal] {
            *self.figures.entry("leaves_read").or_default() += stats.leaves;
            *self.figures.entry("nodes_read").or_default() += stats.leaves + stats.branches;
            *self.figures.entry("nodes_verified").or_default() += stats.verified;
        }
        *self.figures.entry("attempts").or_default() += u64::from(reading.attempts);
        self.notes.extend(reading.notes);
        self.records += trees.log.records;
        self.added += trees.added;
        self.removed += trees.removed;
        self.roots.extend([trees.log, trees.exceptions]);
    }
}

/// Reads a branch into sorted keys: what is current, and the history where it is kept.
fn read(run: &mut Run<'_>, database: &Datahike, branch: &str) -> Result<(BranchReading, Sorter, Option<Sorter>)> {
    let sorter = run.sorter_options(2);
    let mut sorting =
        Sorting { current: Sorter::new(sorter.clone()), history: None, sorter, key: Vec::new(), count: 0, run };
    let reading = database.read(branch, &mut sorting)?;
    Ok((reading, sorting.current, sorting.history))
}

struct Sorting<'r, 'a> {
    current: Sorter,
    history: Option<Sorter>,
    sorter: SorterOptions,
    key: Vec<u8>,
    count: u64,
    run: &'r mut Run<'a>,
}

impl source::Sink for Sorting<'_, '_> {
    fn start(&mut self, head: &Head) -> Result<()> {
        self.current = Sorter::new(self.sorter.clone());
        self.history = head.keeps_history().then(|| Sorter::new(self.sorter.clone()));
        self.count = 0;
        Ok(())
    }

    fn datom(&mut self, part: Part, datom: &Datom<'_>) -> Result<()> {
        sort_key(&mut self.run.writer, datom, &mut self.key)?;
        if part != Part::Current
            && let Some(history) = &mut self.history
        {
            history.push(&self.key)?;
        }
        if part != Part::History {
            self.current.push(&self.key)?;
        }
        self.count += 1;
        if self.count.is_multiple_of(RECORDS_PER_TICK) {
            self.run.observer.event(Event::Progress { done: self.count });
        }
        Ok(())
    }
}
