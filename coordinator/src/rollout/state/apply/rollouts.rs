//! Rollouts: their course, their waves and their steps.

use std::collections::BTreeMap;

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::session::{Failure, FailureClass, Order, Phase};
use fleet_proto::time::Timestamp;

use super::IllegalEvent;
use crate::rollout::event::{Outcome, RolloutKind, RolloutStart};
use crate::rollout::node::IssuedOrder;
use crate::rollout::plan::Wave;
use crate::rollout::state::{Course, Rollout, State, Step, WaveProgress};

/// What `status`, `history` and a rollback by number look back on; a state that held all
/// of them would make every start slower than the one before.
const ENDED_ROLLOUTS_KEPT: usize = 200;

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
        let step = self.step(number, node)?;
        if generation != step.generation + 1 {
            return Err(IllegalEvent::Generation {
                number,
                node: node.clone(),
                last: step.generation,
                generation,
            });
        }
        if step.generation == 0 {
            step.from = from;
        }
        if let Some(phase) = phase_when_told(order) {
            step.phase = phase;
            step.since = at;
        }
        step.generation = generation;
        step.order = Some(order.clone());
        self.node(node)?.apps.entry(app).or_default().order = Some(IssuedOrder {
            number,
            generation,
            order: order.clone(),
        });
        Ok(())
    }

    pub(super) fn move_step(
        &mut self,
        number: RolloutNumber,
        node: &NodeId,
        phase: Phase,
        failure: Option<&Failure>,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let step = self.step(number, node)?;
        let got_good = !step.is_good() && matches!(phase, Phase::Baking | Phase::Done);
        step.phase = phase;
        step.since = at;
        step.failure = failure.cloned();
        if got_good {
            self.rollout(number)?.progress_at = at;
        }
        Ok(())
    }

    fn rollout(&mut self, number: RolloutNumber) -> Result<&mut Rollout, IllegalEvent> {
        self.rollouts
            .get_mut(&number)
            .ok_or(IllegalEvent::NoRollout(number))
    }

    pub(super) fn open_rollout(&mut self, number: RolloutNumber) -> Result<&mut Rollout, IllegalEvent> {
        let rollout = self.rollout(number)?;
        if rollout.is_ended() {
            return Err(IllegalEvent::Ended(number));
        }
        Ok(rollout)
    }

    pub(super) fn rollout_at_wave(
        &mut self,
        number: RolloutNumber,
        wave: usize,
    ) -> Result<&mut Rollout, IllegalEvent> {
        let rollout = self.open_rollout(number)?;
        if rollout.wave != wave || wave >= rollout.waves.len() {
            return Err(IllegalEvent::Wave {
                number,
                at: rollout.wave,
                wave,
            });
        }
        Ok(rollout)
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

    pub(super) fn start_rollout(
        &mut self,
        number: RolloutNumber,
        start: &RolloutStart,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        if self.rollouts.contains_key(&number) {
            return Err(IllegalEvent::RolloutExists(number));
        }
        let rollout = Rollout {
            number,
            kind: start.kind.clone(),
            plan: start.plan.clone(),
            by: start.by.clone(),
            reason: start.reason.clone(),
            request_id: start.request_id.clone(),
            started_at: at,
            term: self.term,
            course: Course::Running,
            wave: 0,
            waves: vec![WaveProgress::default(); start.plan.waves.len()],
            steps: steps_of(&start.plan.waves, 0, at),
            progress_at: at,
            rollback: None,
        };
        self.rollouts.insert(number, rollout);
        self.active.insert(number);
        Ok(())
    }

    pub(super) fn widen(
        &mut self,
        number: RolloutNumber,
        waves: &[Wave],
        held_back: &[NodeId],
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let rollout = self.open_rollout(number)?;
        let first = rollout.waves.len();
        rollout.steps.append(&mut steps_of(waves, first, at));
        rollout.waves.resize(first + waves.len(), WaveProgress::default());
        rollout.plan.waves.extend_from_slice(waves);
        rollout.plan.held_back = held_back.to_vec();
        rollout.course = Course::Running;
        rollout.progress_at = at;
        Ok(())
    }

    pub(super) fn end_rollout(
        &mut self,
        number: RolloutNumber,
        outcome: Outcome,
        why: Option<&String>,
        rollback: Option<RolloutNumber>,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let rollout = self.open_rollout(number)?;
        rollout.course = Course::Ended {
            outcome,
            why: why.cloned(),
            at,
        };
        rollout.rollback = rollback;
        let rollout = rollout.clone();
        self.active.remove(&number);
        self.withdraw_deploys(&rollout);
        if outcome == Outcome::Succeeded {
            self.record_desired(&rollout);
        }
        self.forget_old_rollouts();
        Ok(())
    }

    /// A node that was away is not told to install something by a rollout that is over:
    /// nobody would count it, wait for it, or keep what it does within limits.
    fn withdraw_deploys(&mut self, rollout: &Rollout) {
        for (id, step) in &rollout.steps {
            if step.phase.is_settled() || !step.is_issued() {
                continue;
            }
            let app = self
                .nodes
                .get_mut(id)
                .and_then(|node| node.apps.get_mut(&rollout.plan.app));
            if let Some(app) = app {
                app.order.take_if(|issued| {
                    issued.number == rollout.number && matches!(issued.order, Order::Deploy { .. })
                });
            }
        }
    }

    /// The journal keeps what the state forgets.
    fn forget_old_rollouts(&mut self) {
        let ended = self.rollouts.len() - self.active.len();
        let forgotten: Vec<RolloutNumber> = self
            .rollouts
            .keys()
            .filter(|number| !self.active.contains(number))
            .take(ended.saturating_sub(ENDED_ROLLOUTS_KEPT))
            .copied()
            .collect();
        for number in forgotten {
            self.rollouts.remove(&number);
        }
    }

    /// A rollout that succeeded says what the environment wants from now on; a rollback
    /// says so only where all nodes agree, and only if it undid what was wanted: after a
    /// rollout that failed, the environment wants what it wanted before.
    fn record_desired(&mut self, rollout: &Rollout) {
        if let RolloutKind::Rollback {
            parent: Some(parent), ..
        } = &rollout.kind
            && self
                .rollouts
                .get(parent)
                .is_some_and(|parent| !parent.succeeded())
        {
            return;
        }
        let app = &rollout.plan.app;
        let mut reached: Vec<_> = match &rollout.kind {
            RolloutKind::Forward { release } => vec![Some(release.clone())],
            RolloutKind::Rollback { .. } => rollout
                .steps
                .iter()
                .filter(|(_, step)| step.phase == Phase::RolledBack)
                .filter_map(|(node, _)| self.nodes.get(node))
                .map(|node| node.current(app).cloned())
                .collect(),
        };
        reached.sort();
        reached.dedup();
        let Some(environment) = self.environments.get_mut(&rollout.plan.environment) else {
            return;
        };
        if let [Some(release)] = reached.as_slice() {
            environment.desired.insert(app.clone(), release.clone());
        } else if !reached.is_empty() {
            environment.desired.remove(app);
        }
    }
}

/// From the command on the step counts as on its way, whatever the node has got round to.
fn phase_when_told(order: &Order) -> Option<Phase> {
    match order {
        Order::Deploy { .. } => Some(Phase::Fetching),
        Order::Revert { .. } => Some(Phase::RollingBack),
        Order::Commit => None,
    }
}

fn steps_of(waves: &[Wave], first: usize, at: Timestamp) -> BTreeMap<NodeId, Step> {
    let mut steps = BTreeMap::new();
    for (i, wave) in waves.iter().enumerate() {
        for (place, node) in wave.nodes.iter().enumerate() {
            steps.insert(
                node.clone(),
                Step {
                    wave: first + i,
                    place,
                    phase: Phase::Pending,
                    since: at,
                    generation: 0,
                    order: None,
                    from: None,
                    failure: None,
                    forgiven: false,
                },
            );
        }
    }
    steps
}

impl Rollout {
    /// What failed for want of infrastructure is tried again from the beginning.
    pub(super) fn resume(&mut self, forgiven: &[NodeId], at: Timestamp) {
        self.course = Course::Running;
        self.progress_at = at;
        // On the way back, rolled back is what was asked for, whatever had failed before.
        let is_forward = self.is_forward();
        for step in self.steps.values_mut() {
            let came_to_nothing =
                step.phase == Phase::Failed || (is_forward && step.phase == Phase::RolledBack);
            if came_to_nothing && step.failed_as(FailureClass::Infrastructure) {
                step.phase = Phase::Pending;
                step.failure = None;
                step.since = at;
            }
        }
        for node in forgiven {
            if let Some(step) = self.steps.get_mut(node) {
                step.forgiven = true;
            }
        }
    }
}
