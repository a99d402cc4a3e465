//! What is kept on this machine.

use std::fs::File;
use std::time::{Duration, SystemTime};

use crate::world::World;

#[test]
fn caches_are_listed_and_old_ones_removed() {
    let world = World::with_days();
    let list = world.document(&["cache"]);
    let [cache] = list.as_array().unwrap().as_slice() else { panic!("{list}") };
    let id = cache["repository_id"].as_str().unwrap().to_owned();
    assert!(cache["size"].as_u64().unwrap() > 0 && cache["old"] == false, "{cache}");
    assert!(world.ok(&["cache"]).contains(&id));
    let kept = world.summary(&["cache", "--cleanup"]);
    assert_eq!((kept["kept"].as_u64(), kept["removed"].as_array().unwrap().len()), (Some(1), 0));

    let used = world.path("cache").join(&id).join("used");
    let age = Duration::from_secs(40 * 24 * 3600);
    File::options().write(true).open(used).unwrap().set_modified(SystemTime::now() - age).unwrap();
    assert_eq!(world.document(&["cache"])[0]["old"], true);
    let kept = world.summary(&["cache", "--cleanup", "--max-age", "50"]);
    assert_eq!(kept["kept"].as_u64(), Some(1));
    let removed = world.summary(&["cache", "--cleanup"]);
    assert_eq!(removed["removed"][0], id);
    assert_eq!(world.document(&["cache"]).as_array().unwrap().len(), 0);
    assert_eq!(world.ids().len(), 3, "nothing but the cache is gone");
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let world = World::new();
    world.ok(&["snapshots", "--no-cache", "--cache-dir", "other"]);
    assert!(!world.path("other").exists());
    assert_eq!(world.run(&["cache", "--max-age", "soon"]).code, 2);
}
