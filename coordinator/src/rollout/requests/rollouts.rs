//! Starting a rollout, and acting on one.

use std::collections::BTreeSet;

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::session::FailureClass;
use fleet_proto::view::LeftOut;
use fleet_proto::waves::WaveSpec;

use super::Answer;
use crate::rollout::decide::{Scope, end, put_back};
use crate::rollout::event::{Event, Outcome, PauseCause, RolloutKind, RolloutStart};
use crate::rollout::gate::{self, Verdict};
use crate::rollout::input::{Intent, Refusal, RefusalKind, Reply, RollBack};
use crate::rollout::node::Node;
use crate::rollout::plan::{find_app, find_environment, find_release, plan, plan_back, widen};
use crate::rollout::state::{Course, Rollout, State};

pub(super) fn start(state: &State, by: &str, intent: &Intent) -> Answer {
    if let Some(number) = started_before(state, intent) {
        return Ok((vec![], Reply::Rollout(number)));
    }
    let (plan, release) = plan(state, intent)?;
    for gate in gate::before_rollout(state, &plan) {
        if let Verdict::Shut { why } = gate.verdict {
            let refusal = Refusal::new(RefusalKind::Refused, why);
            return Err(match gate.hint {
                Some(hint) => refusal.hint(hint),
                None => refusal,
            });
        }
    }
    let runs_it_well = |left_out: &&LeftOut| {
        let node = state.nodes.get(&left_out.node);
        node.is_some_and(|node| node.is_healthy(&plan.app) && node.current(&plan.app) == Some(&release))
    };
    let stuck = plan.left_out.iter().find(|left_out| !runs_it_well(left_out));
    if let (true, Some(first)) = (plan.nodes() == 0, stuck) {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!(
                "no node can move: {} are left out, {}: {}",
                plan.left_out.len(),
                first.node,
                first.why
            ),
        )
        .hint("fleetctl nodes"));
    }
    let number = state.next_rollout();
    let start = RolloutStart {
        kind: RolloutKind::Forward { release },
        plan,
        by: by.to_owned(),
        reason: intent.reason.clone(),
        request_id: intent.request_id.clone(),
    };
    let event = Event::RolloutStarted {
        number,
        rollout: Box::new(start),
    };
    Ok((vec![event], Reply::Rollout(number)))
}

/// A caller that lost the answer asks again with the same id.
fn started_before(state: &State, intent: &Intent) -> Option<RolloutNumber> {
    const LOOKED_AT: usize = 100;
    let id = intent.request_id.as_ref()?;
    state
        .rollouts
        .values()
        .rev()
        .take(LOOKED_AT)
        .find(|rollout| rollout.request_id.as_ref() == Some(id))
        .map(|rollout| rollout.number)
}

fn find(state: &State, number: RolloutNumber) -> Result<&Rollout, Refusal> {
    state.rollouts.get(&number).ok_or_else(|| {
        let refusal = Refusal::new(RefusalKind::NotFound, format!("there is no rollout {number}"));
        match state.rollouts.keys().next_back() {
            Some(newest) => refusal.hint(format!("the newest is {newest}; fleetctl history shows all")),
            None => refusal.hint("there was none yet; fleetctl rollout v1.0.0 starts one"),
        }
    })
}

fn must_be_open(rollout: &Rollout) -> Result<(), Refusal> {
    if !rollout.is_ended() {
        return Ok(());
    }
    let refusal = Refusal::new(
        RefusalKind::Refused,
        format!("rollout {} has {} already", rollout.number, rollout.course.word()),
    );
    Err(match (&rollout.kind, rollout.rollback) {
        (_, Some(back)) => refusal.hint(format!("rollout {back} puts back what it left")),
        (RolloutKind::Forward { .. }, None) => {
            refusal.hint(format!("fleetctl rollback {} undoes it", rollout.number.0))
        }
        (RolloutKind::Rollback { .. }, None) => refusal,
    })
}

fn by_and_why(by: &str, what: &str, reason: Option<&str>) -> String {
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{what} by {by}: {reason}"),
        None => format!("{what} by {by}"),
    }
}

pub(super) fn pause(state: &State, by: &str, number: RolloutNumber, reason: Option<&str>) -> Answer {
    let rollout = find(state, number)?;
    must_be_open(rollout)?;
    match &rollout.course {
        Course::Running => {
            let event = Event::RolloutPaused {
                number,
                cause: PauseCause::Operator,
                why: by_and_why(by, "paused", reason),
            };
            Ok((vec![event], Reply::Rollout(number)))
        }
        _ => Err(Refusal::new(
            RefusalKind::Refused,
            format!("rollout {number} is {} already", rollout.course.word()),
        )),
    }
}

pub(super) fn resume(state: &State, by: &str, number: RolloutNumber, waves: Option<&WaveSpec>) -> Answer {
    let rollout = find(state, number)?;
    must_be_open(rollout)?;
    let event = match (&rollout.course, waves) {
        (Course::Paused { .. }, None) => Event::RolloutResumed {
            number,
            by: by.to_owned(),
            forgiven: forgiven(state, rollout),
        },
        (Course::Held { .. }, Some(spec)) => {
            let (waves, held_back) = widen(&rollout.plan, spec)?;
            Event::RolloutWidened {
                number,
                waves,
                held_back,
                by: by.to_owned(),
            }
        }
        (Course::Held { .. }, None) => {
            return Err(Refusal::new(
                RefusalKind::Usage,
                format!("rollout {number} is held at the end of its waves; say how far it goes on"),
            )
            .hint(format!("fleetctl resume {} --waves 100", number.0)));
        }
        (Course::Paused { .. }, Some(_)) => {
            return Err(Refusal::new(
                RefusalKind::Usage,
                format!("rollout {number} is paused, not held; its waves stay as planned"),
            )
            .hint(format!("fleetctl resume {}", number.0)));
        }
        _ => {
            return Err(Refusal::new(
                RefusalKind::Refused,
                format!(
                    "rollout {number} is {}, there is nothing to resume",
                    rollout.course.word()
                ),
            ));
        }
    };
    Ok((vec![event], Reply::Rollout(number)))
}

/// What an operator who resumes accepts: nodes that failed through the release, and
/// nodes that cannot be reached.
fn forgiven(state: &State, rollout: &Rollout) -> Vec<NodeId> {
    // On the way back nobody is waited for anyway, and everybody is told to go.
    if !rollout.is_forward() {
        return vec![];
    }
    rollout
        .steps
        .iter()
        .filter(|(id, step)| {
            let gone = state.nodes.get(*id).is_none_or(Node::is_unreachable);
            let failed = step.failure.is_some() && !step.failed_as(FailureClass::Infrastructure);
            failed || (gone && (!step.phase.is_settled() || step.failure.is_some()))
        })
        .map(|(id, _)| id.clone())
        .collect()
}

/// Wins from every state that is not an end.
pub(super) fn abort(state: &State, by: &str, number: RolloutNumber, reason: Option<&str>) -> Answer {
    let rollout = find(state, number)?;
    must_be_open(rollout)?;
    let why = by_and_why(by, "aborted", reason);
    let back = put_back(state, rollout, Scope::NotYetProven, by, Some(why.clone()));
    let events = end(rollout, Outcome::Aborted, Some(why), back);
    Ok((events, Reply::Rollout(number)))
}

/// Ends what is active and puts its nodes back; or undoes a rollout that has ended; or
/// takes every node of the environment to its own last good release, or to `to`.
pub(super) fn roll_back(state: &State, by: &str, request: &RollBack) -> Answer {
    if let Some(number) = request.number {
        return roll_back_rollout(state, by, request, find(state, number)?);
    }
    let app = find_app(state, request.app.as_ref())?;
    let (environment, _) = find_environment(state, request.environment.as_ref())?;
    match state.active_rollout(&app, &environment) {
        Some(active) if active.is_forward() && request.to.is_none() => {
            roll_back_rollout(state, by, request, active)
        }
        Some(active) => Err(Refusal::new(
            RefusalKind::Refused,
            format!(
                "rollout {} of {app} in {environment} is {}",
                active.number,
                active.course.word()
            ),
        )
        .hint(format!("fleetctl abort {}", active.number.0))),
        None => roll_back_environment(state, by, request),
    }
}

fn roll_back_rollout(state: &State, by: &str, request: &RollBack, rollout: &Rollout) -> Answer {
    let RolloutKind::Forward { release } = &rollout.kind else {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("rollout {} is a rollback itself", rollout.number),
        )
        .hint("roll out the version that you want"));
    };
    let reason = by_and_why(by, "rolled back", request.reason.as_deref());
    if let (false, Some(to)) = (rollout.is_ended(), &request.to) {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!(
                "rollout {} is {}; its nodes go back to their own last good, not to {to}",
                rollout.number,
                rollout.course.word()
            ),
        )
        .hint(format!("fleetctl rollback {}, without --to", rollout.number.0)));
    }
    if !rollout.is_ended() {
        let back = put_back(state, rollout, Scope::AllThatMoved, by, Some(reason.clone()));
        let number = back.as_ref().map_or(rollout.number, |back| back.number);
        let events = end(rollout, Outcome::Aborted, Some(reason), back);
        return Ok((events, Reply::Rollout(number)));
    }
    let plan = &rollout.plan;
    if let Some(active) = state.active_rollout(&plan.app, &plan.environment) {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("rollout {} is {}", active.number, active.course.word()),
        )
        .hint(format!("fleetctl abort {}", active.number.0)));
    }
    // Those that run it, and those that may without having said so yet.
    let nodes: BTreeSet<NodeId> = rollout
        .steps
        .iter()
        .filter(|(id, step)| {
            let current = state.nodes.get(*id).and_then(|node| node.current(&plan.app));
            current == Some(release) || step.is_in_flight()
        })
        .map(|(id, _)| id.clone())
        .collect();
    let kind = RolloutKind::Rollback {
        parent: Some(rollout.number),
        leave: Some(release.clone()),
        to: named_release(state, request, &plan.app)?,
    };
    start_back(state, by, kind, rollout, &nodes, reason)
}

fn named_release(
    state: &State,
    request: &RollBack,
    app: &fleet_proto::ids::AppName,
) -> Result<Option<fleet_proto::release::ReleaseRef>, Refusal> {
    request
        .to
        .as_ref()
        .map(|version| Ok(find_release(state, app, version)?.release.clone()))
        .transpose()
}

fn start_back(
    state: &State,
    by: &str,
    kind: RolloutKind,
    parent: &Rollout,
    nodes: &BTreeSet<NodeId>,
    reason: String,
) -> Answer {
    let plan = &parent.plan;
    if nodes.is_empty() {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("no node runs what rollout {} brought", parent.number),
        )
        .hint("fleetctl status"));
    }
    let number = state.next_rollout();
    let start = RolloutStart {
        kind,
        plan: plan_back(&plan.app, &plan.environment, nodes, &plan.strategy),
        by: by.to_owned(),
        reason: Some(reason),
        request_id: None,
    };
    let event = Event::RolloutStarted {
        number,
        rollout: Box::new(start),
    };
    Ok((vec![event], Reply::Rollout(number)))
}

fn roll_back_environment(state: &State, by: &str, request: &RollBack) -> Answer {
    let app = find_app(state, request.app.as_ref())?;
    let (environment, within) = find_environment(state, request.environment.as_ref())?;
    let to = named_release(state, request, &app)?;
    let nodes: BTreeSet<NodeId> = state
        .nodes_of(&within.select)
        .filter(|(_, node)| node.serves(&app) && node.current(&app) != to.as_ref())
        .map(|(id, _)| id.clone())
        .collect();
    if nodes.is_empty() {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("no node of {environment} runs a release of {app} that could be left"),
        )
        .hint("fleetctl status"));
    }
    let strategy = state
        .rollouts
        .values()
        .rev()
        .find(|rollout| rollout.plan.app == app && rollout.plan.environment == environment)
        .map(|rollout| rollout.plan.strategy.clone())
        .unwrap_or_default();
    let number = state.next_rollout();
    let start = RolloutStart {
        kind: RolloutKind::Rollback {
            parent: None,
            leave: None,
            to,
        },
        plan: plan_back(&app, &environment, &nodes, &strategy),
        by: by.to_owned(),
        reason: Some(by_and_why(by, "rolled back", request.reason.as_deref())),
        request_id: None,
    };
    let event = Event::RolloutStarted {
        number,
        rollout: Box::new(start),
    };
    Ok((vec![event], Reply::Rollout(number)))
}
