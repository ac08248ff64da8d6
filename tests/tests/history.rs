//! What was, as far back as somebody asks.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::view::RolloutView;
use fleet_tests::fleet::Fleet;
use fleet_tests::sample::Behaviour;

fn numbers(fleet: &Fleet, arguments: &[&str]) -> Vec<u64> {
    let listed = fleet
        .ctl(&[&["history", "--output", "json"], arguments].concat())
        .unwrap();
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let views: Vec<RolloutView> = serde_json::from_str(&listed.stdout).unwrap();
    views.iter().map(|view| view.number.0).collect()
}

#[test]
fn history_reaches_further_back_than_the_status() {
    let fleet = Fleet::start(1).unwrap();
    assert_eq!(numbers(&fleet, &[]), [0; 0]);
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    // The first one moves the node, the others nothing.
    for number in 1..=8 {
        let done = fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
        assert_eq!(done.code, 0, "{number}: {}", done.stderr);
    }
    assert!(fleet.status().unwrap().rollouts.len() < 8);
    assert_eq!(numbers(&fleet, &[]), [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(numbers(&fleet, &["--newest", "7"]), [8, 7, 6, 5, 4, 3, 2]);
    assert_eq!(numbers(&fleet, &["--newest", "2"]), [8, 7]);
}
