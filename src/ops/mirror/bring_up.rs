//! Bringing mirrors up to date.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::listing::{Listing, expect_same, folder};
use super::plan::{Decided, InMirror, Plan};
use super::survey::{Fate, Survey};
use super::transfer::{PACKS, SMALL, each};
use super::{MirrorSyncOptions, MirrorSyncReport, chosen, refuse_on_mirror};
use crate::backend::Mirror;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{GcRecord, IndexContent, ObjectPath, Outcome, Sealed};
use crate::id::{IndexId, PackId, SnapshotId};
use crate::progress::{Event, Observer};
use crate::repository::{Repository, Store, is_intact};

/// How often both sides are listed again when the primary changes meanwhile.
const ROUNDS: usize = 5;

pub(super) fn sync(
    repository: &Repository,
    options: &MirrorSyncOptions,
    observer: &dyn Observer,
) -> Result<Vec<MirrorSyncReport>> {
    repository.mirrored()?.insist()?;
    refuse_on_mirror(repository)?;
    let mut mirrors = chosen(repository, &options.names)?;
    mirrors.retain(|mirror| options.mode.is_none_or(|mode| mirror.mode == mode));
    if mirrors.is_empty() {
        return Ok(Vec::new());
    }
    // While a session is open, what pruners condemn from now on is neither un-indexed nor removed.
    let session = if options.dry_run { None } else { Some(repository.register_session()?) };
    let mut reports = Vec::new();
    for mirror in &mirrors {
        let mut run = Run::new(repository, mirror, options, observer)?;
        let result = run.bring_up();
        let mut report = run.report();
        report.error = result.err();
        let interrupted = report.error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Interrupted);
        reports.push(report);
        if interrupted {
            break;
        }
    }
    if let Some(session) = session {
        session.close()?;
    }
    Ok(reports)
}

/// One mirror on its way to being up to date.
struct Run<'a> {
    repository: &'a Repository,
    options: &'a MirrorSyncOptions,
    observer: &'a dyn Observer,
    name: &'a str,
    primary: Store,
    mirror: Store,
    report: MirrorSyncReport,
    bytes_copied: AtomicU64,
    packs_copied: AtomicU64,
    healed: AtomicU64,
    damaged: Mutex<Vec<(String, String)>>,
    /// An object was removed from the primary between listing and reading.
    vanished: AtomicBool,
}

impl<'a> Run<'a> {
    fn new(
        repository: &'a Repository,
        mirror: &'a Mirror,
        options: &'a MirrorSyncOptions,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        Ok(Self {
            repository,
            options,
            observer,
            name: &mirror.name,
            primary: repository.place(repository.mirrored()?.first().clone()),
            mirror: repository.place(mirror.backend.clone()),
            report: MirrorSyncReport { name: mirror.name.clone(), ..MirrorSyncReport::default() },
            bytes_copied: AtomicU64::new(0),
            packs_copied: AtomicU64::new(0),
            healed: AtomicU64::new(0),
            damaged: Mutex::default(),
            vanished: AtomicBool::new(false),
        })
    }

    fn report(self) -> MirrorSyncReport {
        let mut report = self.report;
        report.bytes_copied += self.bytes_copied.into_inner();
        report.packs_copied += self.packs_copied.into_inner();
        report.healed += self.healed.into_inner();
        report.damaged = self.damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.damaged.sort();
        report.damaged.dedup();
        report
    }

    fn bring_up(&mut self) -> Result<()> {
        self.stage("listing", None);
        expect_same(&self.primary, &self.mirror)?;
        for round in 0..ROUNDS {
            // The mirror first: what it has but packs was read from the primary, so what that does not list then was removed.
            let there = Listing::of(&self.mirror)?;
            let survey = Survey::take(self.repository, &self.primary)?;
            let plan = Plan::new(&survey, &there);
            if self.options.dry_run {
                self.foresee(&plan);
                return Ok(());
            }
            self.vanished.store(false, Ordering::Relaxed);
            self.copy_needed(&survey, &plan)?;
            if round == 0 && self.options.read_data {
                self.read_all(&survey, &there)?;
            }
            // What a listed snapshot needs was in these index objects, and still is if they are the same.
            let index_now = folder(&self.primary, "index/")?;
            if self.vanished.load(Ordering::Relaxed) || index_now != survey.listing.index {
                continue;
            }
            self.copy_small("gc records", &plan.gc)?;
            self.copy_snapshots(&survey, &plan.snapshots)?;
            return self.remove(&survey, &plan);
        }
        Err(Error::new(ErrorKind::Transient, "index", "changes faster than it can be copied"))
    }

    /// What a dry run says.
    fn foresee(&mut self, plan: &Plan) {
        let report = &mut self.report;
        let size = |objects: &[(ObjectPath, u64)]| objects.iter().map(|(_, size)| size).sum::<u64>();
        report.packs_copied = plan.packs.len() as u64;
        report.objects_copied = (plan.first.len() + plan.index.len() + plan.gc.len()) as u64;
        let new = |decided: &&Decided| decided.state == InMirror::Missing;
        report.snapshots_copied = plan.snapshots.iter().filter(new).count() as u64;
        report.bytes_copied =
            [&plan.first, &plan.packs, &plan.index, &plan.gc].into_iter().map(|list| size(list)).sum();
        report.bytes_copied += plan.snapshots.iter().filter(new).map(|decided| decided.size_bytes).sum::<u64>();
        report.removed = plan.dead_packs.len() as u64;
        report.bytes_removed = size(&plan.dead_packs);
        report.extra_packs = plan.extra_packs.len() as u64;
        report.healed = plan.packs_back.len() as u64;
    }

    /// Key slots and lists, packs, index objects: in this order.
    fn copy_needed(&mut self, survey: &Survey, plan: &Plan) -> Result<()> {
        self.copy_small("keys", &plan.first)?;
        self.stage("giving packs back", Some(plan.packs_back.len()));
        each(&plan.packs_back, PACKS, self.observer, |path| {
            let bytes = self.mirror.get(path, None)?;
            self.give_back(path, bytes)
        })?;
        self.stage("copying packs", Some(plan.packs.len()));
        each(&plan.packs, PACKS, self.observer, |(path, _)| self.copy_pack(survey, path))?;
        let missing = survey.indexed.iter().map(|id| ObjectPath::pack(*id));
        for path in missing.filter(|path| !survey.listing.packs.contains_key(path) && !plan.packs_back.contains(path)) {
            self.find_for_primary(&path)?;
        }
        self.copy_small("index", &plan.index)
    }

    /// Copies objects whose names are their hashes, or that never change.
    fn copy_small(&mut self, what: &str, objects: &[(ObjectPath, u64)]) -> Result<()> {
        self.stage(&format!("copying {what}"), Some(objects.len()));
        each(objects, SMALL, self.observer, |(path, _)| {
            let Some(bytes) = self.read(&self.primary, path)? else {
                self.vanished.store(true, Ordering::Relaxed);
                return Ok(());
            };
            let hashed = path.as_str().starts_with("index/") || path.as_str().starts_with("keys/");
            if hashed && !is_intact(path, &bytes) {
                return self.lost(path, "damaged in the primary, and not copied");
            }
            self.store(path, bytes)
        })?;
        self.report.objects_copied += objects.len() as u64;
        Ok(())
    }

    fn copy_pack(&self, survey: &Survey, path: &ObjectPath) -> Result<()> {
        match self.read(&self.primary, path)? {
            Some(bytes) if is_intact(path, &bytes) => {
                self.packs_copied.fetch_add(1, Ordering::Relaxed);
                self.store(path, bytes)
            }
            None if !path.name().parse().is_ok_and(|id| survey.indexed.contains(&id)) => {
                self.vanished.store(true, Ordering::Relaxed);
                Ok(())
            }
            _ => match self.find_for_primary(path)? {
                Some(bytes) => {
                    self.packs_copied.fetch_add(1, Ordering::Relaxed);
                    self.store(path, bytes)
                }
                None => Ok(()),
            },
        }
    }

    /// A pack that the primary should have as a mirror has it.
    fn find_for_primary(&self, path: &ObjectPath) -> Result<Option<Bytes>> {
        let Some((_, bytes)) = self.repository.find_elsewhere(path) else {
            self.lost(path, "missing or damaged in every place")?;
            return Ok(None);
        };
        self.give_back(path, bytes.clone())?;
        Ok(Some(bytes))
    }

    /// Puts a pack into the primary again. It cannot be removed there meanwhile: this session was registered before it was
    /// found not to be condemned.
    fn give_back(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        if !is_intact(path, &bytes) {
            return self.lost(path, "missing in the primary and damaged in the mirror");
        }
        self.primary.put(path, Sealed::from_stored(bytes))?;
        self.healed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Reads every pack that both sides have, and replaces those that are not what their names say.
    fn read_all(&self, survey: &Survey, there: &Listing) -> Result<()> {
        let both = survey.listing.packs.iter().filter(|(path, size)| there.packs.get(*path) == Some(*size));
        let both: Vec<_> = both.map(|(path, _)| path).collect();
        self.stage("reading packs", Some(both.len()));
        each(&both, PACKS, self.observer, |path| {
            let here = self.read(&self.primary, path)?.filter(|bytes| is_intact(path, bytes));
            let copy = self.read(&self.mirror, path)?.filter(|bytes| is_intact(path, bytes));
            match (here, copy) {
                (Some(_), Some(_)) => Ok(()),
                (Some(bytes), None) => {
                    self.packs_copied.fetch_add(1, Ordering::Relaxed);
                    self.store(path, bytes)
                }
                (None, Some(bytes)) => self.give_back(path, bytes),
                (None, None) => match self.find_for_primary(path)? {
                    Some(bytes) => self.store(path, bytes),
                    None => Ok(()),
                },
            }
        })
    }

    /// Snapshots, tombstones and fences. They are read now: what was forgotten since the listing is copied as that.
    fn copy_snapshots(&mut self, survey: &Survey, decided: &[Decided]) -> Result<()> {
        self.stage("copying snapshots", Some(decided.len()));
        let (copied, forgotten) = (AtomicU64::new(0), AtomicU64::new(0));
        each(decided, SMALL, self.observer, |decided| {
            let path = &decided.path;
            if survey.fates.get(path) == Some(&Fate::Damaged) {
                return self.lost(path, "damaged in the primary, and not copied");
            }
            let Some(bytes) = self.primary.find(path)? else { return Ok(()) };
            if decided.state == InMirror::Missing {
                copied.fetch_add(1, Ordering::Relaxed);
                return self.store(path, bytes);
            }
            if decided.state == InMirror::Maybe && self.mirror.find(path)?.is_some_and(|found| found == bytes) {
                return Ok(());
            }
            forgotten.fetch_add(1, Ordering::Relaxed);
            self.bytes_copied.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.mirror.replace(path, Sealed::from_stored(bytes))
        })?;
        self.report.snapshots_copied += copied.into_inner();
        self.report.snapshots_forgotten += forgotten.into_inner();
        Ok(())
    }

    /// Removes what the primary has removed: unless a live snapshot might need it, which the primary does not know.
    fn remove(&mut self, survey: &Survey, plan: &Plan) -> Result<()> {
        self.delete(&plan.extra_keys)?;
        self.report.extra_packs = plan.extra_packs.len() as u64;
        let mut old = Vec::new();
        let mut unknown = Vec::new();
        for path in &plan.extra_snapshots {
            match (path.name().parse::<SnapshotId>(), self.mirror.find(path)?) {
                (Ok(id), Some(bytes)) => match Outcome::open(self.repository.keys(), id, &bytes) {
                    Ok(Outcome::Committed(_)) | Err(_) => unknown.push(path.clone()),
                    Ok(_) => old.push(path.clone()),
                },
                _ => unknown.push(path.clone()),
            }
        }
        if !unknown.is_empty() && !self.options.delete_extra {
            self.report.extra_snapshots = unknown.len() as u64;
            return Ok(());
        }
        self.delete(&unknown)?;
        let stale = self.replaced_index(survey, plan)?;
        self.delete(&stale)?;
        let mut packs: Vec<&(ObjectPath, u64)> = plan.dead_packs.iter().collect();
        if self.options.delete_extra {
            packs.extend(&plan.extra_packs);
            self.report.extra_packs = 0;
        }
        self.report.bytes_removed += packs.iter().map(|(_, size)| size).sum::<u64>();
        self.delete(&packs.into_iter().map(|(path, _)| path.clone()).collect::<Vec<_>>())?;
        if stale.len() == plan.extra_index.len() {
            let records = self.done_records(plan)?;
            self.delete(&records)?;
        }
        self.delete(&old)
    }

    /// Index objects of the mirror whose every pack is condemned, or in an index object that both sides have.
    fn replaced_index(&self, survey: &Survey, plan: &Plan) -> Result<Vec<ObjectPath>> {
        let mut replaced = Vec::new();
        for path in &plan.extra_index {
            let Ok(id) = path.name().parse::<IndexId>() else { continue };
            let Some(bytes) = self.mirror.find(path)? else { continue };
            let spare = match IndexContent::open(self.repository.keys(), id, &bytes) {
                Ok(content) => {
                    let known = |pack: &PackId| survey.indexed.contains(pack) || survey.condemned.contains(pack);
                    content.packs.iter().all(|pack| known(&pack.id))
                }
                // Nobody can read it, and the primary does without.
                Err(_) => !is_intact(path, &bytes),
            };
            if spare {
                replaced.push(path.clone());
            }
        }
        Ok(replaced)
    }

    /// Gc records that the primary has removed and whose packs the mirror does not hold any more.
    fn done_records(&self, plan: &Plan) -> Result<Vec<ObjectPath>> {
        if plan.extra_gc.is_empty() {
            return Ok(Vec::new());
        }
        let packs = folder(&self.mirror, "packs/")?;
        let present: HashSet<PackId> = packs.keys().filter_map(|path| path.name().parse().ok()).collect();
        let mut done = Vec::new();
        for path in &plan.extra_gc {
            let (Ok(n), Some(bytes)) = (path.name().parse(), self.mirror.find(path)?) else { continue };
            let record = GcRecord::open(self.repository.keys(), n, &bytes);
            if record.is_ok_and(|record| !record.condemned.iter().any(|pack| present.contains(pack))) {
                done.push(path.clone());
            }
        }
        Ok(done)
    }

    fn delete(&mut self, paths: &[ObjectPath]) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        self.stage("removing", Some(paths.len()));
        each(paths, SMALL, self.observer, |path| self.mirror.delete(path))?;
        self.report.removed += paths.len() as u64;
        Ok(())
    }

    fn store(&self, path: &ObjectPath, bytes: Bytes) -> Result<()> {
        let len = bytes.len() as u64;
        self.mirror.put(path, Sealed::from_stored(bytes))?;
        self.bytes_copied.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }

    /// An object that may be missing, or shorter than the store says.
    fn read(&self, place: &Store, path: &ObjectPath) -> Result<Option<Bytes>> {
        match place.find(path) {
            Err(error) if error.kind() == ErrorKind::Damaged => Ok(Some(Bytes::new())),
            answer => answer,
        }
    }

    /// An object that cannot be copied; the rest goes on, so that the mirror is at most as damaged as the primary.
    fn lost(&self, path: &ObjectPath, why: &str) -> Result<()> {
        self.observer.event(Event::Problem { object: path.as_str(), message: why });
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_string(), why.to_owned()));
        Ok(())
    }

    fn stage(&self, what: &str, total: Option<usize>) {
        let name = format!("mirror {}: {what}", self.name);
        self.observer.event(Event::Stage { name: &name, total: total.map(|total| total as u64) });
    }
}
