//! Disks rot and people meddle: what a node does with a release that is not as it was.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::path::Path;

use fleet_tests::fleet::{APP, Fleet, PATIENCE};
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;

/// Flips the first byte of each file of the release that is `current` on the node.
fn damage_current(state: &Path) {
    let files = state.join(format!("apps/{APP}/current/files/web"));
    for entry in std::fs::read_dir(files).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 0xff;
        // By another file of that name: the program that runs keeps its own.
        let mode = std::fs::metadata(&path).unwrap().permissions();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, mode).unwrap();
    }
}

#[test]
fn a_damaged_last_good_release_makes_way_for_the_one_before_and_is_fetched_again_when_ordered() {
    let fleet = Fleet::start(1).unwrap();
    for version in ["v1.0.0", "v1.1.0"] {
        fleet.push(version, Behaviour::Good).unwrap();
        let out = fleet.ctl(&["rollout", version]).unwrap();
        assert_eq!(out.code, 0, "{}", out.stderr);
    }
    damage_current(&fleet.node("n01").unwrap().state);
    fleet.push("v1.2.0", Behaviour::Sick).unwrap();
    let out = fleet.ctl(&["rollout", "v1.2.0"]).unwrap();
    assert_eq!(out.code, 1, "{}", out.stderr);
    fleet.wait_until_all_serve("v1.0.0").unwrap();
    let log = fleet.log("n01");
    assert!(log.contains("the files of v1.1.0"), "{log}");

    let out = fleet.ctl(&["rollout", "v1.1.0"]).unwrap();
    assert_eq!(out.code, 0, "{}", out.stderr);
    fleet.wait_until_all_serve("v1.1.0").unwrap();
}

/// Nothing runs that nobody signed: with no other release to go back to, the node waits
/// for help, says why, and starts again what it is given.
#[test]
fn a_damaged_release_is_not_started_even_if_there_is_no_other() {
    let fleet = Fleet::start(1).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    let out = fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(out.code, 0, "{}", out.stderr);
    damage_current(&fleet.node("n01").unwrap().state);
    fleet.push("v1.1.0", Behaviour::Sick).unwrap();
    let out = fleet.ctl(&["rollout", "v1.1.0"]).unwrap();
    assert_eq!(out.code, 1, "{}", out.stderr);
    let told = wait_for("the node to say why", PATIENCE, || {
        let node = fleet.ctl(&["node", "show", "n01"]).ok()?.stdout;
        node.contains("are not as they were laid out").then_some(node)
    });
    assert!(told.is_ok(), "{}", fleet.log("n01"));
    assert_ne!(fleet.serves("n01").as_deref(), Some("v1.0.0"));

    fleet.push("v1.2.0", Behaviour::Good).unwrap();
    let out = fleet
        .ctl(&["rollout", "v1.2.0", "--max-unavailable", "100%"])
        .unwrap();
    assert_eq!(out.code, 0, "{}", out.stderr);
    fleet.wait_until_all_serve("v1.2.0").unwrap();
}

#[test]
fn by_hand_a_damaged_release_is_refused_and_nothing_is_changed() {
    let mut fleet = Fleet::start(1).unwrap();
    for version in ["v1.0.0", "v1.1.0"] {
        fleet.push(version, Behaviour::Good).unwrap();
        let out = fleet.ctl(&["rollout", version]).unwrap();
        assert_eq!(out.code, 0, "{}", out.stderr);
        if version == "v1.0.0" {
            damage_current(&fleet.node("n01").unwrap().state);
        }
    }
    fleet.kill_agent("n01").unwrap();
    let out = fleet.agent("n01", &["rollback"]).unwrap();
    assert_eq!(out.code, 1, "{}", out.stdout);
    assert!(out.stderr.contains("nothing was changed"), "{}", out.stderr);
    assert_eq!(fleet.serves("n01").as_deref(), Some("v1.1.0"));
}

/// Older than the newest good release, and left by hand: it ran well here, so it may come back.
#[test]
fn a_release_that_was_left_by_hand_may_be_rolled_out_again() {
    let fleet = Fleet::start(1).unwrap();
    for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
        fleet.push(version, Behaviour::Good).unwrap();
        let out = fleet.ctl(&["rollout", version]).unwrap();
        assert_eq!(out.code, 0, "{}", out.stderr);
    }
    for _ in 0..2 {
        let out = fleet.agent("n01", &["rollback"]).unwrap();
        assert_eq!(out.code, 0, "{}", out.stderr);
    }
    fleet.wait_until_all_serve("v1.0.0").unwrap();
    let out = fleet.ctl(&["rollout", "v1.1.0"]).unwrap();
    assert_eq!(out.code, 0, "{}", out.stderr);
    fleet.wait_until_all_serve("v1.1.0").unwrap();
}
