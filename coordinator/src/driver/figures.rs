//! What the loop counts of itself, and of the events that pass: how long things took.
//!
//! All of this begins anew with each process, which whoever reads counters expects. What a
//! restart must not change is read from the state instead (`rollout::view::figures`).

use std::collections::BTreeMap;

use fleet_proto::exposition::Histogram;
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::session::{Failure, FailureClass, Phase};
use fleet_proto::time::Timestamp;

use crate::rollout::event::{Event, Stamped};
use crate::rollout::state::{State, moves};

/// Those that take time on a node; in the others a step waits, or is over.
pub const PHASES: [Phase; 7] = [
    Phase::Fetching,
    Phase::Staged,
    Phase::Migrating,
    Phase::Activating,
    Phase::Verifying,
    Phase::Baking,
    Phase::RollingBack,
];

const CLASSES: [FailureClass; 3] = [
    FailureClass::Release,
    FailureClass::Infrastructure,
    FailureClass::Operator,
];

#[derive(Debug, Clone)]
pub struct Figures {
    pub events: u64,
    pub turns: Histogram,
    pub appends: Histogram,
    pub appended_bytes: u64,
    /// How long steps were in each phase, by the coordinator's clock.
    pub phases: BTreeMap<&'static str, Histogram>,
    /// Steps that failed, by class.
    pub failures: BTreeMap<&'static str, u64>,
}

impl Default for Figures {
    fn default() -> Self {
        let whiles = || Histogram::new(Histogram::WHILES);
        Self {
            events: 0,
            turns: Histogram::new(Histogram::MOMENTS),
            appends: Histogram::new(Histogram::MOMENTS),
            appended_bytes: 0,
            phases: PHASES.map(|phase| (phase.word(), whiles())).into(),
            failures: CLASSES.map(|class| (class.word(), 0)).into(),
        }
    }
}

impl Figures {
    /// Of an event that is about to change the state.
    pub(super) fn note(&mut self, before: &State, stamped: &Stamped) {
        self.events += 1;
        match &stamped.event {
            Event::StepMoved {
                number,
                node,
                phase,
                failure,
            } => {
                self.note_end_of_phase(before, *number, node, stamped.at);
                self.note_failure(before, *number, node, *phase, failure.as_ref());
            }
            Event::StepOverdue {
                number,
                node,
                failure,
            } => {
                self.note_end_of_phase(before, *number, node, stamped.at);
                self.note_failure(before, *number, node, Phase::Failed, Some(failure));
            }
            Event::CommandIssued {
                number, node, order, ..
            } if moves(order) => self.note_end_of_phase(before, *number, node, stamped.at),
            _ => {}
        }
    }

    fn note_end_of_phase(&mut self, before: &State, number: RolloutNumber, node: &NodeId, at: Timestamp) {
        let step = before
            .rollouts
            .get(&number)
            .and_then(|rollout| rollout.steps.get(node));
        let Some(step) = step else { return };
        // In none of those that take time: what it did until now was to wait.
        if let Some(phase) = self.phases.get_mut(step.phase.word()) {
            phase.observe(at.since(step.since).as_duration().as_secs_f64());
        }
    }

    /// Once, although a step says of what it failed for as long as it goes back, and so does the
    /// rollback that follows: of its own it has failed only when it has come to nothing.
    fn note_failure(
        &mut self,
        before: &State,
        number: RolloutNumber,
        node: &NodeId,
        phase: Phase,
        failure: Option<&Failure>,
    ) {
        let Some(rollout) = before.rollouts.get(&number) else {
            return;
        };
        let Some(step) = rollout.steps.get(node) else {
            return;
        };
        let is_news = if rollout.is_forward() {
            step.failure.is_none()
        } else {
            phase == Phase::Failed && step.phase != Phase::Failed
        };
        if let Some(failure) = failure.filter(|_| is_news) {
            *self.failures.entry(failure.class.word()).or_default() += 1;
        }
    }
}
