//! How many nodes of an environment may be down at once, and which are.

use std::collections::BTreeSet;
use std::fmt;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::quantity::Amount;
use fleet_proto::release::Strategy;

use super::state::{Rollout, State};

/// Nodes that serve the app, or did until they began to move, and do not serve it well now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    pub unavailable: BTreeSet<NodeId>,
    pub limit: usize,
    /// What the limit follows from.
    pub rule: Rule,
    pub total: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    MaxUnavailable,
    /// So many have to remain.
    MinAvailable(usize),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxUnavailable => f.write_str("max_unavailable"),
            Self::MinAvailable(_) => f.write_str("min_available"),
        }
    }
}

impl Availability {
    pub fn of(state: &State, rollout: &Rollout) -> Self {
        let plan = &rollout.plan;
        let (mut unavailable, total) = down(state, &plan.environment, &plan.app);
        if !rollout.is_forward() {
            // The way back is never closed by nodes that are out of everybody's reach.
            unavailable.retain(|id| state.nodes.get(id).is_some_and(|node| !node.is_unreachable()));
        }
        let (limit, rule) = limit(&plan.strategy, total);
        Self {
            unavailable,
            // The way back is never closed, whatever the way forward was told.
            limit: if rollout.is_forward() { limit } else { limit.max(1) },
            rule,
            total,
        }
    }

    /// For whoever takes a node out of service by hand: the limit that was last asked for.
    pub fn beside_rollouts(state: &State, environment: &EnvironmentName, app: &AppName) -> Self {
        let (unavailable, total) = down(state, environment, app);
        let newest = state.rollouts.values().rev().find(|rollout| {
            let plan = &rollout.plan;
            rollout.is_forward() && plan.app == *app && plan.environment == *environment
        });
        let (limit, rule) = match newest {
            Some(newest) => limit(&newest.plan.strategy, total),
            None => limit(&Strategy::default(), total),
        };
        Self {
            unavailable,
            limit,
            rule,
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

/// Who served the app and does not serve it well now; and how many nodes there are.
fn down(state: &State, environment: &EnvironmentName, app: &AppName) -> (BTreeSet<NodeId>, usize) {
    let Some(within) = state.environments.get(environment) else {
        return (BTreeSet::new(), 0);
    };
    let down = within.down.get(app).cloned().unwrap_or_default();
    (down, within.members.len())
}

/// How many may be down, by whichever rule allows fewer.
pub fn limit(strategy: &Strategy, total: usize) -> (usize, Rule) {
    let most = max_unavailable(strategy.max_unavailable, total);
    let Some(least) = strategy.min_available else {
        return (most, Rule::MaxUnavailable);
    };
    let least = least.of_rounded_up(total);
    let spare = total.saturating_sub(least);
    if spare < most {
        (spare, Rule::MinAvailable(least))
    } else {
        (most, Rule::MaxUnavailable)
    }
}

/// A share of a small fleet rounds down to nothing, and then nothing would ever move;
/// a count of 0 means what it says.
fn max_unavailable(amount: Amount, total: usize) -> usize {
    match amount {
        Amount::Percent(1..) => amount.of_rounded_down(total).max(1),
        _ => amount.of_rounded_down(total),
    }
}
