//! `doctor`: what it says of a store, what it finds, what it leaves.

use std::fs;

use crate::world::World;

#[test]
fn the_doctor_finds_a_folder_sound_and_tidies_it() {
    let world = World::with_days();
    let repository = world.path("repo");
    fs::remove_file(repository.join("tmp/reserve")).unwrap();
    fs::write(repository.join("packs/Thumbs.db"), "").unwrap();
    world.ok(&["check", "--read-data", "--shard", "1/2"]);
    world.ok(&["mirror", "add", "disk", "disk"]);
    assert!(world.files("repo/ledger") == 1 && world.files("repo/mirrors") > 0, "objects of every kind");
    let summary = world.summary(&["doctor", "--rounds", "5"]);
    assert_eq!((&summary["sound"], &summary["protocol"]), (&true.into(), &"full".into()), "{summary}");
    assert_eq!(summary["probe"]["fitness"], "full", "{summary}");
    assert_eq!(summary["probe"]["findings"].as_object().unwrap().len(), 9);
    assert!(summary["probe"]["findings"]["put_new_racing"]["honoured"] == true, "{summary}");
    assert_eq!(summary["unknown"], serde_json::json!(["packs/Thumbs.db"]));
    assert_eq!((&summary["reserve_restored"], &summary["uploads_removed"]), (&true.into(), &0.into()));
    assert!(repository.join("tmp/reserve").exists());
    assert_eq!(world.files("repo/probe"), 0, "the probe leaves nothing");
    let said = world.ok(&["doctor", "--rounds", "2"]);
    assert!(
        said.contains("one of 8 racing creates") && said.contains("keeps what this repository counts on"),
        "{said}"
    );
    world.ok(&["check"]);
}
