//! Backups of directory trees and streams.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::world::World;

/// A little tree in the folder `tree`.
fn world() -> World {
    let world = World::new();
    for (name, content) in [("tree/a", "a"), ("tree/b/c.txt", "c"), ("tree/b/d.TXT", "d"), ("tree/cache/big", "big")] {
        world.write(name, content);
    }
    world.write("tree/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
    symlink("a", world.path("tree/link")).unwrap();
    world
}

fn number(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"))
}

#[test]
fn a_tree_is_backed_up_and_then_only_what_changed() {
    let world = world();
    let first = world.summary(&["backup", "tree"]);
    assert_eq!((number(&first, "files_new"), number(&first, "others_new")), (5, 1));
    assert_eq!(number(&first, "total_files_processed"), 5);
    for field in ["dirs_new", "dirs_changed", "dirs_unmodified", "files_changed", "files_unmodified", "data_blobs"] {
        number(&first, field);
    }
    assert_eq!(first["message_type"], "summary");
    assert!(first["snapshot_id"].is_string() && first["total_duration"].is_number());
    assert!(first["datoms_new"].is_null(), "{first}");
    assert_eq!(number(&first, "total_bytes_processed"), 1 + 1 + 1 + 3 + 43);

    world.write("tree/a", "changed");
    world.write("tree/new", "new");
    let text = world.ok(&["backup", "./tree/../tree/"]);
    assert!(text.contains("1 new,       1 changed,       4 unmodified"), "{text}");
    assert!(text.contains("Dirs:") && text.contains("processed 6 files") && text.contains("saved"), "{text}");

    let listed = world.document(&["snapshots"]);
    let tree = fs::canonicalize(world.path("tree")).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[1]["paths"][0], tree.to_str().unwrap());
    assert_eq!(listed[1]["label"], tree.to_str().unwrap());
    assert_eq!(listed[1]["parent"], listed[0]["id"]);
}

#[test]
fn what_is_excluded_is_not_in_the_snapshot() {
    let world = world();
    for (options, files) in [
        (&["--exclude", "*.txt"][..], 4),
        (&["--iexclude", "*.txt"], 3),
        (&["--exclude", "/tree/b", "-e", "cache"], 3),
        (&["--exclude-caches"], 4),
        (&["--exclude-if-present", "c.txt"], 4),
        (&["--exclude-larger-than", "2B"], 3),
        (&["-x"], 5),
    ] {
        let summary = world.summary(&[&["backup", "tree", "--force"], options].concat());
        assert_eq!(number(&summary, "total_files_processed"), files, "{options:?}");
    }
    world.write("patterns", "# comment\n*.txt\n");
    let summary = world.summary(&["backup", "tree", "--exclude-file", "patterns"]);
    assert_eq!(number(&summary, "total_files_processed"), 4);
    let listed = world.document(&["snapshots", "latest"]);
    assert_eq!(listed[0]["sources"][0]["options"]["exclude-file"], "patterns");
}

#[test]
fn lists_name_what_is_backed_up() {
    let world = world();
    world.write("patterns", "# all of\ntree/b/*.txt\ntree/a\n");
    world.write("verbatim", "tree/b/c.txt\n");
    world.write("raw", "tree/b/c.txt\0tree/b/d.TXT\0");
    for (option, list, files) in
        [("--files-from", "patterns", 2), ("--files-from-verbatim", "verbatim", 1), ("--files-from-raw", "raw", 2)]
    {
        let summary = world.summary(&["backup", option, list]);
        assert_eq!(number(&summary, "total_files_processed"), files, "{option}");
    }
    let mut command = world.command(&["backup", "--files-from", "-", "--json"]);
    let output = command.write_stdin("tree/a\n").output().unwrap();
    assert!(output.status.success());
    world.write("empty", "# nothing\n");
    assert_eq!(world.run(&["backup", "--files-from", "empty"]).code, 2);
}

#[test]
fn a_stream_becomes_a_file() {
    let world = World::new();
    let mut command = world.command(&["backup", "--stdin", "--stdin-filename", "dump.sql", "--json"]);
    let output = command.write_stdin("from a stream").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let command = world.summary(&["backup", "command:printf '%s and' more"]);
    assert_eq!(number(&command, "total_bytes_processed"), 8);
    let out = world.ok(&["backup", "--json", "--stdin-from-command", "--", "sh", "-c", "echo x; echo y"]);
    let rest: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((number(&rest, "total_bytes_processed"), number(&rest, "files_new")), (4, 1));
    let listed = world.document(&["snapshots"]);
    let paths: Vec<_> = (0..3).map(|i| listed[i]["paths"][0].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, ["/dump.sql", "/printf", "/sh"]);
}

#[test]
fn a_command_that_fails_fails_the_backup() {
    let world = World::new();
    for arguments in
        [&["backup", "command:sh -c 'echo half; exit 3'"][..], &["backup", "--stdin-from-command", "--", "false"]]
    {
        let ran = world.run(arguments);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains("failed"), "{ran:?}");
    }
    assert!(world.ids().is_empty());
}

#[test]
fn what_cannot_be_read_is_named_and_ends_with_3() {
    let world = world();
    let ran = world.run(&["backup", "tree", "gone"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("problem:") && ran.err.contains("gone"), "{ran:?}");
    assert!(ran.out.contains("saved"), "{ran:?}");
    let ran = world.run(&["backup", "gone"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(world.ids().len(), 1);
}

#[test]
fn nothing_is_written_by_a_dry_run_nor_when_nothing_changed() {
    let world = world();
    let dry = world.summary(&["backup", "tree", "-n"]);
    assert_eq!((number(&dry, "files_new"), &dry["dry_run"]), (5, &Value::Bool(true)));
    assert!(world.ids().is_empty());
    world.ok(&["backup", "tree"]);
    let out = world.ok(&["backup", "tree", "--skip-if-unchanged"]);
    assert!(out.contains("no snapshot was written"), "{out}");
    assert_eq!(world.ids().len(), 1);
    let forced = world.summary(&["backup", "tree", "--force", "--tag", "t", "--host", "h", "--label", "l"]);
    assert_eq!(number(&forced, "files_new"), 5);
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let world = world();
    world.write("db.edn", "[1 :a 1 1 true]\n");
    for arguments in [
        &["datoms:db.edn", "--exclude", "x"][..],
        &["datoms:db.edn", "-x"],
        &["datoms:db.edn", "--stdin-filename", "x"],
        &["tree", "--format", "edn"],
        &["tree", "--on-error", "collect"],
        &["tree", "--stdin-filename", "x"],
        &["command:true", "--exclude-caches"],
        &["command:true", "--allow-incomplete"],
        &["command:'"],
        &["command:"],
        &["--stdin", "--stdin-filename", ".."],
        &["tree", "datoms:db.edn", "--label", "x"],
        &["tree", "--read-concurrency", "0"],
        &["tree", "--delta", "perhaps"],
    ] {
        let ran = world.run(&[&["backup"], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
    }
    assert!(world.ids().is_empty());
    world.ok(&["backup", "tree", "datoms:db.edn", "--exclude", "x", "--format", "edn", "--delta", "off"]);
    assert_eq!(world.ids().len(), 2);
}
