//! `mirror`, and what other commands do about mirrors.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::{World, log, ran};

/// Three days in a repository, and a mirror that has them.
fn with_mirror(mode: &str) -> World {
    let world = World::with_days();
    let added = world.ok(&["mirror", "add", "disk", "disk", "--mode", mode]);
    assert!(added.contains("packstone mirror sync disk"), "{added}");
    let copied = world.ok(&["mirror", "sync"]);
    assert!(copied.contains("mirror disk: copied 3 snapshots"), "{copied}");
    world
}

fn back_up(world: &World, day: i64) -> crate::world::Ran {
    world.write("db.edn", log(day));
    world.run(&["backup", "datoms:db.edn", "--label", "db", "--host", "h"])
}

fn packs(folder: &Path) -> Vec<PathBuf> {
    let inside = |path: &PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut packs: Vec<PathBuf> = inside(&folder.join("packs")).iter().flat_map(inside).collect();
    packs.sort();
    packs
}

#[test]
fn a_mirror_opens_by_itself_and_is_only_read() {
    let world = with_mirror("async");
    let ids = world.ids();
    let there = world.document(&["-r", "disk", "snapshots"]);
    assert_eq!(there.as_array().unwrap().len(), ids.len());
    assert_eq!(world.ok(&["-r", "disk", "dump", "latest"]), world.ok(&["dump", "latest"]));
    world.ok(&["-r", "disk", "check", "--read-data"]);
    for writes in
        [&["backup", "datoms:db.edn"][..], &["forget", "latest"], &["mirror", "sync"], &["mirror", "remove", "disk"]]
    {
        let ran = world.run(&[&["-r", "disk"], writes].concat());
        assert!(ran.code != 0 && ran.err.contains("is the mirror disk"), "{ran:?}");
    }
    let list = world.document(&["mirror", "list"]);
    assert_eq!(
        (&list[0]["role"], &list[1]["name"], &list[1]["mode"]),
        (&"primary".into(), &"disk".into(), &"async".into())
    );
    assert!(Path::new(list[1]["address"].as_str().unwrap()).is_absolute());
    assert!(world.ok(&["mirror", "list"]).contains("disk"));
}

#[test]
fn an_async_mirror_waits_for_a_sync() {
    let world = with_mirror("async");
    assert!(world.ok(&["mirror", "status"]).contains("up to date"));
    assert_eq!(back_up(&world, 3).code, 0);
    let status = &world.document(&["mirror", "status"])[0];
    assert_eq!((&status["up_to_date"], &status["snapshots_missing"]), (&false.into(), &1.into()));
    let dry = world.ok(&["mirror", "sync", "-n"]);
    assert!(dry.contains("would copy 1 snapshot"), "{dry}");
    assert_eq!(world.summary(&["mirror", "sync", "disk"])["snapshots_copied"], 1);
    world.ok(&["forget", "--keep-last", "1", "--prune"]);
    let summary = world.summary(&["mirror", "sync"]);
    assert!(summary["snapshots_forgotten"].as_u64().unwrap() >= 3, "{summary}");
    assert_eq!(packs(&world.path("disk")).len(), packs(&world.path("repo")).len());
    world.ok(&["-r", "disk", "check", "--read-data"]);
}

#[test]
fn a_sync_mirror_that_is_away_stops_nothing_and_catches_up() {
    let world = with_mirror("sync");
    assert_eq!(back_up(&world, 3).code, 0);
    let there = || world.document(&["-r", "disk", "snapshots"]).as_array().unwrap().len();
    assert_eq!(there(), 4);
    fs::rename(world.path("disk"), world.path("away")).unwrap();
    let ran = back_up(&world, 4);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("mirror disk") && ran.err.contains("is behind"), "{ran:?}");
    let status = world.run(&["mirror", "status"]);
    assert!(status.code == 1 && status.out.contains("unreachable"), "{status:?}");
    assert!(!world.path("disk").exists(), "a disk that is away is not made anew");
    fs::rename(world.path("away"), world.path("disk")).unwrap();
    assert_eq!(there(), 4);
    let ran = back_up(&world, 5);
    assert!(ran.code == 0 && !ran.err.contains("behind"), "{ran:?}");
    assert_eq!(there(), 6);
    world.ok(&["-r", "disk", "check", "--read-data"]);
}

#[test]
fn lost_and_damaged_packs_are_mended_from_a_mirror() {
    let world = with_mirror("async");
    let whole = world.ok(&["dump", "latest"]);
    for spoil in [0, 1, 2] {
        let all = packs(&world.path("repo"));
        for pack in &all {
            let mut bytes = fs::read(pack).unwrap();
            match spoil {
                0 => fs::remove_file(pack).unwrap(),
                1 => {
                    bytes[60] ^= 1;
                    fs::write(pack, bytes).unwrap();
                }
                _ => fs::write(pack, &bytes[..bytes.len() / 2]).unwrap(),
            }
        }
        if spoil == 1 {
            let ran = world.run(&["check", "--read-data"]);
            assert!(ran.code == 13 && ran.err.contains("mended from the mirror disk"), "{ran:?}");
            world.ok(&["check", "--read-data"]);
        }
        assert_eq!(world.ok(&["dump", "latest"]), whole);
        world.ok(&["mirror", "sync", "--read-data"]);
        assert_eq!(packs(&world.path("repo")), all);
        world.ok(&["-r", "repo", "check", "--read-data"]);
    }
}

#[test]
fn a_mirror_becomes_the_primary_when_that_is_lost() {
    let world = with_mirror("sync");
    assert_eq!(world.run(&["-r", "disk", "mirror", "promote"]).code, 2, "the primary is there");
    fs::remove_dir_all(world.path("repo")).unwrap();
    assert!(world.ok(&["-r", "disk", "mirror", "promote"]).contains("is the primary now"));
    world.write("db.edn", log(3));
    world.ok(&["-r", "disk", "backup", "datoms:db.edn", "--label", "db", "--host", "h"]);
    world.ok(&["-r", "disk", "mirror", "add", "new", "repo"]);
    world.ok(&["-r", "disk", "mirror", "sync"]);
    assert_eq!(world.ids().len(), 4);
    world.ok(&["check", "--read-data"]);
}

#[test]
fn without_the_primary_a_mirror_is_read() {
    let world = with_mirror("async");
    let whole = world.ok(&["dump", "latest"]);
    fs::rename(world.path("repo"), world.path("away")).unwrap();
    let ran = world.run(&["dump", "latest"]);
    assert!(ran.code == 0 && ran.out == whole && ran.err.contains("read from the mirror disk"), "{ran:?}");
    let ran = back_up(&world, 4);
    assert!(ran.code == 1 && ran.err.contains("nothing was written"), "{ran:?}");
    assert!(!world.path("repo").exists());
    assert_eq!(world.run(&["--no-cache", "dump", "latest"]).code, 10, "nobody remembers the mirror");
    fs::rename(world.path("away"), world.path("repo")).unwrap();
    assert_eq!(back_up(&world, 4).code, 0);
}

#[test]
fn what_makes_no_mirror_is_refused() {
    let world = World::with_days();
    let code = |arguments: &[&str]| world.run(arguments).code;
    assert_eq!(code(&["mirror", "add", "Bad Name", "disk"]), 2);
    assert_eq!(code(&["mirror", "add", "a", "repo"]), 2, "itself");
    assert_eq!(code(&["mirror", "add", "a", "disk", "--with", "secret_access_key=x"]), 2);
    assert_eq!(code(&["mirror", "sync", "nobody"]), 1);
    assert_eq!(code(&["mirror", "remove", "nobody"]), 1);
    world.write("full/file", "something else");
    assert_ne!(code(&["mirror", "add", "a", "full"]), 0);
    world.ok(&["init", "-r", "other"]);
    let ran = world.run(&["mirror", "add", "a", "other"]);
    assert!(ran.code == 1 && ran.err.contains("another repository"), "{ran:?}");
    assert_eq!(world.document(&["mirror", "list"]).as_array().unwrap().len(), 0);
}

#[cfg(feature = "s3")]
#[test]
fn a_folder_and_an_s3_server_hold_one_repository() {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(bucket) = variable("SVC_S3_BUCKET") else {
        eprintln!("skipped: no S3 server is named by SVC_S3_BUCKET");
        return;
    };
    let [endpoint, key, secret] =
        ["SVC_S3_ENDPOINT", "SVC_S3_ACCESS_KEY_ID", "SVC_S3_SECRET_ACCESS_KEY"].map(|name| variable(name).unwrap());
    let world = World::with_days();
    let address = format!("s3://{bucket}/mirror/{}", std::process::id());
    let credentials = [format!("cloud:access_key_id={key}"), format!("cloud:secret_access_key={secret}")];
    let own = ["--mirror-option", &credentials[0], "--mirror-option", &credentials[1]];
    let endpoint = format!("endpoint={endpoint}");
    world.ok(&[&["mirror", "add", "cloud", &address, "--with", &endpoint], &own[..]].concat());
    world.ok(&[&["mirror", "sync"], &own[..]].concat());
    world.write("db.edn", log(3));
    world.ok(&[&["backup", "datoms:db.edn", "--label", "db", "--host", "h"], &own[..]].concat());
    world.ok(&[&["forget", "--keep-last", "2", "--prune"], &own[..]].concat());
    let status = &world.document(&[&["mirror", "status"], &own[..]].concat())[0];
    assert_eq!(status["up_to_date"], true, "{status}");
    let whole = world.ok(&["dump", "latest"]);
    fs::rename(world.path("repo"), world.path("lost")).unwrap();
    let there = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        let command =
            command.env("PACKSTONE_REPOSITORY", &address).env("AWS_ENDPOINT_URL", &endpoint["endpoint=".len()..]);
        let ran = ran(command.env("AWS_ACCESS_KEY_ID", &key).env("AWS_SECRET_ACCESS_KEY", &secret));
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.out
    };
    there(&["check", "--read-data"]);
    assert_eq!(there(&["dump", "latest"]), whole);
    there(&["mirror", "promote"]);
    there(&["mirror", "add", "home", world.path("home").to_str().unwrap()]);
    there(&["mirror", "sync"]);
    assert_eq!(world.ok(&["-r", "home", "dump", "latest"]), whole);
    remove_all(&address, &[&endpoint, &credentials[0]["cloud:".len()..], &credentials[1]["cloud:".len()..]]);
}

#[cfg(feature = "s3")]
fn remove_all(address: &str, options: &[&str]) {
    use packstone::backend::{Backend, CloudAddress, CloudBackend};
    let options: Vec<_> = options.iter().map(|option| option.split_once('=').unwrap()).collect();
    let options: Vec<_> = options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let address = CloudAddress::parse(address, &options, &|_| None).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let backend = CloudBackend::open(&address).unwrap();
        for (path, _) in backend.list("").await.unwrap() {
            backend.delete(&path).await.unwrap();
        }
    });
}
