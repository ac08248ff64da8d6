//! What is kept at hand is what one would find by looking at everything.

use std::collections::BTreeSet;

use fleet_proto::session::Phase;

use crate::rollout::event::{PauseCause, Tenure};
use crate::rollout::node::Connection;
use crate::rollout::state::{Course, Rollout, State};

/// The index of those that are behind is what one would find by looking at everybody.
pub(super) fn those_behind_are_known(state: &State, broken: &mut Vec<String>) {
    for (name, within) in &state.environments {
        for (app, desired) in &within.desired {
            let is_planned = |id| {
                let active = state
                    .active
                    .iter()
                    .filter_map(|number| state.rollouts.get(number));
                let mut here = active.filter(|rollout| {
                    !rollout.beside && rollout.plan.app == *app && rollout.plan.environment == *name
                });
                here.any(|rollout| rollout.steps.contains_key(id) || rollout.plan.held_back.contains(id))
            };
            let known = within.behind.get(app);
            for (id, node) in &state.nodes {
                let stands = node.apps.get(app);
                let wish = stands
                    .and_then(|stands| stands.wanted.as_ref())
                    .unwrap_or(desired);
                let is_there = stands.is_some_and(|stands| {
                    stands.current.as_ref() == Some(wish) && stands.last_good.as_ref() == Some(wish)
                });
                let counts = !node.is_revoked() && within.select.matches(&node.labels);
                let is_behind = counts && !is_there && !is_planned(id);
                if is_behind != known.is_some_and(|known| known.contains(id)) {
                    let not = if is_behind { "" } else { "not " };
                    broken.push(format!("{name}: {id} is {not}behind in {app}, and nobody knows"));
                }
            }
        }
    }
}

/// Nothing follows from a step that is not in the index.
pub(super) fn open_steps_are_known(rollout: &Rollout, broken: &mut Vec<String>) {
    for (node, step) in &rollout.steps {
        let is_to_come = step.phase == Phase::Pending && step.wave > rollout.wave;
        let is_quiet = (is_to_come || step.phase == Phase::Done) && step.failure.is_none();
        if is_quiet == rollout.open.contains(node) {
            broken.push(format!(
                "{}: {node} is {} and not known as that",
                rollout.number, step.phase
            ));
        }
    }
}

/// Whoever may expire is looked at, and only whoever is ephemeral expires.
pub(super) fn those_that_expire_are_known(state: &State, broken: &mut Vec<String>) {
    for (id, node) in &state.nodes {
        let is_ephemeral = node.tenure == Tenure::Ephemeral;
        let is_gone = matches!(node.connection, Connection::Unreachable { .. });
        if (is_ephemeral && is_gone) != state.expiring.contains(id) {
            broken.push(format!(
                "{id} is gone or back, and the index of those that expire is wrong"
            ));
        }
        if matches!(node.connection, Connection::Expired { .. }) && !is_ephemeral {
            broken.push(format!("{id} has expired and is not ephemeral"));
        }
    }
    if let Some(id) = state.expiring.iter().find(|id| !state.nodes.contains_key(*id)) {
        broken.push(format!("{id} is forgotten and is still to expire"));
    }
}

pub(super) fn indexes_agree(state: &State, broken: &mut Vec<String>) {
    let active: BTreeSet<_> = state
        .rollouts
        .values()
        .filter(|rollout| !matches!(rollout.course, Course::Ended { .. }))
        .map(|rollout| rollout.number)
        .collect();
    if active != state.active {
        broken.push("the index of active rollouts is wrong".into());
    }
    for rollout in state.rollouts.values() {
        if let Course::Paused {
            cause: PauseCause::Operator,
            why,
            ..
        } = &rollout.course
            && why.is_empty()
        {
            broken.push(format!("{} is paused and does not say why", rollout.number));
        }
    }
}
