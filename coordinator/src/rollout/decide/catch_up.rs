//! Nodes that were away when their environment moved on, or are new: they are brought to
//! what is wanted of them, by rollouts of their own that ask nobody and stop nobody.

use std::collections::BTreeMap;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;

use crate::rollout::event::{CatchUp, Event, Outcome, RolloutKind, RolloutStart, Urgency};
use crate::rollout::plan::{plan_catch_up, why_left_out};
use crate::rollout::state::{Environment, Release, Rollout, State};

/// The first catch-up that is due, of one app in one environment to one release.
pub(super) fn start(state: &State, now: Timestamp) -> Vec<Event> {
    state
        .environments
        .iter()
        .filter(|(name, within)| within.catch_up == CatchUp::Auto && state.halt_of(name).is_none())
        .flat_map(|(name, within)| {
            within
                .behind
                .iter()
                .map(move |(app, behind)| (name, within, app, behind))
        })
        .filter(|(_, _, _, behind)| !behind.is_empty())
        .filter(|(name, _, app, _)| may_start(state, app, name))
        .find_map(|(name, within, app, behind)| {
            let mut by_release: BTreeMap<&ReleaseRef, Vec<NodeId>> = BTreeMap::new();
            for id in behind {
                if let Some(wish) = catches_up(state, name, within, app, id, now) {
                    by_release.entry(wish).or_default().push(id.clone());
                }
            }
            let (wish, nodes) = by_release.into_iter().next()?;
            let release = known_release(state, app, wish)?;
            Some(vec![started(state, name, app, release, nodes)])
        })
        .unwrap_or_default()
}

/// Beside a rollout forward, whose nodes are not among those that are behind; never beside
/// a rollback: what will be wanted afterwards is not known yet.
fn may_start(state: &State, app: &AppName, environment: &EnvironmentName) -> bool {
    let goes_back = state
        .active_rollout(app, environment)
        .is_some_and(|active| !active.is_forward());
    !goes_back && state.active_beside(app, environment).is_none()
}

/// What this node is to be brought to now, if anything.
fn catches_up<'a>(
    state: &'a State,
    name: &EnvironmentName,
    within: &'a Environment,
    app: &AppName,
    id: &NodeId,
    now: Timestamp,
) -> Option<&'a ReleaseRef> {
    let node = state.nodes.get(id)?;
    let wish = within.wish(node, app)?;
    let release = known_release(state, app, wish)?;
    let is_known_bad = within
        .known_bad
        .get(app)
        .and_then(|bad| bad.get(&wish.version))
        .is_some_and(|bad| bad.release == *wish);
    let stands = node.app(app);
    // What it left by itself or by a person's hand is not brought again unasked.
    let has_left_it = stands.is_some_and(|stands| stands.has_left(wish));
    let is_not_yet = stands.is_some_and(|stands| stands.busy || stands.catch_up_after > now);
    let may = node.is_connected()
        && !is_known_bad
        && !has_left_it
        && !is_not_yet
        && why_left_out(node, app, release).is_none()
        && state.other_environment(name, node).is_none();
    may.then_some(wish)
}

fn known_release<'a>(state: &'a State, app: &AppName, wish: &ReleaseRef) -> Option<&'a Release> {
    state
        .release(app, &wish.version)
        .filter(|release| release.release == *wish)
}

fn started(
    state: &State,
    environment: &EnvironmentName,
    app: &AppName,
    release: &Release,
    nodes: Vec<NodeId>,
) -> Event {
    let start = RolloutStart {
        kind: RolloutKind::CatchUp {
            release: release.release.clone(),
        },
        plan: plan_catch_up(app, environment, nodes, release),
        by: "fleet".to_owned(),
        reason: Some(format!(
            "{environment} wants {app} {} of every node",
            release.release
        )),
        request_id: None,
        urgency: Urgency::Ordinary,
        selected: false,
    };
    Event::RolloutStarted {
        number: state.next_rollout(),
        rollout: Box::new(start),
    }
}

/// Each node stands for itself: it succeeded if anybody got there.
pub(super) fn end(rollout: &Rollout) -> Vec<Event> {
    let got_there = rollout.steps.values().any(|step| step.phase == Phase::Done);
    let failure = rollout.steps.iter().find_map(|(id, step)| {
        let failure = step.failure.as_ref()?;
        Some(format!("{id}: {}", failure.message))
    });
    let (outcome, why) = match (got_there, failure) {
        (true, failure) => (Outcome::Succeeded, failure),
        (false, Some(failure)) => (Outcome::Failed, Some(failure)),
        (false, None) => (
            Outcome::Failed,
            Some("no node could be told, or they went away".to_owned()),
        ),
    };
    super::end(rollout, outcome, why, None)
}
