//! How many nodes of an environment may be down at once, and which are.

use std::collections::BTreeSet;

use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Amount;

use super::state::{Rollout, State};

/// Nodes that serve the app, or did until they began to move, and do not serve it well now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    pub unavailable: BTreeSet<NodeId>,
    pub limit: usize,
    pub total: usize,
}

impl Availability {
    pub fn of(state: &State, rollout: &Rollout) -> Self {
        let app = &rollout.plan.app;
        let mut unavailable = BTreeSet::new();
        let mut total = 0;
        if let Some(within) = state.environments.get(&rollout.plan.environment) {
            total = within.members.len();
            // The way back is never closed by nodes that are out of everybody's reach.
            let counts = |id: &&NodeId| {
                rollout.is_forward() || state.nodes.get(*id).is_some_and(|node| !node.is_unreachable())
            };
            let down = within.down.get(app).into_iter().flatten();
            unavailable = down.filter(counts).cloned().collect();
        }
        Self {
            unavailable,
            limit: limit_of(rollout, total),
            total,
        }
    }

    /// A node that is down already, or serves nothing yet, costs nothing.
    pub fn admits(&self, node: &NodeId, serves: bool) -> bool {
        !serves || self.unavailable.contains(node) || self.unavailable.len() < self.limit
    }

    pub fn take(&mut self, node: &NodeId, serves: bool) {
        if serves {
            self.unavailable.insert(node.clone());
        }
    }
}

/// The way back is never closed, whatever the way forward was told.
fn limit_of(rollout: &Rollout, total: usize) -> usize {
    let limit = limit(rollout.plan.strategy.max_unavailable, total);
    if rollout.is_forward() { limit } else { limit.max(1) }
}

/// A share of a small fleet rounds down to nothing, and then nothing would ever move;
/// a count of 0 means what it says.
pub fn limit(amount: Amount, total: usize) -> usize {
    match amount {
        Amount::Percent(1..) => amount.of_rounded_down(total).max(1),
        _ => amount.of_rounded_down(total),
    }
}
