//! What people read, made from state. No decision is made here.

pub mod board;
mod events;
pub mod figures;
mod nodes;
mod operators;
mod rollouts;

use std::collections::{BTreeMap, BTreeSet};

use fleet_proto::ids::{AppName, EnvironmentName};
use fleet_proto::time::Timestamp;
use fleet_proto::view::{
    CoordinatorView, EnvironmentAppView, EnvironmentView, HaltView, ReleaseView, RolloutView, StatusView,
    TokenView,
};

use super::event::Tenure;
use super::outdated;
use super::state::{Environment, Halt, State};

pub use events::event;
pub use figures::figures;
pub use nodes::node;
pub use operators::{operator, operators};
use rollouts::{course, step_view, waiting, waits_for, wave_view};
pub use rollouts::{plan, rollout};

/// `status` shows what runs and what came last, not all history.
const ENDED_ROLLOUTS_SHOWN: usize = 5;

pub fn status(
    state: &State,
    app: Option<&AppName>,
    environment: Option<&EnvironmentName>,
    now: Timestamp,
) -> StatusView {
    let wanted_environment = |name: &EnvironmentName| environment.is_none_or(|wanted| wanted == name);
    StatusView {
        coordinator: coordinator(state, now),
        halt: state.halt.as_ref().map(halt),
        environments: state
            .environments
            .iter()
            .filter(|(name, _)| wanted_environment(name))
            .map(|(name, within)| environment_view(state, name, within, app))
            .collect(),
        rollouts: newest_rollouts(state, app, environment, now),
        nodes: state
            .nodes
            .iter()
            .filter(|(_, node)| {
                environment.is_none_or(|wanted| {
                    state
                        .environments
                        .get(wanted)
                        .is_some_and(|within| within.select.matches(&node.labels))
                })
            })
            .map(|(id, found)| node(state, id, found))
            .collect(),
    }
}

fn coordinator(state: &State, now: Timestamp) -> CoordinatorView {
    CoordinatorView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        term: state.term,
        position: state.position,
        now,
        outdated: outdated::waiting(state).map(waiting),
    }
}

fn newest_rollouts(
    state: &State,
    app: Option<&AppName>,
    environment: Option<&EnvironmentName>,
    now: Timestamp,
) -> Vec<RolloutView> {
    let mut ended = 0;
    state
        .rollouts
        .values()
        .rev()
        .filter(|rollout| app.is_none_or(|wanted| rollout.plan.app == *wanted))
        .filter(|rollout| environment.is_none_or(|wanted| rollout.plan.environment == *wanted))
        .filter(|rollout| {
            ended += usize::from(rollout.is_ended());
            !rollout.is_ended() || ended <= ENDED_ROLLOUTS_SHOWN
        })
        .map(|found| rollout(state, found, now))
        .collect()
}

fn environment_view(
    state: &State,
    name: &EnvironmentName,
    within: &Environment,
    only: Option<&AppName>,
) -> EnvironmentView {
    let apps = state
        .releases
        .keys()
        .filter(|app| only.is_none_or(|wanted| wanted == *app))
        .map(|app| environment_app(state, within, app))
        .collect();
    EnvironmentView {
        environment: name.clone(),
        select: within.select.to_string(),
        halt: within.halt.as_ref().map(halt),
        apps,
    }
}

fn halt(halt: &Halt) -> HaltView {
    HaltView {
        by: halt.by.clone(),
        reason: halt.reason.clone(),
        since: halt.since,
    }
}

fn environment_app(state: &State, within: &Environment, app: &AppName) -> EnvironmentAppView {
    let mut view = EnvironmentAppView {
        app: app.clone(),
        desired: within.desired.get(app).cloned(),
        nodes: 0,
        healthy: 0,
        unavailable: 0,
        behind: within.behind.get(app).map_or(0, BTreeSet::len),
        versions: BTreeMap::new(),
    };
    for (_, node) in state.nodes_of(&within.select) {
        view.nodes += 1;
        if let Some(current) = node.current(app) {
            *view.versions.entry(current.version.to_string()).or_default() += 1;
            if node.is_healthy(app) {
                view.healthy += 1;
            } else {
                view.unavailable += 1;
            }
        }
    }
    view
}

pub fn releases(state: &State, app: Option<&AppName>) -> Vec<ReleaseView> {
    let mut views: Vec<ReleaseView> = state
        .releases
        .iter()
        .filter(|(name, _)| app.is_none_or(|wanted| wanted == *name))
        .flat_map(|(name, releases)| {
            releases.values().map(|release| ReleaseView {
                app: name.clone(),
                release: release.release.clone(),
                counter: release.counter,
                pushed_at: release.pushed_at,
                by: release.by.clone(),
                components: release.components.iter().map(ToString::to_string).collect(),
                signed_by: release.signed_by.clone(),
            })
        })
        .collect();
    views.sort_by(|a, b| (&a.app, b.counter).cmp(&(&b.app, a.counter)));
    views
}

pub fn tokens(state: &State, now: Timestamp) -> Vec<TokenView> {
    state
        .tokens
        .iter()
        .map(|(id, token)| TokenView {
            id: id.clone(),
            node: token.node.clone(),
            labels: token.labels.clone(),
            uses_left: token.uses_left,
            expires_at: token.expires_at,
            by: token.by.clone(),
            ephemeral: token.tenure == Tenure::Ephemeral,
            state: if token.revoked {
                "revoked"
            } else if token.expires_at <= now {
                "expired"
            } else if token.uses_left == 0 {
                "used up"
            } else {
                "open"
            }
            .to_owned(),
        })
        .collect()
}
