//! The fleet at a glance.

use fleet_proto::time::Timestamp;
use fleet_proto::view::board::{AppBoard, CoordinatorBoard, EnvironmentBoard, NodeCounts, StatusBoard};

use super::rollouts::summary;
use crate::rollout::node::{Connection, Node};
use crate::rollout::outdated;
use crate::rollout::state::State;
use crate::rollout::view::{environment_view, halt, waiting};

/// What came last, beside what runs.
const RECENT_SHOWN: usize = 5;

pub fn status(state: &State, now: Timestamp) -> StatusBoard {
    let rollouts = || state.rollouts.values().rev();
    StatusBoard {
        coordinator: CoordinatorBoard {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            term: state.term,
            position: state.position,
            outdated: outdated::waiting(state).map(waiting),
        },
        halt: state.halt.as_ref().map(halt),
        environments: environments(state),
        active: rollouts()
            .filter(|rollout| !rollout.is_ended())
            .map(|rollout| summary(state, rollout, now))
            .collect(),
        recent: rollouts()
            .filter(|rollout| rollout.is_ended())
            .take(RECENT_SHOWN)
            .map(|rollout| summary(state, rollout, now))
            .collect(),
        nodes: count(state),
    }
}

pub fn environments(state: &State) -> Vec<EnvironmentBoard> {
    let environments = state.environments.iter();
    environments
        .map(|(name, within)| {
            let view = environment_view(state, name, within, None);
            EnvironmentBoard {
                environment: view.environment,
                select: view.select,
                halt: view.halt,
                apps: view.apps.into_iter().map(AppBoard::from).collect(),
            }
        })
        .collect()
}

fn count(state: &State) -> NodeCounts {
    let mut counts = NodeCounts {
        total: state.nodes.len(),
        ..NodeCounts::default()
    };
    for node in state.nodes.values() {
        let of_connection = match node.connection {
            Connection::Connected => &mut counts.connected,
            Connection::Silent { .. } => &mut counts.silent,
            Connection::Unreachable { .. } => &mut counts.unreachable,
            Connection::Revoked { .. } => &mut counts.revoked,
            Connection::Expired { .. } => &mut counts.expired,
        };
        *of_connection += 1;
        counts.unhealthy += usize::from(is_unhealthy(node));
        counts.cordoned += usize::from(node.cordon.is_some());
        counts.drained += usize::from(node.service.drained);
    }
    counts
}

fn is_unhealthy(node: &Node) -> bool {
    let mut apps = node.apps.iter();
    node.is_connected() && apps.any(|(name, app)| app.current.is_some() && !node.is_healthy(name))
}
