//! `copy`, `tag`, `rewrite` and `mount` as their users meet them.

use std::fs;

use crate::world::{Ran, World, ran, sorted};

/// A world with a second repository, opened by a key file of its own.
fn with_other() -> World {
    let world = World::with_days();
    world.write("other-key", "another key file, of 32 bytes or more, too");
    other(&world, &["init", "--copy-chunker-params", "--from-repo", "repo", "--from-key-file", "key"]);
    world
}

/// Runs a command on the second repository.
fn other_run(world: &World, arguments: &[&str]) -> Ran {
    let mut command = world.command(arguments);
    ran(command.env("PACKSTONE_REPOSITORY", "other").env("PACKSTONE_KEY_FILE", "other-key"))
}

fn other(world: &World, arguments: &[&str]) -> String {
    let ran = other_run(world, arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    ran.out
}

#[test]
fn snapshots_are_copied_once() {
    let world = with_other();
    let from = ["--from-repo", "repo", "--from-key-file", "key"];
    let dry = other(&world, &[&["copy", "-n"], &from[..]].concat());
    assert!(dry.contains("would copy 3 snapshots"), "{dry}");
    let first = other(&world, &[&["copy", "latest~2"], &from[..]].concat());
    assert!(first.contains("copied 1 snapshot, 0 here already"), "{first}");
    let rest = other(&world, &[&["copy", "--json"], &from[..]].concat());
    let lines: Vec<serde_json::Value> = rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |kind: &str| lines.iter().filter(|line| line["message_type"] == kind).count();
    assert_eq!((count("skipped"), count("copied"), count("summary")), (1, 2, 1));
    assert_eq!(lines.last().unwrap()["copied_snapshots"], 2);
    let again = other(&world, &[&["copy"], &from[..]].concat());
    assert!(again.contains("copied 0 snapshots, 3 here already"), "{again}");
    let theirs = other(&world, &["dump", "latest"]);
    assert_eq!(sorted(&theirs), sorted(&world.ok(&["dump", "latest"])));
    other(&world, &["check", "--read-data"]);
}

#[test]
fn what_cannot_be_copied_is_said() {
    let world = with_other();
    let code = |arguments: &[&str]| other_run(&world, arguments).code;
    assert_eq!(code(&["copy"]), 2, "from where");
    assert_eq!(code(&["copy", "--from-repo", "nowhere", "--from-key-file", "key"]), 10);
    assert_eq!(code(&["copy", "--from-repo", "repo", "--from-key-file", "other-key"]), 12);
    assert_eq!(code(&["copy", "--from-repo", "other", "--from-key-file", "other-key"]), 2, "onto itself");
    assert_eq!(code(&["copy", "ffff", "--from-repo", "repo", "--from-key-file", "key"]), 1);
    assert_eq!(code(&["init", "-r", "third", "--from-repo", "repo", "--from-key-file", "key"]), 2);
}

#[test]
fn tags_change_by_a_new_snapshot() {
    let world = World::with_days();
    let before = world.ids();
    let summary = world.summary(&["tag", "--add", "kept", "latest"]);
    assert_eq!((&summary["changed_snapshots"], &summary["unchanged_snapshots"]), (&1.into(), &0.into()));
    let after = world.ids();
    assert_eq!((&after[..2], after.len()), (&before[..2], 3));
    assert_ne!(after[2], before[2]);
    world.ok(&["tag", "--set", "", "--tag", "kept"]);
    let list = world.document(&["snapshots"]);
    assert_eq!(list[2]["tags"].as_array().unwrap().len(), 0);
    assert_eq!(list[2]["properties"]["original"].as_str(), Some(before[2].as_str()));
    for wrong in [&["tag"][..], &["tag", "--set", "a", "--add", "b"], &["tag", "--add", ","]] {
        assert_eq!(world.run(wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn paths_are_taken_out_of_snapshots() {
    let world = World::new();
    world.write("tree/keep/a", "a");
    world.write("tree/drop/b", "b");
    let tree = world.path("tree");
    let tree = tree.to_str().unwrap();
    world.ok(&["backup", tree]);
    let dry = world.ok(&["rewrite", "--exclude", "drop/", "-n"]);
    assert!(dry.contains("dry run: would rewrite 1 snapshot"), "{dry}");
    let summary = world.summary(&["rewrite", "--exclude", "drop/", "--forget"]);
    assert_eq!(summary["changed_snapshots"], 1);
    assert_eq!(world.ids().len(), 1);
    world.ok(&["restore", "latest", "--to", "out"]);
    let out = world.path("out");
    assert!(find(&out, "a") && !find(&out, "b"));
    assert_eq!(world.run(&["rewrite"]).code, 2);
    assert_eq!(world.run(&["rewrite", "--new-time", "2026-01-01T00:00:00Z"]).code, 2, "of which snapshot");
    let renamed = world.ok(&["rewrite", "latest", "--new-host", "other", "--new-time", "2026-01-01T00:00:00Z"]);
    assert!(renamed.contains("rewrote 1 snapshot"), "{renamed}");
    assert_eq!(world.document(&["snapshots", "--tag", "rewrite"])[0]["hostname"], "other");
}

/// Whether there is a file of this name anywhere below.
fn find(folder: &std::path::Path, name: &str) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).any(|entry| match entry.path().is_dir() {
        true => find(&entry.path(), name),
        false => entry.file_name() == name,
    })
}

#[cfg(not(feature = "mount"))]
#[test]
fn a_program_without_mount_says_how_to_get_it() {
    let world = World::new();
    let ran = world.run(&["mount", "somewhere"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--features mount"), "{ran:?}");
}
