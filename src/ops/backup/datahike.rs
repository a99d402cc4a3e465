//! A Datahike database into the trees of its branches.

use std::collections::BTreeMap;

use super::cursor;
use super::datoms::{Trees, sort_key};
use super::increment::{self, Known};
use super::log::{RootNames, Times, from_history, from_state};
use super::run::{RECORDS_PER_TICK, Run, Stored};
use crate::datahike::{Head, Secret};
use crate::error::Result;
use crate::format::{NamedRoot, SourceDescription};
use crate::ops::datoms::{branch_property, consistency_point};
use crate::progress::Event;
use crate::record::datom::Datom;
use crate::sorter::{Sorter, SorterOptions};
use crate::source::datahike::{self as source, BranchReading, Datahike, FullReason, LeafTable, Part};
use crate::source::datoms::View;

/// A Datahike database in its store.
#[derive(Clone, Debug)]
pub struct DatahikeSource {
    /// Where the store is, without `datahike:` before it.
    pub location: String,
    /// How to read it.
    pub options: source::Options,
    /// Read everything, whatever the parent snapshot knows.
    pub full: bool,
    /// Read everything when so many increments follow one another, this one among them, and compare; 0 for never.
    pub full_every: u32,
}

/// Increments in a row before everything is read again.
const FULL_EVERY: u32 = 10;

impl DatahikeSource {
    /// All branches of the database at a location; `secret` where the store is encrypted.
    pub fn new(location: impl Into<String>, secret: Option<Secret>) -> Self {
        let options = source::Options { secret, ..source::Options::default() };
        Self { location: location.into(), options, full: false, full_every: FULL_EVERY }
    }

    pub(super) fn location(&self) -> String {
        format!("datahike:{}", crate::datahike::home::absolute(&self.location))
    }
}

pub(super) fn store(run: &mut Run<'_>, source: &DatahikeSource) -> Result<Stored> {
    let database = Datahike::open(&source.location, source.options.clone())?;
    let branches = database.branches()?;
    if let Some(id) =
        branches.first().map(|branch| database.store().head(branch)).transpose()?.and_then(|head| head.database_id())
    {
        run.of_database(id);
    }
    let known = Known::of_parent(run, source);
    if let Some(why) = &known.full {
        run.observer.event(Event::Note(why));
    }
    let mut all = All { notes: gone_branches(run, &database, &branches)?, ..All::default() };
    for branch in &branches {
        let (reading, trees) = store_branch(run, &database, &known, branch, &mut all)?;
        all.add(branch, reading, trees);
    }
    let increments = match (all.is_increment, all.is_compare_due) {
        (true, _) => known.increments.saturating_add(1),
        // So that the next run compares.
        (false, true) => known.increments,
        (false, false) => 0,
    };
    let kept = cursor::keep(run.writer.repository(), &all.tables, &all.roots, increments);
    run.keep_cursor(kept);
    let names: Vec<_> = branches.iter().map(|branch| format!(":{branch}")).collect();
    all.properties.insert("branches".to_owned(), format!("[{}]", names.join(" ")));
    let consistency_point = consistency_point(all.points.iter().map(|(branch, t)| (branch.as_str(), *t)));
    let mut options = vec![("format".to_owned(), "datahike".to_owned())];
    options.extend(source.options.branches.iter().map(|branch| ("branch".to_owned(), format!(":{branch}"))));
    Ok(Stored {
        sources: vec![SourceDescription { location: source.location(), options, consistency_point, atomic: true }],
        properties: all.properties.into_iter().collect(),
        skipped_count: all.problems.len() as u64,
        skipped: all.problems,
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

/// A note for each branch that the parent has and the database no longer has.
fn gone_branches(run: &Run<'_>, database: &Datahike, read: &[String]) -> Result<Vec<(String, u64)>> {
    let held = run.parent.as_ref().map_or_else(Vec::new, crate::ops::datoms::branches);
    let mut missing: Vec<String> = held.into_iter().map(str::to_owned).collect();
    missing.retain(|branch| !read.contains(branch));
    if !missing.is_empty() {
        // Others may only not have been asked for.
        let all = database.store().branches()?;
        missing.retain(|branch| !all.contains(branch));
    }
    let note = |branch| (format!("the database no longer has branch :{branch}, which the parent snapshot has"), 1);
    Ok(missing.into_iter().map(note).collect())
}

/// A branch from its parent where that can be told, else from all there is; both where that is to be compared.
fn store_branch(
    run: &mut Run<'_>,
    database: &Datahike,
    known: &Known,
    branch: &str,
    all: &mut All,
) -> Result<(BranchReading, Trees)> {
    if run.parent.is_some() && known.full.is_none() {
        match increment::tell(run, database, known, branch, None)? {
            Ok(told) => {
                all.is_increment = true;
                return Ok((told.reading, told.trees));
            }
            Err(why) => {
                run.observer.event(Event::Note(&format!("branch :{branch} is read from its beginning: {why}")));
            }
        }
    }
    let (reading, trees) = store_whole(run, database, branch, all.roots.clone())?;
    if run.parent.is_some() && known.full.is_some() && known.has(branch) {
        compare(run, database, known, (branch, &reading, &trees), all)?;
    }
    Ok((reading, trees))
}

/// Compares a branch that was read with what the increment up to the same head gives.
fn compare(
    run: &mut Run<'_>,
    database: &Datahike,
    known: &Known,
    (branch, reading, trees): (&str, &BranchReading, &Trees),
    all: &mut All,
) -> Result<()> {
    let told = match increment::tell(run, database, known, branch, Some(reading))? {
        Ok(told) => told,
        Err(why) => {
            // What the database did meanwhile says nothing of the increments before.
            all.is_compare_due |= matches!(why, FullReason::Store(_));
            run.observer.event(Event::Note(&format!("branch :{branch} could not be compared: {why}")));
            return Ok(());
        }
    };
    if (&told.trees.log, &told.trees.exceptions) == (&trees.log, &trees.exceptions) {
        run.observer.event(Event::Note(&format!("branch :{branch}: the increment gives the same")));
        return Ok(());
    }
    let object = database.store().object(&format!("branch :{branch}"));
    let why = "the increments since everything was read last have missed something: snapshots since then are wrong, this \
               one is not";
    run.observer.event(Event::Problem { object: &object, message: why });
    all.problems.push((object, why.to_owned()));
    Ok(())
}

fn store_whole(
    run: &mut Run<'_>,
    database: &Datahike,
    branch: &str,
    done: Vec<NamedRoot>,
) -> Result<(BranchReading, Trees)> {
    let message = format!("reading branch :{branch}");
    run.observer.event(Event::Stage { name: &message, total: None });
    let (reading, current, history) = read(run, database, branch)?;
    let names = RootNames::of_branch(branch).after(done);
    let trees = match history {
        Some(history) => from_history(run, &names, history.finish()?, Some(current.finish()?))?,
        None => {
            let times = Times { timeless: false, max_t: Some(reading.head.max_tx) };
            from_state(run, &names, current.finish()?, View::Current, times)?
        }
    };
    Ok((reading, trees))
}

/// What all branches came to.
#[derive(Default)]
struct All {
    tables: BTreeMap<String, LeafTable>,
    is_increment: bool,
    /// A branch that was to be compared with its increments could not be.
    is_compare_due: bool,
    problems: Vec<(String, String)>,
    roots: Vec<NamedRoot>,
    properties: BTreeMap<String, String>,
    /// The greatest transaction of each branch.
    points: Vec<(String, i64)>,
    notes: Vec<(String, u64)>,
    figures: BTreeMap<&'static str, u64>,
    records: u64,
    added: u64,
    removed: u64,
}

impl All {
    fn add(&mut self, branch: &str, reading: BranchReading, trees: Trees) {
        for (name, value) in reading.properties() {
            self.properties.insert(branch_property(branch, &name), value);
        }
        self.points.push((branch.to_owned(), reading.head.max_tx));
        for stats in [&reading.current, &reading.temporal] {
            *self.figures.entry("leaves_read").or_default() += stats.leaves;
            *self.figures.entry("nodes_read").or_default() += stats.leaves + stats.branches;
            *self.figures.entry("nodes_verified").or_default() += stats.verified;
        }
        *self.figures.entry("attempts").or_default() += u64::from(reading.attempts);
        self.notes.extend(reading.notes);
        self.tables.insert(branch.to_owned(), reading.table);
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
