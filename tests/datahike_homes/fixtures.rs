//! Datahike's own stores, copied into every home.

use std::collections::BTreeMap;
use std::process::Command;

use packstone::datahike::{Home, Store, home};
use tempfile::TempDir;

use crate::place::places;
use crate::proxy::Proxy;
use crate::unpack::{packed, unpack};

/// The stores that are copied: of two versions of Datahike, of several branches.
const STORES: [&str; 3] = ["store-a", "store-bf8", "store1607"];

/// The stores, unpacked.
fn stores() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in STORES {
        unpack(&packed(name), name, folder.path());
    }
    folder
}

/// Copies all blobs, heads last.
pub fn copy(from: &dyn Home, to: &dyn Home) {
    let keys = from.list().unwrap();
    for keys in keys.chunks(500) {
        let blobs = from.get_many(keys).unwrap();
        to.put_many(keys.iter().copied().zip(blobs.into_iter().map(Option::unwrap)).collect()).unwrap();
    }
}

#[test]
fn a_copied_store_holds_the_same_blobs_and_branches() {
    let stores = stores();
    for name in STORES {
        let path = stores.path().join(name);
        let original = home::open(path.to_str().unwrap()).unwrap();
        let everything = contents(&*original);
        assert!(everything.len() > 5, "{name}");
        for place in places() {
            copy(&*original, &*home::create(&place.location).unwrap());
            let copied = home::open(&place.location).unwrap();
            assert!(contents(&*copied) == everything, "{name} in {}", place.kind);
            let (copied, original) = (Store::new(copied, None), Store::new(original.clone(), None));
            let branches = original.branches().unwrap();
            assert_eq!(copied.branches().unwrap(), branches, "{name} in {}", place.kind);
            for branch in branches {
                let heads = [&copied, &original].map(|store| store.head(&branch).unwrap());
                assert_eq!(heads[0].max_tx, heads[1].max_tx, "{name} in {}", place.kind);
            }
        }
    }
}

fn contents(home: &dyn Home) -> BTreeMap<packstone::datahike::StoreKey, bytes::Bytes> {
    let keys = home.list().unwrap();
    let blobs = home.get_many(&keys).unwrap();
    keys.into_iter().zip(blobs.into_iter().map(Option::unwrap)).collect()
}

#[test]
fn a_backup_from_any_home_has_the_roots_of_the_file_store() {
    let stores = stores();
    let path = stores.path().join("store-a");
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("key"), "a key file has at least 32 bytes in it").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packstone"));
        command.current_dir(work.path()).env("PACKSTONE_CACHE_DIR", work.path().join("cache"));
        command.args(["-r", "repository", "--key-file", "key"]).args(arguments);
        command.output().unwrap()
    };
    let roots = |location: &str| {
        let source = format!("datahike:{location}");
        let backup = run(&["backup", &source]);
        assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
        let shown = run(&["ls", "latest", "--json"]).stdout;
        assert!(!String::from_utf8_lossy(&shown).contains("testsecret"));
        let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
        shown["roots"].clone()
    };
    assert!(run(&["init"]).status.success());
    let expected = roots(path.to_str().unwrap());
    assert!(expected.as_array().is_some_and(|roots| !roots.is_empty()), "{expected}");
    for place in places() {
        copy(&*home::open(path.to_str().unwrap()).unwrap(), &*home::create(&place.location).unwrap());
        assert_eq!(roots(&place.location), expected, "{}", place.kind);
        // The same when every connection breaks in the middle of it.
        let Some(server) = &place.server else { continue };
        let proxy = Proxy::to(server);
        proxy.break_after(3000);
        assert_eq!(roots(&place.location.replace(server, &proxy.address)), expected, "{}", place.kind);
        assert!(proxy.has_broken(), "{}", place.kind);
    }
}
