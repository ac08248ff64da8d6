//! `confirm`: a release that cuts its node off undoes itself, and a coordinator that is away
//! makes no release a bad one.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::time::Instant;

use fleet_proto::view::RolloutStateView;
use fleet_tests::fleet::PATIENCE;
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{HostFleet, agent_log};
use fleet_tests::hosts::pieces::{push, push_with, service};
use fleet_tests::wait::wait_for;

const GOOD: &str = "health = \"healthy\"\n";
const HEALTH: &str = "healthy_deadline = \"60s\"\nconfirm = \"4s\"\n";
/// The process is well, and nobody is reached from the host any more.
const CUTS_OFF: &str =
    "ExecStartPre=/usr/sbin/ip link set host0 down\nExecStopPost=/usr/sbin/ip link set host0 up\n";
const SLOW: &str = "ExecStartPre=/bin/sleep 6\nTimeoutStartSec=60\n";

/// A host on the first release.
fn host_on_v1() -> HostFleet {
    let fleet = HostFleet::start(1).unwrap();
    push(&fleet.fleet, "v1.0.0", "60s", &[service("v1.0.0", GOOD, "")]).unwrap();
    let first = fleet.fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(first.code, 0, "{}", first.stderr);
    fleet
}

fn step(fleet: &HostFleet) -> String {
    let host = fleet.hosts.host("n01").unwrap();
    host.run(&["fleet-agent", "status"]).unwrap().stdout
}

#[test]
fn a_release_that_cuts_its_node_off_undoes_itself() {
    if !can_boot() {
        return;
    }
    let fleet = host_on_v1();
    let cuts_off = service("v1.1.0", GOOD, CUTS_OFF);
    push_with(&fleet.fleet, "v1.1.0", HEALTH, &[cuts_off]).unwrap();
    let log = || agent_log(fleet.hosts.host("n01").unwrap());
    let ended = fleet.fleet.ctl(&["rollout", "v1.1.0"]).unwrap();
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, 1, "{said}{}", log());
    assert!(
        said.contains("no coordinator was reached within 4s of activation (confirm)"),
        "{said}{}",
        log()
    );
    // It is the release that is at fault, so nobody is asked.
    assert!(said.contains("on v1.0.0 one is reached again"), "{said}{}", log());
    let status = fleet.fleet.status().unwrap();
    let failed = status
        .rollouts
        .iter()
        .find(|rollout| rollout.number.0 == 2)
        .unwrap();
    assert_eq!(failed.state, RolloutStateView::Failed, "{said}{}", log());
    assert_eq!(fleet.serves("n01").as_deref(), Some("v1.0.0"), "{}", log());
}

#[test]
fn a_coordinator_that_is_away_makes_no_bad_release() {
    if !can_boot() {
        return;
    }
    let mut fleet = host_on_v1();
    let slow = service("v1.1.0", GOOD, SLOW);
    push_with(&fleet.fleet, "v1.1.0", HEALTH, &[slow]).unwrap();
    let begun = fleet.fleet.ctl(&["rollout", "v1.1.0", "--detach"]).unwrap();
    assert_eq!(begun.code, 0, "{}", begun.stderr);
    wait_for("the host to be at it", PATIENCE, || {
        step(&fleet).contains("activating").then_some(())
    })
    .unwrap();
    fleet.fleet.kill_coordinator().unwrap();
    let away = Instant::now();
    wait_for("the host to be back", PATIENCE, || {
        step(&fleet)
            .contains("on v1.0.0 none is reached either")
            .then_some(())
    })
    .unwrap_or_else(|error| unreachable!("{error}\n{}", step(&fleet)));
    assert_eq!(fleet.serves("n01").as_deref(), Some("v1.0.0"));
    assert!(away.elapsed().as_secs() >= 8, "there was time to answer, twice");
    fleet.fleet.start_coordinator().unwrap();
    // No fault of the release: nothing is rolled back, and a person says what next.
    wait_for("the rollout to pause", PATIENCE, || {
        let state = fleet.fleet.rollout(2).ok()?.state;
        assert!(!state.is_ended(), "{state:?}");
        (state == RolloutStateView::Paused).then_some(())
    })
    .unwrap();
    let again = fleet.fleet.ctl(&["retry", "2"]).unwrap();
    assert_eq!(again.code, 0, "{}", again.stderr);
    let state = wait_for("the rollout to end", 2 * PATIENCE, || {
        let state = fleet.fleet.rollout(2).ok()?.state;
        state.is_ended().then_some(state)
    });
    let log = agent_log(fleet.hosts.host("n01").unwrap());
    let log = format!("{}\n{log}", fleet.fleet.ctl(&["explain"]).unwrap().stdout);
    let state = state.unwrap_or_else(|error| unreachable!("{error}\n{log}"));
    assert_eq!(state, RolloutStateView::Succeeded, "{log}");
    assert_eq!(fleet.serves("n01").as_deref(), Some("v1.1.0"), "{log}");
}
