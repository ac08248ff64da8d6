//! Orders from the coordinator.

use fleet_proto::fence::Freshness;
use fleet_proto::ids::EnvironmentName;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Command, Failure, FailureClass, Order, Phase};

use crate::ledger::{AppRecord, Direction, Step};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// From a coordinator that is behind, or an order that is. The record is as it was.
    Refused(String),
    /// Known; the recorded status is the answer, and nothing is done.
    Repeated,
    Accepted,
}

impl AppRecord {
    pub fn take(&mut self, command: &Command) -> Answer {
        match command.fence.freshness_after(self.fence_seen) {
            Freshness::Stale => {
                let what = if command.fence.term < self.fence_seen.term {
                    "it comes from a coordinator that is no longer in charge"
                } else {
                    "a newer order has been accepted"
                };
                return Answer::Refused(what.to_owned());
            }
            Freshness::Duplicate => {
                self.fence_seen = command.fence;
                return Answer::Repeated;
            }
            Freshness::New => self.fence_seen = command.fence,
        }
        match &command.order {
            Order::Deploy { release } => self.deploy(release, command.environment.as_ref()),
            Order::Migrate { release, act } => self.migrate(release, *act),
            Order::Commit => {
                self.commit();
                return Answer::Accepted;
            }
            Order::Revert { leave, to, .. } => self.revert(leave.as_ref(), to.as_ref()),
        }
        if let Some(step) = &mut self.step {
            step.environment.clone_from(&command.environment);
        }
        Answer::Accepted
    }

    fn deploy(&mut self, release: &ReleaseRef, environment: Option<&EnvironmentName>) {
        let current = self.current.clone().filter(|current| {
            // With another environment's configuration it is not what runs.
            current.release == *release && current.environment.as_ref() == environment
        });
        // What runs already is judged as it runs; a restart would prove nothing.
        let phase = if current.is_some() {
            Phase::Verifying
        } else {
            Phase::Fetching
        };
        let mut step = self.new_step(Some(release.clone()), Direction::Forward, phase);
        step.counter = current.map(|current| current.counter);
        self.step = Some(step);
    }

    fn commit(&mut self) {
        let (rollout, generation) = (self.fence_seen.rollout, self.fence_seen.generation);
        let of_it = |step: &&mut Step| step.rollout == rollout && step.migration.is_none();
        let Some(step) = self.step.as_mut().filter(of_it) else {
            let mut step = self.new_step(self.current_release().cloned(), Direction::Forward, Phase::Failed);
            step.failure = Some(nothing_to_commit());
            self.step = Some(step);
            return;
        };
        step.generation = generation;
        match step.phase {
            Phase::Baking if step.has_smoke => step.is_committed = true,
            Phase::Baking => self.finish(),
            Phase::Failed | Phase::RollingBack | Phase::RolledBack | Phase::Done => {}
            Phase::Pending
            | Phase::Fetching
            | Phase::Staged
            | Phase::Migrating
            | Phase::Activating
            | Phase::Verifying => step.is_committed = true,
        }
    }

    fn revert(&mut self, leave: Option<&ReleaseRef>, to: Option<&ReleaseRef>) {
        let earlier = self.step.take();
        let mut step = self.new_step(
            self.current_release().cloned(),
            Direction::Back,
            Phase::RolledBack,
        );
        // A node that has put itself back already goes on saying why.
        if let Some(earlier) = earlier.as_ref().filter(|earlier| speaks_of(earlier, leave)) {
            step.failure = earlier.failure.clone();
            step.failed = earlier.failed.clone();
        }

        let putting_back = earlier
            .as_ref()
            .is_some_and(|earlier| earlier.phase == Phase::RollingBack);
        let unactivated = earlier.as_ref().is_some_and(|earlier| {
            is_before_activation(earlier) && (leave.is_none() || leave == earlier.release.as_ref())
        });
        let is_there_already =
            leave.is_none() && (to == self.current_release() || (to.is_none() && putting_back));
        let leaves_current = leave.is_none() || leave == self.current_release();
        // Brought anew, and not kept yet: the last good release of before is this very one.
        let was_good_before = leave.is_some_and(|leave| {
            to.is_none()
                && self.is_good(leave)
                && earlier.as_ref().is_some_and(|earlier| {
                    earlier.direction == Direction::Forward
                        && earlier.phase != Phase::Done
                        && earlier.release.as_ref() == Some(leave)
                        && !earlier.phase.is_settled()
                })
        });
        if was_good_before && leaves_current {
            step.phase = Phase::RollingBack;
            self.step = Some(step);
            return;
        }

        if unactivated || !leaves_current || is_there_already {
            if let Some(leave) = leave.filter(|leave| Some(*leave) != self.current_release()) {
                self.good.retain(|good| good.release != *leave);
            }
            if putting_back {
                step.phase = Phase::RollingBack;
            }
            self.step = Some(step);
            return;
        }
        self.leave_current(step, to);
    }

    fn leave_current(&mut self, mut step: Step, to: Option<&ReleaseRef>) {
        let Some(left) = self.current_release().cloned() else {
            self.step = Some(step);
            return;
        };
        let named = to.filter(|to| **to != left);
        match named {
            Some(to) if self.good(to).is_none() => {
                step.release = Some(to.clone());
                step.phase = Phase::Fetching;
            }
            // A good release is not left for nothing: the node would serve nobody.
            None if self.good(&left).is_some() && self.newest_good_but(&left).is_none() => {
                step.phase = Phase::Failed;
                step.failure = Some(nothing_to_go_back_to(&left));
            }
            _ => {
                let target = match named {
                    Some(to) => self.good(to).cloned(),
                    None => self.newest_good_but(&left).cloned(),
                };
                step.release = target.as_ref().map(|target| target.release.clone());
                step.phase = Phase::RollingBack;
                self.good.retain(|good| good.release != left);
                self.current = target;
            }
        }
        self.step = Some(step);
    }
}

fn is_before_activation(step: &Step) -> bool {
    step.direction == Direction::Forward
        && matches!(step.phase, Phase::Pending | Phase::Fetching | Phase::Staged)
}

fn speaks_of(earlier: &Step, left: Option<&ReleaseRef>) -> bool {
    left.is_none() || left == earlier.failed.as_ref()
}

fn nothing_to_go_back_to(left: &ReleaseRef) -> Failure {
    Failure {
        class: FailureClass::Operator,
        check: None,
        message: format!("there is no other good release on this node; {left} stays"),
        figure: None,
        limit: None,
        log_tail: vec![],
    }
}

fn nothing_to_commit() -> Failure {
    Failure {
        class: FailureClass::Infrastructure,
        check: None,
        message: "there is nothing to commit: this node knows no step of that rollout".to_owned(),
        figure: None,
        limit: None,
        log_tail: vec![],
    }
}
