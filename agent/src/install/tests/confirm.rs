//! A release on which no coordinator was reached.

use fleet_proto::quantity::Span;
use fleet_proto::session::{FailureClass, Health, Phase};

use super::{Node, cannot_put_back, failure};
use crate::install::Outcome;

const WITHIN: Span = Span::from_secs(30);

fn cut_off(good: &[u64]) -> Node {
    let mut node = Node::after(good);
    node.deploy(9);
    node.stage(9);
    node.settle(Outcome::Activated);
    let mut failure = failure("no answer");
    failure.class = FailureClass::Infrastructure;
    node.settle(Outcome::CutOff {
        failure,
        within: WITHIN,
    });
    assert_eq!(node.record.work().cut_off, Some(WITHIN));
    node
}

fn found(node: &Node) -> (FailureClass, String) {
    let failure = node.record.step.as_ref().unwrap().failure.as_ref().unwrap();
    (failure.class, failure.message.clone())
}

#[test]
fn where_one_is_reached_again_it_was_the_release() {
    let mut node = cut_off(&[1]);
    node.stands(Phase::RollingBack, Some(1), &[1]);
    node.settle(Outcome::ReachedAgain);
    assert_eq!(node.record.work().cut_off, None);
    node.settle(Outcome::PutBack { ill: None });
    node.stands(Phase::RolledBack, Some(1), &[1]);
    let expected = "no answer; on v1 one is reached again".to_owned();
    assert_eq!(found(&node), (FailureClass::Release, expected));
}

#[test]
fn where_none_is_reached_either_nobody_knows() {
    let mut node = cut_off(&[1]);
    node.settle(Outcome::PutBack { ill: None });
    node.stands(Phase::RolledBack, Some(1), &[1]);
    let expected = "no answer; on v1 none is reached either".to_owned();
    assert_eq!(found(&node), (FailureClass::Infrastructure, expected));
}

#[test]
fn a_first_release_is_told_apart_too() {
    let mut node = cut_off(&[]);
    node.settle(Outcome::ReachedAgain);
    node.settle(Outcome::PutBack { ill: None });
    node.stands(Phase::RolledBack, None, &[]);
    let expected = "no answer; without it one is reached again".to_owned();
    assert_eq!(found(&node), (FailureClass::Release, expected));
}

/// As an agent finds it that is back in place of a newer one.
#[test]
fn what_was_taken_back_before_it_was_verified_is_told_apart_too() {
    let mut node = Node::after(&[1]);
    node.deploy(9);
    node.stage(9);
    node.stands(Phase::Activating, Some(9), &[1]);
    node.settle(Outcome::CutOff {
        failure: failure("no answer"),
        within: WITHIN,
    });
    node.stands(Phase::RollingBack, Some(1), &[1]);
    assert_eq!(node.record.work().cut_off, Some(WITHIN));
}

/// What becomes of the node is told all the same.
#[test]
fn what_cannot_be_put_back_is_told_with_its_reason() {
    let mut node = cut_off(&[1]);
    let told = |node: &Node| {
        let status = node.record.status(&"shop".parse().unwrap(), Health::Unknown);
        status.step.unwrap().failure
    };
    assert_eq!(told(&node), None, "whose fault it was is not known yet");
    for _ in 0..3 {
        node.settle(cannot_put_back("gone"));
    }
    node.stands(Phase::Failed, Some(1), &[1]);
    assert!(
        told(&node)
            .unwrap()
            .message
            .contains("v1 cannot be put back: gone")
    );
}

/// What failed afterwards for another reason is not asked about.
#[test]
fn what_is_put_back_in_its_place_is_not_asked_again() {
    let mut node = cut_off(&[1, 2]);
    node.settle(Outcome::ReachedAgain);
    for _ in 0..3 {
        node.settle(cannot_put_back("gone"));
    }
    node.stands(Phase::RollingBack, Some(1), &[1]);
    assert_eq!(node.record.work().cut_off, None);
}
