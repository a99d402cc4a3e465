//! The code with which each kind of failure ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::world::{Ran, World, log, ran};

/// A failure ends with this code and says these words, in one paragraph.
fn check(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(words.iter().all(|word| ran.err.contains(word)), "{words:?} in {ran:?}");
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    assert!(ran.err.contains("error:") || ran.err.contains("problem:"), "{ran:?}");
}

#[test]
fn usage_is_2() {
    let world = World::new();
    check(&world.run(&["snapshots", "--no-such-flag"]), 2, &["--no-such-flag"]);
    check(&world.run(&["frobnicate"]), 2, &["frobnicate"]);
    check(&world.run(&["forget"]), 2, &["--keep-daily"]);
    check(&world.run(&["snapshots", "-o", "a=b"]), 2, &["option"]);
    check(&world.run(&["-r", "ftp://host/x", "snapshots"]), 2, &["ftp"]);
    check(&world.run(&["backup", "datoms:"]), 2, &["path"]);
    check(&world.run(&["backup", "sqlite:app.db"]), 2, &["sqlite"]);
    check(&world.run(&["dump", "not-an-id"]), 2, &["latest"]);
    check(&world.run(&["dump", "latest", "--memory-limit", "1M"]), 2, &["64.0 MiB"]);
}

#[test]
fn two_secrets_or_two_repositories_are_2() {
    let world = World::new();
    check(&ran(world.command(&["snapshots"]).env("PACKSTONE_PASSWORD", "x")), 2, &["PACKSTONE_PASSWORD", "_KEY_FILE"]);
    let mut both = world.command(&["snapshots"]);
    both.env_remove("PACKSTONE_KEY_FILE").env("PACKSTONE_PASSWORD", "x").env("PACKSTONE_PASSWORD_FILE", "key");
    check(&ran(&mut both), 2, &["PACKSTONE_PASSWORD_FILE"]);
    check(&ran(world.command(&["snapshots"]).env("PACKSTONE_REPOSITORY_FILE", "x")), 2, &["PACKSTONE_REPOSITORY_FILE"]);
    check(&world.run(&["snapshots", "-p", "key", "--key-file", "key"]), 2, &["--key-file"]);
}

#[test]
fn an_invalid_value_in_the_environment_is_2() {
    let world = World::new();
    for (name, value) in [
        ("PACKSTONE_MEMORY_LIMIT", "lots"),
        ("PACKSTONE_PROGRESS_FPS", "often"),
        ("PACKSTONE_LOG", "packstone=["),
        ("PACKSTONE_TEMP_DIR", "not/there"),
    ] {
        let ran = ran(world.command(&["snapshots"]).env(name, value));
        assert_eq!(ran.code, 2, "{name}: {ran:?}");
    }
}

#[test]
fn no_secret_and_no_terminal_is_2() {
    let world = World::new();
    let ran = ran(world.command(&["snapshots"]).env_remove("PACKSTONE_KEY_FILE"));
    check(&ran, 2, &["no password", "PACKSTONE_PASSWORD"]);
}

#[test]
fn some_input_that_failed_is_3() {
    let world = World::new();
    world.write("db.edn", log(0) + "[1 :a \"never closed 2 true]\n");
    let stopped = world.run(&["backup", "datoms:db.edn"]);
    check(&stopped, 1, &["db.edn", "--on-error collect"]);
    assert!(world.ids().is_empty());
    world.write("db.edn", log(0) + "[1 :a #{} 2]\n[oops]\n[2 :a 1 2 true]\n");
    let collected = world.run(&["backup", "datoms:db.edn", "--on-error", "collect"]);
    check(&collected, 3, &["db.edn"]);
    assert_eq!(world.ids().len(), 1);
}

#[test]
fn one_of_several_sources_that_failed_is_3() {
    let world = World::new();
    world.write("db.edn", log(0));
    let both = world.run(&["backup", "datoms:missing.edn", "datoms:db.edn"]);
    check(&both, 3, &["missing.edn"]);
    assert_eq!(world.ids().len(), 1);
}

#[test]
fn no_repository_is_10() {
    let world = World::empty();
    check(&world.run(&["snapshots"]), 10, &["repo", "packstone init"]);
    fs::create_dir(world.path("repo")).unwrap();
    check(&world.run(&["snapshots"]), 10, &["repo"]);
}

#[test]
fn a_wrong_password_or_key_is_12() {
    let world = World::new();
    world.write("other", "another key file of more than 32 bytes ..");
    check(&world.run(&["snapshots", "--key-file", "other"]), 12, &["password"]);
    let mut command = world.command(&["snapshots"]);
    check(&ran(command.env_remove("PACKSTONE_KEY_FILE").env("PACKSTONE_PASSWORD", "guess")), 12, &["password"]);
}

#[test]
fn damage_is_13_and_named() {
    let world = World::with_days();
    let pack = find(&world.path("repo/packs")).unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    bytes[100] ^= 1;
    let mut permissions = fs::metadata(&pack).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "in a folder of this test alone")]
    permissions.set_readonly(false);
    fs::set_permissions(&pack, permissions).unwrap();
    fs::write(&pack, bytes).unwrap();
    let name = pack.file_name().unwrap().to_str().unwrap();
    check(&world.run(&["check", "--read-data"]), 13, &[name]);
    let json = world.run(&["check", "--read-data", "--json"]);
    assert!(json.out.lines().last().unwrap().contains("harmed_snapshots"), "{json:?}");
    assert!(json.err.lines().last().unwrap().contains("\"code\":13"), "{json:?}");
}

/// Some file under a folder.
fn find(folder: &std::path::Path) -> Option<std::path::PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.into_iter().find_map(|path| if path.is_dir() { find(&path) } else { Some(path) })
}

#[test]
fn repositories_of_restic_and_borg_are_17() {
    let restic = World::empty();
    for folder in ["data", "index", "keys", "locks", "snapshots"] {
        fs::create_dir_all(restic.path("repo").join(folder)).unwrap();
    }
    restic.write("repo/config", [0x9a, 3, 77, 200, 1]);
    check(&restic.run(&["snapshots"]), 17, &["restic"]);
    check(&restic.run(&["init"]), 17, &["restic"]);
    let borg = World::empty();
    fs::create_dir_all(borg.path("repo/data/0")).unwrap();
    borg.write("repo/config", "[repository]\nversion = 1\nsegments_per_dir = 1000\n");
    borg.write("repo/README", "This is a Borg Backup repository.\n");
    check(&borg.run(&["snapshots"]), 17, &["borg"]);
}

#[test]
fn what_exists_is_not_created_again() {
    let world = World::new();
    check(&world.run(&["init"]), 1, &["already"]);
}

#[test]
fn an_interrupted_run_ends_with_130_or_143_and_leaves_nothing_to_undo() {
    let world = World::new();
    let mut sessions = 0;
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_packstone"))
            .args(["backup", "datoms:-", "--label", "stream"])
            .current_dir(world.path(""))
            .env("PACKSTONE_REPOSITORY", "repo")
            .env("PACKSTONE_KEY_FILE", "key")
            .env("PACKSTONE_CACHE_DIR", "cache")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It waits for more input once it has registered its session.
        for _ in 0..500 {
            if world.files("repo/sessions") > sessions {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        sessions = world.files("repo/sessions");
        let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let stdin = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("running the same command again"), "{output:?}");
    }
    assert!(world.ids().is_empty());
    world.write("db.edn", log(0));
    world.ok(&["backup", "datoms:db.edn"]);
    world.ok(&["check", "--read-data"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error_to_talk_about() {
    let world = World::new();
    world.write("db.edn", (0..20_000).map(|e| format!("[{e} :a \"some text\" 1 true]\n")).collect::<String>());
    world.ok(&["backup", "datoms:db.edn"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_packstone"))
        .args(["dump", "latest", "-r", "repo", "--key-file", "key", "--no-cache"])
        .current_dir(world.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_repository_that_this_user_may_not_read_is_there() {
    let world = World::new();
    world.write("folder/file", "text");
    let mode = |name: &str, mode| fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("", 0o755);
    mode("repo", 0o000);
    let mut command = Command::new(env!("CARGO_BIN_EXE_packstone"));
    let repository = ["-r", "repo", "--key-file", "key", "--no-cache", "snapshots"];
    command.args(repository).current_dir(world.path("")).env_clear();
    if rustix::process::geteuid().is_root() {
        // Nobody keeps root out.
        command.uid(65534).gid(65534);
    }
    let output = command.output();
    mode("repo", 0o755);
    match output {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(1) && said.contains("repo/config: Permission denied"), "{said}");
        }
        Err(error) => eprintln!("skipped: the program cannot be run as another user: {error}"),
    }
}
