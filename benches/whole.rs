//! Whole backups and restores of datoms on the local backend: `cargo bench --bench whole -- FILE...`.
//!
//! Backs up each file or directory in turn as one job, then restores the last one, and prints what it took.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that prints figures")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use packstone::backend::LocalBackend;
use packstone::ops::{self, BackupOptions, DatomsSource, RestoreOptions, Source, View};
use packstone::progress::Silent;
use packstone::repository::{CreateOptions, Repository, Secret};
use packstone::source::datoms::Location;
use packstone::target::datoms as target;

#[tokio::main]
async fn main() {
    let files: Vec<PathBuf> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(PathBuf::from).collect();
    if files.is_empty() {
        println!("no files given: nothing to measure");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let backend = LocalBackend::create(&path).await.unwrap();
    let secret = Secret::key_file(vec![1; 32]);
    let repository = Repository::create(Arc::new(backend), secret, CreateOptions::default()).await.unwrap();
    let mut last = None;
    for file in &files {
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let options = BackupOptions { label: Some("bench".to_owned()), ..BackupOptions::default() };
        let source = Source::Datoms(DatomsSource::new(Location::Path(file.clone())));
        let summary = ops::backup(&repository, source, options, Arc::new(Silent)).await.unwrap();
        let statistics = &summary.snapshot.statistics;
        let records = summary.snapshot.roots[0].records;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "backup {}: {records} datoms, {:.2} s, {:.2} CPU s, {:.2} M datoms/s, {} B stored in {} packs, {:.2} B/datom, repository {} B, peak anonymous {} KiB",
            file.display(),
            seconds,
            cpu_seconds() - cpu,
            records as f64 / seconds / 1e6,
            statistics.bytes_stored,
            statistics.packs_written,
            statistics.bytes_stored as f64 / records as f64,
            size_of(&path),
            peak_anonymous_kib(),
        );
        last = Some(summary.snapshot.id);
    }
    for (name, view, format) in [
        ("EDN history", View::History, target::Format::Edn),
        ("D.2 history", View::History, target::Format::Dump),
        ("EDN current", View::Current, target::Format::Edn),
    ] {
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let options = RestoreOptions {
            view,
            target: target::Options { format: Some(format), dump_gzip: false, ..target::Options::default() },
            ..RestoreOptions::default()
        };
        let to = target::Location::Path(folder.path().join(name));
        let restored = ops::restore(&repository, last.unwrap(), to, options, Arc::new(Silent)).await.unwrap();
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "restore {name}: {} datoms, {:.2} s, {:.2} CPU s, {:.2} M datoms/s, peak anonymous {} KiB",
            restored.datoms,
            seconds,
            cpu_seconds() - cpu,
            restored.datoms as f64 / seconds / 1e6,
            peak_anonymous_kib(),
        );
    }
}

fn size_of(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() { size_of(&entry.path()) } else { entry.metadata().unwrap().len() }
        })
        .sum()
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// The most resident memory so far; includes mapped files, so an upper bound of anonymous memory.
fn peak_anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
