//! On the way back: as ordered, by hand, and what is good to go back to.

use fleet_proto::session::Phase;

use super::{Node, failure, release};
use crate::install::Outcome;

#[test]
fn reverting() {
    // What is told to leave, to where, and how the node then stands.
    type Row = (Option<u64>, Option<u64>, Phase, Option<u64>, &'static [u64]);
    let rows: [Row; 7] = [
        (Some(3), None, Phase::RollingBack, Some(2), &[1, 2]),
        (None, None, Phase::RollingBack, Some(2), &[1, 2]),
        (Some(3), Some(1), Phase::RollingBack, Some(1), &[1, 2]),
        // Not here: fetched first, while the old one runs on.
        (Some(3), Some(9), Phase::Fetching, Some(3), &[1, 2, 3]),
        // Runs something else: nothing to do, and what it was to leave is good no more.
        (Some(2), None, Phase::RolledBack, Some(3), &[1, 3]),
        (Some(9), Some(1), Phase::RolledBack, Some(3), &[1, 2, 3]),
        (None, Some(3), Phase::RolledBack, Some(3), &[1, 2, 3]),
    ];
    for (leave, to, phase, current, good) in rows {
        let mut node = Node::after(&[1, 2, 3]);
        node.revert(leave, to);
        node.stands(phase, current, good);
    }
}

#[test]
fn what_was_fetched_to_go_back_to_is_good_once_it_is_well() {
    let mut node = Node::after(&[1, 2]);
    node.revert(Some(2), Some(9));
    node.stage(9);
    node.stands(Phase::RollingBack, Some(9), &[1, 2]);
    node.settle(Outcome::PutBack { ill: None });
    node.stands(Phase::RolledBack, Some(9), &[1, 9]);
}

/// The node is drained: nothing runs on it.
#[test]
fn what_was_fetched_to_go_back_to_and_has_not_run_is_not_good_yet() {
    let mut node = Node::after(&[1, 2]);
    node.revert(Some(2), Some(9));
    node.stage(9);
    node.settle(Outcome::PutBackUnseen);
    node.stands(Phase::RolledBack, Some(9), &[1]);
    let mut node = Node::after(&[1, 2]);
    node.revert(Some(2), None);
    node.settle(Outcome::PutBackUnseen);
    node.stands(Phase::RolledBack, Some(1), &[1]);
}

#[test]
fn what_was_fetched_to_go_back_to_and_is_ill_is_left_again() {
    let mut node = Node::after(&[1, 2]);
    node.revert(Some(2), Some(9));
    node.stage(9);
    let ill = Some("it answers 503".to_owned());
    node.settle(Outcome::PutBack { ill });
    node.stands(Phase::RollingBack, Some(2), &[1, 2]);
    node.settle(Outcome::PutBack { ill: None });
    node.stands(Phase::RolledBack, Some(2), &[1, 2]);
}

#[test]
fn what_was_good_before_it_was_brought_anew_is_not_left_for_an_older_one() {
    let mut node = Node::after(&[1, 2]);
    node.deploy(2);
    node.settle(Outcome::Verified { has_smoke: false });
    node.revert(Some(2), None);
    node.stands(Phase::RollingBack, Some(2), &[1, 2]);
    node.settle(Outcome::PutBack { ill: None });
    node.stands(Phase::RolledBack, Some(2), &[1, 2]);
}

#[test]
fn a_named_good_release_is_the_last_good_one_from_then_on() {
    let mut node = Node::after(&[1, 2, 3]);
    node.revert(None, Some(1));
    node.stands(Phase::RollingBack, Some(1), &[1, 2]);
    let ill = Some("it answers 503".to_owned());
    node.settle(Outcome::PutBack { ill });
    node.stands(Phase::RolledBack, Some(1), &[2, 1]);
}

#[test]
fn reverting_cancels_what_is_not_activated_yet() {
    let mut node = Node::after(&[1]);
    node.deploy(2);
    node.revert(Some(2), None);
    node.stands(Phase::RolledBack, Some(1), &[1]);
    assert_eq!(node.record.work().fetch, None);
}

#[test]
fn reverting_interrupts_activation_verification_and_bake() {
    for settled in 0..3 {
        let mut node = Node::after(&[1]);
        node.deploy(2);
        node.stage(2);
        if settled > 0 {
            node.settle(Outcome::Activated);
        }
        if settled > 1 {
            node.settle(Outcome::Verified { has_smoke: false });
        }
        node.revert(Some(2), None);
        node.stands(Phase::RollingBack, Some(1), &[1]);
    }
}

#[test]
fn a_node_that_puts_itself_back_goes_on_when_told_to() {
    let mut node = Node::after(&[1]);
    node.bake(2);
    node.settle(Outcome::Failed(failure("503")));
    node.revert(Some(2), None);
    node.stands(Phase::RollingBack, Some(1), &[1]);
    node.settle(Outcome::PutBack { ill: None });
    node.revert(Some(2), None);
    node.stands(Phase::RolledBack, Some(1), &[1]);
    let kept = node.record.step.as_ref().unwrap().failure.as_ref().unwrap();
    assert_eq!(kept.message, "503");
}

#[test]
fn rollbacks_by_hand_say_where_one_can_go() {
    let mut node = Node::after(&[1, 2]);
    let says = |node: &mut Node, version: Option<&str>| {
        let version = version.map(|version| version.parse().unwrap());
        node.record
            .put_back_by_hand(version.as_ref())
            .map_err(|error| error.to_string())
    };
    assert_eq!(
        says(&mut node, Some("v9")).unwrap_err(),
        "v9 is not among the good releases of this node, or was gone back from; good here: v2, v1"
    );
    assert_eq!(
        says(&mut node, Some("v2")).unwrap_err(),
        "this node runs v2 already"
    );
    assert_eq!(says(&mut node, None).unwrap().to, release(1));
    assert_eq!(
        says(&mut node, None).unwrap_err(),
        "there is no other good release to go back to; this node runs v1"
    );
}
