//! Input that is broken, hostile or not what it claims: a clear paragraph, no snapshot, no panic.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::world::{World, log};

/// A backup of this source fails with code 1, says these words, and leaves no snapshot.
fn check(world: &World, source: &str, words: &[&str]) {
    let ran = world.run(&["backup", source]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(words.iter().all(|word| ran.err.contains(word)), "{words:?} in {ran:?}");
    assert!(ran.err.starts_with("error: ") && !ran.err.contains("panicked"), "{ran:?}");
    assert!(ran.err.trim_end().lines().count() <= 3, "{ran:?}");
    assert!(world.ids().is_empty());
}

#[test]
fn a_missing_path() {
    check(&World::new(), "datoms:not/there.edn", &["not/there.edn"]);
}

#[test]
fn an_unreadable_path() {
    let world = World::new();
    world.write("db.edn", log(0));
    fs::set_permissions(world.path("db.edn"), fs::Permissions::from_mode(0)).unwrap();
    // Permissions do not bind the superuser.
    if fs::read(world.path("db.edn")).is_err() {
        check(&world, "datoms:db.edn", &["db.edn"]);
    }
}

#[test]
fn edn_that_nests_ten_thousand_deep() {
    let world = World::new();
    let deep = format!("[1 :a {}{} 2 true]\n", "[".repeat(10_000), "]".repeat(10_000));
    world.write("deep.edn", log(0) + &deep);
    check(&world, "datoms:deep.edn", &["deep.edn", "nest"]);
}

#[test]
fn truncated_cbor() {
    let world = World::with_days();
    world.ok(&["restore", "latest", "--to", "datoms:db.cbor", "--format", "cbor"]);
    let bytes = fs::read(world.path("db.cbor")).unwrap();
    let fresh = World::new();
    fresh.write("db.cbor", &bytes[..bytes.len() - 3]);
    check(&fresh, "datoms:db.cbor", &["db.cbor"]);
}

#[test]
fn a_manifest_that_climbs_out() {
    let world = World::with_days();
    world.ok(&["restore", "latest", "--to", "datoms:dump", "--format", "dump"]);
    let fresh = World::new();
    copy(&world.path("dump"), &fresh.path("dump"));
    let manifest = fresh.read("dump/manifest.edn");
    let start = manifest.find("chunk").unwrap();
    let name_start = manifest[..manifest[start..].find('.').unwrap() + start].rfind('"').unwrap() + 1;
    let name_end = manifest[name_start..].find('"').unwrap() + name_start;
    let name = &manifest[name_start..name_end];
    fresh.write("dump/manifest.edn", manifest.replace(name, "../../../etc/passwd"));
    check(&fresh, "datoms:dump", &["manifest"]);
}

#[test]
fn duplicate_keys() {
    let world = World::new();
    world.write("db.json", "[1,\":a\",1,1,true]\n{\"e\":1,\"e\":2,\"a\":\":a\",\"v\":1,\"t\":1}\n");
    check(&world, "datoms:db.json", &["db.json", "duplicate"]);
}

#[test]
fn a_file_that_holds_something_else() {
    let world = World::new();
    world.write("photo.edn", [0xff, 0xd8, 0xff, 0xe0, 0, 16, b'J', b'F', b'I', b'F']);
    check(&world, "datoms:photo.edn", &["photo.edn"]);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
