//! Databases of Datahike: their stores are backed up as they are.

use crate::world::{World, unpack};

#[test]
fn a_store_is_backed_up_and_its_branches_restored() {
    let world = World::new();
    unpack(&world, "store-bf8");
    let summary = world.summary(&["backup", "datahike:store-bf8"]);
    assert_eq!(summary["source"], "datahike:store-bf8");
    let snapshot = &world.document(&["snapshots"])[0];
    assert_eq!(snapshot["id"], summary["snapshot_id"]);
    let restored = world.summary(&["restore", "latest", "--to", "datoms:main.edn", "--current"]);
    assert_eq!(restored["datoms_restored"], 515);
    world.ok(&["restore", "latest", "--to", "datoms:staging.edn", "--current", "--branch", ":staging"]);
    assert_eq!(world.ok(&["dump", "latest", "--current", "--branch", "staging"]), world.read("staging.edn"));
    let unchanged = world.summary(&["backup", "datahike:store-bf8", "--skip-if-unchanged"]);
    assert!(unchanged["snapshot_id"].is_null(), "{unchanged}");
    world.ok(&["backup", "datahike:store-bf8"]);
    for branch in ["db", "staging"] {
        let difference = world.summary(&["diff", "latest~1", "latest", "--branch", branch]);
        assert_eq!(difference["added"]["datoms"], 0);
    }
    world.ok(&["verify", "latest"]);
    world.ok(&["stats", "latest"]);
    let ran = world.run(&["restore", "latest", "--to", "datoms:x.edn", "--branch", "nonexistent"]);
    assert!(ran.code != 0 && ran.err.contains("no branch :nonexistent"), "{ran:?}");
}

#[test]
fn one_branch_of_a_database_is_compared_with_a_snapshot() {
    let world = World::new();
    unpack(&world, "store-bf8");
    let compared =
        |arguments: &[&str]| world.run(&[&["verify", "datahike:store-bf8", "--against", "latest"], arguments].concat());
    world.ok(&["backup", "datahike:store-bf8"]);
    let both = compared(&[]);
    assert!(both.code == 0 && both.out.contains(":db is equal") && both.out.contains(":staging is equal"), "{both:?}");
    let one = compared(&["--branch", ":staging"]);
    assert!(one.code == 0 && !one.out.contains(":db ") && one.out.contains(":staging is equal"), "{one:?}");
    // A snapshot that holds no other.
    world.ok(&["backup", "datahike:store-bf8", "--branch", "staging"]);
    assert_eq!(compared(&["--branch", "staging"]).code, 0);
    assert_eq!(compared(&[]).code, 1);
    let unknown = compared(&["--branch", "nonexistent"]);
    assert!(unknown.code == 1 && unknown.err.contains("no such branch"), "{unknown:?}");
    assert_eq!(world.run(&["verify", "latest", "--branch", "db"]).code, 2);
}

#[test]
fn an_encrypted_store_needs_its_key() {
    let world = World::new();
    unpack(&world, "store-aes");
    let ran = world.run(&["backup", "datahike:store-aes"]);
    assert!(ran.code == 12 && ran.err.contains("--datahike-key-file"), "{ran:?}");
    world.write("store.key", "s3cret\n");
    world.ok(&["backup", "datahike:store-aes", "--datahike-key-file", "store.key"]);
    let mut command = world.command(&["backup", "datahike:store-aes"]);
    command.env("PACKSTONE_DATAHIKE_KEY", "s3cret").assert().success();
    assert_eq!(world.ids().len(), 2);
}

#[test]
fn what_is_no_database_is_refused() {
    let world = World::new();
    unpack(&world, "store1607hh");
    let ran = world.run(&["backup", "datahike:store1607hh"]);
    assert!(ran.code == 1 && ran.err.contains("hitchhiker") && ran.err.contains("export"), "{ran:?}");
    let ran = world.run(&["backup", "datahike:repo"]);
    assert!(ran.code == 1 && ran.err.contains("not a file store"), "{ran:?}");
    for arguments in [
        &["backup", "datahike:"][..],
        &["backup", "key", "--branch", "a"],
        &["backup", "datoms:key", "--attempts", "3"],
    ] {
        assert_eq!(world.run(arguments).code, 2, "{arguments:?}");
    }
    assert!(world.ids().is_empty());
}
