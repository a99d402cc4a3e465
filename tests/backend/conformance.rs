//! One suite for every backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use packstone::ErrorKind;
use packstone::backend::{Backend, Counted, LocalBackend, PutNew, SimulatedBackend};
use packstone::format::{ObjectPath, Sealed};

use crate::{body, path, runtime};

#[test]
fn the_local_backend_conforms() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let backend = LocalBackend::create(folder.path().join("a/b/repository")).await.unwrap();
        conforms(Arc::new(backend), Creates::Once, 500).await;
    });
}

#[test]
fn the_simulated_backend_conforms() {
    runtime().block_on(conforms(Arc::new(SimulatedBackend::new()), Creates::Once, 500));
}

#[test]
fn a_counted_backend_conforms_and_counts() {
    runtime().block_on(async {
        let counted = Arc::new(Counted::new(SimulatedBackend::new()));
        conforms(counted.clone(), Creates::Once, 500).await;
        assert_eq!(counted.requests(), counted.inner().requests());
        assert!(counted.requests().put_new > 4000 && counted.requests().written_bytes > 40 << 20);
    });
}

/// What a backend does about creating what may be there.
#[derive(Clone, Copy, PartialEq)]
pub enum Creates {
    /// Exactly one of several succeeds.
    Once,
    /// Exactly one of several succeeds, but what is written shows before it is whole.
    #[cfg_attr(not(feature = "sftp"), expect(dead_code, reason = "SFTP is not built in"))]
    OnceInPlace,
    /// It says that it cannot.
    Never,
}

impl Creates {
    /// Creates what is not there, by whatever the backend offers.
    async fn create(self, backend: &dyn Backend, at: &ObjectPath, body: Sealed) {
        match self {
            Self::Once | Self::OnceInPlace => assert_eq!(backend.put_new(at, body).await.unwrap(), PutNew::Created),
            Self::Never => backend.put(at, body).await.unwrap(),
        }
    }
}

pub async fn conforms(backend: Arc<dyn Backend>, creates: Creates, rounds: u32) {
    reads_what_was_written(&*backend, creates).await;
    lists_what_is_there(&*backend, creates).await;
    reads_ranges(&*backend).await;
    stores_big_objects(&*backend).await;
    match creates {
        Creates::Once | Creates::OnceInPlace => one_of_many_creates(&backend, rounds).await,
        Creates::Never => refuses_to_create(&*backend).await,
    }
    // SFTP and WebDAV servers may write over a file in place, and the latter leave names out of a listing while others write: rclone does both.
    if creates == Creates::Once {
        replaces_at_once(&backend).await;
    }
    if creates != Creates::Never {
        handles_many_at_once(&backend).await;
    }
}

async fn reads_what_was_written(backend: &dyn Backend, creates: Creates) {
    let at = path("keys/00ff");
    assert_eq!(backend.stat(&at).await.unwrap(), None);
    let missing = backend.get(&at, None).await.unwrap_err();
    assert_eq!((missing.kind(), missing.object()), (ErrorKind::NotFound, "keys/00ff"));
    backend.put(&at, body("one")).await.unwrap();
    assert_eq!(backend.get(&at, None).await.unwrap(), "one");
    if creates != Creates::Never {
        assert_eq!(backend.put_new(&at, body("two")).await.unwrap(), PutNew::Exists);
    }
    assert_eq!(backend.get(&at, None).await.unwrap(), "one");
    backend.replace(&at, body("three")).await.unwrap();
    assert_eq!(backend.get(&at, None).await.unwrap(), "three");
    let stat = backend.stat(&at).await.unwrap().unwrap();
    assert_eq!(stat.size_bytes, 5);
    backend.put(&at, body("")).await.unwrap();
    assert_eq!(backend.get(&at, None).await.unwrap(), "");
    assert_eq!(backend.get(&at, Some(0..0)).await.unwrap(), "");
    backend.delete(&at).await.unwrap();
    backend.delete(&at).await.unwrap();
    backend.delete(&path("sessions/never/was")).await.unwrap();
    assert_eq!(backend.stat(&at).await.unwrap(), None);
    creates.create(backend, &at, body("new")).await;
    backend.delete(&at).await.unwrap();
    // A folder is not an object.
    assert_eq!(backend.stat(&path("packs")).await.unwrap(), None);
}

async fn lists_what_is_there(backend: &dyn Backend, creates: Creates) {
    assert!(backend.list("").await.unwrap().is_empty());
    assert!(backend.list("sessions/").await.unwrap().is_empty());
    let texts =
        ["config", "gc/0000000001", "gc/0000000002", "packs/3f/3f01", "packs/ff/ff", "sessions/ab/0", "sessions/ab/1"];
    for text in texts {
        backend.put(&path(text), body(text)).await.unwrap();
    }
    for (prefix, expected) in
        [("", &texts[..]), ("gc/", &texts[1..3]), ("packs/", &texts[3..5]), ("sessions/ab/", &texts[5..])]
    {
        let listed = backend.list(prefix).await.unwrap();
        let names: Vec<_> = listed.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, expected, "{prefix}");
        assert!(listed.iter().all(|(path, stat)| stat.size_bytes == path.as_str().len() as u64));
        for (path, stat) in listed {
            let found = backend.stat(&path).await.unwrap().unwrap();
            assert_eq!(found.size_bytes, stat.size_bytes);
            // Some stores list milliseconds and tell whole seconds.
            assert!((found.modified_ms - stat.modified_ms).abs() < 1000, "{path}: {found:?} {stat:?}");
        }
    }
    backend.delete(&path("sessions/ab/0")).await.unwrap();
    assert_eq!(backend.list("sessions/").await.unwrap().len(), 1);
    backend.delete(&path("sessions/ab/1")).await.unwrap();
    assert!(backend.list("sessions/").await.unwrap().is_empty());
    creates.create(backend, &path("sessions/ab/0"), body("again")).await;
    assert_eq!(backend.list("sessions/").await.unwrap().len(), 1);
    for (path, _) in backend.list("").await.unwrap() {
        backend.delete(&path).await.unwrap();
    }
    assert!(backend.list("").await.unwrap().is_empty());
}

async fn reads_ranges(backend: &dyn Backend) {
    let at = path("packs/00/0001");
    backend.put(&at, body("0123456789")).await.unwrap();
    for (range, expected) in [(0..10, "0123456789"), (3..5, "34"), (9..10, "9"), (10..10, ""), (0..1, "0")] {
        assert_eq!(backend.get(&at, Some(range)).await.unwrap(), expected);
    }
    for range in [0..11, 10..11, 20..30, 5..u64::MAX] {
        let error = backend.get(&at, Some(range.clone())).await.unwrap_err();
        assert_eq!((error.kind(), error.object()), (ErrorKind::Damaged, "packs/00/0001"), "{range:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "it is what must be refused")]
    let backwards = backend.get(&at, Some(5..3)).await.unwrap_err();
    assert_eq!(backwards.kind(), ErrorKind::Usage);
    backend.delete(&at).await.unwrap();
}

async fn stores_big_objects(backend: &dyn Backend) {
    let mut bytes = vec![0; 40 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let at = path("packs/ab/abcd");
    backend.put(&at, body(bytes.clone())).await.unwrap();
    assert!(backend.get(&at, None).await.unwrap() == bytes);
    let range = (17 << 20) + 3..(17 << 20) + 70_000;
    assert!(backend.get(&at, Some(range.start as u64..range.end as u64)).await.unwrap() == bytes[range]);
    backend.delete(&at).await.unwrap();
}

async fn one_of_many_creates(backend: &Arc<dyn Backend>, rounds: u32) {
    for round in 0..rounds {
        let at = path(&format!("sessions/{round:08x}/0"));
        let racers: Vec<_> = (0..8u8)
            .map(|racer| {
                let (backend, at) = (Arc::clone(backend), at.clone());
                tokio::spawn(async move { backend.put_new(&at, body(vec![racer; 2000])).await.unwrap() })
            })
            .collect();
        let mut winners = Vec::new();
        for (number, racer) in racers.into_iter().enumerate() {
            if racer.await.unwrap() == PutNew::Created {
                winners.push(number as u8);
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(backend.get(&at, None).await.unwrap(), vec![winners[0]; 2000]);
        backend.delete(&at).await.unwrap();
    }
}

async fn refuses_to_create(backend: &dyn Backend) {
    let at = path("sessions/00/0");
    assert_eq!(backend.put_new(&at, body("x")).await.unwrap_err().kind(), ErrorKind::Foreign);
    assert_eq!(backend.stat(&at).await.unwrap(), None);
}

async fn replaces_at_once(backend: &Arc<dyn Backend>) {
    let at = path("snapshots/77");
    backend.put(&at, body(vec![0; 50_000])).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (backend, at, done) = (Arc::clone(backend), at.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let (mut reads, mut last) = (0, 0);
                while !done.load(Ordering::Relaxed) || reads == 0 {
                    let bytes = backend.get(&at, None).await.unwrap();
                    assert!(bytes.len() == 50_000 && bytes.iter().all(|b| *b == bytes[0]), "old or new, never both");
                    assert!(bytes[0] >= last, "never an older one again");
                    (reads, last) = (reads + 1, bytes[0]);
                }
            })
        })
        .collect();
    for generation in 1..=100 {
        backend.replace(&at, body(vec![generation; 50_000])).await.unwrap();
        assert_eq!(backend.get(&at, Some(0..1)).await.unwrap(), vec![generation]);
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    backend.delete(&at).await.unwrap();
}

/// Writers and removers share short-lived folders without getting in each other's way.
async fn handles_many_at_once(backend: &Arc<dyn Backend>) {
    let tasks: Vec<_> = (0..8u32)
        .map(|task| {
            let backend = Arc::clone(backend);
            tokio::spawn(async move {
                let at = path(&format!("sessions/shared/{task}"));
                for _ in 0..40 {
                    assert_eq!(backend.put_new(&at, body("x")).await.unwrap(), PutNew::Created);
                    assert!(backend.list("sessions/").await.unwrap().iter().any(|(path, _)| *path == at));
                    backend.delete(&at).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(backend.list("").await.unwrap().is_empty());
}
