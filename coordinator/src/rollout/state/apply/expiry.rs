//! Ephemeral nodes: what becomes of one that is gone for good.

use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Span;
use fleet_proto::session::FailureClass;
use fleet_proto::time::Timestamp;

use super::IllegalEvent;
use crate::rollout::node::{Connection, Node};
use crate::rollout::state::State;

/// So long people are still told what has become of it. Pods come and go by the thousand, and
/// a state that knew all of them would grow for ever.
const KEPT: Span = Span::from_secs(86_400);

impl State {
    pub(super) fn expire(&mut self, id: &NodeId, at: Timestamp) -> Result<(), IllegalEvent> {
        self.connect(id, Connection::Expired { at })?;
        // Nothing is believed of it any more.
        self.outdated.remove(id);
        for number in &self.active {
            let Some(rollout) = self.rollouts.get_mut(number) else {
                continue;
            };
            if let Some(step) = rollout.steps.get_mut(id)
                // That the release failed on it stays true.
                && !step.failed_as(FailureClass::Release)
            {
                step.forgiven = true;
                rollout.note_step(id);
            }
        }
        self.note_wishes(id);
        Ok(())
    }

    /// Those that expired long ago, and that nothing speaks of which has not ended.
    pub(super) fn forget_expired(&mut self, at: Timestamp) {
        let is_over =
            |node: &Node| matches!(node.connection, Connection::Expired { at: end } if end.plus(KEPT) <= at);
        let over = self.nodes.iter().filter(|(_, node)| is_over(node));
        let forgotten: Vec<NodeId> = over
            .map(|(id, _)| id.clone())
            .filter(|id| !self.is_spoken_of(id))
            .collect();
        for id in forgotten {
            self.nodes.remove(&id);
            self.away.remove(&id);
        }
    }

    fn is_spoken_of(&self, id: &NodeId) -> bool {
        let mut active = self.active.iter().filter_map(|number| self.rollouts.get(number));
        let mut migrations = self
            .environments
            .values()
            .flat_map(|within| within.migrations.values());
        active.any(|rollout| rollout.steps.contains_key(id) || rollout.has_in_its_plan(id))
            || migrations.any(|records| records.values().any(|record| record.node == *id))
    }
}
