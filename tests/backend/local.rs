//! The local backend's folder: what it ignores, cleans and refuses.

use std::fs;
use std::path::Path;
use std::time::Duration;

use packstone::ErrorKind;
use packstone::backend::{Backend, LocalBackend, detect_foreign};

use crate::{body, path, runtime};

#[test]
fn what_crashed_writers_leave_is_ignored_and_cleaned() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let backend = LocalBackend::create(folder.path()).await.unwrap();
        backend.put(&path("config"), body("PSTN and more")).await.unwrap();
        fs::write(folder.path().join("tmp/0123abcd"), "half of a p").unwrap();
        fs::write(folder.path().join("packs/Thumbs.db"), "").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("packs/3f/3f00")).unwrap();
        let listed = backend.list("").await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        let unknown = backend.unknown_files().await.unwrap();
        assert_eq!(unknown, [folder.path().join("packs/3f/3f00"), folder.path().join("packs/Thumbs.db")]);
        assert_eq!(backend.clean_temporaries(Duration::from_secs(3600)).await.unwrap(), 0);
        assert_eq!(backend.clean_temporaries(Duration::ZERO).await.unwrap(), 1);
        let left: Vec<_> = fs::read_dir(folder.path().join("tmp")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["reserve"], "the reserve stays");
        for text in ["tmp", "tmp/x"] {
            assert_eq!(backend.put(&path(text), body("x")).await.unwrap_err().kind(), ErrorKind::Usage);
        }
    });
}

#[test]
fn a_lost_folder_comes_back_with_its_next_object() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let backend = LocalBackend::create(folder.path()).await.unwrap();
        fs::remove_dir(folder.path().join("packs/3f")).unwrap();
        fs::remove_dir_all(folder.path().join("tmp")).unwrap();
        // Not where a disk is not mounted any more.
        assert!(backend.put(&path("packs/3f/3f01"), body("x")).await.is_err());
        fs::write(folder.path().join("config"), "PSTN").unwrap();
        backend.put(&path("packs/3f/3f01"), body("x")).await.unwrap();
        fs::remove_dir_all(folder.path().join("packs")).unwrap();
        backend.put(&path("packs/3f/3f02"), body("x")).await.unwrap();
        assert_eq!(backend.list("packs/").await.unwrap().len(), 1);
    });
}

#[test]
fn the_layout_is_complete_and_a_cut_short_creation_may_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        LocalBackend::create(folder.path()).await.unwrap();
        assert_eq!(fs::read_dir(folder.path().join("packs")).unwrap().count(), 256);
        let backend = LocalBackend::create(folder.path()).await.unwrap();
        assert_eq!(kind(LocalBackend::open(folder.path()).await), ErrorKind::NoRepository);
        backend.put_new(&path("config"), body("PSTN")).await.unwrap();
        assert_eq!(kind(LocalBackend::create(folder.path()).await), ErrorKind::AlreadyExists);
        LocalBackend::open(folder.path()).await.unwrap();
        // A spoilt config is for its reader to report.
        fs::write(folder.path().join("config"), "").unwrap();
        LocalBackend::open(folder.path()).await.unwrap();
    });
}

#[test]
fn an_unmounted_disk_is_not_an_empty_repository() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let root = folder.path().join("disk");
        let backend = LocalBackend::create(&root).await.unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert!(backend.list("packs/").await.is_err());
        assert!(backend.put(&path("packs/3f/3f01"), body("x")).await.is_err());
        assert!(!root.exists());
    });
}

#[test]
fn folders_of_others_are_refused_and_named() {
    let cases: [(&[&str], Option<&str>); 8] = [
        (&["config=\u{1}\u{2}", "data/", "keys/", "snapshots/", "locks/", "index/"], Some("restic or rustic")),
        (&["config=[repository]\nversion = 1\n", "data/", "README=This is a Borg Backup repository"], Some("borg")),
        (&["kopia.repository.f=x", "p/"], Some("kopia")),
        (&["config=x", "chunks/", "snapshots/"], Some("duplicacy")),
        (&["repo.lock=", "data/", "items/"], Some("bupstash")),
        (&["config=PSTN", "data/", "keys/", "snapshots/"], None),
        (&["photo.jpg=x"], None),
        (&[], None),
    ];
    for (files, program) in cases {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|file| create(folder.path(), file));
        assert_eq!(detect_foreign(folder.path()), program, "{files:?}");
        let ours = files.contains(&"config=PSTN");
        let (opened, created) = runtime()
            .block_on(async { (LocalBackend::open(folder.path()).await, LocalBackend::create(folder.path()).await) });
        match program {
            Some(program) => {
                let error = opened.unwrap_err();
                assert!(error.kind() == ErrorKind::Foreign && error.message().contains(program), "{error}");
                assert_eq!(kind(created), ErrorKind::Foreign);
            }
            None if ours => assert!(opened.is_ok() && kind(created) == ErrorKind::AlreadyExists),
            None => {
                assert_eq!(kind(opened), ErrorKind::NoRepository);
                assert_eq!(created.is_ok(), files.is_empty());
            }
        }
    }
    let missing = Path::new("/nonexistent/place");
    assert_eq!(detect_foreign(missing), None);
    assert_eq!(kind(runtime().block_on(LocalBackend::open(missing))), ErrorKind::NoRepository);
}

fn create(folder: &Path, file: &str) {
    match file.split_once('=') {
        Some((name, content)) => fs::write(folder.join(name), content).unwrap(),
        None => fs::create_dir(folder.join(file)).unwrap(),
    }
}

fn kind<T: std::fmt::Debug>(result: packstone::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}
