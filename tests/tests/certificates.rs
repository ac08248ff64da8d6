//! Certificates renew themselves beside the stream; a revocation is for good.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::tls::Credentials;
use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::wait::wait_for;

#[test]
fn an_agent_renews_its_certificate_and_keeps_its_stream() {
    let mut fleet = Fleet::with_coordinator().unwrap();
    fleet.kill_coordinator().unwrap();
    let config = fleet.coordinator_directory().join("coordinator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let brief = text.replace(
        "# node_certificate_life = \"7d\"",
        "node_certificate_life = \"9s\"",
    );
    assert_ne!(text, brief);
    std::fs::write(&config, brief).unwrap();
    fleet.start_coordinator().unwrap();
    fleet.add_node("n01", "a").unwrap();
    fleet.wait_until_connected().unwrap();

    let identity = fleet.node("n01").unwrap().state.join("identity");
    let serial = || {
        Credentials::read(&identity)
            .ok()?
            .peer()
            .ok()
            .map(|peer| peer.serial)
    };
    let mut seen = vec![serial().unwrap()];
    // Longer than a certificate lives: without renewal the node would be shut out.
    while seen.len() < 4 {
        let next = wait_for("another certificate", PATIENCE, || {
            serial().filter(|next| !seen.contains(next))
        });
        seen.push(next.unwrap());
    }
    fleet.wait_until_connected().unwrap();
    let sessions = |fleet: &Fleet| fleet.log("n01").matches("session open").count();
    assert_eq!(sessions(&fleet), 1, "{}", fleet.log("n01"));

    // The renewed certificate is what the next connection shows.
    fleet.kill_coordinator().unwrap();
    fleet.start_coordinator().unwrap();
    wait_for("a second session", PATIENCE, || {
        (sessions(&fleet) == 2).then_some(())
    })
    .unwrap();
}

#[test]
fn a_revoked_node_is_cut_off_and_stays_out() {
    let mut fleet = Fleet::start(2).unwrap();
    let revoked = fleet
        .ctl(&["node", "revoke", "n01", "--reason", "stolen"])
        .unwrap();
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    wait_for("the agent to hear of it", PATIENCE, || {
        fleet.log("n01").contains("revoked").then_some(())
    })
    .unwrap();
    fleet.kill_agent("n01").unwrap();
    fleet.start_agent("n01").unwrap();
    let shown = fleet.ctl(&["node", "show", "n01"]).unwrap();
    assert!(shown.stdout.contains("revoked"), "{}", shown.stdout);
    // Its name does not come back with a new token either.
    let token = fleet.token(&["--uses", "1"]).unwrap();
    let home = fleet.root().join("again");
    fleet.prepare_node("n01", &home).unwrap();
    let again = fleet.enrol("n01", &token).unwrap();
    assert_ne!(again.code, 0);
    assert!(again.stderr.contains("for good"), "{}", again.stderr);
}
