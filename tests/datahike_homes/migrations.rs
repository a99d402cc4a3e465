//! Databases moved from one kind of home to another.

use std::process::Command;

use tempfile::TempDir;

use crate::place::places;

struct World(TempDir);

impl World {
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let work = self.0.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_packstone"));
        command.current_dir(work).env("PACKSTONE_CACHE_DIR", work.join("cache"));
        command.args(["-r", "repository", "--key-file", "key"]).args(arguments);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (success, said) = self.run(arguments);
        assert!(success, "{arguments:?}: {said}");
        assert!(!said.contains("testsecret"), "{said}");
        said
    }
}

#[test]
fn a_database_moves_into_every_home_and_out_of_it_again() {
    let world = World(tempfile::tempdir().unwrap());
    std::fs::write(world.0.path().join("key"), "a key file has at least 32 bytes in it").unwrap();
    let mut lines =
        vec!["[9 :db/doc \"gone\" 536870913 true]".to_owned(), "[9 :db/doc \"gone\" 536870914 false]".to_owned()];
    for t in 536_870_913..536_870_943_i64 {
        lines.push(format!("[{t} :db/txInstant #inst \"2026-01-01T00:00:{:02}.000-00:00\" {t} true]", t % 60));
        lines.extend((0..100).map(|e| format!("[{} :a/n {t} {t} true]", t % 1000 * 100 + e)));
    }
    std::fs::write(world.0.path().join("db.edn"), lines.join("\n") + "\n").unwrap();
    world.ok(&["init"]);
    world.ok(&["backup", "datoms:db.edn", "--label", "script"]);
    let becomes = |folder: &str, t: &str| {
        let _ = std::fs::remove_dir_all(world.0.path().join(folder));
        let to = format!("datahike:{folder}");
        world.ok(&["restore", "latest", "--label", "script", "--to", &to, "--as-of", t]);
    };
    for place in places() {
        let there = format!("datahike:{}", place.location);
        let (source, back) = (format!("source-{}", place.kind), format!("datahike:back-{}", place.kind));
        let from = format!("datahike:{}", world.0.path().join(&source).display());
        becomes(&source, "536870930");
        world.ok(&["migrate", &from, &there, "--once"]);
        for t in ["536870933", "536870942"] {
            becomes(&source, t);
            let said = world.ok(&["migrate", &from, &there, "--once"]);
            assert!(said.contains("datoms came and 0 went") && !said.contains("writing"), "{}: {said}", place.kind);
        }
        let said = world.ok(&["migrate", &from, &there, "--cutover"]);
        assert!(said.contains("cut over:"), "{}: {said}", place.kind);
        world.ok(&["verify", &there, "--against", "latest", "--label", &from]);
        let (success, said) = world.run(&["migrate", &from, &there, "--once"]);
        assert!(!success && said.contains("was cut over") && !said.contains("testsecret"), "{}: {said}", place.kind);
        // And out again.
        world.ok(&["migrate", &there, &back, "--once"]);
        let said = world.ok(&["migrate", &there, &back, "--cutover"]);
        assert!(said.contains("cut over:"), "{}: {said}", place.kind);
    }
}
