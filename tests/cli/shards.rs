//! Long jobs in four parts: four processes side by side do together what one does, and each piece once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::world::{Ran, World, ran};

const OTHER: [&str; 4] = ["--from-repo", "repo", "--from-key-file", "key"];

/// Runs a command as four processes at once, each with `--shard k/4`, in a repository; what each printed last.
fn four(world: &World, repository: &str, arguments: &[&str]) -> Vec<(i32, Value)> {
    let runs: Vec<Ran> = thread::scope(|scope| {
        let spawned: Vec<_> = (1..=4)
            .map(|k| {
                let shard = format!("{k}/4");
                let mut command = world.command(&[arguments, &["--json", "--shard", &shard]].concat());
                command.env("PACKSTONE_REPOSITORY", repository);
                scope.spawn(move || ran(&mut command))
            })
            .collect();
        spawned.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let last = |run: &Ran| serde_json::from_str(run.out.lines().last().unwrap_or("null")).unwrap();
    runs.iter()
        .map(|run| (run.code, if run.code == 0 || run.code == 13 { last(run) } else { panic!("{run:?}") }))
        .collect()
}

fn sum(runs: &[(i32, Value)], field: &str) -> u64 {
    runs.iter().map(|(_, summary)| summary[field].as_u64().unwrap_or_else(|| panic!("{field}: {summary}"))).sum()
}

fn one(world: &World, repository: &str, arguments: &[&str]) -> Value {
    let ran = ran(world.command(&[arguments, &["--json"]].concat()).env("PACKSTONE_REPOSITORY", repository));
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    serde_json::from_str(ran.out.lines().last().unwrap()).unwrap()
}

/// Bytes that do not compress, different for every name.
fn noise(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Some hundred files in nested directories, of several names, read-only, empty and otherwise awkward.
fn tree(world: &World) {
    for n in 0..240 {
        let name = format!("data/d{}/e{}/f{n}", n % 8, n % 5);
        world.write(&name, noise(&name, 200 + n * 37 % 9000));
    }
    world.write("data/big", noise("big", 3 << 20));
    for n in 0..20 {
        fs::create_dir_all(world.path(&format!("data/empty/x{n}/y"))).unwrap();
        fs::hard_link(world.path(&format!("data/d{}/e{}/f{n}", n % 8, n % 5)), world.path(&format!("data/name-{n}")))
            .unwrap();
    }
    symlink("big", world.path("data/link")).unwrap();
    world.write("data/closed/below/inner", noise("inner", 3000));
    world.write("data/closed/file", noise("file", 3000));
    fs::hard_link(world.path("data/closed/file"), world.path("data/name-closed")).unwrap();
    for (n, folder) in
        ["data/closed/below", "data/closed", "data/empty", "data/d3", "data/d3/e1", "data"].iter().enumerate()
    {
        let path = world.path(folder);
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_500_000_000 + n as u64, 123_000_000);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
        if folder.contains("closed") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o555)).unwrap();
        }
    }
}

/// What a directory tree is: everything that a restore brings back.
fn picture(folder: &Path) -> BTreeMap<String, String> {
    fn walk(top: &Path, folder: &Path, names: &mut BTreeMap<u64, String>, out: &mut BTreeMap<String, String>) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.strip_prefix(top).unwrap().display().to_string();
            let about = fs::symlink_metadata(&path).unwrap();
            let content = match about.file_type() {
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
                kind if kind.is_file() => blake3::hash(&fs::read(&path).unwrap()).to_hex().to_string(),
                _ => String::new(),
            };
            let first = names.entry(about.ino()).or_insert_with(|| name.clone()).clone();
            let times = (about.mtime(), about.mtime_nsec());
            out.insert(name, format!("{:o} {times:?} {content} {first}", about.mode()));
            if about.is_dir() {
                walk(top, &path, names, out);
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(folder, folder, &mut BTreeMap::new(), &mut out);
    out
}

/// So that the folder can be removed.
fn unlock(world: &World, folder: &str) {
    for closed in ["closed", "closed/below"] {
        let path = world.path(&format!("{folder}/{closed}"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn four_parts_of_a_restore_are_the_restore() {
    let world = World::new();
    tree(&world);
    world.ok(&["backup", "data"]);
    let reference = format!("latest:{}", world.path("data").display());
    let whole = world.summary(&["restore", &reference, "--to", "whole"]);
    let expected = picture(&world.path("whole"));
    let count = |runs: &[(i32, Value)], field: &str| {
        assert_eq!(sum(runs, field), whole[field].as_u64().unwrap(), "{field}");
    };
    for target in ["parts-1", "parts-2", "parts-3"] {
        let runs = four(&world, "repo", &["restore", &reference, "--to", target, "--verify"]);
        assert!(
            runs.iter().all(|(code, summary)| *code == 0 && summary["files_restored"].as_u64() > Some(20)),
            "{runs:?}"
        );
        ["files_restored", "bytes_restored", "total_bytes", "directories"].iter().for_each(|field| count(&runs, field));
        let restored = picture(&world.path(target));
        for (name, about) in &expected {
            assert_eq!(restored.get(name), Some(about), "{target}: {name}");
        }
        assert_eq!(restored.len(), expected.len());
    }
    // Again, into what is there: nothing is written, and what does not belong there goes once.
    world.write("parts-1/d3/e1/stranger", "x");
    fs::remove_file(world.path("parts-1/d3/e1/f51")).unwrap();
    let runs = four(&world, "repo", &["restore", &reference, "--to", "parts-1", "--delete"]);
    assert_eq!((sum(&runs, "files_deleted"), sum(&runs, "files_restored")), (1, 1), "{runs:?}");
    let restored = picture(&world.path("parts-1"));
    assert_eq!(restored, expected);
    ["data", "whole", "parts-1", "parts-2", "parts-3"].iter().for_each(|folder| unlock(&world, folder));
}

#[test]
fn four_parts_of_a_check_read_every_pack_once_and_meet_in_the_ledger() {
    let world = World::new();
    for n in 0..12 {
        let name = format!("data/f{n}");
        world.write(&name, noise(&name, 50_000));
        world.ok(&["backup", "data"]);
    }
    let none = world.run(&["check", "--shard-report"]);
    assert_eq!(none.code, 3, "{none:?}");
    let whole = world.summary(&["check", "--read-data"]);
    assert!(whole["packs_read"].as_u64() > Some(20), "{whole}");
    let runs = four(&world, "repo", &["check", "--read-data"]);
    for field in ["packs", "packs_read", "bytes_read"] {
        assert_eq!(sum(&runs, field), whole[field].as_u64().unwrap(), "{field}");
        assert!(runs.iter().filter(|(_, summary)| summary[field].as_u64() > Some(0)).count() > 1, "{runs:?}");
    }
    let report = world.summary(&["check", "--shard-report"]);
    assert_eq!(report["round"]["missing"], Value::Array(Vec::new()));
    assert_eq!(report["round"]["bytes_read"], whole["bytes_read"]);
    assert_eq!((&report["round"]["num_errors"], &report["round"]["is_of_one_state"]), (&0.into(), &true.into()));
    let text = world.ok(&["check", "--shard-report"]);
    assert!(text.contains("all 4 parts are done, no damage"), "{text}");

    // A round of another name is another one; it says what is missing, and ends with 3 until nothing is.
    let part = world.ok(&["check", "--read-data", "--shard", "2/3", "--round", "named"]);
    assert!(part.contains("1 of 3 parts are done, still missing: 1 and 3"), "{part}");
    assert_eq!(world.run(&["check", "--shard-report", "--round", "named"]).code, 3);

    // A damaged pack of content is found by the one part that has it, and by the report.
    let folders = fs::read_dir(world.path("repo/packs")).unwrap().map(|entry| entry.unwrap().path());
    let packs = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let pack = packs.max_by_key(|pack| pack.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    bytes[100] ^= 1;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&pack, bytes).unwrap();
    let runs = four(&world, "repo", &["check", "--read-data"]);
    let codes: Vec<i32> = runs.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 13).count(), 1, "{runs:?}");
    assert_eq!(world.run(&["check", "--shard-report"]).code, 13);
}

#[test]
fn a_pod_takes_its_part_from_the_index_of_its_job() {
    let world = World::new();
    world.write("data/f", "content");
    world.ok(&["backup", "data"]);
    let mut command = world.command(&["check", "--read-data", "--shard", "job/1"]);
    let first = ran(command.env("JOB_COMPLETION_INDEX", "0"));
    assert!(first.code == 0 && first.out.contains("all 1 parts are done"), "{first:?}");
    let mut command = world.command(&["check", "--read-data", "--shard", "job/1"]);
    assert_eq!(ran(command.env("JOB_COMPLETION_INDEX", "1")).code, 2);
    assert_eq!(
        ran(world.command(&["check", "--read-data", "--shard", "job/1"]).env_remove("JOB_COMPLETION_INDEX")).code,
        2
    );
    for bad in ["0/4", "5/4", "4", "a/b"] {
        assert_eq!(world.run(&["check", "--read-data", "--shard", bad]).code, 2, "{bad}");
    }
    assert_eq!(world.run(&["check", "--shard", "1/4"]).code, 2, "a part of what is not divided");
    assert_eq!(world.run(&["restore", "latest", "--to", "x", "--shard", "1/4", "--overwrite", "never"]).code, 2);
}

#[test]
fn four_parts_of_a_copy_are_put_together_without_reading_anything_again() {
    let world = World::with_days();
    world.write("other-key", "another key file, of 32 bytes or more, too");
    for repository in ["parts", "whole"] {
        let init = ["init", "-r", repository, "--key-file", "other-key", "--copy-chunker-params"];
        let arguments = [&init[..], &OTHER].concat();
        let made = ran(world.command(&arguments).env_remove("PACKSTONE_KEY_FILE"));
        assert_eq!(made.code, 0, "{made:?}");
    }
    tree(&world);
    world.ok(&["backup", "data", "--label", "data"]);
    for day in 0..2 {
        world.write(&format!("data/d{day}/new"), noise(&format!("day {day}"), 70_000));
        world.write("data/big", noise(&format!("big {day}"), 2 << 20));
        fs::remove_file(world.path(&format!("data/d{}/e{}/f{}", 30 % 8, day, 30 + day))).ok();
        world.ok(&["backup", "data", "--label", "data"]);
        let copy = [&["copy", "--key-file", "other-key"][..], &OTHER].concat();
        let whole = one(&world, "whole", &copy);
        let runs = four(&world, "parts", &copy);
        assert!(runs.iter().all(|(code, _)| *code == 0), "{runs:?}");
        assert!(runs.iter().all(|(_, summary)| summary["copied_snapshots"] == whole["copied_snapshots"]), "{runs:?}");
        assert!(runs.iter().any(|(_, summary)| summary["shards_missing"].as_array().unwrap().is_empty()), "{runs:?}");
        assert_eq!(sum(&runs, "bytes_read"), whole["bytes_read"].as_u64().unwrap());
        let again = four(&world, "parts", &copy);
        assert_eq!((sum(&again, "bytes_read"), sum(&again, "copied_snapshots")), (0, 0), "{again:?}");
        let joined = one(&world, "parts", &copy);
        assert_eq!((&joined["bytes_read"], &joined["copied_snapshots"]), (&0.into(), &whole["copied_snapshots"]));
    }
    let count = |repository: &str| {
        let out = ran(world
            .command(&["snapshots", "--json", "--key-file", "other-key"])
            .env("PACKSTONE_REPOSITORY", repository))
        .out;
        serde_json::from_str::<Value>(&out).unwrap().as_array().unwrap().len()
    };
    assert_eq!((count("parts"), count("whole")), (6, 6), "no part is left over");
    for repository in ["parts", "whole"] {
        one(&world, repository, &["check", "--read-data", "--key-file", "other-key"]);
        one(
            &world,
            repository,
            &["restore", "latest", "--label", "data", "--to", &format!("from-{repository}"), "--key-file", "other-key"],
        );
    }
    assert_eq!(picture(&world.path("from-parts")), picture(&world.path("from-whole")));
    let dump = |repository: &str| {
        let arguments = ["dump", "latest", "--label", "db", "--key-file", "other-key"];
        ran(world.command(&arguments).env("PACKSTONE_REPOSITORY", repository)).out
    };
    assert_eq!(dump("parts"), dump("whole"));
    assert!(!dump("parts").is_empty());
    let closed: Vec<_> = ["from-parts", "from-whole"]
        .iter()
        .map(|folder| format!("{folder}{}", world.path("data").display()))
        .chain(["data".to_owned()])
        .collect();
    closed.iter().for_each(|folder| unlock(&world, folder.trim_start_matches('/')));
}
