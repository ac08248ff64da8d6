//! What is in service, and what ever was.

use std::collections::BTreeSet;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::release::ReleaseRef;
use fleet_proto::version::Version;

use crate::rollout::input::{Refusal, RefusalKind};
use crate::rollout::plan::{find_environment, find_release};
use crate::rollout::state::{Rollout, State};

/// Of an environment's rollouts the newest that brought what some node still runs: those
/// that it left where they were are not taken back further.
pub(super) fn newest_in_service<'a>(
    state: &'a State,
    app: &AppName,
    environment: &EnvironmentName,
) -> Option<&'a Rollout> {
    let mut here = state.rollouts.values().rev().filter(|rollout| {
        let plan = &rollout.plan;
        plan.app == *app && plan.environment == *environment && rollout.is_forward() && !rollout.is_catch_up()
    });
    here.find(|rollout| {
        let release = rollout.release();
        release.is_some_and(|release| !who_runs(state, rollout, release).is_empty())
    })
}

/// Those that run it, and those that may without having said so yet: brought by this
/// rollout, or to it by a catch-up since.
pub(super) fn who_runs(state: &State, rollout: &Rollout, release: &ReleaseRef) -> BTreeSet<NodeId> {
    let plan = &rollout.plan;
    let catch_up = state
        .active_beside(&plan.app, &plan.environment)
        .filter(|catch_up| catch_up.release() == Some(release));
    // Whatever it was at in an older rollout, a newer one has told it something else.
    let is_the_newest = |rollout: &Rollout, id: &NodeId| {
        let stands = state.nodes.get(id).and_then(|node| node.app(&plan.app));
        stands.is_none_or(|stands| stands.told.0 <= rollout.number)
    };
    let on_its_way = |rollout: &Rollout, id: &NodeId| {
        let step = rollout.steps.get(id);
        step.is_some_and(|step| step.is_in_flight() && !step.taken_over) && is_the_newest(rollout, id)
    };
    let within = state.environments.get(&plan.environment);
    let members = within.into_iter().flat_map(|within| &within.members);
    members
        .chain(rollout.steps.keys())
        .filter(|id| {
            let Some(node) = state.nodes.get(*id) else {
                return false;
            };
            let brought_by = node.app(&plan.app).map_or(rollout.number, |stands| stands.told.0);
            let runs = node.current(&plan.app) == Some(release)
                && match state.rollouts.get(&brought_by) {
                    // By one that nobody remembers.
                    None => true,
                    Some(brought) if brought.plan.environment != plan.environment => false,
                    Some(brought) => {
                        brought.beside || !brought.is_forward() || rollout.steps.contains_key(*id)
                    }
                };
            runs || on_its_way(rollout, id) || catch_up.is_some_and(|catch_up| on_its_way(catch_up, id))
        })
        .cloned()
        .collect()
}

/// Nobody goes back to what has never been in service here: it would pass by waves, bake
/// and budget.
pub(super) fn must_have_served(
    state: &State,
    app: &AppName,
    environment: &EnvironmentName,
    version: &Version,
) -> Result<ReleaseRef, Refusal> {
    let release = find_release(state, app, version)?.release.clone();
    let (_, within) = find_environment(state, Some(environment))?;
    let is_good_on_a_node = || {
        let mut nodes = within.members.iter().filter_map(|id| state.nodes.get(id));
        nodes.any(|node| {
            node.app(app)
                .is_some_and(|stands| stands.last_good.as_ref() == Some(&release))
        })
    };
    let has_served = || {
        state.rollouts.values().any(|rollout| {
            let plan = &rollout.plan;
            plan.app == *app
                && plan.environment == *environment
                && rollout.is_forward()
                && rollout.release() == Some(&release)
                && rollout.has_proven_it()
        })
    };
    if is_good_on_a_node() || has_served() {
        return Ok(release);
    }
    Err(Refusal::new(
        RefusalKind::Refused,
        format!("{release} has never been in service in {environment}, so nothing goes back to it"),
    )
    .hint(format!("fleetctl rollout {version} brings it, by waves")))
}
