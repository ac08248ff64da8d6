//! A node that expired while it was cut off gets in again by itself, with what it runs.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::tls::Credentials;
use fleet_proto::view::ConnectionView;
use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const POD: &str = "p01";

/// Nobody waits for a node that is gone for longer than an instant.
fn fleet_that_forgets_at_once() -> Fleet {
    let mut fleet = Fleet::with_coordinator().unwrap();
    fleet.kill_coordinator().unwrap();
    let config = fleet.coordinator_directory().join("coordinator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let brief = "unreachable_after = \"2s\"\nephemeral_expiry = \"1s\"\n";
    std::fs::write(&config, format!("{brief}{text}")).unwrap();
    fleet.start_coordinator().unwrap();
    fleet.add_node("n01", "a").unwrap();
    fleet
}

/// As a pod has it: nobody enrols it, and it knows how to get in.
fn add_pod(fleet: &mut Fleet) {
    let home = fleet.root().join("nodes").join(POD);
    fleet.prepare_node(POD, &home).unwrap();
    let token = fleet.token(&["--uses", "2", "--ephemeral"]).unwrap();
    let file = home.join("token");
    std::fs::write(&file, token).unwrap();
    let config = &fleet.node(POD).unwrap().config;
    let mut text = std::fs::read_to_string(config).unwrap();
    text.push_str(&format!("\n[enrol]\ntoken_file = \"{}\"\n", file.display()));
    std::fs::write(config, text).unwrap();
    fleet.start_agent(POD).unwrap();
}

fn connection(fleet: &Fleet) -> Option<ConnectionView> {
    let nodes = fleet.status().ok()?.nodes;
    let pod = nodes.into_iter().find(|node| node.node.as_str() == POD)?;
    Some(pod.connection)
}

#[test]
fn a_pod_that_expired_while_it_was_cut_off_gets_in_again_by_itself() {
    let mut fleet = fleet_that_forgets_at_once();
    add_pod(&mut fleet);
    fleet.wait_for_connections(2).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    let rolled_out = fleet.ctl(&["rollout", "v1.0.0", "--waves", "100", "--bake", "100ms"]);
    assert_eq!(rolled_out.unwrap().code, 0);
    let identity = fleet.node(POD).unwrap().state.join("identity");
    let serial = || Credentials::read(&identity).unwrap().peer().unwrap().serial;
    let before = serial();

    let frozen = fleet.agent_process(POD).unwrap().id();
    let agent = Pid::from_raw(i32::try_from(frozen).unwrap());
    kill(agent, Signal::SIGSTOP).unwrap();
    let expired = wait_for("it to expire", 2 * PATIENCE, || {
        matches!(connection(&fleet)?, ConnectionView::Expired { .. }).then_some(())
    });
    kill(agent, Signal::SIGCONT).unwrap();
    expired.unwrap_or_else(|error| unreachable!("{error}\n{}", fleet.log("coordinator")));
    wait_for("it to be in again", PATIENCE, || {
        matches!(connection(&fleet)?, ConnectionView::Connected).then_some(())
    })
    .unwrap_or_else(|error| unreachable!("{error}\n{}", fleet.log(POD)));
    assert_ne!(serial(), before);
    // It never stopped, and the next release reaches it as any other node.
    assert_eq!(fleet.serves(POD).as_deref(), Some("v1.0.0"));
    fleet.push("v1.1.0", Behaviour::Good).unwrap();
    let rolled_out = fleet.ctl(&["rollout", "v1.1.0", "--waves", "100", "--bake", "100ms"]);
    assert_eq!(rolled_out.unwrap().code, 0);
    fleet.wait_until_all_serve("v1.1.0").unwrap();
}
