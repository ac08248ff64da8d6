//! Once more, with what failed or remains, and with nothing else.

use std::collections::BTreeSet;

use fleet_proto::ids::NodeId;
use fleet_proto::session::Phase;

use super::Answer;
use super::rollouts::{by_and_why, end_catch_up, find, must_be_let_in, must_move_somebody, start_planned};
use crate::rollout::event::{Event, PauseCause, RolloutKind, RolloutStart, Urgency};
use crate::rollout::gate::{Asked, Insistence};
use crate::rollout::input::{Intent, Refusal, RefusalKind, Reply, Retry};
use crate::rollout::plan::{Plan, plan_among, plan_back};
use crate::rollout::state::{Course, Rollout, State};

/// Of a rollout that has not ended: its failed steps, in it. Of one that has: a new one,
/// of the nodes that are not where it was to bring them.
pub(super) fn retry(state: &State, by: &str, request: &Retry) -> Answer {
    let rollout = find(state, request.number)?;
    if !rollout.is_ended() {
        return within(by, rollout);
    }
    must_be_newest(state, rollout)?;
    match &rollout.kind {
        RolloutKind::Forward { .. } | RolloutKind::CatchUp { .. } => forward(state, by, request, rollout),
        RolloutKind::Rollback { .. } => back(state, by, request, rollout),
    }
}

/// What came after it would be undone with it.
fn must_be_newest(state: &State, rollout: &Rollout) -> Result<(), Refusal> {
    let plan = &rollout.plan;
    let mut since = state
        .rollouts
        .range(rollout.number..)
        .skip(1)
        .map(|(_, newer)| newer);
    let newer = since.find(|newer| {
        newer.plan.app == plan.app
            && newer.plan.environment == plan.environment
            && !newer.beside
            && newer.succeeded()
            && (newer.is_forward() || state.undoes_what_was_wanted(newer))
    });
    let Some(newer) = newer else { return Ok(()) };
    let number = newer.number;
    let refusal = Refusal::new(
        RefusalKind::Refused,
        format!(
            "{} {number} has succeeded since, and a retry of {} would undo it",
            newer.kind.word(),
            rollout.number
        ),
    );
    Err(match rollout.release() {
        Some(release) => refusal.hint(format!("fleetctl rollout {} brings it anew", release.version)),
        None => refusal.hint("fleetctl status"),
    })
}

fn within(by: &str, rollout: &Rollout) -> Answer {
    if let Course::Paused {
        cause: PauseCause::Operator,
        why,
        ..
    } = &rollout.course
    {
        let number = rollout.number;
        let refusal = Refusal::new(RefusalKind::Refused, format!("rollout {number} was {why}"));
        return Err(refusal.hint(format!("fleetctl resume {} first", number.0)));
    }
    let nodes: Vec<NodeId> = rollout
        .steps
        .iter()
        .filter(|(_, step)| {
            let came_to_nothing = match step.phase {
                Phase::Failed => true,
                Phase::RolledBack => rollout.is_forward(),
                // Accepted as lost before it was told, or while nobody heard of it.
                _ => step.forgiven,
            };
            came_to_nothing && step.phase != Phase::Done
        })
        .map(|(id, _)| id.clone())
        .collect();
    if nodes.is_empty() {
        let refusal = Refusal::new(
            RefusalKind::Refused,
            format!("rollout {} has no step that failed", rollout.number),
        );
        return Err(refusal.hint(format!(
            "fleetctl explain {} says what it waits for",
            rollout.number.0
        )));
    }
    let event = Event::RolloutRetried {
        number: rollout.number,
        by: by.to_owned(),
        nodes,
    };
    Ok((vec![event], Reply::Rollout(rollout.number)))
}

fn forward(state: &State, by: &str, request: &Retry, rollout: &Rollout) -> Answer {
    let Some(release) = rollout.release() else {
        return Err(nothing_remains(rollout));
    };
    let old = &rollout.plan;
    let planned = rollout.steps.keys().chain(&rollout.held_back).cloned();
    let left_out = old.left_out.iter().map(|left_out| left_out.node.clone());
    let among: BTreeSet<NodeId> = planned.chain(left_out).collect();
    let intent = Intent {
        app: Some(old.app.clone()),
        environment: Some(old.environment.clone()),
        version: Some(release.version.clone()),
        reason: Some(by_and_why(
            by,
            &format!("retry of {}", rollout.number),
            request.reason.as_deref(),
        )),
        insistence: Insistence {
            known_bad: request.known_bad,
            ..Insistence::default()
        },
        canary: old.canary.clone(),
        waves: Some(old.strategy.waves.clone()),
        bake: old.strategy.bake.clone(),
        ..Intent::default()
    };
    // Nobody is left to go first where those have it already.
    let canary_has_it = Intent {
        canary: None,
        ..intent.clone()
    };
    let (plan, release) =
        plan_among(state, &intent, &among).or_else(|_| plan_among(state, &canary_has_it, &among))?;
    // A catch-up's own strategy forgives everything; this one is watched.
    let strategy = if rollout.is_catch_up() {
        plan.strategy.clone()
    } else {
        old.strategy.clone()
    };
    let plan = Plan { strategy, ..plan };
    if plan.nodes() == 0 {
        must_move_somebody(state, &plan, &release)?;
        return Err(nothing_remains(rollout));
    }
    // What covered a part covers no more than that the second time.
    let selected = rollout.selected || rollout.is_catch_up();
    start_planned(state, by, &intent, (plan, release), selected)
}

fn nothing_remains(rollout: &Rollout) -> Refusal {
    Refusal::new(
        RefusalKind::Refused,
        format!("nothing failed and nothing remains of rollout {}", rollout.number),
    )
    .hint("fleetctl status")
}

fn back(state: &State, by: &str, request: &Retry, rollout: &Rollout) -> Answer {
    let old = &rollout.plan;
    let is_there = |id: &NodeId| {
        let step = rollout.steps.get(id);
        let is_well = state
            .nodes
            .get(id)
            .is_none_or(|node| node.is_revoked() || node.is_healthy(&old.app) || !node.serves(&old.app));
        is_well && step.is_some_and(|step| step.phase == Phase::RolledBack)
    };
    let nodes: BTreeSet<NodeId> = rollout.steps.keys().filter(|id| !is_there(id)).cloned().collect();
    if nodes.is_empty() {
        return Err(nothing_remains(rollout));
    }
    must_be_let_in(
        state,
        &Asked {
            app: &old.app,
            environment: &old.environment,
            release: None,
            back_to: &[],
            insistence: Insistence::default(),
        },
    )?;
    let number = state.next_rollout();
    let start = RolloutStart {
        kind: once_more(rollout),
        plan: plan_back(&old.app, &old.environment, &nodes, &old.strategy),
        by: by.to_owned(),
        reason: Some(by_and_why(
            by,
            &format!("retry of {}", rollout.number),
            request.reason.as_deref(),
        )),
        request_id: None,
        urgency: Urgency::Ordinary,
        selected: false,
    };
    let mut events = end_catch_up(state, &old.app, &old.environment, number);
    events.push(Event::RolloutStarted {
        number,
        rollout: Box::new(start),
    });
    Ok((events, Reply::Rollout(number)))
}

/// Each node leaves what it was told to leave the first time, and not where it got to.
pub(super) fn once_more(rollback: &Rollout) -> RolloutKind {
    let to = match &rollback.kind {
        RolloutKind::Rollback { to, .. } => to.clone(),
        RolloutKind::Forward { .. } | RolloutKind::CatchUp { .. } => None,
    };
    RolloutKind::Rollback {
        parent: Some(rollback.number),
        leave: None,
        to,
    }
}
