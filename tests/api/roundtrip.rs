//! Every fixture goes in and comes out as it was, and one database in two formats gives one root.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use packstone::ops::{self, BackupOptions, BackupSummary, DatomsSource, Source, View};
use packstone::progress::Silent;
use packstone::repository::Repository;
use packstone::source::datoms::Location;
use packstone::target::datoms::Format;

use crate::fixtures::{create, fixture, options, restore, whole};
use crate::shared::shared;

/// Lines of a text file, gunzipped if need be, as a set.
fn lines(path: &Path) -> BTreeSet<String> {
    let mut text = String::new();
    let mut file = File::open(path).unwrap();
    if path.extension().is_some_and(|e| e == "gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        file.read_to_string(&mut text).unwrap();
    }
    text.lines().map(str::to_owned).collect()
}

async fn store(repository: &Repository, history: &Path, current: Option<&Path>, label: &str) -> BackupSummary {
    let mut source = DatomsSource::new(Location::Path(history.to_owned()));
    source.current_view = current.map(|path| Location::Path(path.to_owned()));
    let options = BackupOptions { label: Some(label.to_owned()), ..options() };
    ops::backup(repository, Source::Datoms(source), options, Arc::new(Silent)).await.unwrap()
}

async fn restored(repository: &Repository, summary: &BackupSummary, view: View) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.edn");
    restore(repository, summary, &out, whole(view, Format::Edn)).await.unwrap();
    lines(&out)
}

/// History and current view of a database both come back exactly.
async fn check_views(history: &Path, current: &Path, exceptions: Option<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let summary = store(&repository, history, Some(current), "views").await;
    assert_eq!(restored(&repository, &summary, View::History).await, lines(history), "{history:?}");
    assert_eq!(restored(&repository, &summary, View::Current).await, lines(current), "{current:?}");
    if let Some(count) = exceptions {
        assert_eq!(summary.snapshot.roots[1].records, count);
    }
}

/// All these give the same log.
async fn check_same_root(inputs: &[&Path]) {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let mut roots = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        let summary = store(&repository, input, None, &format!("input {i}")).await;
        roots.push((summary.snapshot.roots[0].id, summary.snapshot.roots[0].digest.clone()));
    }
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]), "{inputs:?}: {roots:?}");
}

/// A lossy format gives the database's own answer except for these datoms, which are in one of them only.
async fn check_losses(input: &Path, truth: &Path, lost: &dyn Fn(&str) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let summary = store(&repository, input, None, "lossy").await;
    let (found, truth) = (restored(&repository, &summary, View::AsBackedUp).await, lines(truth));
    let unexpected: Vec<&String> = found.symmetric_difference(&truth).filter(|line| !lost(line)).collect();
    assert!(unexpected.is_empty(), "{input:?}: {unexpected:?}");
}

fn loses_sign_of_zero(line: &str) -> bool {
    line.contains("-0.0 ") || line.contains(" 0.0 ")
}

#[tokio::test(flavor = "multi_thread")]
async fn small_databases_come_back_in_both_views() {
    for name in ["a-small-history", "e-attribute-refs"] {
        let folder = fixture(name);
        check_views(&folder.join("datoms-history.edn"), &folder.join("datoms-current.edn"), None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_database_in_two_formats_has_one_root() {
    let head = fixture("head-small-history");
    let (edn, gzip, plain) =
        (head.join("datoms-history.edn"), head.join("dump-history-gzip"), head.join("dump-history-none"));
    check_same_root(&[&edn, &gzip, &plain]).await;
    let importable = fixture("h-small-importable");
    check_same_root(&[&importable.join("datoms-history.edn"), &importable.join("export-db.cbor")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flat_cbor_loses_the_sign_of_zero_and_the_system_transaction_only() {
    let a = fixture("a-small-history");
    check_losses(&a.join("export-db.cbor"), &a.join("datoms-history.edn"), &loses_sign_of_zero).await;
    let e = fixture("e-attribute-refs");
    let lost = |line: &str| loses_sign_of_zero(line) || line.contains(" 536870912 true]");
    check_losses(&e.join("export-db.cbor"), &e.join("datoms-history.edn"), &lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datacamp_backups_hold_the_current_view() {
    let a = fixture("a-small-history");
    let camp = fixture("datacamp/a-small-history/fressian");
    check_losses(&camp, &a.join("datoms-current.edn"), &loses_sign_of_zero).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_large_fixtures_come_back_in_both_views() {
    let Some(shared) = shared() else { return };
    let c = shared.join("c-200k");
    check_views(&c.join("datoms-history.edn.gz"), &c.join("datoms-current.edn.gz"), Some(7225)).await;
    for name in ["h-small-importable", "head-small-history", "g-hitchhiker"] {
        let folder = shared.join(name);
        if folder.join("datoms-current.edn").exists() {
            check_views(&folder.join("datoms-history.edn"), &folder.join("datoms-current.edn"), None).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_large_database_in_two_formats_has_one_root() {
    let Some(shared) = shared() else { return };
    let c = shared.join("c-200k");
    check_same_root(&[&c.join("datoms-history.edn.gz"), &c.join("export-db.cbor.gz")]).await;
    let camp = shared.join("datacamp/c-200k");
    let current = c.join("datoms-current.edn.gz");
    check_same_root(&[&current, &camp.join("fressian"), &camp.join("fressian-4chunks"), &camp.join("cbor")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_set_of_stores_comes_back_in_both_views() {
    let Some(shared) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let packed = File::open(shared.join("datahike-stores.tar.zst")).unwrap();
    let mut decoder = zstd::stream::read::Decoder::new(packed).unwrap();
    decoder.window_log_max(27).unwrap();
    let mut tar = File::create(folder.path().join("stores.tar")).unwrap();
    std::io::copy(&mut decoder, &mut tar).unwrap();
    let unpacked = std::process::Command::new("tar")
        .args(["xf", "stores.tar", "--wildcards", "*.edn", "*.cbor", "*camp*", "*dump-b*"])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(unpacked.success());
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".history.edn").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 9, "{names:?}");
    for name in &names {
        let path = |view: &str| folder.path().join(format!("{name}.{view}.edn"));
        // These files hold U+0000 as it is, where the other set and this program print an escape.
        for view in ["history", "current"] {
            let text = std::fs::read_to_string(path(view)).unwrap();
            std::fs::write(path(view), text.replace('\0', "\\u0000")).unwrap();
        }
        check_views(&path("history"), &path("current"), None).await;
    }
    for camp in std::fs::read_dir(folder.path().join("camp")).unwrap() {
        let camp = camp.unwrap().path();
        for backup in std::fs::read_dir(&camp).unwrap() {
            let backup = backup.unwrap().path();
            let home = tempfile::tempdir().unwrap();
            let repository = create(&home.path().join("repository")).await;
            let source = Source::Datoms(DatomsSource::new(Location::Path(backup.clone())));
            let stored = ops::backup(&repository, source, options(), Arc::new(Silent)).await;
            match stored {
                Ok(summary) => {
                    let found = restored(&repository, &summary, View::AsBackedUp).await;
                    assert_eq!(found.len() as u64, summary.snapshot.roots[0].records, "{backup:?}");
                }
                Err(error) => assert!(camp.ends_with("b2") && error.to_string().contains("datoms-1"), "{error}"),
            }
        }
    }
}
