//! Coordinators that should not be in charge: a second one on the same state, one that was
//! restored from an old copy, one that was frozen while another took its place; and a node
//! that is there twice. Each is refused with a message, and none does harm.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use fleet_proto::view::{EventView, RolloutStateView, StatusView, WaveStateView};
use fleet_tests::fleet::{Ended, Fleet, PATIENCE};
use fleet_tests::forwarder::Forwarder;
use fleet_tests::port::Port;
use fleet_tests::process::{Process, program};
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;
use nix::sys::signal::Signal;

fn push_all(fleet: &Fleet) {
    for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
        fleet.push(version, Behaviour::Good).unwrap();
    }
}

fn roll_out(fleet: &Fleet, version: &str) {
    let done = fleet
        .ctl(&["rollout", version, "--waves", "100", "--max-unavailable", "100%"])
        .unwrap();
    assert_eq!(done.code, 0, "{}", done.stderr);
    fleet.wait_until_all_serve(version).unwrap();
}

/// `fleet-coordinator VERB` on the fleet's configuration, until it ends.
fn coordinator(fleet: &Fleet, verb: &str) -> Ended {
    let output = Command::new(program("fleet-coordinator").unwrap())
        .args([verb, "--config"])
        .arg(fleet.coordinator_directory().join("coordinator.toml"))
        .stdin(Stdio::null())
        .output();
    output.unwrap().into()
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

fn count_events(fleet: &Fleet, kind: &str) -> usize {
    let printed = fleet.ctl(&["events", "--output", "json"]).unwrap().stdout;
    let events = printed
        .lines()
        .map(|line| serde_json::from_str::<EventView>(line).unwrap());
    events.filter(|event| event.kind == kind).count()
}

/// Orders that the nodes took, by their own logs.
fn taken(fleet: &Fleet) -> usize {
    let logs = fleet.nodes().keys().map(|name| {
        let log = fleet.root().join(format!("logs/{name}.log"));
        std::fs::read_to_string(log).unwrap()
    });
    logs.map(|log| log.matches("order accepted").count()).sum()
}

#[test]
fn a_second_coordinator_on_the_same_state_is_refused() {
    let mut fleet = Fleet::start(1).unwrap();
    push_all(&fleet);
    let first = fleet.coordinator().unwrap().id();
    let refused = coordinator(&fleet, "run");
    assert_eq!(refused.code, 1);
    let who = format!("another coordinator (process {first}) uses the state in ");
    assert!(refused.stderr.contains(&who), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains(&format!("\nhint: stop it first with `kill {first}`")),
        "{}",
        refused.stderr
    );
    assert!(fleet.coordinator().unwrap().is_running());
    roll_out(&fleet, "v1.0.0");
    // The same term: nobody took charge in between, and no stream was cut.
    assert_eq!(fleet.status().unwrap().coordinator.term, 1);
    assert_eq!(fleet.log("n01").matches("session open").count(), 1);
}

#[test]
fn a_coordinator_that_was_restored_from_an_old_copy_gives_no_orders_until_it_is_told() {
    let mut fleet = Fleet::start(2).unwrap();
    push_all(&fleet);
    roll_out(&fleet, "v1.0.0");
    let state = fleet.coordinator_directory().join("state");
    let old = fleet.root().join("old-state");
    fleet.kill_coordinator().unwrap();
    copy(&state, &old);
    fleet.start_coordinator().unwrap();
    fleet.wait_until_connected().unwrap();
    roll_out(&fleet, "v1.1.0");

    fleet.kill_coordinator().unwrap();
    std::fs::remove_dir_all(&state).unwrap();
    copy(&old, &state);
    // Its term is past what nodes have seen; the number is not.
    for _ in 0..2 {
        fleet.start_coordinator().unwrap();
        fleet.kill_coordinator().unwrap();
    }
    fleet.start_coordinator().unwrap();
    wait_until_outdated(&fleet);
    let orders = count_events(&fleet, "command-issued");

    let found = "this coordinator's state ends at term 4 and rollout #1, but node n0";
    for request in [
        &["rollout", "v1.2.0", "--waves", "100"][..],
        &["rollback", "--reason", "to see"],
        &["resume", "1"],
    ] {
        let refused = fleet.ctl(request).unwrap();
        assert_eq!(refused.code, 1, "{request:?} {}", refused.stderr);
        assert!(refused.stderr.contains(found), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("has seen term 2 and rollout #2"),
            "{}",
            refused.stderr
        );
        assert!(
            refused.stderr.contains("run `fleet-coordinator take-over`"),
            "{}",
            refused.stderr
        );
    }
    // Whoever looks is answered.
    let shown = fleet.ctl(&["status"]).unwrap();
    assert_eq!(shown.code, 0);
    assert!(
        shown.stdout.contains(&format!("no orders are given: {found}")),
        "{}",
        shown.stdout
    );
    assert!(fleet.log("coordinator").contains("no orders are given"));
    assert!(count_events(&fleet, "found-outdated") >= 1);
    // It knows it at the next start, with no node in reach.
    for name in ["n01", "n02"] {
        fleet.stop_agent(name).unwrap();
    }
    fleet.kill_coordinator().unwrap();
    fleet.start_coordinator().unwrap();
    assert!(fleet.status().unwrap().coordinator.outdated.is_some());
    assert_eq!(count_events(&fleet, "command-issued"), orders);

    // Not while it runs.
    let running = fleet.coordinator().unwrap().id();
    let refused = coordinator(&fleet, "take-over");
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains(&format!("another coordinator (process {running})")),
        "{}",
        refused.stderr
    );
    fleet.kill_coordinator().unwrap();
    let taken = coordinator(&fleet, "take-over");
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    assert!(
        taken.stdout.contains("the next rollout is #3"),
        "{}",
        taken.stdout
    );
    let again = coordinator(&fleet, "take-over");
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("nothing to take over"), "{}", again.stderr);

    fleet.start_coordinator().unwrap();
    for name in ["n01", "n02"] {
        fleet.start_agent(name).unwrap();
    }
    fleet.wait_until_connected().unwrap();
    fleet.wait_until_all_serve("v1.1.0").unwrap();
    roll_out(&fleet, "v1.2.0");
    assert_eq!(fleet.rollout(3).unwrap().state, RolloutStateView::Succeeded);
    assert_eq!(fleet.status().unwrap().coordinator.outdated, None);
}

fn wait_until_outdated(fleet: &Fleet) {
    let is_outdated = || fleet.status().ok()?.coordinator.outdated;
    wait_for(
        "the coordinator to see that it is outdated",
        PATIENCE,
        is_outdated,
    )
    .unwrap();
}

/// Another coordinator on a copy of the fleet's: who takes its place.
struct StandIn {
    process: Process,
    address: SocketAddr,
    url: String,
    _port: Port,
}

impl StandIn {
    fn start(fleet: &Fleet) -> Self {
        let directory = fleet.root().join("stand-in");
        copy(&fleet.coordinator_directory(), &directory);
        let port = Port::reserve().unwrap();
        let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
        let config = directory.join("coordinator.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let old = fleet.address().strip_prefix("https://").unwrap();
        std::fs::write(&config, text.replace(old, &address.to_string())).unwrap();
        let endpoints = directory.join("state/endpoints.json");
        std::fs::remove_file(&endpoints).unwrap();
        let process = Process::start(
            &program("fleet-coordinator").unwrap(),
            &["run", "--config", &config.display().to_string()],
            &fleet.root().join("logs/stand-in.log"),
        )
        .unwrap();
        wait_for("the stand-in to listen", PATIENCE, || {
            std::fs::read_to_string(&endpoints)
                .ok()
                .filter(|text| text.contains("grpc"))
        })
        .unwrap();
        Self {
            process,
            address,
            url: format!("https://{address}"),
            _port: port,
        }
    }

    fn ctl(&self, fleet: &Fleet, arguments: &[&str]) -> Ended {
        let to_here = [&["--coordinator", &self.url], arguments].concat();
        fleet.ctl(&to_here).unwrap()
    }

    fn status(&self, fleet: &Fleet) -> Option<StatusView> {
        let ended = self.ctl(fleet, &["status", "--output", "json"]);
        serde_json::from_str(&ended.stdout).ok()
    }
}

/// Nodes that reach their coordinator by an address that moves.
fn fleet_behind(nodes: &[&str]) -> (Fleet, Forwarder, SocketAddr) {
    let mut fleet = Fleet::with_coordinator().unwrap();
    fleet.kill_coordinator().unwrap();
    let config = fleet.coordinator_directory().join("coordinator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    // So that a stream that says nothing for a while is not given up by itself.
    let patient = text.replace("# heartbeat = \"5s\"", "heartbeat = \"30s\"");
    assert_ne!(text, patient);
    std::fs::write(&config, patient).unwrap();
    fleet.start_coordinator().unwrap();
    let first: SocketAddr = fleet.address().strip_prefix("https://").unwrap().parse().unwrap();
    let forwarder = Forwarder::to(first).unwrap();
    for name in nodes {
        fleet.prepare_node(name, &fleet.root().join(name)).unwrap();
        let config = fleet.node(name).unwrap().config.clone();
        let text = std::fs::read_to_string(&config).unwrap();
        let moved = text.replace(fleet.address(), &format!("https://{}", forwarder.address()));
        assert_ne!(text, moved);
        std::fs::write(&config, moved).unwrap();
        let token = fleet.token(&["--uses", "1"]).unwrap();
        let enrolled = fleet.enrol(name, &token).unwrap();
        assert_eq!(enrolled.code, 0, "{}", enrolled.stderr);
        fleet.start_agent(name).unwrap();
    }
    fleet.wait_until_connected().unwrap();
    (fleet, forwarder, first)
}

#[test]
fn a_coordinator_that_was_frozen_does_no_harm_when_it_goes_on() {
    let (mut fleet, forwarder, first) = fleet_behind(&["n01", "n02"]);
    push_all(&fleet);
    roll_out(&fleet, "v1.0.0");
    let started = fleet
        .ctl(&[
            "rollout", "v1.1.0", "--waves", "1n,100", "--bake", "4s", "--detach",
        ])
        .unwrap();
    assert_eq!(started.code, 0, "{}", started.stderr);
    wait_for("the first wave to bake", PATIENCE, || {
        let wave = fleet.rollout(2).ok()?.waves.first()?.state;
        (wave == WaveStateView::Baking).then_some(())
    })
    .unwrap();
    fleet.coordinator().unwrap().signal(Signal::SIGSTOP).unwrap();

    // Another one goes on where it was, and further.
    let second = StandIn::start(&fleet);
    forwarder.turn_to(second.address);
    wait_for("the stand-in to end the rollout", PATIENCE, || {
        let rollouts = second.status(&fleet)?.rollouts;
        let rollout = rollouts.into_iter().find(|rollout| rollout.number.0 == 2)?;
        (rollout.state == RolloutStateView::Succeeded).then_some(())
    })
    .unwrap_or_else(|error| unreachable!("{error} {}", fleet.log("stand-in")));
    let done = second.ctl(
        &fleet,
        &["rollout", "v1.2.0", "--waves", "100", "--max-unavailable", "100%"],
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
    fleet.wait_until_all_serve("v1.2.0").unwrap();

    // It goes on too: it knows of no other, and orders what its rollout asks for.
    let (before, taken_before) = (forwarder.unheard(), taken(&fleet));
    fleet.coordinator().unwrap().signal(Signal::SIGCONT).unwrap();
    wait_for("the first one to give another order", PATIENCE, || {
        (count_events(&fleet, "command-issued") > 3 && forwarder.unheard() > before).then_some(())
    })
    .unwrap();
    fleet.wait_until_all_serve("v1.2.0").unwrap();

    // Its nodes come back to it, and it learns from them that it is not in charge.
    forwarder.turn_to(first);
    wait_until_outdated(&fleet);
    assert!(fleet.log("coordinator").contains("no orders are given"));
    let orders = count_events(&fleet, "command-issued");
    let refused = fleet.ctl(&["rollout", "v1.0.0", "--waves", "100"]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("another coordinator is in charge"),
        "{}",
        refused.stderr
    );
    fleet.wait_until_connected().unwrap();
    assert_eq!(count_events(&fleet, "command-issued"), orders);
    assert_eq!(taken(&fleet), taken_before);
    for name in ["n01", "n02"] {
        assert_eq!(fleet.serves(name).as_deref(), Some("v1.2.0"));
    }

    forwarder.turn_to(second.address);
    let further = second.ctl(&fleet, &["rollout", "v1.1.0", "--waves", "100"]);
    assert_eq!(further.code, 0, "{}", further.stderr);
    fleet.wait_until_all_serve("v1.1.0").unwrap();
    second.process.stop().unwrap();
}

#[test]
fn of_a_node_that_is_there_twice_the_newer_counts_and_the_older_is_told() {
    let fleet = Fleet::start(1).unwrap();
    let node = fleet.node("n01").unwrap();
    let (state, config) = (node.state.clone(), node.config.clone());
    let twin_state = fleet.root().join("twin");
    let twin_config = fleet.root().join("twin.toml");
    copy(&state, &twin_state);
    let text = std::fs::read_to_string(config).unwrap();
    let moved = text.replace(&state.display().to_string(), &twin_state.display().to_string());
    assert_ne!(text, moved);
    std::fs::write(&twin_config, moved).unwrap();
    let twin = Process::start(
        &program("fleet-agent").unwrap(),
        &["run", "--config", &twin_config.display().to_string()],
        &fleet.root().join("logs/twin.log"),
    )
    .unwrap();
    wait_for("the older one to be told", PATIENCE, || {
        fleet
            .log("n01")
            .contains("node n01 has connected again")
            .then_some(())
    })
    .unwrap_or_else(|error| unreachable!("{error} {} {}", fleet.log("n01"), fleet.log("twin")));
    assert!(fleet.log("n01").contains("token create --node n01"));
    // The older one may have read it before the coordinator has written it down.
    wait_for("the coordinator's word on it", PATIENCE, || {
        let log = fleet.log("coordinator");
        log.contains("a newer stream of the node took its place")
            .then_some(())
    })
    .unwrap();
    twin.kill().unwrap();
    let sessions = |fleet: &Fleet| fleet.log("n01").matches("session open").count();
    let before = sessions(&fleet);
    wait_for("the first one to be back", PATIENCE, || {
        let is_back = fleet.log("n01").lines().last()?.contains("session open");
        (is_back || sessions(&fleet) > before).then_some(())
    })
    .unwrap();
    fleet.wait_until_connected().unwrap();
}
