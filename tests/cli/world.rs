//! A folder with a repository, and the program run in it.

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own, with a key file and, usually, a repository.
pub struct World {
    folder: TempDir,
}

/// What a run of the program gave.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    /// Without a repository.
    pub fn empty() -> Self {
        let world = Self { folder: TempDir::new().unwrap() };
        world.write("key", "a key file has at least 32 bytes in it");
        world
    }

    /// With an empty repository, opened by the key file.
    pub fn new() -> Self {
        let world = Self::empty();
        world.ok(&["init"]);
        world
    }

    /// With three days of a small database.
    pub fn with_days() -> Self {
        let world = Self::new();
        for day in 0..3 {
            world.write("db.edn", log(day));
            let time = format!("2026-01-0{}T12:00:00Z", day + 1);
            let tag = format!("day{day},all");
            world.ok(&["backup", "datoms:db.edn", "--label", "db", "--host", "h", "--time", &time, "--tag", &tag]);
        }
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// How many files a folder holds, in folders below it too.
    pub fn files(&self, name: &str) -> usize {
        let Ok(entries) = fs::read_dir(self.path(name)) else { return 0 };
        let entries = entries.map(|entry| entry.unwrap());
        entries
            .map(|entry| match entry.path().is_dir() {
                true => self.files(&format!("{name}/{}", entry.file_name().to_string_lossy())),
                false => 1,
            })
            .sum()
    }

    /// A command in this folder, with the repository and key file in its environment and nothing else of ours.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packstone"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PACKSTONE_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PACKSTONE_REPOSITORY", "repo")
            .env("PACKSTONE_KEY_FILE", "key")
            .env("PACKSTONE_CACHE_DIR", "cache");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments))
    }

    /// Standard output of a run that must end with 0.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.out
    }

    /// The one JSON document that a run prints.
    pub fn document(&self, arguments: &[&str]) -> Value {
        let out = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {out}"))
    }

    /// The last of the JSON lines that a run prints.
    pub fn summary(&self, arguments: &[&str]) -> Value {
        let out = self.ok(&[arguments, &["--json"]].concat());
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| line["message_type"].is_string()), "{out}");
        lines.into_iter().last().unwrap()
    }

    /// Ids of all snapshots, oldest first.
    pub fn ids(&self) -> Vec<String> {
        let list = self.document(&["snapshots"]);
        list.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// Unpacks a store of the fixtures.
pub fn unpack(world: &World, name: &str) {
    crate::unpack::unpack(&crate::unpack::packed(name), name, &world.path(""));
}

/// Runs a command to its end.
pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The log of a database at the end of a day: 200 names, and every day ten of them change.
pub fn log(day: i64) -> String {
    let mut text = String::from("[1 :db/txInstant #inst \"2026-01-01T00:00:00.000-00:00\" 1 true]\n");
    for e in 100..300 {
        text += &format!("[{e} :user/name \"name {e}\" 1 true]\n");
    }
    for d in 1..=day {
        let t = d + 1;
        text += &format!("[{t} :db/txInstant #inst \"2026-01-0{t}T00:00:00.000-00:00\" {t} true]\n");
        for e in 100 + d * 10..110 + d * 10 {
            text += &format!("[{e} :user/name \"name {e}\" {t} false]\n[{e} :user/name \"new {e}\" {t} true]\n");
        }
    }
    text
}

/// The lines of a text, sorted.
pub fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}
