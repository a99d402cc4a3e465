//! `ls`, `find`, `diff`, `dump` and `stats` of snapshots of files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::world::{Ran, World, ran};

/// Two snapshots of a small tree `tree`, a day apart.
fn world() -> World {
    let world = World::new();
    world.write("tree/docs/a.txt", "first\n");
    world.write("tree/docs/b.txt", "x".repeat(2000));
    world.write("tree/docs/old/c.TXT", "");
    fs::set_permissions(world.path("tree/docs/a.txt"), fs::Permissions::from_mode(0o4640)).unwrap();
    symlink("docs/a.txt", world.path("tree/link")).unwrap();
    fs::hard_link(world.path("tree/docs/b.txt"), world.path("tree/hard")).unwrap();
    settle(&world);
    back_up(&world, "2026-01-01T12:00:00Z");
    world.write("tree/docs/a.txt", "second\n");
    fs::remove_dir_all(world.path("tree/docs/old")).unwrap();
    world.write("tree/new/d.txt", "d");
    fs::remove_file(world.path("tree/link")).unwrap();
    world.write("tree/link", "a file now");
    fs::set_permissions(world.path("tree/docs"), fs::Permissions::from_mode(0o700)).unwrap();
    settle(&world);
    back_up(&world, "2026-01-02T12:00:00Z");
    world
}

fn back_up(world: &World, time: &str) {
    let tree = world.path("tree");
    world.ok(&["backup", tree.to_str().unwrap(), "--label", "tree", "--host", "h", "--time", time]);
}

/// Sets all times that can be set.
fn settle(world: &World) {
    for path in
        ["tree/docs/a.txt", "tree/docs/b.txt", "tree/docs/old/c.TXT", "tree/docs/old", "tree/docs", "tree/new/d.txt"]
    {
        if let Ok(file) = fs::File::open(world.path(path)) {
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        }
    }
}

/// A run by the clock of Greenwich.
fn run(world: &World, arguments: &[&str]) -> Ran {
    ran(world.command(arguments).env("TZ", "UTC"))
}

/// What a run prints, with `T` for the tree's own path.
fn lines(world: &World, arguments: &[&str]) -> Vec<String> {
    let ran = run(world, arguments);
    assert_eq!(ran.code, 0, "{ran:?}");
    let tree = world.path("tree");
    ran.out.lines().map(|line| line.replace(tree.to_str().unwrap(), "T")).collect()
}

#[test]
fn ls_lists_paths_like_restic() {
    let world = world();
    let docs = world.path("tree/docs");
    let docs = docs.to_str().unwrap();
    let all: Vec<_> = lines(&world, &["ls", "latest~1"]).into_iter().filter(|line| line.starts_with('T')).collect();
    let expected =
        ["T", "T/docs", "T/docs/a.txt", "T/docs/b.txt", "T/docs/old", "T/docs/old/c.TXT", "T/hard", "T/link"];
    assert_eq!(all, expected);
    assert!(lines(&world, &["ls", "latest~1"])[0].contains(" of [T] at 2026-01-01 12:00:00 by "));
    let some = lines(&world, &["ls", "-q", "latest~1", docs]);
    assert_eq!(some, ["T/docs", "T/docs/a.txt", "T/docs/b.txt", "T/docs/old"]);
    let below = lines(&world, &["ls", "-q", &format!("latest~1:{docs}"), "old"]);
    assert_eq!(below, ["T/docs/old", "T/docs/old/c.TXT"]);
    let sorted = lines(&world, &["ls", "-q", "latest~1", docs, "-R", "--sort", "size"]);
    assert_eq!(sorted, ["T/docs/b.txt", "T/docs/a.txt", "T/docs", "T/docs/old", "T/docs/old/c.TXT"]);
    // Owners depend on who runs this.
    let long: Vec<_> = lines(&world, &["ls", "-ql", "latest~1", docs])
        .iter()
        .map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            [&fields[..1], &fields[3..]].concat().join(" ")
        })
        .collect();
    let expected = [
        "drwxr-xr-x 0 2001-09-09 01:46:40 T/docs",
        "-rwSr----- 6 2001-09-09 01:46:40 T/docs/a.txt",
        "-rw-r--r-- 2000 2001-09-09 01:46:40 T/docs/b.txt",
        "drwxr-xr-x 0 2001-09-09 01:46:40 T/docs/old",
    ];
    assert_eq!(long, expected);
    let missing = run(&world, &["ls", "latest", &format!("{docs}/none")]);
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains(":/") && missing.err.contains("no such path"), "{missing:?}");
}

#[test]
fn ls_speaks_json_and_ncdu() {
    let world = world();
    let strange = std::ffi::OsStr::from_bytes(b"tree/\xff\"\n");
    fs::write(world.path("").join(strange), "z").unwrap();
    back_up(&world, "2026-01-03T12:00:00Z");
    let out = world.ok(&["ls", "latest", "--json"]);
    let nodes: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((nodes[0]["message_type"].as_str(), nodes[0]["hostname"].as_str()), (Some("snapshot"), Some("h")));
    let b = nodes.iter().find(|node| node["name"] == "b.txt").unwrap();
    assert_eq!(
        (&b["type"], &b["size"], &b["mode"], &b["permissions"], &b["mtime"], &b["struct_type"]),
        (
            &Value::from("file"),
            &Value::from(2000),
            &Value::from(0o644),
            &Value::from("-rw-r--r--"),
            &Value::from("2001-09-09T01:46:40Z"),
            &Value::from("node")
        )
    );
    let named: Vec<_> = nodes.iter().filter_map(|node| node["name_bytes"].as_str()).collect();
    assert_eq!(named, ["ff220a"]);
    let ncdu = world.command(&["ls", "latest", "--ncdu"]).output().unwrap();
    let text: String = ncdu.stdout.iter().map(|&byte| char::from(byte)).collect();
    let export: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&export[0], &export[1]), (&Value::from(1), &Value::from(2)));
    fn sizes(directory: &Value, path: &str, found: &mut BTreeMap<String, u64>) {
        let mut items = directory.as_array().unwrap().iter();
        let name = items.next().unwrap()["name"].as_str().unwrap();
        let path = if name == "/" { String::new() } else { format!("{path}/{name}") };
        for item in items {
            match item.is_array() {
                true => sizes(item, &path, found),
                false => {
                    let name = item["name"].as_str().unwrap();
                    found.insert(format!("{path}/{name}"), item["asize"].as_u64().unwrap_or_default());
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    sizes(&export[3], "", &mut found);
    let tree = world.path("tree");
    let tree = tree.to_str().unwrap();
    let expected: BTreeMap<_, _> =
        [("docs/a.txt", 7), ("docs/b.txt", 2000), ("hard", 2000), ("link", 10), ("new/d.txt", 1), ("\u{ff}\"\n", 1)]
            .into_iter()
            .map(|(name, size)| (format!("{tree}/{name}"), size))
            .collect();
    assert_eq!(found, expected);
}

#[test]
fn find_looks_into_every_snapshot() {
    let world = world();
    let ids = world.ids();
    let head =
        |i: usize| format!("Found matching entries in snapshot {} from 2026-01-0{} 12:00:00", &ids[i][..8], i + 1);
    let found = lines(&world, &["find", "*.txt"]);
    let expected = [
        head(0),
        "T/docs/a.txt".to_owned(),
        "T/docs/b.txt".to_owned(),
        String::new(),
        head(1),
        "T/docs/a.txt".to_owned(),
        "T/docs/b.txt".to_owned(),
        "T/new/d.txt".to_owned(),
    ];
    assert_eq!(found, expected);
    assert_eq!(lines(&world, &["find", "-q", "-i", "C.txt"]), ["T/docs/old/c.TXT"]);
    assert_eq!(lines(&world, &["find", "-q", "--iname", "C.txt", "-s", "latest"]), [""; 0]);
    assert_eq!(lines(&world, &["find", "-q", "docs/a*", "-s", "latest"]), ["T/docs/a.txt"]);
    assert_eq!(lines(&world, &["find", "-q", "--size", "+1K", "-s", "latest"]), ["T/docs/b.txt", "T/hard"]);
    assert_eq!(lines(&world, &["find", "-q", "--newest", "2001-10-01", "--size=-2", "-s", "latest"]), ["T/new/d.txt"]);
    let json = world.document(&["find", "new"]);
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!((&json[0]["hits"], &json[0]["snapshot"]), (&Value::from(1), &Value::from(ids[1].as_str())));
    assert_eq!(json[0]["matches"][0]["type"], "dir");
    assert_eq!(run(&world, &["find"]).code, 2);
    assert_eq!(run(&world, &["find", "a["]).code, 2);
    // The chunk of b.txt, by its pack and by its id.
    let index = fs::read_dir(world.path("repo/index/0")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut blobs = Vec::new();
    for index in index {
        let index = world.document(&["cat", "index", index.to_str().unwrap()]);
        for frame in index["packs"].as_array().unwrap().iter().flat_map(|pack| pack["frames"].as_array().unwrap()) {
            blobs.extend(frame["blobs"].as_array().unwrap().clone());
        }
    }
    let chunk = blobs.iter().find(|blob| blob["type"] == "chunk" && blob["length"] == 2000).unwrap()["id"].clone();
    let by_blob = lines(&world, &["find", "-q", "-s", "latest", "--blob", &chunk.as_str().unwrap()[..16]]);
    assert_eq!(by_blob, ["T/docs/b.txt", "T/hard"]);
    let objects = world.document(&["find", "--blob", chunk.as_str().unwrap()]);
    assert_eq!((objects.as_array().unwrap().len(), &objects[0]["id"]), (4, &chunk));
}

#[test]
fn diff_shows_what_changed() {
    let world = world();
    let tree = world.path("tree");
    let tree = tree.to_str().unwrap();
    let ids = world.ids();
    let changes = |arguments: &[&str]| {
        let lines = lines(&world, arguments);
        lines.into_iter().filter(|line| line.contains(" T/")).collect::<Vec<_>>()
    };
    let expected = [
        "M    T/docs/a.txt",
        "-    T/docs/old/",
        "-    T/docs/old/c.TXT",
        "T    T/link",
        "+    T/new/",
        "+    T/new/d.txt",
    ];
    assert_eq!(changes(&["diff", "latest~1", "latest"]), expected);
    let text = lines(&world, &["diff", "latest~1", "latest"]);
    assert_eq!(text[0], format!("comparing snapshot {} to {}:", &ids[0][..8], &ids[1][..8]));
    assert!(text.contains(&"Files:           2 new,     1 removed,     1 changed".to_owned()), "{text:?}");
    assert!(text.contains(&"Dirs:            1 new,     1 removed".to_owned()), "{text:?}");
    assert!(text.contains(&"Others:          0 new,     1 removed".to_owned()), "{text:?}");
    let with_metadata = changes(&["diff", "latest~1", "latest", "--metadata"]);
    assert!(with_metadata.contains(&"U    T/docs/".to_owned()), "{with_metadata:?}");
    let part = format!("latest~1:{tree}/docs/old");
    let other = format!("latest:{tree}/new");
    assert_eq!(lines(&world, &["diff", "-q", &part, &other]), ["-    /c.TXT", "+    /d.txt"]);
    let summary = world.summary(&["diff", "latest~1", "latest"]);
    assert_eq!((&summary["changed_files"], &summary["added"]["files"]), (&Value::from(1), &Value::from(2)));
    // With the directory as it is.
    assert_eq!(changes(&["diff", "latest", "./tree"]), [""; 0]);
    world.write("tree/docs/a.txt", "another\n");
    fs::remove_file(world.path("tree/new/d.txt")).unwrap();
    assert_eq!(changes(&["diff", "latest", tree]), ["M    T/docs/a.txt", "-    T/new/d.txt"]);
    let nowhere = run(&world, &["diff", "latest", "./repo"]);
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.err.contains("SNAPSHOT:PATH"), "{nowhere:?}");
}

/// Everything about a tree that an archive must keep: by path below the top.
fn facts(top: &Path) -> BTreeMap<String, String> {
    fn walk(top: &Path, path: &Path, found: &mut BTreeMap<String, String>) {
        let m = fs::symlink_metadata(path).unwrap();
        let content = match m.file_type() {
            t if t.is_dir() => "dir".to_owned(),
            t if t.is_symlink() => format!("link to {}", fs::read_link(path).unwrap().display()),
            _ => blake3::hash(&fs::read(path).unwrap()).to_hex().to_string(),
        };
        let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
        let time = if m.is_symlink() { 0 } else { m.mtime() };
        found.insert(name, format!("{:o} {time} {content}", m.mode()));
        if m.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| walk(top, &entry.unwrap().path(), found));
        }
    }
    let mut found = BTreeMap::new();
    walk(top, top, &mut found);
    found
}

#[test]
fn dump_writes_files_and_archives() {
    let world = World::new();
    let long = format!("tree/{}/{}", "d".repeat(80), "e".repeat(80));
    world.write(&format!("{long}/file"), "far below");
    world.write("tree/ümläut", "u");
    world.write("tree/big", "0123456789".repeat(300_000));
    world.write("tree/empty", "");
    symlink("x".repeat(150), world.path("tree/far")).unwrap();
    symlink("big", world.path("tree/near")).unwrap();
    fs::hard_link(world.path("tree/big"), world.path("tree/zbig")).unwrap();
    back_up(&world, "2026-01-01T12:00:00Z");
    let tree = world.path("tree");
    let below = format!("latest:{}", tree.display());
    let big = world.command(&["dump", "latest", tree.join("big").to_str().unwrap()]).output().unwrap();
    assert_eq!(big.stdout, fs::read(tree.join("big")).unwrap());
    assert_eq!(run(&world, &["dump", &below, "near"]).code, 2);
    assert_eq!(run(&world, &["dump", &below, "none"]).code, 1);
    world.ok(&["dump", &below, "--target", "out.tar"]);
    fs::create_dir(world.path("untar")).unwrap();
    let untar = Command::new("tar").arg("-xpf").arg(world.path("out.tar")).arg("-C").arg(world.path("untar")).output();
    let untar = untar.unwrap();
    assert!(untar.status.success() && untar.stderr.is_empty(), "{untar:?}");
    assert_eq!(facts(&world.path("untar")), facts(&tree));
    let inode = |name: &str| fs::metadata(world.path(name)).unwrap().ino();
    assert_eq!(inode("untar/big"), inode("untar/zbig"));
    let nanos = |path: &Path| fs::metadata(path).unwrap().mtime_nsec();
    assert_eq!(nanos(&world.path("untar/big")), nanos(&tree.join("big")));
    let zip = world.command(&["dump", &below, "-a", "zip"]).output().unwrap();
    assert!(zip.status.success(), "{zip:?}");
    world.write("out.zip", zip.stdout);
    let script = "
import sys, zipfile, hashlib, stat
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
for i in z.infolist():
    mode = i.external_attr >> 16
    kind = 'd' if stat.S_ISDIR(mode) else 'l' if stat.S_ISLNK(mode) else 'f'
    print(kind, oct(mode & 0o777), i.filename.rstrip('/'), z.read(i).decode()[:160] if kind == 'l' else i.file_size)
";
    let listed = Command::new("python3").args(["-c", script]).arg(world.path("out.zip")).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut expected = Vec::new();
    for name in facts(&tree).into_keys().filter(|name| !name.is_empty()) {
        let m = fs::symlink_metadata(tree.join(&name)).unwrap();
        let mode = m.mode() & 0o777;
        expected.push(match m.file_type() {
            t if t.is_dir() => format!("d 0o{mode:o} {name} 0"),
            t if t.is_symlink() => {
                format!("l 0o{mode:o} {name} {}", fs::read_link(tree.join(&name)).unwrap().display())
            }
            _ => format!("f 0o{mode:o} {name} {}", m.len()),
        });
    }
    expected.sort();
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, expected);
}

#[test]
fn what_an_archive_cannot_hold_is_named() {
    let world = World::new();
    world.write("tree/file", "x");
    let _socket = std::os::unix::net::UnixListener::bind(world.path("tree/socket")).unwrap();
    back_up(&world, "2026-01-01T12:00:00Z");
    for archive in ["tar", "zip"] {
        let ran = run(&world, &["dump", "latest", "/", "-a", archive, "-t", "out"]);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.err.contains("tree/socket"), "{ran:?}");
    }
}

#[test]
fn stats_tell_what_forgetting_frees() {
    let world = world();
    let rows = world.document(&["stats", "--by-snapshot"]);
    let number = |i: usize, field: &str| rows[i][field].as_u64().unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    // Hard links are restored once.
    assert_eq!((number(0, "file_count"), number(0, "restore_size")), (3, 2006));
    assert_eq!((number(1, "file_count"), number(1, "restore_size")), (4, 2018));
    for i in 0..2 {
        assert!(number(i, "exclusive_size") > 0 && number(i, "exclusive_size") < number(i, "stored_size"));
    }
    let restore = world.document(&["stats", "--mode", "restore-size"]);
    assert_eq!((&restore["total_size"], &restore["total_file_count"]), (&Value::from(4024), &Value::from(7)));
    let contents = world.document(&["stats", "--mode", "files-by-contents"]);
    assert_eq!((&contents["total_file_count"], &contents["total_size"]), (&Value::from(6), &Value::from(2024)));
    let raw = world.document(&["stats", "--mode", "raw-data"]);
    assert!(raw["total_blob_count"].as_u64().unwrap() >= 3, "{raw}");
    let all = world.document(&["stats"]);
    assert_eq!(all["total_restore_size"], 4024);
    assert!(lines(&world, &["stats", "--by-snapshot"])[0].contains("Freed by forgetting"));
}
