//! Every command explains itself.

use crate::world::World;

const COMMANDS: [&str; 23] = [
    "init",
    "backup",
    "restore",
    "dump",
    "snapshots",
    "ls",
    "find",
    "diff",
    "stats",
    "cat",
    "verify",
    "check",
    "doctor",
    "forget",
    "prune",
    "repair",
    "key",
    "cache",
    "completions",
    "demo",
    "mirror",
    "sync",
    "migrate",
];

#[test]
fn every_command_has_help_for_itself_and_for_its_options() {
    let world = World::empty();
    let overview = world.ok(&["--help"]);
    assert!(overview.contains("Exit codes") && overview.contains("PACKSTONE_PASSWORD"), "{overview}");
    for command in COMMANDS {
        assert!(overview.contains(&format!("\n  {command} ")), "{command}");
        let help = world.ok(&[command, "--help"]);
        assert!(help.contains("Usage: packstone") && help.contains("--repo"), "{help}");
        assert!(world.ok(&["help", command]).contains("Usage: packstone"));
        assert!(world.ok(&[command, "-h"]).contains("Usage: packstone"));
    }
    assert!(world.ok(&["--version"]).starts_with("packstone "));
}

#[test]
fn completions_know_the_commands() {
    let world = World::empty();
    for shell in ["bash", "zsh", "fish"] {
        let script = world.ok(&["completions", shell]);
        assert!(COMMANDS.iter().all(|command| script.contains(command)), "{shell}");
    }
}
