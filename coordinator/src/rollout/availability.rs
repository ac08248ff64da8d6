//! How many nodes of an environment may be down at once, and which are.

use std::collections::BTreeSet;

use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Amount;
use fleet_proto::session::Health;

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
        if let Some(environment) = state.environments.get(&rollout.plan.environment) {
            for (id, node) in state.nodes_of(&environment.select) {
                total += 1;
                // The way back is never closed by nodes that are out of everybody's reach.
                let counts = rollout.is_forward() || !node.is_unreachable();
                let Some(stands) = node.app(app).filter(|_| counts) else {
                    continue;
                };
                // From the moment of the command: when exactly it goes down is its affair.
                let is_well = node.is_connected() && stands.health == Health::Healthy && !stands.busy;
                if stands.current.is_some() && !is_well {
                    unavailable.insert(id.clone());
                }
            }
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
