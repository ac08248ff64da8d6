//! Random fleets, waves, failures, restarts and operators' acts against the pure core.
//!
//! After every turn the state passes the independent `check`, no more nodes are down
//! through Fleet than the plan allows, and a replay of the events gives the same state
//! byte for byte. A failing case is shrunk and printed whole: it is the script of its own replay.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed test says where"
)]

#[path = "core/support.rs"]
mod support;

use support::fleet::{Fleet, Fortune, app, hello, release};
use support::moves::{Move, moves};

use fleet_coordinator::rollout::event::CatchUp;
use fleet_coordinator::rollout::input::{Input, Intent, Reply, Request, RollBack};
use fleet_proto::ids::RolloutNumber;
use fleet_proto::quantity::{Amount, Span};
use fleet_proto::release::OnFailure;
use fleet_proto::session::Health;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

/// The same cases in every run, so that a red run is red again; `FLEET_SEED=7` tries others.
fn seed() -> RngSeed {
    let seed = std::env::var("FLEET_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(20_261_121);
    eprintln!("FLEET_SEED={seed}");
    RngSeed::Fixed(seed)
}

fn run(nodes: usize, zones: usize, moves: &[Move]) -> Result<(), TestCaseError> {
    // Where nodes catch up by themselves, and where not.
    let catch_up = if moves.len().is_multiple_of(2) {
        CatchUp::Auto
    } else {
        CatchUp::Manual
    };
    let mut fleet = Fleet::with(nodes, zones, catch_up);
    for act in moves {
        fleet.make(act);
        let broken = fleet.broken();
        prop_assert!(broken.is_empty(), "after {act:?}: {broken:#?}");
    }
    prop_assert_eq!(
        fleet.replayed(),
        fleet.state_bytes(),
        "a replay gives another state"
    );
    Ok(())
}

macro_rules! properties {
    ($($name:ident: $cases:expr, $nodes:expr, $moves:expr;)*) => {
        $(
            proptest! {
                #![proptest_config(Config { cases: $cases, max_shrink_iters: 4_000, failure_persistence: None, rng_seed: seed(), ..Config::default() })]
                #[test]
                fn $name(nodes in $nodes, zones in 1..4_usize, moves in moves($moves)) {
                    run(nodes, zones, &moves)?;
                }
            }
        )*
    };
}

// Above ten thousand altogether; split in four so that a test runner can use the cores
// that there are, fewer where each takes longer.
properties! {
    safety_holds_in_small_fleets: 3_600, 1..5_usize, 60;
    safety_holds_in_fleets_of_a_dozen: 2_800, 5..14_usize, 90;
    safety_holds_in_short_histories: 2_800, 1..30_usize, 25;
    safety_holds_in_larger_fleets: 1_200, 14..40_usize, 110;
}

/// Whatever happened before: when all nodes are there and behave, and an operator clears
/// what is in the way, a rollout of a good release ends with every node on it.
#[test]
fn a_good_release_gets_everywhere_in_the_end() {
    let mut runner = proptest::test_runner::TestRunner::new(Config {
        cases: 400,
        failure_persistence: None,
        rng_seed: seed(),
        ..Config::default()
    });
    let outcome = runner.run(&(1..12_usize, moves(40)), |(nodes, moves)| {
        let mut fleet = Fleet::new(nodes, 3);
        for act in &moves {
            fleet.make(act);
        }
        fleet.everybody_comes_back();
        fleet.abort_what_is_active();
        fleet.settle(Fortune::Good);
        let number = fleet.roll_out("v9", "10,50,100").map_err(TestCaseError::fail)?;
        fleet.settle(Fortune::Good);
        prop_assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
        prop_assert!(fleet.all_run("v9"));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn a_bad_release_stops_in_the_first_wave_and_everybody_is_back() {
    for nodes in [1, 2, 3, 10, 11, 40] {
        let mut fleet = Fleet::new(nodes, 3);
        let first = fleet.roll_out("v1", "100").unwrap();
        fleet.settle(Fortune::Good);
        assert_eq!(fleet.outcome(first), "succeeded", "{}", fleet.story(first));
        let second = fleet.roll_out("v2", "10,50,100").unwrap();
        fleet.settle(Fortune::Bad);
        assert_eq!(fleet.outcome(second), "failed", "{}", fleet.story(second));
        assert!(fleet.all_run("v1"), "of {nodes} nodes");
        assert!(fleet.touched(second) <= nodes.div_ceil(10), "of {nodes} nodes");
    }
}

/// Found by the properties: steps that were told once and are pending again took
/// themselves for unavailable already, and moved for free.
#[test]
fn what_is_tried_again_after_a_resume_counts_like_the_first_time() {
    let mut fleet = Fleet::new(9, 1);
    fleet.roll_out("v1", "100").unwrap();
    fleet.settle(Fortune::Good);
    let number = fleet.roll_out("v2", "100").unwrap();
    fleet.make(&Move::AllAdvance(Fortune::NoBytes));
    assert_eq!(fleet.outcome(number), "paused", "{}", fleet.story(number));
    fleet.make(&Move::Sicken(0));
    fleet.make(&Move::Resume(None));
    assert_eq!(fleet.broken(), [""; 0]);
}

fn whole_app() -> RollBack {
    RollBack {
        app: Some(app()),
        ..RollBack::default()
    }
}

/// v1 and then v2 everywhere, and a rollback of that to look at.
fn fleet_that_goes_back(prepare: impl Fn(&mut Fleet)) -> (Fleet, RolloutNumber) {
    let mut fleet = Fleet::new(3, 1);
    for version in ["v1", "v2"] {
        fleet.roll_out(version, "100").unwrap();
        fleet.settle(Fortune::Good);
    }
    prepare(&mut fleet);
    let Ok(Reply::Rollout(number)) = fleet.request(Request::RollBack(whole_app())) else {
        panic!("no rollback");
    };
    fleet.settle(Fortune::Good);
    (fleet, number)
}

#[test]
fn a_rollback_that_leaves_a_node_ill_has_not_succeeded() {
    let (fleet, number) = fleet_that_goes_back(|fleet| fleet.make(&Move::Sicken(1)));
    assert_eq!(fleet.outcome(number), "failed");
    let story = fleet.story(number);
    assert!(
        story.contains("n001 runs v1 again and is not healthy: 503"),
        "{story}"
    );
}

#[test]
fn a_rollback_waits_for_nodes_to_know_how_they_are() {
    let (mut fleet, number) = fleet_that_goes_back(|fleet| fleet.node(1).unsure = true);
    assert_eq!(fleet.outcome(number), "running");
    assert_eq!(
        fleet.waiting(number),
        ["n001 to say whether what it runs again is healthy"]
    );
    fleet.node(1).unsure = false;
    fleet.make(&Move::Connect(1));
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
}

#[test]
fn where_nothing_ran_before_nothing_runs_after_a_rollback_that_succeeded() {
    let mut fleet = Fleet::new(3, 1);
    let first = fleet.roll_out("v1", "1n,100").unwrap();
    fleet.make(&Move::AllAdvance(Fortune::Good));
    fleet
        .request(Request::Abort {
            number: first,
            reason: None,
        })
        .unwrap();
    fleet.settle(Fortune::Good);
    let back = RolloutNumber(first.0 + 1);
    assert_eq!(fleet.outcome(back), "succeeded", "{}", fleet.story(back));
    let story = fleet.story(back);
    assert!(story.contains("runs nothing, as before"), "{story}");
}

#[test]
fn a_node_that_was_set_up_anew_is_known_to_run_nothing() {
    let mut fleet = Fleet::new(2, 1);
    fleet.roll_out("v1", "100").unwrap();
    fleet.settle(Fortune::Good);
    let id = fleet.nth(0);
    assert!(fleet.state.nodes[&id].apps[&app()].current.is_some());
    fleet.input(Input::NodeConnected {
        node: id.clone(),
        hello: hello(&id, vec![]),
    });
    let known = &fleet.state.nodes[&id].apps[&app()];
    assert_eq!((&known.current, &known.health), (&None, &Health::Empty));
    assert_eq!(fleet.broken(), [""; 0]);
}

#[test]
fn a_wave_whose_every_failure_was_accepted_passes() {
    let mut fleet = Fleet::new(4, 1);
    let intent = Intent {
        app: Some(app()),
        version: Some("v1".parse().unwrap()),
        waves: Some("1n,100".parse().unwrap()),
        on_failure: Some(OnFailure::Pause),
        ..Intent::default()
    };
    fleet.request(Request::StartRollout(intent)).unwrap();
    let number = RolloutNumber(1);
    for _ in 0..6 {
        fleet.make(&Move::AllAdvance(Fortune::Bad));
    }
    assert_eq!(fleet.outcome(number), "paused", "{}", fleet.story(number));
    fleet.make(&Move::Resume(None));
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
}

/// What could not be fetched and is gone now is forgiven by one resume, not by two.
#[test]
fn a_node_that_failed_to_fetch_and_then_went_away_is_not_waited_for() {
    let mut fleet = Fleet::new(3, 1);
    let number = fleet.roll_out("v1", "100").unwrap();
    fleet.make(&Move::Deliver {
        node: 0,
        twice: false,
    });
    fleet.make(&Move::Advance {
        node: 0,
        fortune: Fortune::NoBytes,
    });
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "paused", "{}", fleet.story(number));
    fleet.make(&Move::Disconnect(0));
    fleet.make(&Move::Pass(12_000));
    fleet.make(&Move::Resume(None));
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
}

/// An environment wants what it wanted, whatever a failed rollout did and undid.
#[test]
fn a_failed_rollout_and_its_rollback_leave_the_desired_release_alone() {
    let mut fleet = Fleet::with(2, 1, CatchUp::Manual);
    for version in ["v1", "v2"] {
        fleet.roll_out(version, "100").unwrap();
        fleet.settle(Fortune::Good);
    }
    // Both are back on v1 by hand; bringing v2 again works on one and fails on the other.
    for node in [0, 1] {
        fleet.node(node).current = Some(release("v1"));
        fleet.make(&Move::Connect(node));
    }
    let number = fleet.roll_out("v2", "100").unwrap();
    let first = fleet.touched_nodes(number)[0].clone();
    for _ in 0..3 {
        fleet.make(&Move::AllAdvance(Fortune::Good));
    }
    let second = usize::from(fleet.nth(0) == first);
    fleet.make(&Move::Deliver {
        node: second,
        twice: false,
    });
    for _ in 0..4 {
        fleet.make(&Move::Advance {
            node: second,
            fortune: Fortune::Bad,
        });
    }
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "failed", "{}", fleet.story(number));
    let back = RolloutNumber(number.0 + 1);
    assert_eq!(fleet.outcome(back), "succeeded", "{}", fleet.story(back));
    assert_eq!(fleet.desired(), Some(release("v2")));
    // An operator who takes everybody back means it.
    let (fleet, _) = fleet_that_goes_back(|_| ());
    assert_eq!(fleet.desired(), Some(release("v1")));
}

#[test]
fn a_canary_that_matches_nobody_is_refused() {
    let mut fleet = Fleet::new(3, 1);
    let intent = Intent {
        app: Some(app()),
        version: Some("v1".parse().unwrap()),
        canary: Some("zone=zz".parse().unwrap()),
        ..Intent::default()
    };
    let refusal = fleet.request(Request::StartRollout(intent)).unwrap_err();
    assert_eq!(
        refusal.message,
        "canary zone=zz matches none of the 3 nodes that would move"
    );
}

#[test]
fn a_revoked_node_is_called_revoked_and_nobody_waits_for_it() {
    let mut fleet = Fleet::new(3, 1);
    fleet.roll_out("v1", "100").unwrap();
    fleet.settle(Fortune::Good);
    let number = fleet.roll_out("v2", "1n,100").unwrap();
    fleet.make(&Move::AllAdvance(Fortune::Good));
    let node = fleet.touched_nodes(number)[0].clone();
    let reason = "stolen".to_owned();
    fleet
        .request(Request::RevokeNode {
            node: node.clone(),
            reason,
        })
        .unwrap();
    assert_eq!(fleet.outcome(number), "paused");
    let waiting = fleet.waiting(number).join("; ");
    assert!(waiting.contains(&format!("{node} was revoked")), "{waiting}");
    fleet.request(Request::Abort { number, reason: None }).unwrap();
    fleet.settle(Fortune::Good);
    let back = RolloutNumber(number.0 + 1);
    let story = fleet.story(back);
    assert!(
        story.contains(&format!("{node} was revoked and stays as it is")),
        "{story}"
    );
}

/// One that was told to deploy and went away before it could is not told so for ever.
#[test]
fn a_node_that_returns_after_its_rollout_installs_nothing() {
    let mut fleet = Fleet::with(4, 1, CatchUp::Manual);
    fleet.roll_out("v1", "100").unwrap();
    fleet.settle(Fortune::Good);
    let intent = Intent {
        app: Some(app()),
        version: Some("v2".parse().unwrap()),
        max_unavailable: Some(Amount::Count(2)),
        max_unreachable: Some(Amount::Count(1)),
        ..Intent::default()
    };
    fleet.request(Request::StartRollout(intent)).unwrap();
    let number = RolloutNumber(2);
    let away = fleet.touched_nodes(number)[0].clone();
    let away = (0..4).find(|n| fleet.nth(*n) == away).unwrap();
    fleet.make(&Move::Disconnect(away));
    fleet.make(&Move::Pass(12_000));
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
    fleet.make(&Move::Connect(away));
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.node(away).current, Some(release("v1")));
    assert_eq!(fleet.broken(), [""; 0]);
}

/// A paused rollback that is resumed still tells everybody to go back.
#[test]
fn a_rollback_that_was_paused_tells_also_those_that_went_away() {
    let mut fleet = Fleet::new(4, 1);
    for version in ["v1", "v2"] {
        fleet.roll_out(version, "100").unwrap();
        fleet.settle(Fortune::Good);
    }
    let Ok(Reply::Rollout(number)) = fleet.request(Request::RollBack(whole_app())) else {
        panic!("no rollback");
    };
    fleet.request(Request::Pause { number, reason: None }).unwrap();
    let told = fleet.touched_nodes(number);
    let away = (0..4).find(|n| !told.contains(&fleet.nth(*n))).unwrap();
    fleet.make(&Move::Disconnect(away));
    fleet.make(&Move::Pass(12_000));
    fleet.make(&Move::Resume(None));
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
    // One that is away does not keep the others from being what is wanted.
    assert_eq!(fleet.desired(), Some(release("v1")));
    fleet.make(&Move::Connect(away));
    fleet.settle(Fortune::Good);
    assert!(fleet.all_run("v1"), "{}", fleet.story(number));
    assert_eq!(fleet.broken(), [""; 0]);
}

#[test]
fn what_is_to_be_tried_again_is_not_failed_by_what_it_said_before() {
    let mut fleet = Fleet::new(3, 1);
    let intent = Intent {
        app: Some(app()),
        version: Some("v1".parse().unwrap()),
        max_in_flight: Some(Amount::Count(1)),
        max_unreachable: Some(Amount::Count(3)),
        ..Intent::default()
    };
    fleet.request(Request::StartRollout(intent)).unwrap();
    let number = RolloutNumber(1);
    for _ in 0..6 {
        fleet.make(&Move::AllAdvance(Fortune::NoBytes));
    }
    assert_eq!(fleet.outcome(number), "paused", "{}", fleet.story(number));
    fleet.make(&Move::Resume(None));
    for node in 0..3 {
        fleet.make(&Move::Repeat(node));
    }
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
    assert!(fleet.all_run("v1"));
}

/// The others have baked for long; one that came back in the meantime has not.
#[test]
fn a_node_that_comes_late_bakes_for_as_long_as_the_others() {
    let mut fleet = Fleet::new(3, 1);
    let intent = Intent {
        app: Some(app()),
        version: Some("v1".parse().unwrap()),
        bake: vec![Span::from_secs(600)],
        max_unreachable: Some(Amount::Count(1)),
        ..Intent::default()
    };
    fleet.request(Request::StartRollout(intent)).unwrap();
    let number = RolloutNumber(1);
    fleet.make(&Move::Disconnect(0));
    fleet.make(&Move::Pass(12_000));
    for _ in 0..4 {
        fleet.make(&Move::AllAdvance(Fortune::Good));
    }
    fleet.make(&Move::Pass(590_000));
    fleet.make(&Move::Connect(0));
    for _ in 0..4 {
        fleet.make(&Move::AllAdvance(Fortune::Good));
    }
    fleet.make(&Move::Pass(30_000));
    fleet.make(&Move::AllAdvance(Fortune::Good));
    fleet.make(&Move::AllAdvance(Fortune::Good));
    assert_eq!(fleet.outcome(number), "running", "{}", fleet.story(number));
    assert_eq!(fleet.waiting(number), ["n000 came late and bakes longer"]);
    // And a lost node within the budget is no lack of progress, however long that takes.
    fleet.make(&Move::Pass(600_000));
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
}

#[test]
fn a_lost_node_within_the_budget_is_no_lack_of_progress() {
    let mut fleet = Fleet::new(3, 1);
    let intent = Intent {
        app: Some(app()),
        version: Some("v1".parse().unwrap()),
        bake: vec![Span::from_secs(3600)],
        max_unreachable: Some(Amount::Count(1)),
        ..Intent::default()
    };
    fleet.request(Request::StartRollout(intent)).unwrap();
    fleet.make(&Move::Disconnect(0));
    for _ in 0..4 {
        fleet.make(&Move::AllAdvance(Fortune::Good));
    }
    for _ in 0..20 {
        fleet.make(&Move::Pass(60_000));
    }
    assert_eq!(
        fleet.outcome(RolloutNumber(1)),
        "running",
        "{}",
        fleet.story(RolloutNumber(1))
    );
}

#[test]
fn what_people_write_is_bounded_and_one_line() {
    let mut fleet = Fleet::new(1, 1);
    let number = fleet.roll_out("v1", "100").unwrap();
    for (reason, expected) in [
        (
            "x".repeat(1001),
            "a reason of 1001 characters is longer than the limit of 1000",
        ),
        (
            "a\nb".to_owned(),
            "a reason is one line of text, without control characters",
        ),
    ] {
        let reason = Some(reason);
        let refusal = fleet.request(Request::Pause { number, reason }).unwrap_err();
        assert_eq!(refusal.message, expected);
    }
}

#[test]
fn old_rollouts_are_forgotten_and_numbers_are_not_given_twice() {
    let mut fleet = Fleet::new(1, 1);
    for i in 0..230_u64 {
        let number = fleet
            .roll_out(["v1", "v2"][usize::from(i % 2 == 1)], "100")
            .unwrap();
        assert_eq!(number.0, i + 1);
        fleet.settle(Fortune::Good);
    }
    assert_eq!(fleet.state.rollouts.len(), 200);
    assert_eq!(fleet.broken(), [""; 0]);
}
