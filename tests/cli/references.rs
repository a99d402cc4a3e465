//! What users may write for a snapshot, and filters.

use crate::world::World;

#[test]
fn a_snapshot_is_meant_by_id_prefix_or_latest() {
    let world = World::with_days();
    let ids = world.ids();
    let shown = |reference: &str| world.document(&["ls", reference])["id"].as_str().unwrap().to_owned();
    assert_eq!(shown(&ids[0]), ids[0]);
    assert_eq!(shown(&ids[1][..8]), ids[1]);
    assert_eq!(shown("latest"), ids[2]);
    assert_eq!(shown("latest~2"), ids[0]);
    let none = world.run(&["ls", "latest~3"]);
    assert_eq!(none.code, 1, "{none:?}");
    assert!(none.err.contains("packstone snapshots"), "{none:?}");
}

#[test]
fn filters_narrow_down_what_latest_counts() {
    let world = World::with_days();
    world.write("other.edn", "[1 :a 1 1 true]\n");
    world.ok(&["backup", "datoms:other.edn", "--label", "other", "-H", "elsewhere"]);
    let ids = world.ids();
    let shown = |arguments: &[&str]| {
        world.document(&[&["ls", "latest"], arguments].concat())["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(shown(&[]), ids[3]);
    assert_eq!(shown(&["--label", "db"]), ids[2]);
    assert_eq!(shown(&["-H", "h"]), ids[2]);
    assert_eq!(shown(&["--tag", "all,day1"]), ids[1]);
    assert_eq!(world.document(&["snapshots", "--label", "db"]).as_array().unwrap().len(), 3);
    assert_eq!(world.document(&["snapshots", "--tag", "day0", "--tag", "day2"]).as_array().unwrap().len(), 2);
    assert_eq!(world.document(&["snapshots", "--latest", "1"]).as_array().unwrap().len(), 2);
    let groups = world.document(&["snapshots", "--group-by", "host"]);
    assert_eq!(groups[0]["group_key"]["host"], "elsewhere");
    assert_eq!(groups[1]["snapshots"].as_array().unwrap().len(), 3);
}
