//! One node's step: what it was told, and what it came to.

use fleet_proto::ids::{AppName, NodeId, RolloutNumber};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Failure, FailureClass, Order, Phase};
use fleet_proto::time::Timestamp;

use super::IllegalEvent;
use crate::rollout::backoff;
use crate::rollout::node::IssuedOrder;
use crate::rollout::state::{State, Step};

impl State {
    pub(super) fn issue(
        &mut self,
        number: RolloutNumber,
        node: &NodeId,
        generation: u32,
        order: &Order,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let app = self.rollout(number)?.plan.app.clone();
        let from = self.node(node)?.current(&app).cloned();
        let last = self
            .rollouts
            .get(&number)
            .map_or(0, |rollout| self.last_generation(rollout, node));
        if generation != last + 1 {
            return Err(IllegalEvent::Generation {
                number,
                node: node.clone(),
                last,
                generation,
            });
        }
        // A migration may be done by a node outside the plan.
        let is_planned = self.rollout(number)?.steps.contains_key(node);
        if is_planned || !matches!(order, Order::Migrate { .. }) {
            self.step(number, node)?.note_order(from, generation, order, at);
        }
        let told_app = app.clone();
        let stands = self.node(node)?.apps.entry(app).or_default();
        if moves(order) {
            stands.told = (number, generation);
            stands.busy = true;
        }
        if let Order::Deploy { release } = order {
            // Whoever asks for it again means it.
            stands.left.retain(|left| left != release);
        }
        stands.order = Some(IssuedOrder {
            number,
            generation,
            order: order.clone(),
        });
        self.rollout(number)?.note_step(node);
        if matches!(order, Order::Commit) {
            // The bake is over: from here on it is waited for the node to say so.
            self.rollout(number)?.progress_at = at;
        }
        if moves(order) {
            self.overtake(number, node, &told_app);
        }
        self.note_wish(node, &told_app);
        if let Order::Migrate { release, act } = order {
            self.tell_to_migrate(number, node, generation, (release, *act), at);
        }
        Ok(())
    }

    /// From older rollouts that have not ended.
    fn overtake(&mut self, number: RolloutNumber, node: &NodeId, app: &AppName) {
        for older in self.active.range(..number) {
            let rollout = self
                .rollouts
                .get_mut(older)
                .filter(|older| older.plan.app == *app);
            if let Some(step) = rollout.and_then(|rollout| rollout.steps.get_mut(node)) {
                step.taken_over = true;
            }
        }
    }

    pub(super) fn move_step(
        &mut self,
        number: RolloutNumber,
        node: &NodeId,
        phase: Phase,
        failure: Option<&Failure>,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let rollout = self.rollout(number)?;
        let (is_forward, strategy) = (rollout.is_forward(), rollout.plan.strategy.clone());
        let is_ended = rollout.is_ended();
        let step = self.step(number, node)?;
        let got_good = !step.is_good() && matches!(phase, Phase::Baking | Phase::Done);
        step.phase = phase;
        step.since = at;
        // What it failed of stays, whatever people made of the node afterwards: it is what the
        // rollout ended on.
        let is_known_why = is_ended && step.failed_as(FailureClass::Release);
        if !is_known_why || failure.is_some_and(|failure| failure.class == FailureClass::Release) {
            step.failure = failure.cloned();
        }
        step.retry_at = None;
        if phase == Phase::Failed && step.failed_as(FailureClass::Infrastructure) {
            step.retry_at = backoff::retry_at(&strategy, number, node, step.retries, at);
        }
        let left = is_forward && step.failed_as(FailureClass::Release);
        self.rollout(number)?.note_step(node);
        if got_good {
            self.rollout(number)?.progress_at = at;
        }
        if left {
            self.note_left(number, node)?;
        }
        Ok(())
    }

    /// The release was tried on the node and did not do: it is not brought again unasked.
    fn note_left(&mut self, number: RolloutNumber, node: &NodeId) -> Result<(), IllegalEvent> {
        let rollout = self.rollout(number)?;
        let app = rollout.plan.app.clone();
        if let Some(release) = rollout.release().cloned() {
            self.node(node)?.apps.entry(app).or_default().note_left(&release);
        }
        Ok(())
    }

    /// The node may be at it still, and what it says counts when it says more.
    pub(super) fn give_up_waiting(
        &mut self,
        number: RolloutNumber,
        node: &NodeId,
        failure: &Failure,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let phase = self.step(number, node)?.phase;
        self.move_step(number, node, Phase::Failed, Some(failure), at)?;
        self.step(number, node)?.overdue = Some(phase);
        self.rollout(number)?.note_step(node);
        Ok(())
    }

    pub(super) fn step(&mut self, number: RolloutNumber, node: &NodeId) -> Result<&mut Step, IllegalEvent> {
        self.rollout(number)?
            .steps
            .get_mut(node)
            .ok_or_else(|| IllegalEvent::NoStep {
                number,
                node: node.clone(),
            })
    }
}

/// From the command on the step counts as on its way, whatever the node has got round to.
fn phase_when_told(order: &Order) -> Option<Phase> {
    match order {
        Order::Deploy { .. } => Some(Phase::Fetching),
        Order::Revert { .. } => Some(Phase::RollingBack),
        Order::Commit | Order::Migrate { .. } => None,
    }
}

/// May take the app down on the node.
pub fn moves(order: &Order) -> bool {
    matches!(order, Order::Deploy { .. } | Order::Revert { .. })
}

impl Step {
    fn note_order(&mut self, from: Option<ReleaseRef>, generation: u32, order: &Order, at: Timestamp) {
        if self.generation == 0 {
            self.from = from;
        }
        if let Some(phase) = phase_when_told(order) {
            self.phase = phase;
            self.since = at;
        }
        self.generation = generation;
        // A migration is beside the step's own course.
        if self.order.is_none() || !matches!(order, Order::Migrate { .. }) {
            self.order = Some(order.clone());
        }
        self.retry_at = None;
        self.overdue = None;
        if moves(order) {
            // It is there again: what it comes to now was not accepted by anybody.
            self.came_after |= self.forgiven;
            self.forgiven = false;
        }
    }

    /// By itself, once more.
    pub(super) fn begin_anew(&mut self, at: Timestamp) {
        self.retries += 1;
        self.wait_for_its_turn(at);
    }

    pub(super) fn wait_for_its_turn(&mut self, at: Timestamp) {
        self.phase = Phase::Pending;
        self.failure = None;
        self.retry_at = None;
        self.overdue = None;
        self.since = at;
    }
}
