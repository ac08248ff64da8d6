//! How many nodes of an environment may be down at once, and which are.

use std::collections::BTreeSet;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::quantity::Amount;
use fleet_proto::release::Strategy;
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
        let plan = &rollout.plan;
        let (unavailable, total) = count(state, &plan.environment, &plan.app, &[rollout]);
        Self {
            unavailable,
            limit: limit_of(rollout, total),
            total,
        }
    }

    /// For whoever takes a node out of service by hand: the limit that was last asked for.
    pub fn beside_rollouts(state: &State, environment: &EnvironmentName, app: &AppName) -> Self {
        let active = [
            state.active_rollout(app, environment),
            state.active_beside(app, environment),
        ];
        let forward: Vec<&Rollout> = active
            .into_iter()
            .flatten()
            .filter(|rollout| rollout.is_forward())
            .collect();
        let (unavailable, total) = count(state, environment, app, &forward);
        let newest = state.rollouts.values().rev().find(|rollout| {
            let plan = &rollout.plan;
            rollout.is_forward() && plan.app == *app && plan.environment == *environment
        });
        let amount = newest.map_or_else(
            || Strategy::default().max_unavailable,
            |rollout| rollout.plan.strategy.max_unavailable,
        );
        Self {
            unavailable,
            limit: limit(amount, total),
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

/// Who serves the app, or did until one of these rollouts took it away, and does not serve
/// it well now; and how many nodes there are.
fn count(
    state: &State,
    environment: &EnvironmentName,
    app: &AppName,
    rollouts: &[&Rollout],
) -> (BTreeSet<NodeId>, usize) {
    let mut unavailable = BTreeSet::new();
    let mut total = 0;
    let Some(environment) = state.environments.get(environment) else {
        return (unavailable, total);
    };
    // The way back is never closed by nodes that are out of everybody's reach.
    let is_forward = rollouts.iter().all(|rollout| rollout.is_forward());
    for (id, node) in state.nodes_of(&environment.select) {
        total += 1;
        let counts = is_forward || !node.is_unreachable();
        let Some(stands) = node.app(app).filter(|_| counts) else {
            continue;
        };
        // From the moment of the command: when exactly it goes down is its affair.
        let is_well =
            node.is_connected() && stands.health == Health::Healthy && !stands.busy && !node.service.drained;
        let is_emptied = || {
            rollouts.iter().any(|rollout| {
                let step = rollout.steps.get(id);
                step.is_some_and(|step| step.from.is_some() && step.is_issued())
            })
        };
        if !is_well && (stands.current.is_some() || (is_forward && is_emptied())) {
            unavailable.insert(id.clone());
        }
    }
    (unavailable, total)
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
