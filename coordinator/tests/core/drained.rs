//! Nodes that are taken out of service, and put back into it.

use fleet_coordinator::rollout::input::{Input, Intent, Refusal, Reply, Request, RollBack};
use fleet_coordinator::rollout::requests::drain::Limit;
use fleet_coordinator::rollout::view;
use fleet_proto::ids::RolloutNumber;
use fleet_proto::quantity::Amount;
use fleet_proto::session::{Health, Service, ServiceStatus};
use fleet_proto::view::DrainView;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::fleet::{Fleet, Fortune, app, hello, release};
use super::moves::{Move, moves};

impl Fleet {
    fn drain(&mut self, n: usize) -> Result<Reply, Refusal> {
        self.drain_with(n, Limit::Keep)
    }

    fn drain_with(&mut self, n: usize, limit: Limit) -> Result<Reply, Refusal> {
        let (node, reason) = (self.nth(n), Some("new disk".to_owned()));
        self.request(Request::DrainNode { node, reason, limit })
    }

    fn undrain(&mut self, n: usize) -> Result<Reply, Refusal> {
        let node = self.nth(n);
        self.request(Request::UndrainNode { node })
    }

    /// The node takes the word that is on the wire to it, does it, and says so.
    fn hear(&mut self, n: usize) -> Option<Service> {
        let id = self.nth(n);
        let service = self.words.remove(&id)?;
        let node = self.nodes.get_mut(&id)?;
        node.service = ServiceStatus {
            sequence: service.sequence,
            drained: service.drained,
        };
        let (status, apps) = (node.service, node.status());
        let node = id.clone();
        self.input(Input::NodeService { node, status });
        for status in apps {
            let node = id.clone();
            self.input(Input::NodeStatus { node, status });
        }
        Some(service)
    }

    fn drained(&self, n: usize) -> Option<DrainView> {
        let id = self.nth(n);
        view::node(&self.state, &id, &self.state.nodes[&id]).drained
    }

    fn kinds(&self, from: usize) -> Vec<String> {
        let events = self.events[from..].iter().map(view::event);
        let about_nodes = events.filter(|event| !event.kind.starts_with("node-reported"));
        about_nodes.map(|event| event.kind).collect()
    }
}

fn serving(nodes: usize) -> Fleet {
    let mut fleet = Fleet::new(nodes, 1);
    fleet.roll_out("v1", "100").unwrap();
    fleet.settle(Fortune::Good);
    fleet
}

fn roll_out_with(fleet: &mut Fleet, version: &str, max_unavailable: Amount) -> RolloutNumber {
    let intent = Intent {
        app: Some(app()),
        version: Some(version.parse().unwrap()),
        max_unavailable: Some(max_unavailable),
        waves: Some("100".parse().unwrap()),
        ..Intent::default()
    };
    match fleet.request(Request::StartRollout(intent)) {
        Ok(Reply::Rollout(number)) => number,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, rng_seed: crate::seed(), ..Config::default() })]

    /// Whatever else happens, in whatever order: limits hold, a replay is a replay, nobody
    /// who is drained is brought anything, and everybody serves in the end.
    #[test]
    fn drains_in_the_middle_of_everything(
        nodes in 1..8_usize,
        moves in moves(40),
        drains in vec((0..6_u8, 0..8_usize), 40),
    ) {
        let mut fleet = Fleet::new(nodes, 3);
        for (act, (what, node)) in moves.iter().zip(drains) {
            fleet.make(act);
            // Many of these make no sense just then, and are refused.
            let _refused = match what {
                0 => fleet.drain(node).is_err(),
                1 => fleet.drain_with(node, Limit::Override).is_err(),
                2 => fleet.undrain(node).is_err(),
                _ => fleet.hear(node).is_none(),
            };
            let broken = fleet.broken();
            prop_assert!(broken.is_empty(), "after {:?} and {} of {}: {:#?}", act, what, node, broken);
        }
        prop_assert_eq!(fleet.replayed(), fleet.state_bytes());
        for node in 0..nodes {
            fleet.make(&Move::Connect(node));
            fleet.hear(node);
            let _only_cordoned = fleet.undrain(node);
            fleet.hear(node);
            prop_assert_eq!(fleet.drained(node), None);
        }
        fleet.everybody_comes_back();
        fleet.abort_what_is_active();
        fleet.settle(Fortune::Good);
        let number = fleet.roll_out("v9", "10,50,100").map_err(TestCaseError::fail)?;
        fleet.settle(Fortune::Good);
        prop_assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
        prop_assert!(fleet.all_run("v9"));
    }
}

#[test]
fn a_node_is_drained_and_serves_again() {
    let mut fleet = serving(4);
    let from = fleet.events.len();
    fleet.drain(1).unwrap();
    assert_eq!(fleet.drained(1), Some(DrainView::Draining));
    // Once more changes nothing.
    fleet.drain(1).unwrap();
    let told = fleet.hear(1).unwrap();
    assert_eq!((told.term, told.sequence, told.drained), (1, 1, true));
    assert_eq!(fleet.drained(1), Some(DrainView::Drained));
    let known = &fleet.state.nodes[&fleet.nth(1)];
    assert!(known.cordon.is_some());
    assert_eq!(known.current(&app()), Some(&release("v1")));
    assert!(matches!(&known.apps[&app()].health, Health::Unhealthy { why } if why.contains("drained")));

    fleet.undrain(1).unwrap();
    let told = fleet.hear(1).unwrap();
    assert_eq!((told.sequence, told.drained), (2, false));
    assert_eq!(fleet.drained(1), None);
    assert!(fleet.state.nodes[&fleet.nth(1)].cordon.is_none());
    assert_eq!(
        fleet.kinds(from),
        ["node-draining", "node-drained", "node-undrained", "node-serves"]
    );
    assert_eq!(fleet.broken(), [""; 0]);
    assert_eq!(fleet.replayed(), fleet.state_bytes());
}

#[test]
fn no_more_nodes_are_drained_than_may_be_out_of_service() {
    // A quarter of eight, and nothing else was ever asked for.
    let mut fleet = serving(8);
    fleet.make(&Move::Sicken(0));
    fleet.drain(1).unwrap();
    let refusal = fleet.drain(2).unwrap_err();
    assert_eq!(
        refusal.message,
        "draining n002 would leave 3 of 8 nodes of dev without shop, and at most 2 may be; \
         n000, n001 are out of service already"
    );
    assert!(refusal.hint.unwrap().contains("fleetctl node drain n002 --force"));
    // What is out of service already costs nothing.
    fleet.drain(0).unwrap();

    let from = fleet.events.len();
    fleet.drain_with(2, Limit::Override).unwrap();
    let event = view::event(&fleet.events[from]);
    assert!(
        event.message.contains("by force: that leaves 3 of 8 nodes"),
        "{}",
        event.message
    );
}

#[test]
fn the_limit_is_the_newest_rollouts() {
    let mut fleet = serving(4);
    roll_out_with(&mut fleet, "v2", Amount::Count(0));
    fleet.settle(Fortune::Good);
    let refusal = fleet.drain(1).unwrap_err();
    assert!(refusal.message.contains("and none may be"), "{}", refusal.message);
    let newest = fleet.state.last_rollout();
    fleet
        .request(Request::Abort {
            number: newest,
            reason: None,
        })
        .unwrap();
    fleet.settle(Fortune::Good);
    roll_out_with(&mut fleet, "v2", Amount::Percent(75));
    fleet.settle(Fortune::Good);
    for n in 0..3 {
        fleet.drain(n).unwrap();
    }
    fleet.drain(3).unwrap_err();
}

#[test]
fn a_node_in_the_middle_of_a_step_is_not_drained() {
    let mut fleet = serving(4);
    let number = fleet.roll_out("v2", "100").unwrap();
    let told = fleet.touched_nodes(number)[0].clone();
    let n = fleet.place(&told);
    let refusal = fleet.drain_with(n, Limit::Override).unwrap_err();
    assert_eq!(
        refusal.message,
        format!("{told} is in the middle of a step of shop")
    );
    let abort = format!("fleetctl abort {}", number.0);
    assert!(refusal.hint.unwrap().contains(&abort));
    fleet.settle(Fortune::Good);
    fleet.drain(n).unwrap();
}

#[test]
fn a_rollout_counts_a_drained_node_and_does_not_wait_for_it() {
    let mut fleet = serving(5);
    let number = fleet.roll_out("v2", "1n,100").unwrap();
    fleet.make(&Move::AllAdvance(Fortune::Good));
    let waits = fleet.state.rollouts[&number].plan.waves[1]
        .nodes
        .first()
        .map(|id| fleet.place(id))
        .unwrap();
    fleet.drain_with(waits, Limit::Override).unwrap();
    fleet.hear(waits);
    fleet.settle(Fortune::Good);
    // One of five may be down, and one is.
    assert_eq!(fleet.outcome(number), "running", "{}", fleet.story(number));
    let waiting = fleet.waiting(number).join("; ");
    assert!(waiting.contains("1 of 5 nodes is unavailable"), "{waiting}");
    // It is switched off, and not lost for that.
    fleet.make(&Move::Disconnect(waits));
    fleet.make(&Move::Pass(60_000));
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "running", "{}", fleet.story(number));
    assert!(!fleet.story(number).contains("paused"));
    fleet.make(&Move::Connect(waits));
    fleet.undrain(waits).unwrap();
    fleet.hear(waits);
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
    assert!(fleet.all_run("v2"), "{}", fleet.story(number));
    assert_eq!(fleet.broken(), [""; 0]);
}

#[test]
fn what_is_put_back_is_put_back_on_a_drained_node_too() {
    let mut fleet = serving(4);
    fleet.roll_out("v2", "100").unwrap();
    fleet.settle(Fortune::Good);
    fleet.drain(2).unwrap();
    fleet.hear(2);
    let back = RollBack {
        app: Some(app()),
        ..RollBack::default()
    };
    let Ok(Reply::Rollout(number)) = fleet.request(Request::RollBack(back)) else {
        panic!("no rollback");
    };
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
    let known = &fleet.state.nodes[&fleet.nth(2)];
    assert_eq!(known.current(&app()), Some(&release("v1")));
    assert_eq!(fleet.drained(2), Some(DrainView::Drained));
    fleet.undrain(2).unwrap();
    fleet.hear(2);
    assert!(fleet.all_run("v1"));
}

#[test]
fn a_node_that_was_away_is_told_when_it_is_back() {
    let mut fleet = serving(4);
    fleet.make(&Move::Disconnect(3));
    fleet.make(&Move::Pass(60_000));
    fleet.drain(3).unwrap();
    fleet.words.clear();
    fleet.make(&Move::Connect(3));
    assert_eq!(fleet.hear(3).map(|told| told.sequence), Some(1));
    // Who has seen it is not told again; a coordinator that was restarted knows that too.
    fleet.make(&Move::Connect(3));
    assert_eq!(fleet.hear(3), None);
    fleet.make(&Move::RestartCoordinator);
    assert_eq!(fleet.hear(3), None);
    assert_eq!(fleet.drained(3), Some(DrainView::Drained));
    // The number goes on from there, with the term that is now.
    fleet.undrain(3).unwrap();
    let told = fleet.hear(3).unwrap();
    assert_eq!((told.term, told.sequence), (2, 2));
}

#[test]
fn a_node_that_has_forgotten_it_is_told_again() {
    let mut fleet = serving(4);
    fleet.drain(0).unwrap();
    fleet.hear(0);
    let id = fleet.nth(0);
    fleet.nodes.get_mut(&id).unwrap().service = ServiceStatus::default();
    fleet.make(&Move::Connect(0));
    assert_eq!(fleet.drained(0), Some(DrainView::Draining));
    assert!(fleet.hear(0).is_some_and(|told| told.drained));
    assert_eq!(fleet.drained(0), Some(DrainView::Drained));
}

#[test]
fn a_node_that_has_seen_more_is_taken_at_its_word() {
    let mut fleet = serving(4);
    let id = fleet.nth(0);
    fleet.nodes.get_mut(&id).unwrap().service = ServiceStatus {
        sequence: 7,
        drained: true,
    };
    fleet.make(&Move::Connect(0));
    assert_eq!(fleet.drained(0), Some(DrainView::Drained));
    fleet.undrain(0).unwrap();
    assert_eq!(fleet.hear(0).map(|told| told.sequence), Some(8));
}

#[test]
fn an_agent_that_does_not_know_of_it_is_not_told() {
    let mut fleet = serving(4);
    let id = fleet.nth(0);
    let old = hello(&id, fleet.nodes[&id].status());
    fleet.input(Input::NodeConnected {
        node: id.clone(),
        hello: old.clone(),
    });
    let refusal = fleet.drain(0).unwrap_err();
    assert!(
        refusal.message.contains("its agent (version test)"),
        "{}",
        refusal.message
    );
    // Drained while it was away, it comes back as old as it was.
    fleet.make(&Move::Disconnect(0));
    fleet.drain(0).unwrap();
    fleet.input(Input::NodeConnected { node: id, hello: old });
    assert_eq!(fleet.hear(0), None);
}

#[test]
fn a_drained_node_is_undrained_and_not_merely_uncordoned() {
    let mut fleet = serving(4);
    let node = fleet.nth(0);
    fleet.make(&Move::Cordon(0));
    let refusal = fleet.undrain(0).unwrap_err();
    assert_eq!(refusal.hint.as_deref(), Some("fleetctl node uncordon n000"));
    fleet.drain(0).unwrap();
    let refusal = fleet.request(Request::UncordonNode { node }).unwrap_err();
    assert_eq!(refusal.hint.as_deref(), Some("fleetctl node undrain n000"));
}
