//! A real node taken out of service, and put back into it.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::session::Health;
use fleet_proto::view::{DrainView, NodeView};
use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;

fn show(fleet: &Fleet, name: &str) -> NodeView {
    let shown = fleet.ctl(&["node", "show", name, "--output", "json"]).unwrap();
    serde_json::from_str(&shown.stdout).unwrap()
}

fn wait_until(fleet: &Fleet, what: &str, holds: impl Fn(&NodeView) -> bool) -> NodeView {
    wait_for(what, PATIENCE, || {
        Some(show(fleet, "n01")).filter(|node| holds(node))
    })
    .unwrap_or_else(|error| unreachable!("{error}\n{}\n{}", fleet.log("n01"), fleet.log("coordinator")))
}

/// Nobody listens there any more: the port can be had.
fn port_is_closed(fleet: &Fleet) -> bool {
    let port = fleet.node("n01").unwrap().port.number();
    std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
}

/// By what the agent says on the node: the process of the only component.
fn pid(fleet: &Fleet) -> Option<i64> {
    let said = fleet.agent("n01", &["status", "--output", "json"]).unwrap();
    let status: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    status["apps"][0]["components"][0]["pid"].as_i64()
}

#[test]
fn a_drained_node_stays_stopped_until_it_is_undrained() {
    let mut fleet = Fleet::start(4).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    let first = fleet.ctl(&["rollout", "v1.0.0", "--max-in-flight", "4"]).unwrap();
    assert_eq!(first.code, 0, "{}", first.stderr);
    fleet.wait_until_all_serve("v1.0.0").unwrap();
    let process = pid(&fleet).unwrap();

    let drained = fleet
        .ctl(&["node", "drain", "n01", "--reason", "new disk"])
        .unwrap();
    assert_eq!(drained.code, 0, "{}", drained.stderr);
    assert!(
        drained.stdout.contains("drained by admin: new disk"),
        "{}",
        drained.stdout
    );
    assert!(
        drained.stdout.contains("hint: fleetctl node undrain n01"),
        "{}",
        drained.stdout
    );
    let node = wait_until(&fleet, "n01 to be drained", |node| {
        node.drained == Some(DrainView::Drained)
    });
    assert!(
        matches!(&node.apps[0].health, Health::Unhealthy { why } if why == "stopped: the node is drained"),
        "{node:?}"
    );
    let before = node.apps[0].current.clone();
    assert!(port_is_closed(&fleet));
    assert_eq!(pid(&fleet), None);
    assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());

    // A quarter of four is one: not another one at the same time.
    let second = fleet.ctl(&["node", "drain", "n02"]).unwrap();
    assert_eq!(second.code, 1, "{}", second.stdout);
    assert!(
        second.stderr.contains("n01 is out of service already"),
        "{}",
        second.stderr
    );
    assert!(
        second.stderr.contains("fleetctl node drain n02 --force"),
        "{}",
        second.stderr
    );

    fleet.kill_agent("n01").unwrap();
    fleet.start_agent("n01").unwrap();
    wait_until(&fleet, "n01 to be back", |node| {
        matches!(node.connection, fleet_proto::view::ConnectionView::Connected)
    });
    let listed = fleet.ctl(&["nodes"]).unwrap();
    assert!(listed.stdout.contains("connected, drained"), "{}", listed.stdout);
    let said = fleet.agent("n01", &["status"]).unwrap();
    assert!(
        said.stdout.contains("drained: nothing runs here"),
        "{}",
        said.stdout
    );
    assert!(port_is_closed(&fleet));
    assert_eq!(pid(&fleet), None);

    // Undrained while nobody could tell it, it is told when it comes back.
    fleet.stop_agent("n01").unwrap();
    let undrained = fleet.ctl(&["node", "undrain", "n01"]).unwrap();
    assert_eq!(undrained.code, 0, "{}", undrained.stderr);
    fleet.start_agent("n01").unwrap();
    fleet.wait_until_all_serve("v1.0.0").unwrap();
    let node = wait_until(&fleet, "n01 to be well", |node| {
        node.apps[0].health == Health::Healthy
    });
    assert_eq!((node.drained, node.cordon), (None, None));
    assert_eq!(node.apps[0].current, before);
}
