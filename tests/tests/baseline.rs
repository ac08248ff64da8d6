//! A release that is much slower than what it took the place of, and within every limit.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::session::Phase;
use fleet_proto::view::RolloutStateView;
use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::wait::wait_for;

fn push_sample(fleet: &Fleet, version: &str, health: &str) {
    let run = "kind = \"supervise\"\n\
               command = [\"./fleet-sample\", \"--port\", \"${var.port}\", \"--version\", \"${version}\", \
               \"--node\", \"${node}\", \"--settings\", \"settings.toml\"]\n\
               [[component.check]]\nname = \"health\"\nkind = \"http\"\ninterval = \"50ms\"\ntimeout = \"10s\"\n\
               url = \"http://127.0.0.1:${var.port}/health\"\n";
    let counted = fleet.root().join("looks").display().to_string();
    let count = format!(
        "[[component.check]]\nname = \"count\"\nkind = \"exec\"\ninterval = \"50ms\"\n\
         command = [\"sh\", \"-c\", \"echo >>{counted}\"]\n"
    );
    let mut piece =
        Piece::new("web", format!("{run}{count}")).with("settings.toml", format!("health = \"{health}\"\n"));
    piece.has_sample = true;
    push(fleet, version, "60s", &[piece]).unwrap();
}

/// The agent that measured how the node was is not the one that judges by it.
#[test]
fn a_node_is_held_against_what_it_was_before_whoever_measured_that() {
    let mut fleet = Fleet::start(1).unwrap();
    push_sample(&fleet, "v1.0.0", "healthy");
    push_sample(&fleet, "v1.1.0", "slow");
    let first = fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(first.code, 0, "{}", first.stderr);
    let kept = fleet.node("n01").unwrap().state.join("apps/shop/baseline.json");
    assert!(!kept.exists(), "nothing ran before");
    // Until there is something to compare with.
    let looks = || std::fs::read(fleet.root().join("looks")).map_or(0, |looks| looks.len());
    let before = looks();
    wait_for("a hundred looks", PATIENCE, || {
        (looks() > before + 100).then_some(())
    })
    .unwrap();
    let release = ["rollout", "v1.1.0", "--bake", "10m", "--detach", "--again"];
    let begun = fleet.ctl(&release).unwrap();
    assert_eq!(begun.code, 0, "{}", begun.stderr);
    let phase = |fleet: &Fleet| fleet.rollout(2).unwrap().steps[0].phase;
    wait_for("the bake", PATIENCE, || {
        (phase(&fleet) == Phase::Baking).then_some(())
    })
    .unwrap();
    fleet.kill_agent("n01").unwrap();
    assert!(kept.exists());
    fleet.start_agent("n01").unwrap();
    let ended = wait_for("the rollout to end", PATIENCE, || {
        let rollout = fleet.rollout(2).ok()?;
        rollout.state.is_ended().then_some(rollout)
    });
    let ended = ended.unwrap_or_else(|error| unreachable!("{error}\n{}", fleet.log("n01")));
    assert_eq!(ended.state, RolloutStateView::Failed);
    let failure = ended.steps[0].failure.as_ref().unwrap();
    let said = &failure.message;
    assert!(said.starts_with("the response time (p95) is"), "{said}");
    assert!(said.contains("before the switch"), "{said}");
    assert!(said.contains("the limit on its rise"), "{said}");
    assert_eq!(failure.check.as_deref(), Some("response-time"));
}
