//! Any damage to any one object is found and named, and wrong data is never handed out.

use std::path::Path;
use std::sync::PoisonError;

use packstone::ErrorKind;
use packstone::backend::{Damage, SimulatedBackend};
use packstone::crypto::KdfParameters;
use packstone::format::{BlobKind, GcRecord, Heartbeat, ObjectPath, Outcome};
use packstone::id::{PackId, SnapshotId};
use packstone::ops::{BackupSummary, View};
use packstone::repository::{Repository, Secret, random};
use packstone::target::datoms::Format;

use crate::fixtures::{
    backup, blocking, check_all, create, create_on, forget, open_on, restore, sorted_lines, verify, whole,
    write_documents,
};

/// One object of a kind, and another of the same kind to swap it with.
struct Target {
    kind: &'static str,
    path: ObjectPath,
    partner: Option<ObjectPath>,
}

struct World {
    backend: SimulatedBackend,
    repository: Repository,
    live: Vec<(BackupSummary, std::path::PathBuf)>,
    targets: Vec<Target>,
}

/// A repository with at least two objects of every kind.
async fn world(folder: &Path) -> World {
    let backend = SimulatedBackend::new();
    let repository = create_on(std::sync::Arc::new(backend.clone())).await;
    let mut live = Vec::new();
    let mut forgotten = Vec::new();
    for seed in 0..4 {
        let source = folder.join(format!("{seed}.edn"));
        write_documents(&source, seed, 12);
        let summary = backup(&repository, &source).await.unwrap();
        if seed < 2 {
            forgotten.push(summary);
        } else {
            live.push((summary, source));
        }
    }
    for summary in &forgotten {
        forget(&repository, summary).await.unwrap();
    }
    let targets = {
        let (repository, backend) = (repository.clone(), backend.clone());
        blocking(move || targets(&repository, &backend)).await
    };
    World { backend, repository, live, targets }
}

fn targets(repository: &Repository, backend: &SimulatedBackend) -> Vec<Target> {
    repository.add_key_slot(&Secret::key_file(vec![8; 32]), KdfParameters::default(), "second").unwrap();
    for n in 1..=2 {
        let condemned = vec![PackId::new(random())];
        let record = GcRecord { n, time_ms: 1, condemned, nonce: random(), by: "test".to_owned() };
        assert!(repository.put_gc_record(&record).unwrap());
    }
    let mut beats = Vec::new();
    for _ in 0..2 {
        repository.fence(SnapshotId::new(random())).unwrap();
        // Dropped without being closed: what a crash leaves.
        let session = repository.register_session().unwrap();
        let beat = Heartbeat { n: 1, time_ms: 2, acknowledged_gc: 0 };
        let path = ObjectPath::session(session.id(), 1);
        repository.store().put_new(&path, beat.seal(repository.keys(), session.id(), &random())).unwrap();
        beats.push(path);
    }
    let mut targets = vec![Target { kind: "config", path: ObjectPath::config(), partner: None }];
    let mut add = |kind, mut paths: Vec<ObjectPath>| {
        assert!(paths.len() >= 2, "{kind}: {paths:?}");
        let partner = paths.pop();
        targets.push(Target { kind, path: paths.swap_remove(0), partner });
    };
    let below = |folder: &str| -> Vec<ObjectPath> {
        backend.paths().into_iter().filter(|path| path.as_str().starts_with(folder)).collect()
    };
    add("key slot", below("keys/"));
    add("heartbeat", beats);
    add("session", below("sessions/").into_iter().filter(|path| path.name() == "0").collect());
    add("gc record", below("gc/"));
    add("index", below("index/"));
    let outcomes = repository.snapshots().unwrap();
    let outcome = |wanted: fn(&Outcome) -> bool| -> Vec<ObjectPath> {
        let all = outcomes.all.iter().filter(|listed| listed.outcome.as_ref().is_ok_and(wanted));
        all.map(|listed| ObjectPath::snapshot(listed.id)).collect()
    };
    add("snapshot", outcome(|o| matches!(o, Outcome::Committed(_))));
    add("tombstone", outcome(|o| matches!(o, Outcome::Forgotten { .. })));
    add("fence", outcome(|o| matches!(o, Outcome::Fenced { .. })));
    let index = repository.index().read().unwrap_or_else(PoisonError::into_inner);
    let packs: Vec<_> = index.packs().map(|pack| pack.unwrap()).collect();
    let of = |kind| -> Vec<ObjectPath> {
        let packs = packs.iter().filter(|pack| pack.directory.frames[0].kind() == Some(kind));
        packs.map(|pack| ObjectPath::pack(pack.id)).collect()
    };
    add("data pack", of(BlobKind::Chunk));
    add("node pack", of(BlobKind::Node));
    targets
}

/// Opens the repository afresh and restores everything: right, or refused as damaged.
async fn never_wrong(world: &World, case: &str) -> bool {
    let repository = match open_on(std::sync::Arc::new(world.backend.clone())).await {
        Ok(repository) => repository,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Damaged, "{case}: {error}");
            return false;
        }
    };
    for (summary, source) in &world.live {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.edn");
        let restored = restore(&repository, summary, &out, whole(View::History, Format::Edn)).await;
        let verified = verify(&repository, summary).await;
        match &restored {
            Ok(_) => assert_eq!(sorted_lines(&out), sorted_lines(source), "{case}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{case}: {error}");
                assert!(!out.exists(), "{case}");
            }
        }
        match verified {
            Ok(report) => assert_eq!(report.is_sound(), restored.is_ok(), "{case}: {report:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{case}: {error}");
                assert!(restored.is_err(), "{case}: {error}");
            }
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_any_object_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path()).await;
    let sound = check_all(&world.repository).await;
    assert!(sound.findings.is_empty(), "{sound:?}");
    assert!(never_wrong(&world, "no damage").await);
    let healthy = world.backend.snapshot();
    for target in &world.targets {
        let len = healthy.get(&target.path).unwrap().len();
        let mut cases: Vec<Option<Damage>> = vec![Some(Damage::Empty)];
        cases.extend([0, 3, 4, 5, 6, 9, 40, len / 3, len / 2, len - 41, len - 1].map(|at| Some(Damage::Flip(at))));
        cases.extend([1, 7, len / 2, len - 1].map(|left| Some(Damage::Truncate(left))));
        cases.extend(target.partner.is_some().then_some(None));
        for damage in cases {
            let case = format!(
                "{} {}: {}",
                target.kind,
                target.path,
                match damage {
                    Some(damage) => format!("{damage:?} of {len}"),
                    None => "swapped".to_owned(),
                }
            );
            match (damage, &target.partner) {
                (Some(damage), _) => assert!(world.backend.damage(&target.path, damage), "{case}"),
                (None, Some(partner)) => assert!(world.backend.swap(&target.path, partner), "{case}"),
                (None, None) => {}
            }
            let report = check_all(&world.repository).await;
            assert!(!report.is_sound(), "{case}");
            let named = |path: &ObjectPath| report.findings.iter().any(|f| f.is_damage && f.object == path.as_str());
            assert!(named(&target.path), "{case}: {:?}", report.findings);
            if damage.is_none() {
                assert!(target.partner.as_ref().is_some_and(named), "{case}: {:?}", report.findings);
            }
            let opened = never_wrong(&world, &case).await;
            // Another key slot than the one that opens the repository may be damaged, but not both.
            let needless = target.path != ObjectPath::key_slot(world.repository.slot()) && damage.is_some();
            let expected = match target.kind {
                "config" => false,
                "key slot" => needless,
                _ => true,
            };
            assert_eq!(opened, expected, "{case}");
            world.backend.restore_state(healthy.clone());
        }
    }
    let healed = check_all(&world.repository).await;
    assert!(healed.findings.is_empty(), "{healed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_no_damage() {
    let backend = SimulatedBackend::new();
    create_on(std::sync::Arc::new(backend.clone())).await;
    let wrong = Secret::key_file(vec![9; 32]);
    let opened = Repository::open(std::sync::Arc::new(backend), wrong, packstone::repository::OpenOptions::default());
    assert_eq!(opened.await.map(drop).unwrap_err().kind(), ErrorKind::WrongKey);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_any_file_of_a_local_repository_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let source = folder.path().join("source.edn");
    write_documents(&source, 1, 10);
    let repository = create(&path).await;
    backup(&repository, &source).await.unwrap();
    let listed = {
        let repository = repository.clone();
        blocking(move || repository.store().list("").unwrap()).await
    };
    assert!(listed.len() >= 6, "{listed:?}");
    for (object, stat) in listed {
        let file = path.join(object.as_str());
        let healthy = std::fs::read(&file).unwrap();
        for at in [0, stat.size_bytes / 2, stat.size_bytes - 1] {
            let mut bytes = healthy.clone();
            bytes[usize::try_from(at).unwrap()] ^= 0x10;
            std::fs::write(&file, bytes).unwrap();
            let report = check_all(&repository).await;
            let named = report.findings.iter().any(|f| f.is_damage && f.object == object.as_str());
            assert!(named, "{object} at {at}: {report:?}");
        }
        std::fs::write(&file, healthy).unwrap();
    }
    assert!(check_all(&repository).await.findings.is_empty());
}
