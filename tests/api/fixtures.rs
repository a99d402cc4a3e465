//! Repositories and data to test with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packstone::backend::{Backend, LocalBackend};
use packstone::ops::{
    self, BackupOptions, BackupSummary, CheckOptions, CheckReport, DatomsSource, ReadData, RestoreOptions,
    RestoreSummary, Source, VerifyReport, View,
};
use packstone::progress::Silent;
use packstone::repository::{CreateOptions, OpenOptions, Repository, Secret};
use packstone::source::datoms::Location;
use packstone::target::datoms::{self as target, Format};

/// A secret that costs no stretching.
pub fn secret() -> Secret {
    Secret::key_file(vec![7; 32])
}

/// A new repository in a folder.
pub async fn create(path: &Path) -> Repository {
    let backend = LocalBackend::create(path).await.unwrap();
    Repository::create(Arc::new(backend), secret(), CreateOptions::default()).await.unwrap()
}

/// A new repository on any backend.
pub async fn create_on(backend: Arc<dyn Backend>) -> Repository {
    Repository::create(backend, secret(), CreateOptions::default()).await.unwrap()
}

/// The repository in a folder, opened afresh.
pub async fn open(path: &Path) -> Repository {
    let backend = LocalBackend::open(path).await.unwrap();
    Repository::open(Arc::new(backend), secret(), OpenOptions::default()).await.unwrap()
}

/// The repository on any backend, opened afresh.
pub async fn open_on(backend: Arc<dyn Backend>) -> packstone::Result<Repository> {
    Repository::open(backend, secret(), OpenOptions::default()).await
}

/// A fixture that stands in the repository.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The options of most tests: one label, one host.
pub fn options() -> BackupOptions {
    BackupOptions { label: Some("test".to_owned()), host: Some("host".to_owned()), ..BackupOptions::default() }
}

/// Backs up a file or directory of datoms.
pub async fn backup(repository: &Repository, path: &Path) -> packstone::Result<BackupSummary> {
    let source = Source::Datoms(DatomsSource::new(Location::Path(path.to_owned())));
    ops::backup(repository, source, options(), Arc::new(Silent)).await
}

/// How to restore everything of one view.
pub fn whole(view: View, format: Format) -> RestoreOptions {
    RestoreOptions {
        view,
        target: target::Options { format: Some(format), ..target::Options::default() },
        ..RestoreOptions::default()
    }
}

/// Restores a snapshot to a file.
pub async fn restore(
    repository: &Repository,
    summary: &BackupSummary,
    to: &Path,
    options: RestoreOptions,
) -> packstone::Result<RestoreSummary> {
    ops::restore(repository, summary.snapshot.id, target::Location::Path(to.to_owned()), options, Arc::new(Silent))
        .await
}

/// The lines of a text file, sorted.
pub fn sorted_lines(path: &Path) -> Vec<String> {
    let mut lines: Vec<String> = std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Forgets one snapshot.
pub async fn forget(repository: &Repository, summary: &BackupSummary) -> packstone::Result<()> {
    let (repository, id) = (repository.clone(), summary.snapshot.id);
    tokio::task::spawn_blocking(move || repository.forget(id)).await.unwrap()
}

/// Writes a history of `days` transactions of `per_day` datoms; every value of a day differs from those of other seeds.
pub fn write_history(path: &Path, seed: u64, days: u64, per_day: u64) {
    let mut text = String::new();
    for day in 0..days {
        for e in 0..per_day {
            let value = blake3::hash(format!("{seed}/{day}/{e}").as_bytes()).to_hex();
            text.push_str(&format!("[{e} :item/checksum \"{value}\" {} true]\n", 536_870_913 + day));
        }
        text.push_str(&format!("[{} :item/gone true {} false]\n", day + 1, 536_870_913 + day));
    }
    std::fs::write(path, text).unwrap();
}

/// Restores the history of a snapshot and compares it with what was backed up.
pub async fn assert_restores(repository: &Repository, summary: &BackupSummary, source: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.edn");
    restore(repository, summary, &out, whole(View::History, Format::Edn)).await.unwrap();
    assert_eq!(sorted_lines(&out), sorted_lines(source));
}

/// Runs work of the library that blocks.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Backs up with other options.
pub async fn backup_with(repository: &Repository, path: &Path, options: BackupOptions) -> BackupSummary {
    let source = Source::Datoms(DatomsSource::new(Location::Path(path.to_owned())));
    ops::backup(repository, source, options, Arc::new(Silent)).await.unwrap()
}

/// Audits a repository, reading everything.
pub async fn check_all(repository: &Repository) -> CheckReport {
    let options = CheckOptions { read_data: ReadData::All, ..CheckOptions::default() };
    ops::check(repository, options, Arc::new(Silent)).await.unwrap()
}

/// Proves a snapshot.
pub async fn verify(repository: &Repository, summary: &BackupSummary) -> packstone::Result<VerifyReport> {
    ops::verify(repository, summary.snapshot.id, Arc::new(Silent)).await
}

/// A text of this length that looks like no other.
pub fn noise(seed: u64, len: usize) -> String {
    let mut bytes = vec![0; len.div_ceil(2)];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(len);
    text
}

/// Writes a history with long texts, which are kept as chunks, and short ones.
pub fn write_documents(path: &Path, seed: u64, count: u64) {
    // A retraction makes it a history.
    let mut text = "[1 :doc/draft true 536870913 false]\n".to_owned();
    for n in 0..count {
        let t = 536_870_913 + n / 4;
        text.push_str(&format!("[{n} :doc/text \"{}\" {t} true]\n", noise(seed * 1_000_000 + n, 3000)));
        text.push_str(&format!("[{n} :doc/name \"{}\" {t} true]\n", noise(seed * 2_000_003 + n, 20)));
    }
    std::fs::write(path, text).unwrap();
}
