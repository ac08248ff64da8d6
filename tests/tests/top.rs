//! `fleetctl top` and `status --watch` on a real terminal, on a real fleet.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::num::NonZeroU16;

use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::sample::Behaviour;
use fleet_tests::terminal::Terminal;
use nix::sys::signal::Signal;

const SIZE: (NonZeroU16, NonZeroU16) = (NonZeroU16::new(100).unwrap(), NonZeroU16::new(30).unwrap());

fn watched(fleet: &Fleet, arguments: &[&str]) -> Terminal {
    let command = fleet.ctl_command(arguments).unwrap();
    Terminal::start(&command, SIZE).unwrap()
}

#[test]
fn a_rollout_is_followed_to_its_end_and_the_terminal_is_given_back() {
    let mut fleet = Fleet::start(3).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    let mut top = watched(&fleet, &["top"]);
    top.wait_for("coordinator reached", PATIENCE).unwrap();
    top.wait_for("no rollout yet", PATIENCE).unwrap();
    top.wait_for("zone b", PATIENCE).unwrap();

    let followed = fleet.ctl_beside(&["rollout", "v1.0.0", "--waves", "1n,100", "--bake", "2s"]);
    top.wait_for("#1 shop v1.0.0", PATIENCE).unwrap();
    top.wait_for("baking, ", PATIENCE).unwrap();
    top.wait_for("rollouts: none under way", PATIENCE).unwrap();
    top.wait_for("v1.0.0 on 3", PATIENCE).unwrap();
    assert!(top.text().contains("succeeded"), "{}", top.text());
    assert!(followed.unwrap().wait_with_output().unwrap().status.success());

    // A node's page, and back.
    top.press("\t\r").unwrap();
    top.wait_for("node n01:", PATIENCE).unwrap();
    top.press("\x1b").unwrap();
    top.wait_for("nodes by zone", PATIENCE).unwrap();

    // What was last known stays, and that it is old is said.
    fleet.kill_coordinator().unwrap();
    top.wait_for("coordinator lost for", PATIENCE).unwrap();
    assert!(top.text().contains("v1.0.0 on 3"), "{}", top.text());
    fleet.start_coordinator().unwrap();
    top.wait_for("coordinator reached", PATIENCE).unwrap();

    assert!(!top.is_as_before().unwrap());
    top.press("q").unwrap();
    assert_eq!(top.wait_for_end(PATIENCE).unwrap().code(), Some(0));
    assert!(top.is_as_before().unwrap());
}

#[test]
fn a_bad_release_ends_the_watching_of_its_rollout_with_its_exit_code() {
    let fleet = Fleet::start(3).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    fleet.push("v1.1.0", Behaviour::Sick).unwrap();
    let good = fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(good.code, 0, "{}", good.stderr);

    let mut all = watched(&fleet, &["status", "--watch"]);
    all.wait_for("v1.0.0 on 3", PATIENCE).unwrap();
    let started = fleet
        .ctl(&["rollout", "v1.1.0", "--waves", "1n,100", "--detach"])
        .unwrap();
    assert_eq!(started.code, 0, "{}", started.stderr);
    let mut watched = watched(&fleet, &["status", "2", "--watch"]);
    watched.wait_for("rollouts: 1 under way", PATIENCE).unwrap();
    // It ends by itself, and what became of it stays on the screen.
    assert_eq!(watched.wait_for_end(PATIENCE).unwrap().code(), Some(1));
    watched.wait_for("error: rollout #2 failed", PATIENCE).unwrap();
    assert!(watched.is_as_before().unwrap());

    all.wait_for("it takes back rollout #2", PATIENCE).unwrap();
    all.signal(Signal::SIGTERM).unwrap();
    assert_eq!(all.wait_for_end(PATIENCE).unwrap().code(), Some(0));
    assert!(all.is_as_before().unwrap());
}

#[test]
fn without_a_terminal_there_is_a_hint() {
    let fleet = Fleet::with_coordinator().unwrap();
    let told = fleet.ctl(&["top"]).unwrap();
    assert_eq!(told.code, 2, "{}", told.stderr);
    assert!(
        told.stderr
            .contains("`fleetctl status --watch` goes on without one"),
        "{}",
        told.stderr
    );
}
