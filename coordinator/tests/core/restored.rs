//! A coordinator that begins again from an old copy of its journal, among nodes that have
//! seen what came after.

use fleet_coordinator::rollout::event::Event;
use fleet_coordinator::rollout::input::{Input, Refusal, Request, RollBack};
use fleet_coordinator::rollout::outdated::why;
use fleet_coordinator::rollout::turn::take_over;
use fleet_coordinator::rollout::view;
use fleet_proto::fence::Fence;
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::session::Refusal as AgentRefusal;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::fleet::{Fleet, Fortune, app, other_app};
use super::moves::{Move, moves};

impl Fleet {
    fn copy(&self) -> usize {
        self.events.len()
    }

    /// Stops, puts the old copy back, and starts, so many times.
    fn restore(&mut self, copy: usize, starts: usize) {
        self.events.truncate(copy);
        self.inbox.clear();
        self.broken.clear();
        self.state = self.replay();
        for _ in 0..starts {
            self.take_charge();
        }
    }

    fn everybody_connects(&mut self) {
        let connected = self.nodes.iter().filter(|(_, node)| node.connected);
        let connected: Vec<NodeId> = connected.map(|(id, _)| id.clone()).collect();
        for id in connected {
            self.connect(&id);
        }
    }

    fn take_over(&mut self) -> Result<(), Refusal> {
        let turn = take_over(&mut self.state, self.now).unwrap()?;
        self.events.extend(turn.events);
        self.broken.clear();
        Ok(())
    }

    fn is_mistaken(&self) -> bool {
        let mut apps = self.nodes.values().flat_map(|node| node.apps.values());
        apps.any(|app| app.mistaken)
    }

    fn orders_since(&self, position: usize) -> usize {
        let since = self.events.iter().skip(position);
        since
            .filter(|stamped| {
                matches!(
                    stamped.event,
                    Event::CommandIssued { .. } | Event::RolloutStarted { .. }
                )
            })
            .count()
    }
}

/// Everywhere v1; a copy; everywhere v2, v3.
fn gone_on() -> (Fleet, usize) {
    let mut fleet = Fleet::new(4, 2);
    fleet.roll_out("v1", "100").unwrap();
    fleet.settle(Fortune::Good);
    let copy = fleet.copy();
    for version in ["v2", "v3"] {
        fleet.roll_out(version, "100").unwrap();
        fleet.settle(Fortune::Good);
    }
    (fleet, copy)
}

proptest! {
    #![proptest_config(Config { cases: 600, failure_persistence: None, rng_seed: crate::seed(), ..Config::default() })]

    /// No node ever takes an order for a repetition of another one.
    #[test]
    fn a_number_that_was_seen_is_never_taken_for_another(
        nodes in 1..8_usize,
        before in moves(25),
        lost in moves(40),
        after in moves(40),
        starts in 1..4_usize,
    ) {
        let mut fleet = Fleet::new(nodes, 3);
        for act in &before {
            fleet.make(act);
        }
        let copy = fleet.copy();
        // A lost time with the same terms is not told apart in one case, which
        // ARCHITECTURE.md names.
        for act in lost.iter().filter(|act| !matches!(act, Move::RestartCoordinator)) {
            fleet.make(act);
        }
        fleet.restore(copy, starts);
        fleet.everybody_connects();
        let mut found_at = None;
        for act in &after {
            fleet.make(act);
            prop_assert!(!fleet.is_mistaken(), "after {act:?}");
            if why(&fleet.state).is_some() {
                let at = *found_at.get_or_insert(fleet.copy());
                prop_assert_eq!(fleet.orders_since(at), 0, "after {:?}", act);
            }
        }
        prop_assert_eq!(fleet.replayed(), fleet.state_bytes());
    }
}

#[test]
fn what_nodes_have_seen_stops_an_old_copy_whatever_its_term() {
    for starts in [1, 2, 7] {
        let (mut fleet, copy) = gone_on();
        fleet.restore(copy, starts);
        assert_eq!(why(&fleet.state), None);
        fleet.everybody_connects();
        let found = why(&fleet.state).unwrap();
        let term = 1 + starts;
        assert_eq!(
            found,
            format!(
                "this coordinator's state ends at term {term} and rollout #1, but node n003 has seen term 1 and \
                 rollout #3 (and 3 other nodes have too): it was restored from an old copy, or another coordinator is in charge"
            )
        );
        let position = fleet.copy();
        let refused = fleet.roll_out("v3", "100").unwrap_err();
        assert!(
            refused.contains(&found) && refused.contains("take-over"),
            "{refused}"
        );
        for request in [
            Request::RollBack(RollBack::default()),
            Request::Resume {
                number: RolloutNumber(1),
                waves: None,
            },
        ] {
            assert_eq!(fleet.request(request).unwrap_err().message, found);
        }
        fleet.settle(Fortune::Good);
        assert_eq!(fleet.orders_since(position), 0);
        // It is in the journal: the next start knows it before any node has come.
        let replayed = fleet.replay();
        assert_eq!(why(&replayed), Some(found));
        let shown = view::status(&fleet.state, None, None, fleet.now);
        assert!(shown.coordinator.outdated.is_some());
    }
}

#[test]
fn after_a_take_over_the_fleet_goes_on_from_what_it_runs() {
    let (mut fleet, copy) = gone_on();
    // A rollout is under way in the copy, and nobody has come yet.
    fleet.restore(copy, 1);
    assert!(
        fleet
            .take_over()
            .unwrap_err()
            .message
            .contains("nothing to take over")
    );
    let ids: Vec<NodeId> = fleet.nodes.keys().cloned().collect();
    for id in &ids {
        fleet.disconnect(id);
    }
    let under_way = fleet.roll_out("v2", "50").unwrap();
    fleet.everybody_comes_back();
    fleet.take_over().unwrap();
    assert_eq!(fleet.outcome(under_way), "aborted");
    assert_eq!(fleet.desired(), None);
    fleet.take_charge();
    fleet.everybody_comes_back();
    assert_eq!(why(&fleet.state), None);
    // Nobody is brought to what the old copy wanted of them.
    fleet.settle(Fortune::Good);
    assert!(fleet.all_run("v3"));
    let number = fleet.roll_out("v9", "50,100").unwrap();
    assert_eq!(number, RolloutNumber(4));
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded", "{}", fleet.story(number));
    assert!(fleet.all_run("v9"));
    assert_eq!(fleet.replayed(), fleet.state_bytes());
}

/// The same number, given twice: the node that saw the other one comes late.
#[test]
fn a_number_that_was_given_again_is_told_from_the_first() {
    let mut fleet = Fleet::new(4, 2);
    let copy = fleet.copy();
    fleet.roll_out("v2", "100").unwrap();
    fleet.settle(Fortune::Good);
    fleet.restore(copy, 1);
    let late = fleet.nth(0);
    for id in [0, 1, 2, 3].map(|n| fleet.nth(n)) {
        fleet.disconnect(&id);
    }
    for node in 1..4 {
        *fleet.node(node) = new_machine();
        let id = fleet.nth(node);
        fleet.connect(&id);
    }
    assert_eq!(fleet.roll_out("v9", "100"), Ok(RolloutNumber(1)));
    fleet.settle(Fortune::Good);
    fleet.connect(&late);
    let found = why(&fleet.state).unwrap();
    assert!(
        found.contains("n000 has seen term 1 and rollout #1, order 2, which was not given here"),
        "{found}"
    );
    assert!(!fleet.is_mistaken());
}

fn new_machine() -> super::node::VirtualApp {
    let mut node = super::node::VirtualNode::new([app(), other_app()]);
    node.apps.remove(&app()).unwrap()
}

#[test]
fn a_frozen_coordinator_learns_of_the_other_from_a_refusal() {
    let (mut fleet, _) = gone_on();
    let seen = Fence {
        term: 2,
        rollout: RolloutNumber(4),
        generation: 1,
    };
    let refused = Fence { term: 1, ..seen };
    fleet.input(Input::NodeRefused {
        node: fleet.nth(1),
        refusal: AgentRefusal {
            app: app(),
            refused,
            seen,
            why: "it comes from a coordinator that is no longer in charge".into(),
        },
    });
    assert!(
        why(&fleet.state)
            .unwrap()
            .contains("n001 has seen term 2 and rollout #4")
    );
}

#[test]
fn a_node_that_lies_stops_nobody_for_good() {
    let (mut fleet, _) = gone_on();
    let liar = fleet.nth(2);
    let lie = |fleet: &mut Fleet, term, rollout| {
        fleet.node(2).seen = Fence {
            term,
            rollout: RolloutNumber(rollout),
            generation: 1,
        };
        fleet.connect(&liar);
    };
    lie(&mut fleet, u64::MAX, u64::MAX);
    assert_eq!(why(&fleet.state), None, "nobody has come so far");
    lie(&mut fleet, 1 << 40, 7);
    assert!(why(&fleet.state).is_some());
    fleet.roll_out("v9", "100").unwrap_err();
    fleet
        .request(Request::RevokeNode {
            node: liar.clone(),
            reason: "it lies".into(),
        })
        .unwrap();
    assert_eq!(why(&fleet.state), None);
    let number = fleet.roll_out("v9", "100").unwrap();
    fleet.settle(Fortune::Good);
    assert_eq!(fleet.outcome(number), "succeeded");
}
