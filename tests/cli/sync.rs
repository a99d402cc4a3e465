//! `sync --once`, and a `sync` that is told to stop.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::world::World;

/// Unpacks a store of the fixtures.
fn unpack(world: &World, name: &str) {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/datahike/{name}.tar.zst"));
    let decoder = zstd::stream::read::Decoder::new(std::fs::File::open(packed).unwrap()).unwrap();
    tar::Archive::new(decoder).unpack(world.path(".")).unwrap();
}

#[test]
fn once_catches_up_everywhere_and_writes_metrics() {
    let world = World::new();
    unpack(&world, "store-bf8");
    world.ok(&["init", "-r", "second"]);
    let run = || {
        world.ok(&[
            "sync",
            "datahike:store-bf8",
            "--once",
            "--also",
            "second",
            "--label",
            "db",
            "--metrics-file",
            "sync.prom",
            "--json",
        ])
    };
    let out = run();
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line["message_type"] == "summary").count(), 2, "{out}");
    let ids = world.ids();
    assert_eq!(ids.len(), 1);
    assert!(lines.iter().any(|line| line["snapshot_id"] == ids[0].as_str()), "{out}");
    world.ok(&["restore", "latest", "--to", "datoms:first.edn"]);
    world.ok(&["restore", "latest", "-r", "second", "--to", "datoms:second.edn"]);
    assert_eq!(world.read("first.edn"), world.read("second.edn"));
    let metrics = world.read("sync.prom");
    assert!(metrics.contains("packstone_sync_up{repository=\"second\"} 0\n"), "{metrics}");
    run();
    assert_eq!(world.ids(), ids, "nothing has changed, so nothing is added");
}

#[test]
fn only_databases_are_followed() {
    let world = World::new();
    for source in ["somewhere", "datoms:log.edn", "datahike:"] {
        let ran = world.run(&["sync", source, "--once"]);
        assert_eq!(ran.code, 2, "{source}: {ran:?}");
    }
    let ran = world.run(&["sync", "datahike:nowhere", "--once"]);
    assert!(ran.code == 1 && ran.err.contains("nowhere"), "{ran:?}");
}

#[test]
fn a_signal_ends_it_in_good_order() {
    let world = World::new();
    unpack(&world, "store-bf8");
    let command = world.command(&["sync", "datahike:store-bf8", "--label", "db", "--json"]);
    let mut process = std::process::Command::new(command.get_program());
    process.args(command.get_args()).current_dir(world.path(".")).stdout(Stdio::piped());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => process.env(name, value),
            None => process.env_remove(name),
        };
    }
    let child = process.spawn().unwrap();
    let started = Instant::now();
    while world.ids().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "it never makes a snapshot");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.lines().last().unwrap().contains("\"summary\""), "{out}");
    assert_eq!(world.files("repo/sessions"), 0, "its session has ended");
}
