//! `sync --once`, and a `sync` that is told to stop.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use packstone::datahike::{Store, StoreKey};

use crate::heads;
use crate::world::{World, unpack};

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

/// The file of the main branch's head, and its bytes from commit to commit, oldest first.
fn heads(world: &World, name: &str) -> (PathBuf, Vec<Vec<u8>>) {
    let path = world.path(name);
    let store = Store::open(path.to_str().unwrap(), None).unwrap();
    let heads: Vec<_> = heads::heads(&path, &store, 3).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(heads.len(), 3, "the fixture keeps its commits");
    (heads::head_file(&path, "db"), heads)
}

/// A `sync` in the background, and the lines that it has printed.
struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<serde_json::Value>>>,
    reader: JoinHandle<()>,
}

impl Running {
    fn start(world: &World, arguments: &[&str]) -> Self {
        let command = world.command(arguments);
        let mut process = std::process::Command::new(command.get_program());
        process.args(command.get_args()).current_dir(world.path(".")).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => process.env(name, value),
                None => process.env_remove(name),
            };
        }
        let mut child = process.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, to) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                to.lock().unwrap().push(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        Self { child, lines, reader }
    }

    fn count(&self, kind: &str, repository: &str) -> usize {
        let is_meant = |line: &&serde_json::Value| {
            line["message_type"] == kind && line["repository"].as_str().unwrap().ends_with(repository)
        };
        self.lines.lock().unwrap().iter().filter(is_meant).count()
    }

    fn until(&self, kind: &str, repository: &str, count: usize) {
        let started = Instant::now();
        while self.count(kind, repository) < count {
            assert!(started.elapsed() < Duration::from_secs(60), "{kind}: {:?}", self.lines.lock().unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it by a signal; how it ended, and standard error.
    fn end(mut self, signal: rustix::process::Signal) -> (std::process::ExitStatus, String) {
        self.signal(signal);
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        self.reader.join().unwrap();
        (self.child.wait().unwrap(), err)
    }
}

const FOLLOW: [&str; 5] = ["sync", "datahike:store-bf8", "--label", "db", "--json"];

#[test]
fn what_a_killed_run_made_durable_is_there_and_a_quiet_database_is_not_read_again() {
    let world = World::new();
    unpack(&world, "store-bf8");
    let (file, heads) = heads(&world, "store-bf8");
    std::fs::write(&file, &heads[0]).unwrap();
    let run = Running::start(&world, &FOLLOW);
    run.until("following", "repo", 1);
    let base = world.ids().pop().unwrap();
    for (n, head) in heads[1..].iter().enumerate() {
        heads::put_head(&world.path("store-bf8"), head);
        run.until("durable", "repo", n + 1);
    }
    let (status, _) = run.end(rustix::process::Signal::KILL);
    assert!(!status.success());
    world.ok(&["restore", "latest", "--to", "datoms:killed.edn"]);
    world.ok(&["backup", "datahike:store-bf8", "--label", "other", "--full"]);
    world.ok(&["restore", "latest", "--label", "other", "--to", "datoms:whole.edn"]);
    assert_eq!(world.read("killed.edn"), world.read("whole.edn"));
    // The state of another repository whose segment is damaged: named, and nothing else suffers.
    assert!(
        std::process::Command::new("cp")
            .args(["-r", "repo", "damaged"])
            .current_dir(world.path("."))
            .status()
            .unwrap()
            .success()
    );
    let mut segments: Vec<PathBuf> = Vec::new();
    let mut folders = vec![world.path("damaged/sync")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { folders.push(entry) } else { segments.push(entry) }
        }
    }
    let last = segments.iter().max().unwrap();
    let mut bytes = std::fs::read(last).unwrap();
    bytes[40] ^= 1;
    std::fs::write(last, bytes).unwrap();
    let listed = world.run(&["snapshots", "-r", "damaged"]);
    assert!(listed.code == 13 && listed.err.contains("sync/") && listed.out.contains(&base[..8]), "{listed:?}");
    let restored = world.run(&["restore", &base, "-r", "damaged", "--to", "datoms:base.edn"]);
    assert!(restored.code == 0 && restored.err.contains("sync/"), "{restored:?}");
    // The next run makes a snapshot of it; nothing has changed since, so nothing is read but once.
    let run = Running::start(&world, &FOLLOW);
    run.until("following", "repo", 1);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(run.count("recovered", "repo"), 1);
    let (status, err) = run.end(rustix::process::Signal::TERM);
    assert!(status.success() && !err.contains("anew"), "{err}");
    world.ok(&["restore", "latest", "--label", "db", "--to", "datoms:again.edn"]);
    assert_eq!(world.read("again.edn"), world.read("whole.edn"));
}

#[test]
fn a_target_that_was_down_catches_up() {
    let world = World::new();
    unpack(&world, "store-bf8");
    let (file, heads) = heads(&world, "store-bf8");
    std::fs::write(&file, &heads[0]).unwrap();
    world.ok(&["init", "-r", "second"]);
    std::fs::rename(world.path("second"), world.path("away")).unwrap();
    let run = Running::start(&world, &[&FOLLOW[..], &["--also", "second", "--metrics-file", "sync.prom"]].concat());
    run.until("following", "repo", 1);
    let commit = |head: &[u8]| {
        std::fs::write(file.with_extension("new"), head).unwrap();
        std::fs::rename(file.with_extension("new"), &file).unwrap();
    };
    commit(&heads[1]);
    // The one does not wait for the other.
    run.until("durable", "repo", 1);
    assert_eq!(run.count("following", "second"), 0);
    std::fs::rename(world.path("away"), world.path("second")).unwrap();
    run.until("following", "second", 1);
    // Down again, with the other one following.
    std::fs::rename(world.path("second"), world.path("away")).unwrap();
    commit(&heads[2]);
    run.until("durable", "repo", 2);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(run.count("durable", "second"), 0);
    assert!(!world.path("second").exists(), "nothing is written where no repository is");
    // The file is up to date although nothing more happens.
    let says = |wanted: [&str; 3]| {
        let metrics = world.read("sync.prom");
        let [name, repository, value] = wanted;
        metrics.lines().any(|line| line.starts_with(name) && line.contains(repository) && line.ends_with(value))
    };
    let started = Instant::now();
    while !(says(["packstone_sync_segments_total", "repo\"", " 2"])
        && says(["packstone_sync_up", "repo\"", " 1"])
        && says(["packstone_sync_up", "second", " 0"]))
    {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", world.read("sync.prom"));
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::rename(world.path("away"), world.path("second")).unwrap();
    run.until("following", "second", 2);
    let (status, err) = run.end(rustix::process::Signal::TERM);
    assert!(status.success() && err.contains("trying again"), "{status:?} {err}");
    for (repository, out) in [("repo", "first.edn"), ("second", "second.edn")] {
        world.ok(&["restore", "latest", "-r", repository, "--to", &format!("datoms:{out}")]);
        assert_eq!(world.run(&["check", "--read-data", "-r", repository]).code, 0);
    }
    assert_eq!(world.read("first.edn"), world.read("second.edn"));
    let metrics = world.read("sync.prom");
    for repository in ["second", "repo"] {
        assert!(
            metrics
                .lines()
                .any(|line| line.starts_with("packstone_sync_up") && line.contains(repository) && line.ends_with(" 0")),
            "{metrics}"
        );
    }
    let retries =
        metrics.lines().find(|line| line.starts_with("packstone_sync_retries_total") && line.contains("second"));
    assert!(!retries.unwrap().ends_with(" 0"), "{metrics}");
}

#[test]
fn a_signal_ends_it_in_good_order() {
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let world = World::new();
        unpack(&world, "store-bf8");
        let run = Running::start(&world, &FOLLOW);
        run.until("following", "repo", 1);
        let lines = Arc::clone(&run.lines);
        let (status, err) = run.end(signal);
        assert!(status.success(), "{status:?} {err}");
        assert!(err.contains("ending after what is under way; a second signal ends at once"), "{err}");
        let lines = lines.lock().unwrap();
        assert_eq!(lines.last().unwrap()["message_type"], "summary", "{lines:?}");
        assert_eq!(world.ids().len(), 1);
        assert_eq!(world.files("repo/sessions"), 0, "its session has ended");
    }
}

#[test]
fn a_signal_before_it_follows_ends_it_at_once() {
    for (signal, code) in [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143)] {
        let world = World::new();
        unpack(&world, "store-bf8");
        // The first backup waits for the root of an index, and does not give up.
        let store = Store::open(world.path("store-bf8").to_str().unwrap(), None).unwrap();
        let root = StoreKey::address(&store.head("db").unwrap().eavt.address.unwrap());
        std::fs::remove_file(world.path("store-bf8").join(root.file_name())).unwrap();
        let run = Running::start(&world, &[&FOLLOW[..], &["--attempts", "1000000"]].concat());
        let started = Instant::now();
        while world.files("repo/sessions") == 0 {
            assert!(started.elapsed() < Duration::from_secs(60), "it never begins");
            std::thread::sleep(Duration::from_millis(20));
        }
        let signalled = Instant::now();
        let (status, err) = run.end(signal);
        assert_eq!(status.code(), Some(code), "{err}");
        assert!(signalled.elapsed() < Duration::from_secs(10), "{:?}", signalled.elapsed());
        assert!(err.contains("interrupted; nothing needs undoing") && !err.contains("under way"), "{err}");
        assert!(err.contains(&format!("\"code\":{code},")) && err.contains("exit_error"), "{err}");
        assert!(world.ids().is_empty());
    }
}
