//! The blob in which the target of a migration says what it is.

use std::fs;
use std::sync::Arc;

use packstone::datahike::Home;
use packstone::datahike::home::FileHome;
use packstone::id::{hex, unhex};
use packstone::target::datahike::{Migration, Phase};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fixture::counting;

/// Between two runs, and at the end.
fn migrations() -> [Migration; 2] {
    let following = Migration {
        source: "datahike:/srv/db".into(),
        repository: hex(&counting::<16>(0)),
        phase: Phase::Following,
        run: Some("db1 6f1c1a1e 4711 1795000000001".into()),
        alone: true,
        snapshot: Some(hex(&counting::<16>(0x70))),
        heads: Some(hex(&counting::<32>(0x40))),
        at: 1_795_000_000_123,
    };
    let cut_over =
        Migration { phase: Phase::CutOver, run: None, alone: false, snapshot: None, heads: None, ..following.clone() };
    [following, cut_over]
}

fn shown(migration: &Migration) -> Value {
    json!({
        "source": migration.source,
        "repository": migration.repository,
        "phase": migration.phase.name(),
        "run": migration.run,
        "alone": migration.alone,
        "snapshot": migration.snapshot,
        "heads": migration.heads,
        "at": migration.at,
    })
}

/// A new store, in a folder that goes with the first value.
fn store() -> (TempDir, Arc<dyn Home>) {
    let folder = TempDir::new().unwrap();
    let home = FileHome::create(folder.path().join("store")).unwrap();
    (folder, Arc::new(home))
}

pub fn build() -> Value {
    let blob = |migration: &Migration| {
        let (_folder, home) = store();
        migration.write(&*home).unwrap();
        json!({ "value": shown(migration), "blob": hex(&home.get(Migration::key()).unwrap().unwrap()) })
    };
    json!({ "file": Migration::key().file_name(), "blobs": migrations().iter().map(blob).collect::<Vec<_>>() })
}

pub fn decode(file: &Value) {
    for (blob, migration) in file["blobs"].as_array().unwrap().iter().zip(migrations()) {
        let (folder, home) = store();
        let bytes = unhex(blob["blob"].as_str().unwrap()).unwrap();
        fs::write(folder.path().join("store").join(file["file"].as_str().unwrap()), bytes).unwrap();
        let read = Migration::read(&home).unwrap().unwrap();
        assert_eq!((&read, shown(&read)), (&migration, blob["value"].clone()));
    }
}

/// The chapter takes the first one apart: in each line, bytes and what they are, two spaces between.
#[test]
fn the_example_of_the_chapter_is_the_vector() {
    let chapter = fs::read_to_string("format-spec/datahike.md").unwrap();
    let example = chapter.split("```").nth(1).unwrap();
    let bytes = example.lines().filter_map(|line| line.trim().split("  ").next());
    let bytes: String = bytes.flat_map(|bytes| bytes.chars().filter(|digit| *digit != ' ')).collect();
    assert_eq!(bytes, build()["blobs"][0]["blob"].as_str().unwrap());
}
