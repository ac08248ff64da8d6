//! A rollout that goes on, and its index of open steps.

use fleet_proto::ids::NodeId;
use fleet_proto::session::{FailureClass, Phase};
use fleet_proto::time::Timestamp;

use crate::rollout::state::{Course, Rollout};

impl Rollout {
    /// What failed for want of infrastructure is tried again from the beginning.
    pub(super) fn resume(&mut self, forgiven: &[NodeId], at: Timestamp) {
        self.course = Course::Running;
        self.progress_at = at;
        self.clock_from = at;
        // What was tried is tried anew; what is under way goes on.
        self.migration.take_if(|run| run.stand.is_settled());
        // On the way back, rolled back is what was asked for, whatever had failed before.
        let is_forward = self.is_forward();
        for step in self.steps.values_mut() {
            let came_to_nothing =
                step.phase == Phase::Failed || (is_forward && step.phase == Phase::RolledBack);
            if came_to_nothing && step.failed_as(FailureClass::Infrastructure) {
                step.retries = 0;
                step.wait_for_its_turn(at);
            }
        }
        for node in forgiven {
            if let Some(step) = self.steps.get_mut(node) {
                step.forgiven = true;
            }
        }
        self.note_steps();
    }

    /// Every step anew, as when the wave changes.
    pub(super) fn note_steps(&mut self) {
        let wave = self.wave;
        let open = self.steps.iter().filter(|(_, step)| !step.is_quiet(wave));
        self.open = open.map(|(id, _)| id.clone()).collect();
    }

    pub(super) fn note_step(&mut self, id: &NodeId) {
        let is_quiet = self.steps.get(id).is_none_or(|step| step.is_quiet(self.wave));
        if is_quiet {
            self.open.remove(id);
        } else if !self.open.contains(id) {
            self.open.insert(id.clone());
        }
    }

    pub(super) fn skip(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            if let Some(step) = self.steps.get_mut(node) {
                step.skipped = true;
            }
        }
    }

    /// Whatever they failed of, and whoever had accepted that.
    pub(super) fn try_again(&mut self, nodes: &[NodeId], at: Timestamp) {
        self.course = Course::Running;
        self.progress_at = at;
        self.clock_from = at;
        for node in nodes {
            if let Some(step) = self.steps.get_mut(node) {
                step.retries = 0;
                step.forgiven = false;
                step.came_after |= step.wave < self.wave;
                step.wait_for_its_turn(at);
            }
        }
    }
}
