//! One run of a copy: which snapshots, compared with which, under which names.

use std::collections::{HashMap, HashSet};

use super::content::Contents;
use super::shares::{COPIED_SHARD, Shares};
use super::trees::{Pair, Trees, find};
use super::{Copied, CopyOptions, CopyReport};
use super::{Shard, shares};
use crate::chunker::Chunker;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, ObjectPath, Snapshot, Status};
use crate::id::{SnapshotId, hex};
use crate::ops::derived::{self, COPIED_FROM, property, set_property};
use crate::ops::mark;
use crate::progress::{Event, Observer};
use crate::repository::{Repository, Writer, WriterOptions};
use crate::tree::Root;

/// Property of a partial copy: the key up to which its tree is that of the snapshot which is being copied.
pub(super) const COPIED_UNTIL: &str = "copied-until";
/// Property of a partial copy: the snapshot with whose copy it began; empty for none.
const COPIED_BASE: &str = "copied-base";

pub(super) fn run(
    from: &Repository,
    to: &Repository,
    options: &CopyOptions,
    observer: &dyn Observer,
) -> Result<CopyReport> {
    let source = from.snapshots()?.into_live()?;
    if options.dry_run {
        let there = to.snapshots()?;
        let (wanted, present) = plan(from, to, options, &source, &there.live())?;
        let shards_missing = shares_missing(from, to, options, &wanted, &present, &there.live());
        let copied = wanted.into_iter().map(|snapshot| Copied { source: snapshot.id, snapshot }).collect();
        return Ok(CopyReport { copied, present, shards_missing, ..CopyReport::default() });
    }
    // After the snapshots, so that it has everything they reach.
    from.load_index(&from.gc_records()?)?;
    let compression_level = options.compression_level;
    let writer = to.writer(WriterOptions { compression_level, ..WriterOptions::default() })?;
    let there: Vec<Snapshot> = writer.snapshots().live().into_iter().cloned().collect();
    let (wanted, present) = plan(from, to, options, &source, &there.iter().collect::<Vec<_>>())?;
    let sizes = to.config().chunker.sizes().map_err(|e| Error::damaged(ObjectPath::config(), e))?;
    let reader = from.reader();
    let contents = Contents::new(reader.clone(), Chunker::new(to.keys().gear(), sizes));
    let shares = Shares::default();
    let trees = Trees { contents, source: reader, copy: to.reader(), options, observer, records: 0, shares };
    let copies = pairs(from, options, &source, &there);
    let mut run = Run { from, to, writer, trees, there, copies, last: HashMap::new(), report: CopyReport::default() };
    for snapshot in &wanted {
        let name = format!("copying snapshot {}", snapshot.id.short());
        observer.event(Event::Stage { name: &name, total: None });
        run.trees.records = 0;
        run.copy(snapshot, &source)?;
    }
    run.report.bytes_read = run.trees.contents.bytes_read;
    run.report.written = run.writer.statistics();
    run.writer.abandon()?;
    if options.shard.is_some() {
        run.report.shards_missing = shares_missing(from, to, options, &wanted, &present, &to.snapshots()?.live());
    }
    run.report.present = present;
    Ok(run.report)
}

/// The parts that have not ended for all of these snapshots.
fn shares_missing(
    from: &Repository,
    to: &Repository,
    options: &CopyOptions,
    wanted: &[Snapshot],
    present: &[(SnapshotId, SnapshotId)],
    there: &[&Snapshot],
) -> Vec<u32> {
    let Some(shard) = options.shard else { return Vec::new() };
    let complete = complete(to, there);
    let names = wanted.iter().map(|snapshot| snapshot.id).chain(present.iter().map(|(source, _)| *source));
    let names: Vec<String> = names.map(|id| name(from, id)).filter(|name| !complete.contains_key(name)).collect();
    let done: HashSet<(&str, Option<&str>)> = there
        .iter()
        .filter(|copy| shares::is_share(copy))
        .filter_map(|copy| Some((property(copy, COPIED_FROM)?, property(copy, COPIED_SHARD))))
        .collect();
    let has_all = |k: &u32| {
        let share = Shard::new(*k, shard.n()).map(|shard| shard.to_string()).ok();
        names.iter().all(|name| done.contains(&(name.as_str(), share.as_deref())))
    };
    (1..=shard.n()).filter(|k| !has_all(k)).collect()
}

/// The complete copies by what they are copies of, and the snapshots of the repository itself by their names.
fn complete(to: &Repository, there: &[&Snapshot]) -> HashMap<String, SnapshotId> {
    let mut by_name = HashMap::new();
    for snapshot in there.iter().filter(|snapshot| snapshot.status == Status::Complete) {
        by_name.insert(name(to, snapshot.id), snapshot.id);
        by_name.extend(property(snapshot, COPIED_FROM).map(|name| (name.to_owned(), snapshot.id)));
    }
    by_name
}

/// The snapshots to copy, and those that are there already with what they are there.
#[allow(clippy::type_complexity, reason = "the two halves of a plan")]
fn plan(
    from: &Repository,
    to: &Repository,
    options: &CopyOptions,
    source: &[Snapshot],
    there: &[&Snapshot],
) -> Result<(Vec<Snapshot>, Vec<(SnapshotId, SnapshotId)>)> {
    let mut chosen = derived::chosen(&source.iter().collect::<Vec<_>>(), &options.ids, &options.filter)?;
    if options.ids.is_empty() {
        chosen.retain(|snapshot| snapshot.status == Status::Complete);
    }
    let mut by_name = complete(to, there);
    let own = there.iter().filter(|copy| shares::is_share_of(copy, options.shard));
    by_name.extend(own.filter_map(|copy| Some((property(copy, COPIED_FROM)?.to_owned(), copy.id))));
    let (mut wanted, mut present) = (Vec::new(), Vec::new());
    for snapshot in chosen {
        // What came from there need not go back.
        let known = by_name.get(&name(from, snapshot.id));
        match known.or_else(|| property(&snapshot, COPIED_FROM).and_then(|name| by_name.get(name))) {
            Some(copy) => present.push((snapshot.id, *copy)),
            None => wanted.push(snapshot),
        }
    }
    Ok((wanted, present))
}

/// Snapshots whose complete copies are there, or what this part is to copy of them.
fn pairs(from: &Repository, options: &CopyOptions, source: &[Snapshot], there: &[Snapshot]) -> Vec<Pair> {
    let by_name: HashMap<String, &Snapshot> = source.iter().map(|s| (name(from, s.id), s)).collect();
    let is_share = |copy: &Snapshot| shares::is_share_of(copy, options.shard);
    let whole = there.iter().filter(|copy| copy.status == Status::Complete || is_share(copy));
    let pair = |copy: &Snapshot| {
        let source = *by_name.get(property(copy, COPIED_FROM)?)?;
        let same = source.roots.iter().all(|root| find(copy, root).is_some_and(|c| c.records == root.records));
        (same || is_share(copy)).then(|| Pair { source: source.clone(), copy: copy.clone(), done_until: None })
    };
    whole.filter_map(pair).collect()
}

/// How a copy names what it was copied from.
fn name(repository: &Repository, id: SnapshotId) -> String {
    format!("{}/{id}", repository.id())
}

struct Run<'a> {
    from: &'a Repository,
    to: &'a Repository,
    writer: Writer,
    trees: Trees<'a>,
    /// Live snapshots of the repository that is written to, as of the start.
    there: Vec<Snapshot>,
    copies: Vec<Pair>,
    /// The last snapshot of each host and label that this run has published.
    last: HashMap<(String, String), SnapshotId>,
    report: CopyReport,
}

impl Run<'_> {
    fn copy(&mut self, snapshot: &Snapshot, source: &[Snapshot]) -> Result<()> {
        let mut draft = self.draft(snapshot)?;
        self.trees.shares = self.shares(snapshot)?;
        let base = match self.interrupted(snapshot, source) {
            Some(interrupted) => Some(interrupted),
            None => self.base(snapshot).cloned(),
        };
        if let Some(base) = &base {
            derived::take_over(&mut self.writer, &base.copy)?;
        }
        let base_name = match &base {
            Some(Pair { done_until: None, source, .. }) => source.id.to_string(),
            Some(Pair { copy, .. }) => property(copy, COPIED_BASE).unwrap_or_default().to_owned(),
            None => String::new(),
        };
        let mut partials: Vec<SnapshotId> = Vec::new();
        for named in &snapshot.roots {
            let mut save = |writer: &mut Writer, root: &Root, until: &[u8]| {
                // The key says how far one tree is; of several trees it would not say which.
                if snapshot.roots.len() > 1 {
                    return Ok(());
                }
                let mut partial = draft.clone();
                partial.status = Status::Partial;
                partial.roots = vec![mark::named(&named.name, root.clone(), Vec::new())];
                set_property(&mut partial, COPIED_UNTIL, hex(until));
                set_property(&mut partial, COPIED_BASE, base_name.clone());
                derived::publish(writer, &mut partial)?;
                partials.push(partial.id);
                Ok(())
            };
            let root = self.trees.copy(&mut self.writer, snapshot, named, base.as_ref(), &mut save)?;
            if root.records != named.records && self.shard().is_none() {
                let object = format!("snapshot {}", snapshot.id.short());
                let message = format!("tree {} has {} records, its copy {}", named.name, named.records, root.records);
                return Err(Error::new(ErrorKind::Failed, object, message));
            }
            draft.roots.push(root);
        }
        derived::publish(&mut self.writer, &mut draft)?;
        self.last.insert((draft.host.clone(), draft.label.clone()), draft.id);
        let copied_from = name(self.from, snapshot.id);
        let earlier = self.there.iter().filter(|other| {
            other.status == Status::Partial
                && property(other, COPIED_FROM) == Some(copied_from.as_str())
                && (self.shard().is_none() || property(other, COPIED_SHARD) == property(&draft, COPIED_SHARD))
        });
        for id in earlier.map(|other| other.id).chain(partials) {
            self.to.forget(id)?;
        }
        self.copies.push(Pair { source: snapshot.clone(), copy: draft.clone(), done_until: None });
        self.report.copied.push(Copied { source: snapshot.id, snapshot: draft });
        Ok(())
    }

    fn shard(&self) -> Option<Shard> {
        self.trees.options.shard
    }

    /// What parts have copied of a snapshot, safe to be taken over.
    fn shares(&mut self, snapshot: &Snapshot) -> Result<Shares> {
        let mut shares = Shares::default();
        if self.shard().is_some() {
            return Ok(shares);
        }
        let copied_from = name(self.from, snapshot.id);
        let copies = self.there.iter().filter(|copy| property(copy, COPIED_FROM) == Some(copied_from.as_str()));
        for copy in copies.filter(|copy| shares::is_share(copy)) {
            match derived::take_over(&mut self.writer, copy) {
                Ok(()) => shares.add(&self.trees.copy, copy)?,
                // Forgotten since: its content is read again.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(shares)
    }

    /// The copy before there is anything in it.
    fn draft(&self, snapshot: &Snapshot) -> Result<Snapshot> {
        let mut draft = derived::successor(snapshot);
        set_property(&mut draft, COPIED_FROM, name(self.from, snapshot.id));
        draft.roots = Vec::new();
        if let Some(shard) = self.shard() {
            draft.status = Status::Partial;
            set_property(&mut draft, COPIED_SHARD, shard.to_string());
        }
        draft.parent = snapshot
            .parent
            .and_then(|parent| self.copies.iter().find(|pair| pair.source.id == parent).map(|pair| pair.copy.id));
        let same_job = |s: &&Snapshot| s.host == snapshot.host && s.label == snapshot.label;
        let published = self.last.get(&(snapshot.host.clone(), snapshot.label.clone())).copied();
        let previous = published.or_else(|| self.there.iter().rfind(same_job).map(|s| s.id));
        draft.previous = match previous {
            Some(id) => self.to.snapshot_hash(id)?,
            None => None,
        };
        Ok(draft)
    }

    /// The nearest snapshot of the same host and label that was copied: the last before, else the first after.
    fn base(&self, snapshot: &Snapshot) -> Option<&Pair> {
        let same = |pair: &&Pair| {
            (&pair.source.host, &pair.source.label) == (&snapshot.host, &snapshot.label)
                && snapshot.roots.iter().any(|root| find(&pair.source, root).is_some())
        };
        let distance = |pair: &&Pair| {
            let (theirs, ours) = (pair.source.time_ms, snapshot.time_ms);
            (theirs > ours, theirs.abs_diff(ours))
        };
        self.copies.iter().filter(same).min_by_key(distance)
    }

    /// What an interrupted run left of this copy, the furthest, if what that began with is still there.
    fn interrupted(&self, snapshot: &Snapshot, source: &[Snapshot]) -> Option<Pair> {
        let copied_from = name(self.from, snapshot.id);
        let share = self.shard().map(|shard| shard.to_string());
        let candidates = self.there.iter().filter_map(|copy| {
            if copy.status != Status::Partial
                || snapshot.roots.len() != 1
                || property(copy, COPIED_FROM)? != copied_from
                || property(copy, COPIED_SHARD) != share.as_deref()
            {
                return None;
            }
            let done_until = unhex(property(copy, COPIED_UNTIL)?)?;
            let source = match property(copy, COPIED_BASE)? {
                "" => Snapshot { roots: emptied(&snapshot.roots), ..snapshot.clone() },
                base => source.iter().find(|other| other.id.to_string() == base)?.clone(),
            };
            Some(Pair { source, copy: copy.clone(), done_until: Some(done_until) })
        });
        candidates.max_by(|a, b| a.done_until.cmp(&b.done_until))
    }
}

fn emptied(roots: &[NamedRoot]) -> Vec<NamedRoot> {
    roots.iter().map(|root| mark::named(&root.name, Root::empty(root.kind), Vec::new())).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}
