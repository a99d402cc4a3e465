//! The README's first command.

use crate::world::World;

#[test]
fn the_demo_proves_what_it_shows() {
    let world = World::empty();
    let out = world.ok(&["demo", "here"]);
    assert!(out.contains("Equal, line by line"), "{out}");
    assert!(out.contains("$ packstone backup datoms:packages.edn"), "{out}");
    assert!(world.path("here/repository/config").is_file());
    let again = world.run(&["demo", "here"]);
    assert_eq!(again.code, 2, "{again:?}");
}
