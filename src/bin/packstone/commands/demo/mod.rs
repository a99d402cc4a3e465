//! `demo`: everything at work in a new folder, each command printed as a user would type it.
//!
//! The commands run as processes of this same program, so that what is shown is what a user gets.

mod history;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use packstone::{Error, ErrorKind};
use serde_json::{Value, json};

use self::history::History;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::{Column, Output, grouped};
use crate::{period, size};

/// Creates a repository in a new folder, backs up a real history of datoms day by day and a directory of JSON exports,
/// audits it, forgets, prunes, and restores a day, which it proves equal to what was backed up.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The folder, which must be new or empty [default: a temporary one]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Leave the temporary folder there at the end
    #[arg(long)]
    keep: bool,
}

/// The day that is restored and compared.
const RESTORED_DAY: usize = 4;
/// A day in milliseconds.
const DAY_MS: i64 = 24 * 3600 * 1000;

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let started = std::time::Instant::now();
    let folder = Folder::new(arguments.folder, arguments.keep)?;
    let stage = Stage { output: &context.output, folder: folder.path().to_owned() };
    let history = History::bundled()?;
    stage.prepare()?;

    stage.title("A repository, locked by a password")?;
    stage.show(&["init"])?;

    stage.title("A datom database, backed up every day")?;
    stage.say("packages.edn is the history of a database of 600 Debian packages, `[e a v t op]` a line. It grows every day.")?;
    let mut costs = Vec::new();
    let first_ms = packstone::repository::machine::now_ms() - 8 * DAY_MS;
    for day in 0..history.days() {
        stage.write("packages.edn", history.until(day).as_bytes())?;
        let before = stage.repository_bytes()?;
        let time = crate::time::rfc3339((first_ms / 1000 * 1000) + day as i64 * DAY_MS);
        let mut command = vec!["backup", "datoms:packages.edn", "--label", "packages", "--time", &time];
        if day > 0 {
            command.push("--quiet");
        }
        stage.show(&command)?;
        costs.push((history.of(day), stage.repository_bytes()? - before));
    }
    stage.costs(&costs)?;

    stage.title("A directory of JSON exports")?;
    stage.exports()?;
    stage.show(&["backup", "datoms:exports", "--label", "shop"])?;

    stage.title("What is there")?;
    stage.show(&["snapshots"])?;
    stage.show(&["diff", "latest~1", "latest", "--label", "packages", "--stat"])?;
    stage.show(&["stats"])?;

    stage.title("An audit of every byte")?;
    stage.show(&["check", "--read-data"])?;

    stage.title("Old snapshots go, their space is freed")?;
    stage.show(&["forget", "--label", "packages", "--keep-daily", "3", "--keep-weekly", "1"])?;
    stage.show(&["prune"])?;

    stage.title(&format!("Day {RESTORED_DAY} comes back out of the latest snapshot"))?;
    let t = history.t(RESTORED_DAY).to_string();
    let target = format!("datoms:day-{RESTORED_DAY}.edn");
    stage.show(&["restore", "latest", "--label", "packages", "--as-of", &t, "--current", "--to", &target])?;
    let datoms = stage.prove(&history)?;
    stage.show(&["verify", "latest", "--label", "packages"])?;

    let elapsed = period::show(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    stage.title(&format!("Done in {elapsed}"))?;
    let kept = folder.finish();
    match &kept {
        Some(path) => {
            stage.say(&format!("Everything is still in {}.", path.display()))?;
        }
        None => stage.say("The folder has been removed; --keep, or naming one, leaves it there.")?,
    }
    context.output.json(&json!({
        "message_type": "summary",
        "days": costs.len(),
        "datoms_compared": datoms,
        "equal": true,
        "days_stored": costs.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(),
        "folder": kept.map(|path| path.display().to_string()),
    }))?;
    Ok(Code::Ok)
}

/// The folder of the demo, removed at the end unless it is to stay.
enum Folder {
    Named(PathBuf),
    Temporary(tempfile::TempDir, bool),
}

impl Folder {
    fn new(named: Option<PathBuf>, keep: bool) -> Result<Self> {
        let Some(path) = named else {
            let temporary = tempfile::Builder::new().prefix("packstone-demo-").tempdir();
            return Ok(Self::Temporary(temporary.map_err(|e| Error::io("temporary folder", e))?, keep));
        };
        std::fs::create_dir_all(&path).map_err(|e| Error::io(path.display(), e))?;
        let mut entries = std::fs::read_dir(&path).map_err(|e| Error::io(path.display(), e))?;
        if entries.next().is_some() {
            return Err(Failure::usage(path.display(), "is not empty").hint("name a folder that is new or empty"));
        }
        Ok(Self::Named(std::path::absolute(&path).map_err(|e| Error::io(path.display(), e))?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Temporary(temporary, _) => temporary.path(),
        }
    }

    /// Where it stays, if it does.
    fn finish(self) -> Option<PathBuf> {
        match self {
            Self::Named(path) => Some(path),
            Self::Temporary(temporary, true) => Some(temporary.keep()),
            Self::Temporary(_, false) => None,
        }
    }
}

/// Where the demo plays, and where it is printed.
struct Stage<'a> {
    output: &'a Output,
    folder: PathBuf,
}

impl Stage<'_> {
    fn prepare(&self) -> Result<()> {
        self.write("password", b"correct horse battery staple\n")?;
        self.output.info(format!("$ cd {}", self.folder.display()))?;
        self.output.info("$ export PACKSTONE_REPOSITORY=repository PACKSTONE_PASSWORD_FILE=password")
    }

    fn title(&self, text: &str) -> Result<()> {
        self.output.info(format!("\n== {text}"))
    }

    fn say(&self, text: &str) -> Result<()> {
        self.output.info(text)
    }

    /// Prints a command and runs it; whatever it prints is shown, with `--json` as it is.
    fn show(&self, arguments: &[&str]) -> Result<()> {
        self.output.info(format!("\n$ packstone {}", arguments.join(" ")))?;
        let failed = |why: String| Error::new(ErrorKind::Failed, format!("packstone {}", arguments.join(" ")), why);
        let program = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PACKSTONE_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("PACKSTONE_REPOSITORY", "repository")
            .env("PACKSTONE_PASSWORD_FILE", "password")
            .env("PACKSTONE_CACHE_DIR", "cache")
            .stdin(Stdio::null());
        if self.output.is_json() {
            command.arg("--json").stdout(Stdio::null());
        } else if self.output.is_quiet() {
            command.stdout(Stdio::null());
        }
        let status = command.status().map_err(|e| failed(e.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(format!("ended with {status}")).into()) }
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        Ok(std::fs::write(&path, content).map_err(|e| Error::io(path.display(), e))?)
    }

    /// Bytes of everything in the repository, apart from its temporary files.
    fn repository_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        let mut folders = vec![self.folder.join("repository")];
        while let Some(folder) = folders.pop() {
            let failed = |e| Error::io(folder.display(), e);
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let metadata = entry.metadata().map_err(failed)?;
                if metadata.is_file() {
                    bytes += metadata.len();
                } else if entry.file_name() != "tmp" {
                    folders.push(entry.path());
                }
            }
        }
        Ok(bytes)
    }

    /// What each day cost, beside what its datoms alone take when gzipped.
    fn costs(&self, costs: &[(&str, u64)]) -> Result<()> {
        self.say("\nWhat each day cost, packs, index and snapshot together, and what gzip makes of the new datoms alone:")?;
        let mut rows = Vec::new();
        for (day, (text, bytes)) in costs.iter().enumerate() {
            let gzipped = gzipped(text.as_bytes());
            rows.push(vec![
                day.to_string(),
                grouped(text.lines().count() as u64),
                size::show(text.len() as u64),
                size::show(gzipped),
                size::show(*bytes),
            ]);
        }
        use Column::Number;
        let columns = [Number("Day"), Number("New datoms"), Number("As EDN"), Number("gzip"), Number("Stored")];
        if self.output.is_quiet() { Ok(()) } else { self.output.table(&columns, &rows) }
    }

    /// JSON lines such as an application might export.
    fn exports(&self) -> Result<()> {
        let folder = self.folder.join("exports");
        std::fs::create_dir(&folder).map_err(|e| Error::io(folder.display(), e))?;
        let names = ["Ada Lovelace", "Émilie du Châtelet", "Grace Hopper"];
        let mut customers = String::new();
        for (e, name) in (1..).zip(names) {
            let value: Value = json!([e, ":customer/name", name, 1, true]);
            customers += &format!("{value}\n");
        }
        let mut orders = String::new();
        for e in 100..400_i64 {
            let (customer, cents) = (1 + e % 3, e * e % 9973);
            let when = json!({ "$inst": crate::time::rfc3339(1_767_225_600_000 + e * 3_600_000) });
            for value in [
                json!([e, ":order/customer", customer, 2, true]),
                json!([e, ":order/cents", cents, 2, true]),
                json!([e, ":order/placed", when, 2, true]),
            ] {
                orders += &format!("{value}\n");
            }
        }
        self.write("exports/customers.json", customers.as_bytes())?;
        self.write("exports/orders.json", orders.as_bytes())?;
        self.say("exports/customers.json and exports/orders.json hold a JSON array a line, such as:")?;
        for text in [&customers, &orders] {
            self.say(text.lines().next().unwrap_or_default())?;
        }
        Ok(())
    }

    /// Compares what was restored with what the log itself says.
    fn prove(&self, history: &History) -> Result<usize> {
        let path = self.folder.join(format!("day-{RESTORED_DAY}.edn"));
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(path.display(), e))?;
        let mut restored: Vec<_> = text.lines().collect();
        restored.sort_unstable();
        let expected = history.state(RESTORED_DAY);
        if restored != expected {
            let why = format!("{} datoms, not the {} that were true", restored.len(), expected.len());
            return Err(Error::new(ErrorKind::Damaged, path.display(), why).into());
        }
        self.say(&format!(
            "Equal, line by line, to the {} datoms that the log itself says were true at the end of day {RESTORED_DAY}.",
            grouped(expected.len() as u64)
        ))?;
        Ok(expected.len())
    }
}

fn gzipped(bytes: &[u8]) -> u64 {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.map_or(0, |bytes| bytes.len() as u64)
}
