//! kill -9 of the coordinator and of agents, at random moments of a rollout.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed test says where"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fleet_proto::session::Phase;
use fleet_proto::view::{EventView, RolloutStateView};
use fleet_tests::chance::Chance;
use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;

const NODES: usize = 20;
const MOMENTS: usize = 30;

/// From which to which release the next rollout goes; to and fro, so that each has work.
fn versions(round: usize) -> (&'static str, &'static str) {
    if round.is_multiple_of(2) {
        ("v1.0.0", "v1.1.0")
    } else {
        ("v1.1.0", "v1.0.0")
    }
}

fn fleet_on_v1() -> Fleet {
    let fleet = Fleet::start(NODES).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    fleet.push("v1.1.0", Behaviour::Good).unwrap();
    let first = fleet
        .ctl(&["rollout", "v1.0.0", "--max-in-flight", "20"])
        .unwrap();
    assert_eq!(first.code, 0, "{}", first.stderr);
    fleet
}

fn start(fleet: &Fleet, version: &str) -> u64 {
    let started = fleet
        .ctl(&[
            "rollout",
            version,
            "--waves",
            "10,50,100",
            "--max-unavailable",
            "50%",
            "--max-unreachable",
            "20",
            "--detach",
            "--output",
            "json",
        ])
        .unwrap();
    assert_eq!(started.code, 0, "{}", started.stderr);
    let rollouts = fleet.status().unwrap().rollouts;
    rollouts.iter().map(|rollout| rollout.number.0).max().unwrap()
}

fn wait_until_ended(fleet: &Fleet, number: u64) -> RolloutStateView {
    wait_for("the rollout to end", 3 * PATIENCE, || {
        let rollout = fleet.rollout(number).ok()?;
        rollout.state.is_ended().then_some(rollout.state)
    })
    .unwrap_or_else(|error| {
        let explained = fleet.ctl(&["explain", &number.to_string()]).unwrap();
        let events = fleet.ctl(&["events"]).unwrap().stdout;
        let tail: Vec<&str> = events.lines().rev().take(40).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
        unreachable!(
            "{error}\n{}\n{tail}\n{}",
            explained.stdout,
            fleet.log("coordinator")
        )
    })
}

/// Every node was told to deploy once, in the order of the waves, and each moved once.
fn assert_nobody_was_touched_twice(fleet: &Fleet, number: u64) {
    let rollout = fleet.rollout(number).unwrap();
    assert!(
        rollout.steps.iter().all(|step| step.phase == Phase::Done),
        "{rollout:#?}"
    );
    let printed = fleet
        .ctl(&["events", "--rollout", &number.to_string(), "--output", "json"])
        .unwrap();
    let events: Vec<EventView> = printed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let mut passed = 0;
    for event in &events {
        let Some(node) = &event.node else {
            passed += usize::from(event.kind == "wave-passed");
            continue;
        };
        if event.kind == "command-issued" && event.message.contains("deploy") {
            *told.entry(node.to_string()).or_default() += 1;
            let wave = rollout.steps.iter().find(|step| step.node == *node).unwrap().wave;
            assert_eq!(wave, passed + 1, "{node} moved out of turn");
        }
    }
    assert_eq!(told.len(), NODES);
    assert!(told.values().all(|times| *times == 1), "{told:?}");
    assert_eq!(passed, 3, "a wave was skipped");
}

/// How often an app's process was started on each node, by its own log.
fn starts(fleet: &Fleet, version: &str) -> BTreeMap<String, usize> {
    fleet
        .nodes()
        .iter()
        .map(|(name, node)| {
            let log = node.state.join("apps/shop/run/web/log");
            let text = std::fs::read(log).unwrap_or_default();
            let line = format!("sample {version} starts on");
            (
                name.clone(),
                String::from_utf8_lossy(&text).matches(&line).count(),
            )
        })
        .collect()
}

#[test]
fn a_coordinator_that_is_killed_goes_on_where_it_was() {
    let mut chance = Chance::from_environment();
    let mut fleet = fleet_on_v1();
    let mut killed = 0;
    let mut round = 0;
    while killed < MOMENTS {
        let (_, to) = versions(round);
        let before = starts(&fleet, to);
        let number = start(&fleet, to);
        for _ in 0..chance.between(2, 6) {
            let until = Instant::now() + Duration::from_millis(chance.between(0, 700));
            let ended = wait_for("a moment", PATIENCE, || (Instant::now() >= until).then_some(()));
            ended.unwrap();
            fleet.kill_coordinator().unwrap();
            killed += 1;
            fleet.start_coordinator().unwrap();
        }
        eprintln!("round {round}: {killed} kills, rollout #{number}");
        assert_eq!(
            wait_until_ended(&fleet, number),
            RolloutStateView::Succeeded,
            "{}",
            fleet.ctl(&["explain", &number.to_string()]).unwrap().stdout
        );
        assert_nobody_was_touched_twice(&fleet, number);
        fleet.wait_until_all_serve(to).unwrap();
        let after = starts(&fleet, to);
        for (name, times) in after {
            assert_eq!(times, before[&name] + 1, "{name} was started more than once");
        }
        round += 1;
    }
}

#[test]
fn an_agent_that_is_killed_finishes_or_undoes_its_step() {
    let mut chance = Chance::from_environment();
    let mut fleet = fleet_on_v1();
    let names: Vec<String> = fleet.nodes().keys().cloned().collect();
    let mut killed: BTreeMap<String, usize> = BTreeMap::new();
    let mut round = 0;
    while names
        .iter()
        .any(|name| killed.get(name).copied().unwrap_or(0) < MOMENTS)
    {
        let (_, to) = versions(round);
        let number = start(&fleet, to);
        // A third kill in one verification is taken for the release's doing, and rightly.
        let mut spared: Vec<String> = [names.clone(), names.clone()].concat();
        while !fleet.rollout(number).unwrap().state.is_ended() {
            // Some at once, each at its own moment.
            let some: Vec<String> = (0..6).filter_map(|_| chance.take(&mut spared)).collect();
            for name in &some {
                if fleet.agent_process(name).is_some() {
                    fleet.kill_agent(name).unwrap();
                    *killed.entry(name.clone()).or_default() += 1;
                }
            }
            for name in &some {
                if fleet.agent_process(name).is_none() {
                    fleet.start_agent(name).unwrap();
                }
            }
        }
        let state = fleet.rollout(number).unwrap().state;
        eprintln!(
            "round {round}: {:?} kills, rollout #{number} {state:?}",
            killed.values().sum::<usize>()
        );
        assert_eq!(
            state,
            RolloutStateView::Succeeded,
            "{}",
            fleet.ctl(&["status", &number.to_string()]).unwrap().stdout
        );
        fleet.wait_until_all_serve(to).unwrap();
        round += 1;
    }
}
