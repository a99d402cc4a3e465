//! Databases of Datahike: their stores are backed up as they are.

use std::fs::{self, File};

use crate::world::{World, ran, unpack};

#[test]
fn a_store_is_backed_up_and_its_branches_restored() {
    let world = World::new();
    unpack(&world, "store-bf8");
    let summary = world.summary(&["backup", "datahike:store-bf8"]);
    let place = format!("datahike:{}", world.path("store-bf8").display());
    assert_eq!(summary["source"], place.as_str(), "the same from whatever directory");
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
    assert!(unknown.code == 2 && unknown.err.contains("no such branch"), "{unknown:?}");
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

#[test]
fn a_database_that_cannot_be_read_is_named_for_programs_too() {
    let world = World::new();
    unpack(&world, "store-a");
    let ran = world.run(&["backup", "datahike:store-a", "datahike:nowhere", "--json"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let lines: Vec<serde_json::Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let error = lines.iter().find(|line| line["message_type"] == "error").unwrap();
    assert_eq!(error["item"], "nowhere");
    assert!(error["error"]["message"].as_str().unwrap().contains("No such file"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("nothing was saved"), "{error}");
    let ran = world.run(&["backup", "datahike:nowhere", "--json"]);
    let last: serde_json::Value = serde_json::from_str(ran.err.lines().last().unwrap()).unwrap();
    assert_eq!(last["message_type"], "exit_error");
    assert!(last["hint"].as_str().unwrap().contains("nothing was saved"), "{last}");
}

#[test]
fn a_restored_database_has_as_many_datoms_as_its_history() {
    // Of the last two not all that is current follows from the history.
    for (name, follows) in [("store-a", true), ("store1607", false), ("written-mixed", false)] {
        let world = World::new();
        unpack(&world, name);
        let backup = world.run(&["backup", &format!("datahike:{name}")]);
        assert!(backup.code == 0 && backup.err.contains("note: branch :db: of") != follows, "{backup:?}");
        let lines = world.summary(&["restore", "latest", "--to", "datoms:history.edn", "--history"]);
        let restored = world.summary(&["restore", "latest", "--to", "datahike:restored"]);
        assert_eq!(restored["datoms_restored"], lines["datoms_restored"], "{name}");
        let lines = world.summary(&["restore", "latest", "--to", "datoms:current.edn", "--current"]);
        let restored = world.summary(&["restore", "latest", "--to", "datahike:state", "--current"]);
        assert_eq!(restored["datoms_restored"], lines["datoms_restored"], "{name}");
    }
}

#[test]
fn a_database_is_not_compared_with_files() {
    let world = World::new();
    unpack(&world, "store-a");
    world.write("folder/file", "text");
    world.ok(&["backup", "folder"]);
    let ran = world.run(&["verify", "datahike:store-a", "--against", "latest"]);
    assert!(ran.code == 2 && ran.err.contains("holds no datoms") && ran.out.is_empty(), "{ran:?}");
}

#[test]
fn a_branch_that_was_restored_alone_is_compared_as_that_branch() {
    let world = World::new();
    unpack(&world, "store-bf8");
    world.ok(&["backup", "datahike:store-bf8"]);
    world.ok(&["restore", "latest", "--branch", "staging", "--to", "datahike:alone"]);
    let equal = world.ok(&["verify", "datahike:alone", "--against", "latest", "--branch", "staging"]);
    assert!(equal.contains(":db is equal to :staging of snapshot"), "{equal}");
    let whole = world.run(&["verify", "datahike:alone", "--against", "latest"]);
    assert!(whole.code == 1 && whole.out.contains("is not in this database"), "{whole:?}");
    assert!(!whole.out.contains("difference"), "{whole:?}");
    // Another state of that branch.
    world.ok(&["restore", "latest", "--branch", "staging", "--to", "datahike:past", "--as-of", "536870914"]);
    let past = world.run(&["verify", "datahike:past", "--against", "latest", "--branch", "staging"]);
    assert!(past.code == 1 && past.out.contains(":db differs from :staging of snapshot"), "{past:?}");
    // A branch that the snapshot has not.
    world.ok(&["backup", "datahike:store-bf8", "--branch", "db"]);
    let more = world.run(&["verify", "datahike:store-bf8", "--against", "latest"]);
    assert!(more.code == 1 && more.out.contains(":staging is not in this snapshot"), "{more:?}");
    assert!(more.out.contains(":db is equal") && !more.out.contains("difference"), "{more:?}");
    let ran = world.run(&["verify", "datahike:store-bf8", "--against", "latest", "--json"]);
    let last: serde_json::Value = serde_json::from_str(ran.err.lines().last().unwrap()).unwrap();
    assert_eq!((&last["code"], &last["message"]), (&1.into(), &"what was compared differs".into()));
}

#[test]
fn a_branch_that_there_is_not_is_misuse_everywhere() {
    let world = World::new();
    unpack(&world, "store-a");
    world.ok(&["backup", "datahike:store-a"]);
    for arguments in [
        &["backup", "datahike:store-a", "--branch", "nope"][..],
        &["sync", "datahike:store-a", "--once", "--branch", "nope"],
        &["verify", "datahike:store-a", "--against", "latest", "--branch", "nope"],
        &["restore", "latest", "--to", "datoms:x.edn", "--branch", "nope"],
        &["restore", "latest", "--to", "datahike:x", "--branch", "nope"],
    ] {
        let ran = world.run(arguments);
        assert!(ran.code == 2 && ran.err.contains("branch"), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn advice_about_a_store_is_not_about_the_repository() {
    let world = World::new();
    unpack(&world, "store-aes");
    world.write("store.key", "s3cret\n");
    world.ok(&["backup", "datahike:store-aes", "--datahike-key-file", "store.key"]);
    for arguments in [
        &["backup", "datahike:store-aes"][..],
        &["verify", "datahike:store-aes", "--against", "latest"],
        &["sync", "datahike:store-aes", "--once"],
        &["migrate", "datahike:store-aes", "datahike:moved", "--once"],
    ] {
        // An empty key is none.
        for key in ["", "wrong"] {
            let ran = ran(world.command(arguments).env("PACKSTONE_DATAHIKE_KEY", key));
            assert!(ran.code == 12 && ran.err.contains("--datahike-key-file"), "{arguments:?} with {key:?}: {ran:?}");
            assert!(!ran.err.contains("PACKSTONE_PASSWORD"), "{arguments:?} with {key:?}: {ran:?}");
        }
    }
    unpack(&world, "store-a");
    for entry in fs::read_dir(world.path("store-a")).unwrap() {
        File::options().write(true).open(entry.unwrap().path()).unwrap().set_len(30).unwrap();
    }
    let ran = world.run(&["verify", "datahike:store-a", "--against", "latest"]);
    assert!(ran.code == 13 && !ran.err.contains("check --read-data"), "{ran:?}");
    assert!(ran.err.contains("the store of the database that is damaged"), "{ran:?}");
}

#[test]
fn what_advises_already_has_no_other_hint() {
    let world = World::new();
    unpack(&world, "store-a");
    let ran = world.run(&["backup", "datoms:store-a"]);
    assert!(ran.code == 1 && ran.err.contains("`datahike:store-a`") && !ran.err.contains("hint:"), "{ran:?}");
    unpack(&world, "store1607hh");
    let ran = world.run(&["backup", "datahike:store1607hh"]);
    assert!(ran.err.contains("export-db") && !ran.err.contains("hint:"), "{ran:?}");
    world.ok(&["backup", "datahike:store-a"]);
    world.write("taken/by", "somebody else");
    let restore = ["restore", "latest", "--to", "datoms:taken", "--format", "dump", "--overwrite"];
    let ran = world.run(&restore);
    assert!(ran.code == 1 && !ran.err.contains("--overwrite"), "{ran:?}");
    let ran = world.run(&restore[..6]);
    assert!(ran.code == 1 && ran.err.contains("--overwrite"), "{ran:?}");
}

#[test]
fn before_the_first_transaction_there_is_nothing_and_that_is_said() {
    let world = World::new();
    unpack(&world, "store-a");
    let backup = world.run(&["backup", "datahike:store-a"]);
    assert!(backup.code == 0 && !backup.err.contains("do not follow"), "{backup:?}");
    for (target, t) in [("datoms:early.edn", "5"), ("datahike:early", "5"), ("datoms:none.edn", "1999-01-01T00:00:00Z")]
    {
        let ran = world.run(&["restore", "latest", "--to", target, "--as-of", t]);
        assert!(ran.code == 0 && ran.err.contains("before the first transaction"), "{target}: {ran:?}");
    }
    let ran = world.run(&["restore", "latest", "--to", "datoms:first.edn", "--as-of", "536870913"]);
    assert!(ran.code == 0 && !ran.err.contains("before the first") && !world.read("first.edn").is_empty(), "{ran:?}");
}
