//! Whatever happens to a node, in whatever order, it has something to run.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_agent::install::{Outcome, Purpose};
use fleet_agent::ledger::AppRecord;
use fleet_proto::digest::Digest;
use fleet_proto::fence::Fence;
use fleet_proto::ids::RolloutNumber;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Command, Failure, FailureClass, Order, Phase};
use fleet_proto::time::Timestamp;
use proptest::prelude::*;

const RELEASES: u64 = 5;

#[derive(Debug, Clone)]
enum Act {
    Deploy(u64),
    Commit,
    Revert {
        leave: Option<u64>,
        to: Option<u64>,
    },
    Repeat,
    ByHand,
    /// The work that is to be done succeeds, or fails.
    Succeed,
    Fail,
    /// The agent is killed, and comes back with what is in the ledger.
    Crash,
    Prune,
}

fn release(number: u64) -> ReleaseRef {
    ReleaseRef {
        version: format!("v{number}").parse().unwrap(),
        digest: Digest::of(&number.to_le_bytes()),
    }
}

fn act() -> impl Strategy<Value = Act> {
    let some = || proptest::option::of(0..RELEASES);
    prop_oneof![
        3 => (0..RELEASES).prop_map(Act::Deploy),
        3 => Just(Act::Commit),
        2 => (some(), some()).prop_map(|(leave, to)| Act::Revert { leave, to }),
        1 => Just(Act::Repeat),
        1 => Just(Act::ByHand),
        8 => Just(Act::Succeed),
        3 => Just(Act::Fail),
        2 => Just(Act::Crash),
        1 => Just(Act::Prune),
    ]
}

struct Node {
    record: AppRecord,
    generation: u32,
    last: Option<Command>,
    /// What a coordinator or a person has said is to be left.
    left: Vec<ReleaseRef>,
}

impl Node {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Deploy(number) => {
                let release = release(*number);
                self.left.retain(|left| *left != release);
                self.order(Order::Deploy { release });
            }
            Act::Commit => self.order(Order::Commit),
            Act::Revert { leave, to } => {
                let leave = leave.map(release);
                self.left
                    .extend(leave.clone().or(self.record.current_release().cloned()));
                let to = to.map(release);
                let why = String::new();
                self.order(Order::Revert { leave, to, why });
            }
            Act::Repeat => {
                if let Some(command) = &self.last {
                    let before = self.record.clone();
                    self.record.take(command);
                    assert_eq!(self.record, before);
                }
            }
            Act::ByHand => {
                let from = self.record.current_release().cloned();
                if self.record.put_back_by_hand(None).is_ok() {
                    self.left.extend(from);
                }
            }
            Act::Succeed => self.outcome(true),
            Act::Fail => self.outcome(false),
            Act::Crash => {
                let ledger = serde_json::to_vec(&self.record).unwrap();
                self.record = serde_json::from_slice(&ledger).unwrap();
                self.record.recover();
            }
            Act::Prune => {
                let settled = self
                    .record
                    .step
                    .as_ref()
                    .is_some_and(|step| step.phase.is_settled());
                if settled {
                    self.record.forget_old_releases(2);
                }
            }
        }
        self.record.proceed();
    }

    fn order(&mut self, order: Order) {
        self.generation += 1;
        let command = Command {
            fence: Fence {
                term: 1,
                rollout: RolloutNumber(1),
                generation: self.generation,
            },
            app: "shop".parse().unwrap(),
            environment: None,
            order,
        };
        self.record.take(&command);
        self.last = Some(command);
    }

    fn outcome(&mut self, well: bool) {
        let work = self.record.work();
        let failure = Failure {
            class: FailureClass::Release,
            check: None,
            message: "failed".into(),
            figure: None,
            limit: None,
            log_tail: vec![],
        };
        let outcome = match (work.fetch, work.purpose, well) {
            (Some(release), _, true) => {
                let counter = u64::from(release.digest.as_bytes()[0]);
                Outcome::Staged { release, counter }
            }
            (Some(release), _, false) => Outcome::NotStaged { release, failure },
            (None, Purpose::Rest, _) => return,
            (None, Purpose::Activate, true) => Outcome::Activated,
            (None, Purpose::Verify, true) => Outcome::Verified {
                has_smoke: self.generation.is_multiple_of(2),
            },
            (None, Purpose::Bake, true) => return,
            (None, Purpose::Smoke, true) => Outcome::Smoked,
            (None, Purpose::PutBack, true) => Outcome::PutBack { ill: None },
            (None, Purpose::PutBack, false) => Outcome::CannotPutBack {
                why: "gone".into(),
                is_its_own: true,
            },
            (None, Purpose::Activate | Purpose::Verify | Purpose::Bake | Purpose::Smoke, false) => {
                Outcome::Failed(failure)
            }
        };
        self.record.settle(outcome, Timestamp(0)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Invariant 1: once a release ran well here, and nobody has said to leave it,
    /// something is to run; and it is a release that the node has.
    #[test]
    fn a_node_always_has_a_runnable_release(acts in proptest::collection::vec(act(), 1..60)) {
        let mut node = Node { record: AppRecord::default(), generation: 0, last: None, left: vec![] };
        for act in &acts {
            let floor = node.record.floor;
            node.act(act);
            let record = &node.record;
            let has_refuge = record.good.iter().any(|good| !node.left.contains(&good.release));
            prop_assert!(!has_refuge || record.current.is_some(), "nothing runs after {act:?}: {record:?}");
            prop_assert!(record.floor >= floor);
            // A step that failed does not leave the node on the release that failed,
            // unless there is nothing else.
            if let Some(step) = &record.step {
                if step.phase == Phase::Done {
                    prop_assert_eq!(record.last_good(), record.current_release());
                }
                prop_assert_eq!(step.generation, record.fence_seen.generation);
            }
            if let Some(current) = record.current_release() {
                prop_assert!(record.keeps(&current.digest));
            }
            // Nothing is thrown away that could be needed to go back.
            for good in &record.good {
                prop_assert!(record.keeps(&good.release.digest));
            }
        }
    }

    /// Left alone, a node comes to rest.
    #[test]
    fn every_step_ends(acts in proptest::collection::vec(act(), 1..40), well in proptest::collection::vec(any::<bool>(), 32)) {
        let mut node = Node { record: AppRecord::default(), generation: 0, last: None, left: vec![] };
        for act in &acts {
            node.act(act);
        }
        for well in well {
            node.act(if well { &Act::Succeed } else { &Act::Fail });
        }
        if let Some(step) = &node.record.step {
            prop_assert!(step.phase.is_settled() || step.phase == Phase::Baking, "{step:?}");
        }
    }
}
