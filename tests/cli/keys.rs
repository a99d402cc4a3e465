//! Key slots: who can open the repository.

use crate::world::{World, ran};

#[test]
fn a_second_key_opens_until_it_is_removed() {
    let world = World::new();
    world.write("second", "the second key file, also with 32 bytes or more");
    world.ok(&["key", "add", "--new-key-file", "second", "--label", "spare"]);
    world.ok(&["snapshots", "--key-file", "second"]);
    let slots = world.document(&["key", "list"]);
    assert_eq!(slots.as_array().unwrap().len(), 2);
    let spare = slots.as_array().unwrap().iter().find(|slot| slot["label"] == "spare").unwrap();
    assert_eq!(spare["current"], false);
    let id = spare["id"].as_str().unwrap();
    world.ok(&["key", "remove", &id[..10]]);
    assert_eq!(world.run(&["snapshots", "--key-file", "second"]).code, 12);
    let own = world.document(&["key", "list"])[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.run(&["key", "remove", &own]).code, 2);
}

#[test]
fn passwd_replaces_the_key_in_use_by_a_password() {
    let world = World::new();
    world.write("password", "correct horse\n");
    world.ok(&["key", "passwd", "--new-password-file", "password"]);
    assert_eq!(world.run(&["snapshots"]).code, 12);
    let with = |name: &str, value: &str| {
        ran(world.command(&["snapshots"]).env_remove("PACKSTONE_KEY_FILE").env(name, value)).code
    };
    assert_eq!(with("PACKSTONE_PASSWORD", "correct horse"), 0);
    assert_eq!(with("PACKSTONE_PASSWORD_FILE", "password"), 0);
    assert_eq!(with("PACKSTONE_PASSWORD_COMMAND", "cat password"), 0);
}
