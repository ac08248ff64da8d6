//! Rollouts over hosts with a systemd of their own.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::session::Phase;
use fleet_proto::view::RolloutStateView;
use fleet_tests::fleet::PATIENCE;
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{HostFleet, agent_log};
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;

fn wait_until_all_serve(fleet: &HostFleet, version: &str) {
    for host in fleet.hosts.iter() {
        wait_for(&format!("{} to serve {version}", host.name()), PATIENCE, || {
            (fleet.serves(host.name()).as_deref() == Some(version)).then_some(())
        })
        .unwrap_or_else(|error| unreachable!("{error}\n{}", agent_log(host)));
    }
}

/// Three hosts that run the first release, and have the second before them.
fn fleet_on_v1() -> HostFleet {
    let fleet = HostFleet::start(3).unwrap();
    fleet.fleet.push("v1.0.0", Behaviour::Good).unwrap();
    fleet.fleet.push("v1.1.0", Behaviour::Good).unwrap();
    let first = fleet.fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(first.code, 0, "{}", first.stderr);
    wait_until_all_serve(&fleet, "v1.0.0");
    fleet
}

/// Begins the second rollout: its number, and the first host that is in the middle of it.
fn begin(fleet: &HostFleet) -> (u64, String) {
    let second = ["rollout", "v1.1.0", "--max-unreachable", "1", "--detach"];
    let second = fleet.fleet.ctl(&second).unwrap();
    assert_eq!(second.code, 0, "{}", second.stderr);
    let rollouts = fleet.fleet.status().unwrap().rollouts;
    let number = rollouts.iter().map(|rollout| rollout.number.0).max().unwrap();
    let host = wait_for("a host in the middle of its step", PATIENCE, || {
        let rollout = fleet.fleet.rollout(number).ok()?;
        assert!(!rollout.state.is_ended(), "too late: {rollout:#?}");
        let in_the_middle = |phase| matches!(phase, Phase::Activating | Phase::Verifying);
        let step = rollout.steps.iter().find(|step| in_the_middle(step.phase))?;
        Some(step.node.to_string())
    });
    (number, host.unwrap())
}

fn assert_succeeds(fleet: &HostFleet, number: u64, disturbed: &str) {
    let state = wait_for("the rollout to end", 2 * PATIENCE, || {
        let state = fleet.fleet.rollout(number).ok()?.state;
        state.is_ended().then_some(state)
    })
    .unwrap_or_else(|error| {
        let explained = fleet.fleet.ctl(&["explain"]).unwrap().stdout;
        let host = fleet.hosts.host(disturbed).unwrap();
        unreachable!("{error}\n{explained}\n{}", agent_log(host))
    });
    assert_eq!(state, RolloutStateView::Succeeded);
    wait_until_all_serve(fleet, "v1.1.0");
}

#[test]
fn an_app_outlives_a_restart_of_the_agent_s_service() {
    if !can_boot() {
        return;
    }
    let fleet = fleet_on_v1();
    let host = fleet.hosts.host("n01").unwrap();
    let app = || host.run(&["pgrep", "--exact", "fleet-sample"]).unwrap().stdout;
    let before = app();
    let restart = host.run(&["systemctl", "restart", "fleet-agent"]).unwrap();
    assert_eq!(restart.code, 0, "{}", restart.stderr);
    fleet.fleet.wait_for_connections(3).unwrap();
    assert_eq!(app(), before);
    assert!(!before.is_empty());
}

#[test]
fn a_host_loses_its_power_in_the_middle_of_a_rollout() {
    if !can_boot() {
        return;
    }
    let mut fleet = fleet_on_v1();
    let (number, name) = begin(&fleet);
    let host = fleet.hosts.host_mut(&name).unwrap();
    host.pull_the_plug().unwrap();
    host.boot().unwrap();
    assert_succeeds(&fleet, number, &name);
}

#[test]
fn a_host_is_cut_off_in_the_middle_of_a_rollout() {
    if !can_boot() {
        return;
    }
    let fleet = fleet_on_v1();
    let (number, name) = begin(&fleet);
    let host = fleet.hosts.host(&name).unwrap();
    host.cut_network().unwrap();
    wait_for("the host to be missed", PATIENCE, || {
        let rollout = fleet.fleet.rollout(number).ok()?;
        rollout
            .steps
            .iter()
            .any(|step| step.node.as_str() == name && step.unreachable)
            .then_some(())
    })
    .unwrap();
    host.mend_network().unwrap();
    assert_succeeds(&fleet, number, &name);
}
