//! What is looked at when the bake is over.

use fleet_proto::session::{Order, Phase};

use super::{Node, failure};
use crate::install::{Outcome, Purpose};

fn baking(good: &[u64]) -> Node {
    let mut node = Node::after(good);
    node.deploy(9);
    node.stage(9);
    node.settle(Outcome::Activated);
    node.settle(Outcome::Verified { has_smoke: true });
    node.stands(Phase::Baking, Some(9), good);
    node
}

#[test]
fn a_release_is_good_when_its_smoke_checks_have_passed() {
    let mut node = baking(&[1]);
    assert_eq!(node.record.work().purpose, Purpose::Bake);
    node.order(Order::Commit);
    node.stands(Phase::Baking, Some(9), &[1]);
    assert_eq!(node.record.work().purpose, Purpose::Smoke);
    // An agent that starts looks again.
    assert_eq!(node.record.recover(), None);
    assert_eq!(node.record.work().purpose, Purpose::Smoke);
    node.settle(Outcome::Smoked);
    node.stands(Phase::Done, Some(9), &[1, 9]);
}

#[test]
fn a_smoke_check_that_fails_puts_the_node_back() {
    let mut node = baking(&[1]);
    node.order(Order::Commit);
    node.settle(Outcome::Failed(failure("500")));
    node.stands(Phase::RollingBack, Some(1), &[1]);
}

#[test]
fn whoever_is_told_before_its_bake_begins_looks_all_the_same() {
    let mut node = Node::after(&[1]);
    node.deploy(9);
    node.stage(9);
    node.settle(Outcome::Activated);
    node.order(Order::Commit);
    node.settle(Outcome::Verified { has_smoke: true });
    node.stands(Phase::Baking, Some(9), &[1]);
    assert_eq!(node.record.work().purpose, Purpose::Smoke);
}
