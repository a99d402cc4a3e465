//! `migrate`: what it prints, and what it refuses.

use crate::world::World;

/// A snapshot of a database with several transactions, and `source`, which is as it was before the last of them.
fn world() -> World {
    let world = World::new();
    let mut lines = vec!["[9 :db/doc \"gone\" 536870913 true]".to_owned()];
    for t in 536_870_913..536_870_933_i64 {
        lines.push(format!("[{t} :db/txInstant #inst \"2026-01-01T00:00:{:02}.000-00:00\" {t} true]", t % 60));
        lines.extend((0..50).map(|e| format!("[{} :a/n {} {t} true]", t % 5 * 100 + e, t % 1000)));
        lines.extend(
            (0..50)
                .filter(|_| t >= 536_870_918)
                .map(|e| format!("[{} :a/n {} {t} false]", t % 5 * 100 + e, (t - 5) % 1000)),
        );
    }
    lines.push("[9 :db/doc \"gone\" 536870914 false]".to_owned());
    std::fs::write(world.path("db.edn"), lines.join("\n") + "\n").unwrap();
    world.ok(&["backup", "datoms:db.edn", "--label", "script"]);
    becomes(&world, "536870928");
    world
}

/// Makes the source what the database was as of a transaction.
fn becomes(world: &World, t: &str) {
    let _ = std::fs::remove_dir_all(world.path("source"));
    world.ok(&["restore", "latest", "--label", "script", "--to", "datahike:source", "--as-of", t]);
}

fn json(out: &str) -> Vec<serde_json::Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_database_is_moved_and_cut_over() {
    let world = world();
    let places = ["datahike:source", "datahike:target"];
    let out = world.ok(&["migrate", places[0], places[1], "--once", "--label", "db"]);
    assert!(out.contains("writing snapshot") && out.contains("the same command goes on"), "{out}");
    becomes(&world, "536870932");
    let out = world.ok(&["migrate", places[0], places[1], "--once", "--label", "db"]);
    assert!(out.contains("datoms came and 0 went") && !out.contains("writing"), "{out}");
    let lines = json(&world.ok(&["migrate", places[0], places[1], "--cutover", "--label", "db", "--json"]));
    let summary = lines.last().unwrap();
    assert_eq!((&summary["end"], &summary["rewrites"]), (&"cut-over".into(), &0.into()), "{lines:?}");
    let snapshot = summary["snapshot_id"].as_str().unwrap();
    world.ok(&["verify", "datahike:target", "--against", snapshot]);
    let ran = world.run(&["migrate", places[0], places[1], "--label", "db"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("was cut over from datahike:/") && ran.err.contains("/source:"), "{ran:?}");
    // It goes on from the target's own snapshots.
    let out = world.ok(&["backup", "datahike:target", "--json"]);
    assert!(out.contains("\"message_type\":\"summary\""), "{out}");
}

#[test]
fn what_cannot_be_migrated_says_so() {
    let world = world();
    for (source, target, part) in [
        ("somewhere", "datahike:target", "only databases can be migrated"),
        ("datahike:source", "datoms:target", "only databases can be migrated to"),
        ("datahike:source", "datahike:source", "are the same"),
    ] {
        let ran = world.run(&["migrate", source, target, "--once"]);
        assert!(ran.code == 2 && ran.err.contains(part), "{source} {target}: {ran:?}");
    }
    let ran = world.run(&["migrate", "datahike:source", "datahike:target", "--once", "--quick"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let ran = world.run(&["migrate", "datahike:nowhere", "datahike:target", "--once"]);
    assert!(ran.code == 1 && ran.err.contains("nowhere"), "{ran:?}");
    // What is there is left alone: files, and a database.
    std::fs::create_dir(world.path("full")).unwrap();
    std::fs::write(world.path("full/letter.txt"), "dear").unwrap();
    let ran = world.run(&["migrate", "datahike:source", "datahike:full", "--once"]);
    assert!(ran.code == 1 && ran.err.contains("is not empty"), "{ran:?}");
    assert_eq!(std::fs::read_dir(world.path("full")).unwrap().count(), 1);
    world.ok(&["restore", "latest", "--label", "script", "--to", "datahike:other"]);
    let ran = world.run(&["migrate", "datahike:source", "datahike:other", "--once"]);
    assert!(ran.code == 1 && ran.err.contains("no migration has written"), "{ran:?}");
    assert!(ran.err.contains("hint: name an empty or a new place"), "{ran:?}");
}

/// What a run leaves that was killed before it had written anything: the mark alone.
fn mark(world: &World, target: &str) {
    world.ok(&["migrate", "datahike:source", &format!("datahike:{target}"), "--once"]);
    let home = packstone::datahike::home::open(world.path(target).to_str().unwrap()).unwrap();
    let migration = packstone::target::datahike::Migration::read(&home).unwrap().unwrap();
    let all = home.list().unwrap();
    home.remove_many(&all).unwrap();
    let phase = packstone::target::datahike::Phase::Restoring;
    packstone::target::datahike::Migration { phase, snapshot: None, heads: None, ..migration }.write(&*home).unwrap();
}

#[test]
fn a_source_that_cannot_be_read_leaves_no_trace_in_the_target() {
    let world = world();
    std::fs::create_dir(world.path("empty")).unwrap();
    for source in ["datahike:nowhere", "datahike:empty"] {
        let ran = world.run(&["migrate", source, "datahike:target", "--once"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(std::fs::read_dir(world.path("target")).map_or(0, Iterator::count) == 0, "{source}");
    }
    // A place that an earlier run only began with may be migrated to from elsewhere.
    mark(&world, "target");
    std::fs::rename(world.path("source"), world.path("moved")).unwrap();
    world.ok(&["migrate", "datahike:moved", "datahike:target", "--once"]);
}

#[test]
fn a_database_that_was_made_where_a_migration_only_began_stays() {
    let world = world();
    mark(&world, "restored");
    world.ok(&["restore", "latest", "--label", "script", "--to", "datahike:restored"]);
    mark(&world, "made");
    world.ok(&["restore", "latest", "--label", "script", "--to", "datahike:elsewhere"]);
    for file in std::fs::read_dir(world.path("elsewhere")).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), world.path("made").join(file.file_name())).unwrap();
    }
    for target in ["restored", "made"] {
        let before = world.ok(&["backup", &format!("datahike:{target}"), "--label", target]);
        let ran = world.run(&["migrate", "datahike:source", &format!("datahike:{target}"), "--once"]);
        assert!(ran.code == 1 && ran.err.contains("no migration has written"), "{before} {ran:?}");
        world.ok(&["verify", &format!("datahike:{target}"), "--against", "latest", "--label", target]);
    }
}

#[test]
fn what_others_wrote_to_the_target_is_taken_out_aloud_and_kept_in_a_snapshot() {
    let world = world();
    world.ok(&["migrate", "datahike:source", "datahike:target", "--once", "--label", "db"]);
    // The target has what the source, an older copy of which was put in its place, does not.
    becomes(&world, "536870925");
    let ran = world.run(&["migrate", "datahike:source", "datahike:target", "--once", "--label", "db"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = ran.err.lines().find(|line| line.contains("that the source does not have: taken out")).unwrap();
    let snapshot = told.rsplit(' ').next().unwrap();
    assert!(world.ok(&["snapshots", snapshot, "--json"]).contains(snapshot), "{told}");
}
