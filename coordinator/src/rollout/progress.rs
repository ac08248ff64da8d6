//! How a rollout stands, counted once: what the rules in `decide` and `check` read.

use fleet_proto::ids::NodeId;
use fleet_proto::session::{FailureClass, Order, Phase};

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
    /// Verified, and not told that the bake is over.
    pub baking: Vec<NodeId>,
    /// Told so, and not heard of since.
    pub committing: Vec<NodeId>,
    pub done: usize,
}

impl WaveStand {
    pub fn is_over_but_for_the_bake(&self) -> bool {
        self.ready.is_empty() && self.absent.is_empty() && self.moving.is_empty()
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
        if let Some(wave) = rollout.plan.waves.get(rollout.wave) {
            progress.wave = WaveStand::of(state, rollout, &wave.nodes);
        }
        progress
    }

    fn count(&mut self, id: &NodeId, step: &Step, gone: bool, in_wave: bool) {
        if step.is_in_flight() {
            self.in_flight += usize::from(!step.is_good());
            if !step.is_good() {
                self.unverified.push(id.clone());
            }
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
    fn of(state: &State, rollout: &Rollout, nodes: &[NodeId]) -> Self {
        let mut stand = Self::default();
        for id in nodes {
            let (Some(step), Some(node)) = (rollout.steps.get(id), state.nodes.get(id)) else {
                continue;
            };
            let given_up = step.forgiven && node.is_unreachable();
            match step.phase {
                Phase::Done => stand.done += 1,
                Phase::Failed | Phase::RolledBack => {}
                _ if given_up => {}
                Phase::Pending if node.is_connected() => stand.ready.push(id.clone()),
                Phase::Pending => stand.absent.push(id.clone()),
                Phase::Baking if step.order == Some(Order::Commit) => stand.committing.push(id.clone()),
                Phase::Baking => stand.baking.push(id.clone()),
                _ => stand.moving.push(id.clone()),
            }
        }
        stand
    }
}
