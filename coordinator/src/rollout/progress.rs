//! How a rollout stands, counted once: what the rules in `decide` and `check` read.

use fleet_proto::ids::NodeId;
use fleet_proto::session::{FailureClass, Phase};

use super::node::Node;
use super::state::{Rollout, State, Step};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Told and not over, over all waves.
    pub in_flight: usize,
    /// In flight and not yet verified: what a progress deadline waits for.
    pub unverified: Vec<NodeId>,
    /// Failed through the release.
    pub failed: Vec<NodeId>,
    /// Failed through infrastructure, or gone, and not forgiven.
    pub lost: Vec<NodeId>,
    /// Of the wave that runs.
    pub wave: WaveStand,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaveStand {
    /// Not told yet and connected, in the plan's order.
    pub ready: Vec<NodeId>,
    /// Not told yet, and silent or unreachable.
    pub absent: Vec<NodeId>,
    pub moving: Vec<NodeId>,
    /// Put back, and yet to find out whether that helped. Only on the way back.
    pub unclear: Vec<NodeId>,
    /// Verified, and not told that the bake is over.
    pub baking: Vec<NodeId>,
    /// Told so, and not heard of since.
    pub committing: Vec<NodeId>,
    pub done: usize,
}

impl WaveStand {
    pub fn is_over_but_for_the_bake(&self) -> bool {
        self.ready.is_empty() && self.absent.is_empty() && self.moving.is_empty() && self.unclear.is_empty()
    }

    pub fn good(&self) -> usize {
        self.baking.len() + self.committing.len() + self.done
    }
}

impl Progress {
    pub fn of(state: &State, rollout: &Rollout) -> Self {
        let mut progress = Self::default();
        for (id, step) in &rollout.steps {
            let gone = state.nodes.get(id).is_none_or(Node::is_unreachable);
            progress.count(id, step, gone, step.wave == rollout.wave);
        }
        if rollout.wave < rollout.plan.waves.len() {
            progress.wave = WaveStand::of(state, rollout);
        }
        progress
    }

    fn count(&mut self, id: &NodeId, step: &Step, gone: bool, in_wave: bool) {
        let given_up = step.forgiven && gone;
        if step.is_in_flight() && !step.is_good() && !given_up {
            self.in_flight += 1;
            self.unverified.push(id.clone());
        }
        if step.forgiven {
            return;
        }
        if step.failed_as(FailureClass::Release) {
            self.failed.push(id.clone());
            return;
        }
        let waited_for = step.is_in_flight() || (in_wave && step.phase == Phase::Pending);
        if step.failure.is_some() || (gone && waited_for) {
            self.lost.push(id.clone());
        }
    }
}

impl WaveStand {
    /// Of the wave that runs, and of earlier ones what came back too late for them: a node
    /// that was forgiven, or is tried again, still gets its orders and its end.
    fn of(state: &State, rollout: &Rollout) -> Self {
        let mut stand = Self::default();
        let so_far = rollout.plan.waves.iter().take(rollout.wave + 1).enumerate();
        for (wave, id) in so_far.flat_map(|(i, wave)| wave.nodes.iter().map(move |id| (i, id))) {
            let (Some(step), Some(node)) = (rollout.steps.get(id), state.nodes.get(id)) else {
                continue;
            };
            // What cannot be reached and is within the budget is not waited for; over the
            // budget the rollout has paused before anybody asks here.
            let given_up = node.is_unreachable() && (step.forgiven || rollout.is_forward());
            let current = wave == rollout.wave;
            match step.phase {
                Phase::Done => stand.done += usize::from(current),
                Phase::RolledBack if !rollout.is_forward() && node.is_yet_to_tell(&rollout.plan.app) => {
                    stand.unclear.push(id.clone());
                }
                Phase::Failed | Phase::RolledBack => {}
                _ if given_up => {}
                Phase::Pending if node.is_connected() => stand.ready.push(id.clone()),
                Phase::Pending => stand.absent.push(id.clone()),
                Phase::Baking if step.is_committed() => stand.committing.push(id.clone()),
                Phase::Baking => stand.baking.push(id.clone()),
                _ => stand.moving.push(id.clone()),
            }
        }
        stand
    }
}
