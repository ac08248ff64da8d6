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

/// Agents are services; the app outlives its agent, and not its host's power.
#[test]
fn a_host_loses_its_power_in_the_middle_of_a_rollout() {
    if !can_boot() {
        return;
    }
    let mut fleet = HostFleet::start(3).unwrap();
    fleet.fleet.push("v1.0.0", Behaviour::Good).unwrap();
    fleet.fleet.push("v1.1.0", Behaviour::Good).unwrap();
    let first = fleet.fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(first.code, 0, "{}", first.stderr);
    wait_until_all_serve(&fleet, "v1.0.0");

    let restarted = fleet.hosts.host("n01").unwrap();
    let restart = restarted.run(&["systemctl", "restart", "fleet-agent"]).unwrap();
    assert_eq!(restart.code, 0, "{}", restart.stderr);
    assert_eq!(fleet.serves("n01").as_deref(), Some("v1.0.0"), "it never stopped");
    fleet.fleet.wait_for_connections(3).unwrap();

    let second = ["rollout", "v1.1.0", "--max-unreachable", "1", "--detach"];
    let second = fleet.fleet.ctl(&second).unwrap();
    assert_eq!(second.code, 0, "{}", second.stderr);
    let number = newest_rollout(&fleet);
    let in_the_middle = wait_for("a host in the middle of its step", PATIENCE, || {
        let rollout = fleet.fleet.rollout(number).ok()?;
        assert!(!rollout.state.is_ended(), "too late: {rollout:#?}");
        let step = rollout.steps.iter().find(|step| is_in_the_middle(step.phase))?;
        Some(step.node.to_string())
    })
    .unwrap();
    let host = fleet.hosts.host_mut(&in_the_middle).unwrap();
    host.pull_the_plug().unwrap();
    host.boot().unwrap();

    let state = wait_for("the rollout to end", 2 * PATIENCE, || {
        let state = fleet.fleet.rollout(number).ok()?.state;
        state.is_ended().then_some(state)
    })
    .unwrap_or_else(|error| {
        let explained = fleet.fleet.ctl(&["explain"]).unwrap().stdout;
        let host = fleet.hosts.host(&in_the_middle).unwrap();
        unreachable!("{error}\n{explained}\n{}", agent_log(host))
    });
    assert_eq!(state, RolloutStateView::Succeeded);
    wait_until_all_serve(&fleet, "v1.1.0");
}

fn is_in_the_middle(phase: Phase) -> bool {
    matches!(phase, Phase::Activating | Phase::Verifying)
}

fn newest_rollout(fleet: &HostFleet) -> u64 {
    let rollouts = fleet.fleet.status().unwrap().rollouts;
    rollouts.iter().map(|rollout| rollout.number.0).max().unwrap()
}
