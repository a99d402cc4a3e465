//! `--json` on every command: it parses, and holds the documented fields.

use serde_json::Value;

use crate::world::{World, ran};

/// Every name is a field of the object.
fn check(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(!value[field].is_null(), "{field} in {value}");
    }
}

#[test]
fn runs_end_with_a_summary() {
    let world = World::empty();
    check(&world.summary(&["init"]), &["id", "repository"]);
    world.write("db.edn", "[1 :a 1 1 true]\n[2 :b \"x\" 1 true]\n");
    let backup = world.summary(&["backup", "datoms:db.edn", "--label", "db"]);
    check(
        &backup,
        &[
            "datoms_new",
            "datoms_removed",
            "datoms_unmodified",
            "data_blobs",
            "data_added",
            "data_added_packed",
            "total_bytes_processed",
            "total_datoms_processed",
            "total_duration",
            "backup_start",
            "backup_end",
            "snapshot_id",
            "dry_run",
            "requests",
        ],
    );
    assert_eq!(backup["message_type"], "summary");
    let restore = world.summary(&["restore", "latest", "--to", "datoms:out.edn"]);
    check(&restore, &["snapshot_id", "datoms_restored", "bytes_restored"]);
    check(&world.summary(&["verify", "latest"]), &["snapshot_id", "sound", "records", "num_errors"]);
    let fields = ["num_errors", "broken_packs", "suggest_repair_index", "suggest_prune", "harmed_snapshots"];
    check(&world.summary(&["check"]), &fields);
    check(&world.summary(&["prune", "-n"]), &["packs", "unused_bytes", "open_sessions", "dry_run"]);
    check(&world.summary(&["repair", "index"]), &["packs", "blobs", "damaged"]);
    check(&world.summary(&["diff", "latest", "latest"]), &["added", "removed", "source_snapshot"]);
    check(&world.summary(&["unlock"]), &["locks"]);
    let dump = world.run(&["dump", "latest", "--json"]);
    assert_eq!(dump.out, "[1 :a 1 1 true]\n[2 :b \"x\" 1 true]\n");
    check(&serde_json::from_str(dump.err.trim()).unwrap(), &["datoms_restored"]);
}

#[test]
fn lists_are_one_document() {
    let world = World::with_days();
    let snapshots = world.document(&["snapshots"]);
    let fields = [
        "id",
        "short_id",
        "time",
        "tree",
        "paths",
        "hostname",
        "username",
        "label",
        "tags",
        "program_version",
        "status",
        "summary",
    ];
    check(&snapshots[2], &fields);
    assert_eq!(snapshots[0]["time"], "2026-01-01T12:00:00Z");
    check(&world.document(&["ls", "latest"])["roots"][0], &["name", "kind", "records", "t_min", "t_max"]);
    check(&world.document(&["stats"]), &["snapshots_count", "total_size", "repository_size", "objects"]);
    check(&world.document(&["key", "list"])[0], &["id", "current", "hostName", "userName", "created"]);
    check(&world.document(&["completions", "bash"]), &["shell", "script"]);
    let forget = world.document(&["forget", "--keep-last", "2", "-n"]);
    check(&forget[0], &["host", "label", "keep", "remove", "reasons"]);
    assert_eq!(forget[0]["remove"].as_array().unwrap().len(), 1);
}

#[test]
fn objects_are_printed_as_json() {
    let world = World::with_days();
    check(&world.document(&["cat", "config"]), &["id", "chunker", "created"]);
    check(&world.document(&["cat", "masterkey"])[0], &["epoch", "key"]);
    let snapshot = world.document(&["cat", "snapshot", "latest"]);
    check(&snapshot, &["id", "roots"]);
    let key = world.document(&["key", "list"])[0]["id"].as_str().unwrap().to_owned();
    check(&world.document(&["cat", "key", &key]), &["id", "method"]);
    let index = std::fs::read_dir(world.path("repo/index/0")).unwrap().next().unwrap().unwrap().file_name();
    let index = world.document(&["cat", "index", index.to_str().unwrap()]);
    let pack = index["packs"][0]["id"].as_str().unwrap();
    let pack = world.document(&["cat", "pack", &pack[..12]]);
    check(&pack, &["id", "size", "frames"]);
    let root = snapshot["roots"][0]["id"].as_str().unwrap();
    let blob = world.command(&["cat", "blob", root]).output().unwrap();
    assert!(blob.status.success() && !blob.stdout.is_empty());
    let forgotten = &world.ids()[0];
    world.ok(&["forget", forgotten]);
    assert_eq!(world.document(&["cat", "snapshot", forgotten])["status"], "forgotten");
}

#[test]
fn a_failure_ends_with_exit_error() {
    let world = World::empty();
    let last = |err: &str| -> Value { serde_json::from_str(err.lines().last().unwrap()).unwrap() };
    let missing = world.run(&["snapshots", "--json"]);
    check(&last(&missing.err), &["message_type", "code", "message"]);
    assert_eq!(last(&missing.err)["code"], 10);
    assert!(missing.out.is_empty(), "{missing:?}");
    assert_eq!(last(&world.run(&["snapshots", "--json", "--no-such"]).err)["code"], 2);
}

#[test]
fn status_lines_come_as_often_as_asked_for() {
    let world = World::new();
    let many: String = (0..200_000).map(|e| format!("[{e} :a {e} 1 true]\n")).collect();
    world.write("db.edn", many);
    let ran = ran(world.command(&["backup", "datoms:db.edn", "--json"]).env("PACKSTONE_PROGRESS_FPS", "1000"));
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let status = lines.iter().find(|line| line["message_type"] == "status").unwrap();
    check(status, &["stage", "seconds_elapsed", "done", "error_count"]);
    let off = world.ok(&["backup", "datoms:db.edn", "--json", "--no-progress"]);
    assert_eq!(off.lines().count(), 1, "{off}");
}
