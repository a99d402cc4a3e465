//! A disk without room: nothing is lost, and small control objects still get through once.

use std::path::Path;
use std::process::Command;

use packstone::ErrorKind;
use packstone::backend::{Backend, LocalBackend, PutNew};

use crate::{body, path, runtime};

/// A small file system in memory, unmounted when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|done| done.status.success()).then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_refuses_packs_and_takes_control_objects() {
    let Some(disk) = Mounted::new("size=8m") else {
        eprintln!("skipped: this user may not mount a small file system");
        return;
    };
    runtime().block_on(async {
        let backend = LocalBackend::create(disk.path()).await.unwrap();
        backend.put_new(&path("config"), body("PSTN")).await.unwrap();
        let mut stored = 0;
        let error = loop {
            match backend.put(&path(&format!("packs/00/{stored}")), body(vec![1; 1 << 20])).await {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), error.object()), (ErrorKind::NoSpace, format!("packs/00/{stored}").as_str()));
        assert!(stored >= 5);
        while backend.put(&path(&format!("packs/01/{stored}")), body(vec![1; 4096])).await.is_ok() {
            stored += 1;
        }
        assert_eq!(backend.list("packs/").await.unwrap().len(), stored, "nothing half written shows");
        // Not for packs, and not for anything big.
        let big = backend.put_new(&path("index/0/big"), body(vec![1; 65 << 10])).await;
        assert_eq!(big.unwrap_err().kind(), ErrorKind::NoSpace);
        let record = backend.put_new(&path("gc/0000000001"), body(vec![2; 64 << 10])).await.unwrap();
        assert_eq!(record, PutNew::Created);
        backend.replace(&path("snapshots/aa"), body(vec![3; 1000])).await.unwrap();
        assert!(!disk.path().join("tmp/reserve").exists());
        for (path, stat) in backend.list("").await.unwrap() {
            assert_eq!(backend.get(&path, None).await.unwrap().len() as u64, stat.size_bytes);
        }
        while backend.put(&path(&format!("packs/02/{stored}")), body(vec![1; 4096])).await.is_ok() {
            stored += 1;
        }
        assert_eq!(backend.restore_reserve().await.unwrap_err().kind(), ErrorKind::NoSpace);
        let last = backend.put_new(&path("gc/0000000002"), body(vec![2; 64 << 10])).await;
        assert_eq!(last.unwrap_err().kind(), ErrorKind::NoSpace, "the reserve helps once");
        for pack in ["packs/00/0", "packs/00/1"] {
            backend.delete(&path(pack)).await.unwrap();
        }
        assert!(backend.restore_reserve().await.unwrap());
        assert!(!backend.restore_reserve().await.unwrap());
    });
}

#[test]
fn a_disk_without_inodes_is_full() {
    let Some(disk) = Mounted::new("size=8m,nr_inodes=290") else {
        eprintln!("skipped: this user may not mount a small file system");
        return;
    };
    runtime().block_on(async {
        let backend = LocalBackend::create(disk.path()).await.unwrap();
        let mut stored = 0;
        let error = loop {
            match backend.put(&path(&format!("packs/00/{stored}")), body("x")).await {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!(backend.list("packs/").await.unwrap().len(), stored);
        backend.put_new(&path("gc/0000000001"), body("the reserve's inode")).await.unwrap();
    });
}
