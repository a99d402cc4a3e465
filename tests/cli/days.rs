//! A database backed up every day, and got back as of any of them.

use crate::world::{World, log, ran, sorted};

#[test]
fn each_day_costs_what_is_new_and_comes_back_whole() {
    let world = World::with_days();
    for (back, day) in [(2, 0), (1, 1), (0, 2)] {
        let out = world.ok(&["dump", &format!("latest~{back}")]);
        assert_eq!(sorted(&out), sorted(&log(day)));
    }
    let list = world.document(&["snapshots"]);
    let new: Vec<_> = list.as_array().unwrap().iter().map(|s| s["summary"]["datoms_new"].as_u64().unwrap()).collect();
    assert_eq!(new, [201, 21, 21]);
    let stored = |i: usize| list[i]["summary"]["data_added_packed"].as_u64().unwrap();
    assert!(stored(0) > 0 && stored(1) > 0, "{list}");
}

#[test]
fn the_newest_snapshot_gives_the_state_of_any_day() {
    let world = World::with_days();
    world.ok(&["restore", "latest", "--to", "datoms:day1.edn", "--as-of", "2", "--current"]);
    let text = world.read("day1.edn");
    assert!(text.contains("[110 :user/name \"new 110\" 2 true]") && !text.contains("name 110"), "{text}");
    assert!(text.contains("[120 :user/name \"name 120\" 1 true]"), "{text}");
    let by_time = world.ok(&["dump", "latest", "--as-of", "2026-01-02T11:00:00Z", "--current"]);
    assert_eq!(sorted(&by_time), sorted(&text));
}

#[test]
fn a_restore_can_be_narrowed_down() {
    let world = World::with_days();
    let one = world.ok(&["dump", "latest", "--entity", "110", "--attribute", ":user/*"]);
    assert_eq!(one.lines().count(), 3, "{one}");
    assert_eq!(world.ok(&["dump", "latest", "--since", "2"]).lines().count(), 21);
    assert_eq!(world.ok(&["dump", "latest", "--until", "1"]).lines().count(), 201);
    assert_eq!(world.ok(&["dump", "latest", "--attribute", ":db/txInstant"]).lines().count(), 3);
    assert!(world.ok(&["dump", "latest", "--format", "json"]).lines().all(|line| line.starts_with('[')));
}

#[test]
fn a_target_that_exists_is_replaced_only_on_request() {
    let world = World::with_days();
    world.write("out.edn", "precious");
    let refused = world.run(&["restore", "latest", "--to", "datoms:out.edn"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("--overwrite"), "{refused:?}");
    assert_eq!(world.read("out.edn"), "precious");
    world.ok(&["restore", "latest", "--target", "datoms:out.edn", "--overwrite"]);
    assert_eq!(sorted(&world.read("out.edn")), sorted(&log(2)));
}

#[test]
fn standard_input_is_a_source() {
    let world = World::new();
    let mut command = world.command(&["backup", "datoms:-", "--label", "stream"]);
    let ran = ran(command.write_stdin(log(1)));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(sorted(&world.ok(&["dump", "latest"])), sorted(&log(1)));
}

#[test]
fn an_unchanged_source_stores_no_pack_and_can_be_skipped() {
    let world = World::with_days();
    let again = world.summary(&["backup", "datoms:db.edn", "--label", "db", "--host", "h"]);
    assert_eq!((again["packs_written"].as_u64(), again["datoms_new"].as_u64()), (Some(0), Some(0)), "{again}");
    assert_eq!(world.ids().len(), 4);
    let skipped = world.ok(&["backup", "datoms:db.edn", "--label", "db", "--host", "h", "--skip-if-unchanged"]);
    assert!(skipped.contains("no snapshot was written"), "{skipped}");
    assert_eq!(world.ids().len(), 4);
}

#[test]
fn a_dry_run_stores_nothing() {
    let world = World::new();
    world.write("db.edn", log(0));
    let out = world.ok(&["backup", "datoms:db.edn", "-n"]);
    assert!(out.contains("dry run"), "{out}");
    assert!(world.ids().is_empty());
    assert!(!world.path("repo/packs").exists() || world.path("repo/packs").read_dir().unwrap().next().is_none());
}

#[test]
fn differences_are_listed_datom_by_datom() {
    let world = World::with_days();
    let out = world.ok(&["diff", "latest~1", "latest"]);
    assert!(out.contains("\n+ [120 :user/name \"new 120\" 3 true]\n"), "{out}");
    assert!(out.ends_with("21 datoms added, 0 datoms removed\n"), "{out}");
    let back = world.ok(&["diff", "latest", "latest~1"]);
    assert!(back.contains("- [120 :user/name \"name 120\" 3 false]"), "{back}");
    assert_eq!(world.ok(&["diff", "--stat", "latest~1", "latest"]).lines().count(), 1);
}

#[test]
fn forgetting_by_rules_gives_reasons_and_prune_frees_the_rest() {
    let world = World::with_days();
    let plan = world.ok(&["forget", "--keep-last", "1", "--dry-run"]);
    assert!(plan.contains("last snapshot") && plan.contains("would forget 2 snapshots, kept 1"), "{plan}");
    assert_eq!(world.ids().len(), 3);
    world.ok(&["forget", "--keep-last", "1", "--prune"]);
    assert_eq!(world.ids().len(), 1);
    world.ok(&["prune"]);
    world.ok(&["check", "--read-data"]);
    assert_eq!(sorted(&world.ok(&["dump", "latest"])), sorted(&log(2)));
}

#[test]
fn a_named_snapshot_is_forgotten() {
    let world = World::with_days();
    let ids = world.ids();
    world.ok(&["forget", &ids[1][..8]]);
    assert_eq!(world.ids(), [ids[0].clone(), ids[2].clone()]);
}

#[test]
fn a_lost_index_is_rebuilt() {
    let world = World::with_days();
    std::fs::remove_dir_all(world.path("repo/index")).unwrap();
    std::fs::remove_dir_all(world.path("cache")).unwrap();
    let broken = world.run(&["check"]);
    assert_eq!(broken.code, 13, "{broken:?}");
    assert!(broken.err.contains("repair index"), "{broken:?}");
    world.ok(&["repair", "index"]);
    world.ok(&["check", "--read-data"]);
    world.ok(&["verify", "latest"]);
}

#[test]
fn the_repo_group_has_the_commands_that_people_look_for_there() {
    let world = World::empty();
    world.ok(&["repo", "init"]);
    world.ok(&["repo", "check"]);
    world.ok(&["repo", "stats"]);
    world.ok(&["repo", "prune"]);
    let unlock = world.ok(&["unlock"]);
    assert!(unlock.contains("no locks"), "{unlock}");
}
