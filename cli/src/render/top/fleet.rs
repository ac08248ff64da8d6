//! The fleet as it was last told: the coordinator's answer, and what follows from it once,
//! so that drawing it again costs what is on the screen and not what is in the fleet.

use std::collections::BTreeMap;

use fleet_proto::ids::{AppName, NodeId, RolloutNumber};
use fleet_proto::time::Timestamp;
use fleet_proto::view::{NodeView, RolloutKindView, RolloutView, StatusView};

use super::standing::Standing;

#[derive(Debug, Clone)]
pub struct Fleet {
    pub status: StatusView,
    /// One a node, in the order of `status.nodes`.
    pub standings: Vec<Standing>,
    /// When it was asked for, by this machine's clock.
    pub seen_at: Timestamp,
}

impl Fleet {
    pub fn new(status: StatusView, only: Option<&AppName>, seen_at: Timestamp) -> Self {
        let mut fleet = Self {
            standings: Vec::new(),
            status,
            seen_at,
        };
        fleet.judge(only);
        fleet
    }

    /// A newer view of one rollout.
    pub fn take_rollout(&mut self, view: RolloutView, only: Option<&AppName>) {
        let rollouts = &mut self.status.rollouts;
        match rollouts.iter_mut().find(|known| known.number == view.number) {
            Some(known) => *known = view,
            None => rollouts.insert(0, view),
        }
        self.judge(only);
    }

    fn judge(&mut self, only: Option<&AppName>) {
        let mut steps: BTreeMap<&NodeId, Standing> = BTreeMap::new();
        for rollout in self.status.rollouts.iter().filter(|view| !view.state.is_ended()) {
            for step in &rollout.steps {
                let standing = Standing::of_step(step, rollout);
                let worst = steps.entry(&step.node).or_insert(standing);
                *worst = standing.min(*worst);
            }
        }
        let nodes = self.status.nodes.iter();
        self.standings = nodes
            .map(|node| Standing::of_node(node, steps.get(&node.node).copied(), only))
            .collect();
    }

    /// The coordinator's time, for its clock is the one that counts.
    pub fn now(&self, here: Timestamp) -> Timestamp {
        self.status.coordinator.now.plus(here.since(self.seen_at))
    }

    pub fn rollout(&self, number: RolloutNumber) -> Option<&RolloutView> {
        self.status.rollouts.iter().find(|view| view.number == number)
    }

    /// What a rollback takes back, where that is known.
    pub fn parent(&self, view: &RolloutView) -> Option<&RolloutView> {
        match view.kind {
            RolloutKindView::Rollback { parent } => self.rollout(parent?),
            RolloutKindView::Forward | RolloutKindView::CatchUp => None,
        }
    }

    pub fn position(&self, node: &NodeId) -> Option<usize> {
        self.status.nodes.iter().position(|view| view.node == *node)
    }

    pub fn node(&self, node: &NodeId) -> Option<(&NodeView, Standing)> {
        let at = self.position(node)?;
        Some((self.status.nodes.get(at)?, *self.standings.get(at)?))
    }
}
