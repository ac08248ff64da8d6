//! Tables: a node, an order or an outcome, and how the node then stands.

mod confirm;
mod reverting;
mod smoke;

use fleet_proto::digest::Digest;
use fleet_proto::fence::Fence;
use fleet_proto::ids::RolloutNumber;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Command, Failure, FailureClass, Order, Phase};
use fleet_proto::time::Timestamp;

use super::{Answer, Outcome, Purpose, Recovery};
use crate::ledger::{AppRecord, Installed};

const NOW: Timestamp = Timestamp(1_770_897_600_000);

fn release(number: u64) -> ReleaseRef {
    ReleaseRef {
        version: format!("v{number}").parse().unwrap(),
        digest: Digest::of(&number.to_le_bytes()),
    }
}

fn cannot_put_back(why: &str) -> Outcome {
    Outcome::CannotPutBack {
        why: why.to_owned(),
        is_its_own: true,
    }
}

fn failure(message: &str) -> Failure {
    *crate::effects::failure(FailureClass::Release, message)
}

struct Node {
    record: AppRecord,
    generation: u32,
}

impl Node {
    /// One that ran these releases well, in this order.
    fn after(good: &[u64]) -> Self {
        let mut node = Self {
            record: AppRecord::default(),
            generation: 0,
        };
        for number in good {
            node.bake(*number);
            node.order(Order::Commit);
        }
        node
    }

    fn order(&mut self, order: Order) -> Answer {
        self.generation += 1;
        self.record.take(&self.command(order))
    }

    fn command(&self, order: Order) -> Command {
        Command {
            fence: Fence {
                term: 1,
                rollout: RolloutNumber(1),
                generation: self.generation,
            },
            app: "shop".parse().unwrap(),
            environment: None,
            order,
        }
    }

    fn deploy(&mut self, number: u64) {
        let order = Order::Deploy {
            release: release(number),
        };
        assert_eq!(self.order(order), Answer::Accepted);
    }

    fn revert(&mut self, leave: Option<u64>, to: Option<u64>) {
        let order = Order::Revert {
            leave: leave.map(release),
            to: to.map(release),
            why: "told so".into(),
        };
        assert_eq!(self.order(order), Answer::Accepted);
    }

    fn settle(&mut self, outcome: Outcome) {
        self.record.settle(outcome, NOW).unwrap();
    }

    fn stage(&mut self, number: u64) {
        self.settle(Outcome::Staged {
            release: release(number),
            counter: number,
        });
        assert!(self.record.proceed());
    }

    fn bake(&mut self, number: u64) {
        self.deploy(number);
        if self.phase() == Phase::Fetching {
            self.stage(number);
            self.settle(Outcome::Activated);
        }
        self.settle(Outcome::Verified { has_smoke: false });
    }

    fn phase(&self) -> Phase {
        self.record.step.as_ref().unwrap().phase
    }

    fn stands(&self, phase: Phase, current: Option<u64>, good: &[u64]) {
        assert_eq!(self.phase(), phase);
        assert_eq!(self.record.current_release(), current.map(release).as_ref());
        let found: Vec<ReleaseRef> = self.record.good.iter().map(|good| good.release.clone()).collect();
        let expected: Vec<ReleaseRef> = good.iter().map(|number| release(*number)).collect();
        assert_eq!(found, expected);
        let step = self.record.step.as_ref().unwrap();
        assert_eq!(
            (step.rollout, step.generation),
            (RolloutNumber(1), self.generation)
        );
    }
}

#[test]
fn a_release_goes_its_way_and_becomes_the_last_good_one() {
    let mut node = Node::after(&[1]);
    node.deploy(2);
    node.stands(Phase::Fetching, Some(1), &[1]);
    assert_eq!(node.record.work().fetch, Some(release(2)));
    assert_eq!(node.record.work().run, Some(release(1)));
    node.stage(2);
    node.stands(Phase::Activating, Some(2), &[1]);
    node.settle(Outcome::Activated);
    assert_eq!(node.record.work().purpose, Purpose::Verify);
    node.settle(Outcome::Verified { has_smoke: false });
    node.stands(Phase::Baking, Some(2), &[1]);
    node.order(Order::Commit);
    node.stands(Phase::Done, Some(2), &[1, 2]);
    assert_eq!(node.record.floor, 2);
}

#[test]
fn what_runs_already_is_verified_as_it_runs() {
    let mut node = Node::after(&[1]);
    node.deploy(1);
    node.stands(Phase::Verifying, Some(1), &[1]);
    assert_eq!(node.record.work().fetch, None);
}

#[test]
fn a_failure_before_activation_leaves_the_node_as_it_was() {
    let mut node = Node::after(&[1]);
    node.deploy(2);
    node.settle(Outcome::NotStaged {
        release: release(2),
        failure: failure("no room"),
    });
    node.stands(Phase::Failed, Some(1), &[1]);
}

#[test]
fn a_failure_after_activation_puts_the_node_back() {
    for phase in [Phase::Activating, Phase::Verifying, Phase::Baking] {
        let mut node = Node::after(&[1, 2]);
        node.deploy(3);
        node.stage(3);
        if phase != Phase::Activating {
            node.settle(Outcome::Activated);
        }
        if phase == Phase::Baking {
            node.settle(Outcome::Verified { has_smoke: false });
        }
        let back = node
            .record
            .settle(Outcome::Failed(failure("503")), NOW)
            .unwrap()
            .unwrap();
        assert_eq!((back.from, back.to), (Some(release(3)), Some(release(2))));
        node.stands(Phase::RollingBack, Some(2), &[1, 2]);
        node.settle(Outcome::PutBack { ill: None });
        node.stands(Phase::RolledBack, Some(2), &[1, 2]);
        let kept = node.record.step.as_ref().unwrap().failure.as_ref().unwrap();
        assert_eq!(kept.message, "503");
    }
}

#[test]
fn the_first_release_that_fails_leaves_nothing_running() {
    let mut node = Node::after(&[]);
    node.deploy(1);
    node.stage(1);
    node.settle(Outcome::Failed(failure("503")));
    node.stands(Phase::RollingBack, None, &[]);
    node.settle(Outcome::PutBack { ill: None });
    node.stands(Phase::RolledBack, None, &[]);
}

#[test]
fn the_only_good_release_is_not_stopped_because_it_fails_once() {
    let mut node = Node::after(&[1]);
    node.deploy(1);
    node.settle(Outcome::Failed(failure("503")));
    node.stands(Phase::RollingBack, Some(1), &[1]);
}

#[test]
fn committing_what_has_failed_changes_nothing() {
    let mut node = Node::after(&[1]);
    node.bake(2);
    node.settle(Outcome::Failed(failure("503")));
    node.order(Order::Commit);
    node.stands(Phase::RollingBack, Some(1), &[1]);
}

#[test]
fn committing_early_counts_once_the_release_is_verified() {
    let mut node = Node::after(&[1]);
    node.deploy(2);
    node.stage(2);
    node.settle(Outcome::Activated);
    node.order(Order::Commit);
    node.stands(Phase::Verifying, Some(2), &[1]);
    node.settle(Outcome::Verified { has_smoke: false });
    node.stands(Phase::Done, Some(2), &[1, 2]);
}

#[test]
fn stale_orders_change_nothing_and_repeated_ones_only_the_term() {
    let mut node = Node::after(&[1]);
    node.bake(2);
    let before = node.record.clone();
    let mut stale = node.command(Order::Revert {
        leave: None,
        to: None,
        why: String::new(),
    });
    stale.fence.generation -= 1;
    assert!(matches!(node.record.take(&stale), Answer::Refused(_)));
    assert_eq!(node.record, before);

    let mut again = node.command(Order::Deploy { release: release(2) });
    again.fence.term = 7;
    assert_eq!(node.record.take(&again), Answer::Repeated);
    assert_eq!(node.record.fence_seen.term, 7);
    assert_eq!(node.record.step, before.step);

    let old_term = node.command(Order::Commit);
    assert!(matches!(node.record.take(&old_term), Answer::Refused(_)));
}

#[test]
fn a_repeated_order_does_not_undo_a_rollback_by_hand() {
    let mut node = Node::after(&[1]);
    node.bake(2);
    node.record.put_back_by_hand(None).unwrap();
    node.settle(Outcome::PutBack { ill: None });
    let again = node.command(Order::Deploy { release: release(2) });
    assert_eq!(node.record.take(&again), Answer::Repeated);
    node.stands(Phase::RolledBack, Some(1), &[1]);
}

#[test]
fn what_was_cut_short_begins_anew_and_not_for_ever() {
    let mut node = Node::after(&[1]);
    node.deploy(2);
    assert_eq!(node.record.recover(), Some(Recovery::Finishing(Phase::Fetching)));
    node.stage(2);
    node.settle(Outcome::Activated);
    for _ in 1..super::ATTEMPTS_MAX {
        assert_eq!(node.record.recover(), Some(Recovery::Finishing(Phase::Verifying)));
    }
    assert_eq!(node.record.recover(), Some(Recovery::Undoing(Phase::Verifying)));
    node.stands(Phase::RollingBack, Some(1), &[1]);
    assert_eq!(node.record.recover(), Some(Recovery::Undoing(Phase::RollingBack)));
    node.settle(Outcome::PutBack { ill: None });
    assert_eq!(node.record.recover(), None);
}

#[test]
fn a_release_that_cannot_be_put_back_makes_way_for_the_one_before() {
    let mut node = Node::after(&[1, 2]);
    node.bake(3);
    node.settle(Outcome::Failed(failure("503")));
    for _ in 0..3 {
        node.settle(cannot_put_back("its slot is gone"));
    }
    node.stands(Phase::RollingBack, Some(1), &[1]);
    let kept = node.record.step.as_ref().unwrap().failure.as_ref().unwrap();
    assert_eq!(kept.message, "503; v2 cannot be put back: its slot is gone");
}

#[test]
fn a_node_that_nothing_can_be_put_back_on_has_failed_and_still_wants_its_last_good_release() {
    let mut node = Node::after(&[1]);
    node.bake(2);
    node.settle(Outcome::Failed(failure("503")));
    for _ in 0..3 {
        node.settle(cannot_put_back("its slot is gone"));
    }
    node.stands(Phase::Failed, Some(1), &[1]);
    assert_eq!(node.record.work().run, Some(release(1)));
}

#[test]
fn an_outage_costs_no_good_release() {
    let after = |attempts: u32| {
        let mut node = Node::after(&[1, 2]);
        node.bake(3);
        node.settle(Outcome::Failed(failure("503")));
        for _ in 0..attempts {
            node.settle(Outcome::CannotPutBack {
                why: "there is no systemd to talk to".to_owned(),
                is_its_own: false,
            });
        }
        node
    };
    let mut node = after(59);
    node.stands(Phase::RollingBack, Some(2), &[1, 2]);
    node.settle(Outcome::PutBack { ill: None });
    node.stands(Phase::RolledBack, Some(2), &[1, 2]);
    // One that lasts is told of, and waited out.
    let node = after(60);
    node.stands(Phase::Failed, Some(2), &[1, 2]);
    assert_eq!(node.record.work().run, Some(release(2)));
}

/// Left by hand, below the floor, and known all the same.
#[test]
fn a_release_that_ran_well_here_once_may_come_back() {
    let mut node = Node::after(&[1, 2, 3]);
    node.order(Order::Revert {
        leave: Some(release(2)),
        to: None,
        why: String::new(),
    });
    node.stands(Phase::RolledBack, Some(3), &[1, 3]);
    assert!(node.record.has_proven(&release(2)) && !node.record.is_good(&release(2)));
    assert!(!node.record.has_proven(&release(4)));
}

#[test]
fn an_outcome_that_nobody_waits_for_is_an_error_and_changes_nothing() {
    let mut node = Node::after(&[1]);
    let before = node.record.clone();
    let error = node
        .record
        .settle(Outcome::Verified { has_smoke: false }, NOW)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`Verified { has_smoke: false }` is not expected while done"
    );
    assert_eq!(node.record, before);
}

#[test]
fn a_release_runs_and_comes_back_with_the_environment_that_it_was_ordered_for() {
    let mut node = Node::after(&[]);
    let order = |node: &mut Node, number, environment: &str| {
        node.generation += 1;
        let deploy = Order::Deploy {
            release: release(number),
        };
        let command = Command {
            environment: Some(environment.parse().unwrap()),
            ..node.command(deploy)
        };
        node.record.take(&command);
        if node.phase() == Phase::Fetching {
            node.stage(number);
            node.settle(Outcome::Activated);
        }
        node.settle(Outcome::Verified { has_smoke: false });
        node.order(Order::Commit);
    };
    let runs_in = |node: &Node| node.record.work().run_in.map(String::from);
    order(&mut node, 1, "staging");
    assert_eq!(runs_in(&node).as_deref(), Some("staging"));
    order(&mut node, 2, "production");
    assert_eq!(runs_in(&node).as_deref(), Some("production"));
    let text = serde_json::to_string(&node.record).unwrap();
    node.record = serde_json::from_str(&text).unwrap();
    node.record.put_back_by_hand(None).unwrap();
    assert_eq!(runs_in(&node).as_deref(), Some("staging"));
    node.settle(Outcome::PutBack { ill: None });

    // The same release for another environment is not what runs.
    node.generation += 1;
    let again = Command {
        environment: Some("production".parse().unwrap()),
        ..node.command(Order::Deploy { release: release(1) })
    };
    node.record.take(&again);
    assert_eq!(node.phase(), Phase::Fetching);
    node.stage(1);
    assert_eq!(runs_in(&node).as_deref(), Some("production"));
}

#[test]
fn old_releases_are_forgotten_and_what_runs_is_kept() {
    let mut node = Node::after(&[1, 2, 3, 4]);
    node.record.forget_old_releases(2);
    node.stands(Phase::Done, Some(4), &[3, 4]);
    assert!(node.record.keeps(&release(3).digest) && !node.record.keeps(&release(2).digest));
    node.record.current = Some(Installed {
        release: release(2),
        counter: 2,
        environment: None,
    });
    assert!(node.record.keeps(&release(2).digest));
}
