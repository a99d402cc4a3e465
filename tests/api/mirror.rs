//! Mirrors: sound at every moment, complete after a sync, and good for what the primary has lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packstone::ErrorKind;
use packstone::backend::{Backend, Damage, Mirror, Mirrored, SimulatedBackend, StoppedWrite, Unreachable};
use packstone::format::{MirrorMode, ObjectPath, Placement, Snapshot};
use packstone::id::SnapshotId;
use packstone::ops::{self, BackupSummary, MirrorSyncOptions, MirrorSyncReport, NewMirror, PruneOptions};
use packstone::progress::Silent;
use packstone::repository::Repository;

use crate::fixtures::{assert_restores, backup, blocking, check_all, create_on, forget, open_on, write_history};

/// More writes than any sync here makes.
const MANY: u64 = 500;

/// A primary and one mirror, in memory.
struct Pair {
    primary: SimulatedBackend,
    mirror: SimulatedBackend,
    mode: MirrorMode,
    folder: tempfile::TempDir,
    /// What every snapshot was made from.
    sources: BTreeMap<SnapshotId, (PathBuf, BackupSummary)>,
}

impl Pair {
    async fn new(mode: MirrorMode) -> Self {
        let (primary, mirror) = (SimulatedBackend::new(), SimulatedBackend::new());
        create_on(Arc::new(primary.clone())).await;
        let folder = tempfile::tempdir().unwrap();
        let pair = Self { primary, mirror, mode, folder, sources: BTreeMap::new() };
        let repository = pair.open().await;
        ops::mirror_add(&repository, pair.new_mirror()).await.unwrap();
        pair
    }

    fn new_mirror(&self) -> NewMirror {
        let place = |name: &str| Placement {
            name: name.to_owned(),
            address: format!("/{name}"),
            mode: self.mode,
            options: Vec::new(),
        };
        NewMirror { placement: place("disk"), primary: place("home"), backend: Arc::new(self.mirror.clone()) }
    }

    /// The repository with its mirror attached.
    async fn open(&self) -> Repository {
        open_with(Arc::new(self.primary.clone()), &self.mirror, self.mode).await
    }

    async fn back_up(&mut self, seed: u64, days: u64, per_day: u64) -> BackupSummary {
        let source = self.folder.path().join(format!("{seed}-{days}.edn"));
        write_history(&source, seed, days, per_day);
        let summary = backup(&self.open().await, &source).await.unwrap();
        self.sources.insert(summary.snapshot.id, (source, summary.clone()));
        summary
    }

    async fn forget(&mut self, id: SnapshotId) {
        let (_, summary) = self.sources.remove(&id).unwrap();
        forget(&self.open().await, &summary).await.unwrap();
    }

    async fn prune(&self) {
        let options = PruneOptions { max_unused_percent: 0.0, ..PruneOptions::default() };
        ops::prune(&self.open().await, options, Arc::new(Silent)).await.unwrap();
    }

    async fn sync(&self) -> MirrorSyncReport {
        sync(&self.open().await, MirrorSyncOptions::default()).await
    }

    /// Opens the mirror by itself: all it lists is there and as it was.
    async fn assert_mirror_is_sound(&self, known: &BTreeMap<SnapshotId, (PathBuf, BackupSummary)>) {
        let alone = open_on(Arc::new(self.mirror.clone())).await.unwrap();
        let report = check_all(&alone).await;
        assert!(report.is_sound(), "{report:?}");
        for snapshot in live(&alone).await {
            let (source, summary) = known.get(&snapshot.id).expect("the mirror has no snapshot of its own");
            assert_restores(&alone, summary, source).await;
        }
    }

    /// Opens the mirror by itself: it has every snapshot of the primary and no other, and not an object more or less.
    async fn assert_mirror_is_complete(&self) {
        self.assert_mirror_is_sound(&self.sources).await;
        let alone = open_on(Arc::new(self.mirror.clone())).await.unwrap();
        let here: Vec<SnapshotId> = self.sources.keys().copied().collect();
        let mut there: Vec<SnapshotId> = live(&alone).await.iter().map(|snapshot| snapshot.id).collect();
        there.sort();
        assert_eq!(there, here);
        let mark = ObjectPath::mirror_mark();
        let (ours, theirs) = (self.primary.snapshot(), self.mirror.snapshot());
        assert!(theirs.get(&mark).is_some() && ours.get(&mark).is_none());
        let paths: Vec<_> = theirs.paths().filter(|path| **path != mark).collect();
        assert_eq!(paths, ours.paths().collect::<Vec<_>>());
        assert!(paths.iter().all(|path| ours.get(path) == theirs.get(path)));
    }
}

async fn open_with(primary: Arc<dyn Backend>, mirror: &SimulatedBackend, mode: MirrorMode) -> Repository {
    let mirrored = Mirrored::new(primary);
    mirrored.attach(vec![Mirror { name: "disk".to_owned(), mode, backend: Arc::new(mirror.clone()) }]);
    open_on(Arc::new(mirrored)).await.unwrap()
}

async fn sync(repository: &Repository, options: MirrorSyncOptions) -> MirrorSyncReport {
    let mut reports = ops::mirror_sync(repository, options, Arc::new(Silent)).await.unwrap();
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

async fn live(repository: &Repository) -> Vec<Snapshot> {
    let repository = repository.clone();
    blocking(move || repository.snapshots().unwrap().into_live().unwrap()).await
}

fn packs(backend: &SimulatedBackend) -> Vec<ObjectPath> {
    backend.paths().into_iter().filter(|path| path.as_str().starts_with("packs/")).collect()
}

/// A mirror that holds an older state: since then snapshots came, were forgotten and pruned.
async fn pair_with_changes() -> (Pair, BTreeMap<SnapshotId, (PathBuf, BackupSummary)>) {
    let mut pair = Pair::new(MirrorMode::Async).await;
    for day in 1..=4 {
        pair.back_up(1 + day / 3, day, 60).await;
    }
    assert!(pair.sync().await.error.is_none());
    pair.assert_mirror_is_complete().await;
    let mut known = pair.sources.clone();
    let old: Vec<SnapshotId> = pair.sources.keys().take(2).copied().collect();
    for day in 5..=7 {
        pair.back_up(3, day, 60).await;
    }
    for id in old {
        pair.forget(id).await;
    }
    pair.prune().await;
    pair.back_up(4, 2, 60).await;
    known.extend(pair.sources.clone());
    (pair, known)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_is_sound_wherever_a_sync_dies() {
    let (pair, known) = pair_with_changes().await;
    let (before, primary) = (pair.mirror.snapshot(), pair.primary.snapshot());
    for fate in [StoppedWrite::Dropped, StoppedWrite::Applied, StoppedWrite::Torn] {
        for n in 0.. {
            assert!(n < MANY, "the sync never ends");
            pair.primary.restore_state(primary.clone());
            pair.mirror.restore_state(before.clone());
            pair.mirror.stop_after_writes(n, fate);
            let failed = pair.sync().await.error.is_some();
            let was_stopped = pair.mirror.is_stopped();
            pair.mirror.heal();
            assert_eq!(failed, was_stopped, "a sync that could not finish said that it had");
            if fate != StoppedWrite::Torn {
                pair.assert_mirror_is_sound(&known).await;
            }
            let again = pair.sync().await;
            assert!(again.error.is_none(), "{again:?}");
            pair.assert_mirror_is_complete().await;
            if !was_stopped {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_may_die_during_a_sync() {
    let (pair, known) = pair_with_changes().await;
    let (before, primary) = (pair.mirror.snapshot(), pair.primary.snapshot());
    for n in 0..3 {
        pair.primary.restore_state(primary.clone());
        pair.mirror.restore_state(before.clone());
        let repository = pair.open().await;
        pair.primary.stop_after_writes(n, StoppedWrite::Dropped);
        let _ = ops::mirror_sync(&repository, MirrorSyncOptions::default(), Arc::new(Silent)).await;
        pair.primary.heal();
        pair.assert_mirror_is_sound(&known).await;
        assert!(pair.sync().await.error.is_none());
        pair.assert_mirror_is_sound(&pair.sources).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_fails_at_random_stops_no_backup_and_catches_up() {
    for seed in 0..6_u64 {
        let mode = if seed % 2 == 0 { MirrorMode::Sync } else { MirrorMode::Async };
        let mut pair = Pair::new(mode).await;
        let mut known = BTreeMap::new();
        let mut dice = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
        let mut throw = move |sides: u8| {
            let mut byte = [0];
            dice.fill(&mut byte);
            byte[0] % sides
        };
        for step in 0..14 {
            match throw(4) {
                0 => pair.mirror.heal(),
                1 => pair.mirror.fail_transiently(seed * 100 + step, 3),
                2 => pair.mirror.stop_after_writes(u64::from(throw(9)), StoppedWrite::Applied),
                _ => {}
            }
            match throw(6) {
                0..=2 => {
                    pair.back_up(1 + step / 4, 1 + step % 5, 50).await;
                    known.extend(pair.sources.clone());
                }
                3 if pair.sources.len() > 1 => {
                    let at = usize::from(throw(pair.sources.len() as u8));
                    let id = *pair.sources.keys().nth(at).unwrap();
                    pair.forget(id).await;
                }
                4 => pair.prune().await,
                _ => {
                    let _ = pair.sync().await;
                }
            }
            pair.mirror.heal();
            pair.assert_mirror_is_sound(&known).await;
        }
        let report = pair.sync().await;
        assert!(report.error.is_none() && report.damaged.is_empty(), "{seed}: {report:?}");
        pair.assert_mirror_is_sound(&pair.sources).await;
        let alone = open_on(Arc::new(pair.mirror.clone())).await.unwrap();
        assert_eq!(live(&alone).await.len(), pair.sources.len(), "{seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_mirror_holds_the_data_before_the_snapshot_is_committed() {
    let mut pair = Pair::new(MirrorMode::Sync).await;
    pair.back_up(1, 3, 60).await;
    assert_eq!(packs(&pair.mirror), packs(&pair.primary));
    let statuses = ops::mirror_status(&pair.open().await, Vec::new(), Arc::new(Silent)).await.unwrap();
    assert_eq!((statuses[0].snapshots_missing, statuses[0].objects_missing), (1, 2));
    assert_eq!(pair.sync().await.snapshots_copied, 1);
    let statuses = ops::mirror_status(&pair.open().await, Vec::new(), Arc::new(Silent)).await.unwrap();
    assert!(statuses[0].is_current() && statuses[0].lag_ms == Some(0), "{statuses:?}");
    pair.assert_mirror_is_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_pack_and_a_damaged_one_are_read_from_the_mirror_and_mended() {
    for spoil in [None, Some(Damage::Flip(40)), Some(Damage::Truncate(60)), Some(Damage::Empty)] {
        let mut pair = Pair::new(MirrorMode::Async).await;
        let summary = pair.back_up(1, 3, 60).await;
        pair.sync().await;
        let good = pair.primary.snapshot();
        for path in packs(&pair.primary) {
            match spoil {
                Some(damage) => assert!(pair.primary.damage(&path, damage)),
                None => pair.primary.delete(&path).await.unwrap(),
            }
        }
        let bad = pair.primary.snapshot();
        let source = pair.sources[&summary.snapshot.id].0.clone();
        let repository = pair.open().await;
        assert_restores(&repository, &summary, &source).await;
        let _ = ops::mirror_heal(&repository).await.unwrap();
        for path in packs(&pair.mirror) {
            assert_eq!(pair.primary.snapshot().get(&path), good.get(&path), "{spoil:?} {path}");
        }
        // A sync mends what shows in a listing; with --read-data also what does not.
        pair.primary.restore_state(bad);
        let repository = pair.open().await;
        let report = sync(&repository, MirrorSyncOptions { read_data: true, ..MirrorSyncOptions::default() }).await;
        assert!(report.error.is_none() && report.healed > 0, "{spoil:?} {report:?}");
        let alone = open_on(Arc::new(pair.primary.clone())).await.unwrap();
        assert!(check_all(&alone).await.is_sound());
        assert_restores(&alone, &summary, &source).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_mirror_is_mended_from_the_primary() {
    let mut pair = Pair::new(MirrorMode::Async).await;
    pair.back_up(1, 3, 60).await;
    pair.back_up(2, 3, 60).await;
    pair.sync().await;
    let all = packs(&pair.mirror);
    assert!(pair.mirror.damage(&all[0], Damage::Flip(40)) && pair.mirror.damage(&all[1], Damage::Truncate(9)));
    let options = MirrorSyncOptions { read_data: true, ..MirrorSyncOptions::default() };
    let report = sync(&pair.open().await, options).await;
    assert!(report.error.is_none() && report.packs_copied == 2, "{report:?}");
    pair.assert_mirror_is_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condemned_pack_is_never_put_back() {
    let mut pair = Pair::new(MirrorMode::Async).await;
    let old = pair.back_up(1, 2, 60).await;
    pair.back_up(2, 2, 60).await;
    pair.sync().await;
    pair.forget(old.snapshot.id).await;
    pair.prune().await;
    let gone: Vec<_> = packs(&pair.mirror).into_iter().filter(|path| !packs(&pair.primary).contains(path)).collect();
    assert!(!gone.is_empty());
    let repository = pair.open().await;
    for path in gone.clone() {
        let repository = repository.clone();
        assert_eq!(blocking(move || repository.mend(&path)).await.unwrap(), None);
    }
    let report = pair.sync().await;
    assert_eq!(report.healed, 0);
    assert!(gone.iter().all(|path| !packs(&pair.mirror).contains(path) && !packs(&pair.primary).contains(path)));
    pair.assert_mirror_is_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_primary_a_mirror_is_read_and_nothing_is_written() {
    let mut pair = Pair::new(MirrorMode::Async).await;
    let summary = pair.back_up(1, 3, 60).await;
    pair.sync().await;
    let source = pair.sources[&summary.snapshot.id].0.clone();
    let down: Arc<dyn Backend> = Arc::new(Unreachable::new("/home", "no route to host"));
    let repository = open_with(down, &pair.mirror, pair.mode).await;
    assert_restores(&repository, &summary, &source).await;
    assert!(check_all(&repository).await.is_sound());
    let before = pair.mirror.snapshot();
    let error = backup(&repository, &source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("nothing was written") && error.to_string().contains("no route"), "{error}");
    let error = ops::mirror_sync(&repository, MirrorSyncOptions::default(), Arc::new(Silent)).await.unwrap_err();
    assert!(error.to_string().contains("can only be read"), "{error}");
    assert_eq!(pair.mirror.snapshot(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_write_no_older_view_decides() {
    let mut pair = Pair::new(MirrorMode::Async).await;
    pair.back_up(1, 2, 60).await;
    pair.sync().await;
    let repository = pair.open().await;
    let (session, repository) = blocking(move || (repository.register_session().unwrap(), repository.clone())).await;
    pair.primary.fail_transiently(1, 1);
    let (result, repository) = blocking(move || (repository.gc_records(), repository)).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Transient);
    pair.primary.heal();
    blocking(move || {
        session.close().unwrap();
        assert!(repository.mirrored().unwrap().reads_from().is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mirror_has_more_is_kept_unless_it_is_asked_for() {
    let mut pair = Pair::new(MirrorMode::Async).await;
    let summary = pair.back_up(1, 2, 60).await;
    pair.sync().await;
    let full = pair.primary.snapshot();
    // A primary that has lost a snapshot without a trace must not make the mirror lose it.
    pair.primary.delete(&ObjectPath::snapshot(summary.snapshot.id)).await.unwrap();
    pair.prune().await;
    let report = pair.sync().await;
    assert_eq!((report.extra_snapshots, report.removed), (1, 0), "{report:?}");
    pair.assert_mirror_is_sound(&pair.sources).await;
    let options = MirrorSyncOptions { delete_extra: true, ..MirrorSyncOptions::default() };
    let report = sync(&pair.open().await, options).await;
    assert!(report.error.is_none() && report.removed > 1, "{report:?}");
    pair.sources.clear();
    pair.assert_mirror_is_complete().await;
    assert!(full.paths().count() > pair.primary.paths().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_key_slots_go_from_mirrors_too() {
    let pair = Pair::new(MirrorMode::Async).await;
    let repository = pair.open().await;
    let slot = |path: &&ObjectPath| path.as_str().starts_with("keys/");
    let repository = blocking(move || {
        let kdf = packstone::crypto::KdfParameters::default();
        let secret = packstone::repository::Secret::key_file(vec![8; 32]);
        let id = repository.add_key_slot(&secret, kdf, "second").unwrap();
        (repository, id)
    })
    .await;
    let (repository, id) = repository;
    pair.sync().await;
    assert_eq!(pair.mirror.paths().iter().filter(slot).count(), 2);
    blocking(move || repository.remove_key_slot(id).unwrap()).await;
    pair.sync().await;
    assert_eq!(pair.mirror.paths().iter().filter(slot).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_fits_becomes_a_mirror() {
    let mut pair = Pair::new(MirrorMode::Async).await;
    pair.back_up(1, 2, 60).await;
    pair.sync().await;
    let add = async |backend: Arc<dyn Backend>, name: &str| {
        let mut new = pair.new_mirror();
        name.clone_into(&mut new.placement.name);
        new.placement.address = format!("/{name}");
        new.backend = backend;
        ops::mirror_add(&pair.open().await, new).await
    };
    let other = SimulatedBackend::new();
    create_on(Arc::new(other.clone())).await;
    let refusals: [(&str, Arc<dyn Backend>, &str); 3] = [
        ("another", Arc::new(other), "another repository"),
        ("second", Arc::new(pair.mirror.clone()), "already the mirror disk"),
        ("itself", Arc::new(pair.primary.clone()), "the primary itself"),
    ];
    for (name, backend, why) in refusals {
        let error = add(backend, name).await.unwrap_err();
        assert!(error.kind() == ErrorKind::AlreadyExists && error.to_string().contains(why), "{error}");
    }
    assert_eq!(add(Arc::new(SimulatedBackend::new()), "Bad Name").await.unwrap_err().kind(), ErrorKind::Usage);
    // A copy made by other means is taken over.
    let copy = SimulatedBackend::new();
    copy.restore_state(pair.primary.snapshot());
    add(Arc::new(copy.clone()), "copy").await.unwrap();
    assert!(copy.paths().contains(&ObjectPath::mirror_mark()));
    // One that has a snapshot of its own is not.
    let fork = SimulatedBackend::new();
    fork.restore_state(pair.primary.snapshot());
    let source = pair.folder.path().join("fork.edn");
    write_history(&source, 9, 1, 9);
    backup(&open_on(Arc::new(fork.clone())).await.unwrap(), &source).await.unwrap();
    let error = add(Arc::new(fork), "fork").await.unwrap_err();
    assert!(error.to_string().contains("its own way"), "{error}");
    // The same again is no error.
    ops::mirror_add(&pair.open().await, pair.new_mirror()).await.unwrap();
    let list = ops::mirror_remove(&pair.open().await, "copy".to_owned()).await.unwrap();
    assert_eq!(list.placements.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["home", "disk"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_mirror_goes_on_and_takes_the_old_primary_as_its_mirror() {
    let mut pair = Pair::new(MirrorMode::Async).await;
    pair.back_up(1, 2, 60).await;
    pair.sync().await;
    let promoted = open_with(Arc::new(pair.mirror.clone()), &pair.primary, pair.mode).await;
    let error = ops::mirror_sync(&promoted, MirrorSyncOptions::default(), Arc::new(Silent)).await.unwrap_err();
    assert!(error.to_string().contains("is the mirror disk"), "{error}");
    let list = ops::mirror_promote(&promoted).await.unwrap();
    assert_eq!(list.placements.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["disk"]);
    std::mem::swap(&mut pair.primary, &mut pair.mirror);
    let new = NewMirror { backend: Arc::new(pair.mirror.clone()), ..pair.new_mirror() };
    let placement = Placement { name: "old".to_owned(), address: "/old".to_owned(), ..new.placement };
    ops::mirror_add(&pair.open().await, NewMirror { placement, ..new }).await.unwrap();
    pair.back_up(1, 3, 60).await;
    assert!(pair.sync().await.error.is_none());
    pair.assert_mirror_is_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_may_be_folders() {
    let folder = tempfile::tempdir().unwrap();
    let (home, disk) = (folder.path().join("home"), folder.path().join("disk"));
    let source = folder.path().join("in.edn");
    write_history(&source, 1, 3, 60);
    crate::fixtures::create(&home).await;
    let open = async |disk: Option<&Path>| {
        let mirrored = Mirrored::new(Arc::new(packstone::backend::LocalBackend::open(&home).await.unwrap()));
        if let Some(disk) = disk {
            let backend = Arc::new(packstone::backend::LocalBackend::open(disk).await.unwrap());
            mirrored.attach(vec![Mirror { name: "disk".to_owned(), mode: MirrorMode::Sync, backend }]);
        }
        open_on(Arc::new(mirrored)).await.unwrap()
    };
    let place = |name: &str, path: &Path| Placement {
        name: name.to_owned(),
        address: path.display().to_string(),
        mode: MirrorMode::Sync,
        options: Vec::new(),
    };
    let backend = Arc::new(packstone::backend::LocalBackend::create(&disk).await.unwrap());
    let new = NewMirror { placement: place("disk", &disk), primary: place("home", &home), backend };
    ops::mirror_add(&open(None).await, new).await.unwrap();
    let repository = open(Some(&disk)).await;
    let summary = backup(&repository, &source).await.unwrap();
    assert!(sync(&repository, MirrorSyncOptions::default()).await.error.is_none());
    std::fs::remove_dir_all(&home).unwrap();
    let alone = crate::fixtures::open(&disk).await;
    assert!(check_all(&alone).await.is_sound());
    assert_restores(&alone, &summary, &source).await;
    // A disk that was exchanged for an empty one is not filled by mistake.
    std::fs::remove_dir_all(&disk).unwrap();
    std::fs::create_dir(&disk).unwrap();
    assert!(packstone::backend::LocalBackend::open(&disk).await.is_err());
}
