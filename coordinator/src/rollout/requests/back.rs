//! Taking nodes back, as an operator wants it.

use std::collections::BTreeSet;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::quantity::Amount;
use fleet_proto::release::{ReleaseRef, Strategy};
use fleet_proto::view::LeftOut;

use super::Answer;
use super::retry::once_more;
use super::rollouts::{by_and_why, end_catch_up, find, must_be_let_in, must_say_why};
use crate::rollout::decide::{Scope, has_something_to_undo};
use crate::rollout::event::{Event, Outcome, RolloutKind, RolloutStart, Urgency};
use crate::rollout::gate::{Asked, Insistence, WithActive, WithKnownBad};
use crate::rollout::input::{Refusal, RefusalKind, Reply, RollBack};
use crate::rollout::plan::{Plan, find_app, find_environment, find_release, plan_back};
use crate::rollout::state::{Rollout, State};
use crate::rollout::way_back::{self, Reach};

/// Ends what is active and puts its nodes back; or undoes a rollout that has ended; or
/// takes every node of the environment to its own last good release, or to `to`.
pub(super) fn roll_back(state: &State, by: &str, request: &RollBack) -> Answer {
    must_say_why(request.urgency, request.reason.as_deref())?;
    let mut wanted = match request.number {
        Some(number) => of_rollout(state, by, request, find(state, number)?)?,
        None => of_what_runs(state, by, request)?,
    };
    if request.known_bad == WithKnownBad::Refuse {
        wanted.let_be_who_may_not(state);
    }
    must_be_let_in(
        state,
        &Asked {
            app: &wanted.app,
            environment: &wanted.environment,
            release: wanted.to(),
            back_to: &wanted.reaches(state),
            insistence: Insistence {
                urgency: request.urgency,
                active: match wanted.ends {
                    Some(_) => WithActive::Supersede,
                    None => WithActive::Refuse,
                },
                known_bad: request.known_bad,
            },
        },
    )?;
    Ok(wanted.begin(state, by, request.urgency))
}

/// Who is to go back, and from where.
struct Wanted {
    app: AppName,
    environment: EnvironmentName,
    kind: RolloutKind,
    nodes: BTreeSet<NodeId>,
    strategy: Strategy,
    reason: String,
    left_out: Vec<LeftOut>,
    /// A migration, even if it moves nobody.
    undoes: bool,
    /// What ends with it, and shows where it goes on.
    ends: Option<RolloutNumber>,
}

impl Wanted {
    fn to(&self) -> Option<&ReleaseRef> {
        match &self.kind {
            RolloutKind::Rollback { to, .. } => to.as_ref(),
            RolloutKind::Forward { .. } | RolloutKind::CatchUp { .. } => None,
        }
    }

    fn reach(&self, state: &State, id: &NodeId) -> Option<Reach> {
        let leave = match &self.kind {
            RolloutKind::Rollback { leave, .. } => leave.as_ref(),
            RolloutKind::Forward { .. } | RolloutKind::CatchUp { .. } => None,
        };
        way_back::reach(state, &self.app, id, leave)
    }

    fn reaches(&self, state: &State) -> Vec<Reach> {
        let nodes = self.nodes.iter();
        nodes.filter_map(|id| self.reach(state, id)).collect()
    }

    /// One that would go further back than the others, behind a migration that cannot be
    /// undone, keeps nobody else from going.
    fn let_be_who_may_not(&mut self, state: &State) {
        if self.to().is_some() {
            return;
        }
        let stays: Vec<LeftOut> = self
            .nodes
            .iter()
            .filter_map(|id| {
                let reach = self.reach(state, id)?;
                let record = way_back::is_shut(state, &self.app, &self.environment, &[reach])?;
                Some(LeftOut {
                    node: id.clone(),
                    why: way_back::why_shut(&self.app, record),
                })
            })
            .collect();
        if stays.len() < self.nodes.len() {
            self.nodes
                .retain(|id| stays.iter().all(|left_out| left_out.node != *id));
            self.left_out = stays;
        }
    }

    fn begin(self, state: &State, by: &str, urgency: Urgency) -> (Vec<Event>, Reply) {
        let number = state.next_rollout();
        let mut events = Vec::new();
        if urgency == Urgency::Emergency && state.halt.is_none() {
            events.push(Event::Halted {
                environment: None,
                by: by.to_owned(),
                reason: self.reason.clone(),
            });
        }
        events.extend(end_catch_up(state, &self.app, &self.environment, number));
        let back = Some(number).filter(|_| !self.nodes.is_empty() || self.undoes);
        events.extend(self.ends.map(|ended| Event::RolloutEnded {
            number: ended,
            outcome: Outcome::Aborted,
            why: Some(self.reason.clone()),
            rollback: back,
            superseded_by: None,
        }));
        // Nobody had moved: there is nothing to put back.
        if let (None, Some(ended)) = (back, self.ends) {
            return (events, Reply::Rollout(ended));
        }
        let strategy = match urgency {
            Urgency::Ordinary => self.strategy,
            Urgency::Emergency => at_once(self.strategy),
        };
        let start = RolloutStart {
            kind: self.kind,
            plan: Plan {
                left_out: self.left_out,
                ..plan_back(&self.app, &self.environment, &self.nodes, &strategy)
            },
            by: by.to_owned(),
            reason: Some(self.reason),
            request_id: None,
            urgency,
            selected: false,
        };
        events.push(Event::RolloutStarted {
            number,
            rollout: Box::new(start),
        });
        (events, Reply::Rollout(number))
    }
}

/// One wave, everybody.
fn at_once(strategy: Strategy) -> Strategy {
    Strategy {
        max_in_flight: Amount::Percent(100),
        max_unavailable: Amount::Percent(100),
        min_available: None,
        ..strategy
    }
}

fn of_what_runs(state: &State, by: &str, request: &RollBack) -> Result<Wanted, Refusal> {
    let app = find_app(state, request.app.as_ref())?;
    let (environment, _) = find_environment(state, request.environment.as_ref())?;
    match state.active_rollout(&app, &environment) {
        Some(active) if active.is_forward() && request.to.is_none() => of_rollout(state, by, request, active),
        Some(active) if !active.is_forward() && request.urgency == Urgency::Emergency => {
            Ok(hastened(by, request, active))
        }
        Some(active) => Err(is_active(active)),
        None => of_environment(state, by, request, app, environment),
    }
}

fn is_active(active: &Rollout) -> Refusal {
    let plan = &active.plan;
    Refusal::new(
        RefusalKind::Refused,
        format!(
            "rollout {} of {} in {} is {}",
            active.number,
            plan.app,
            plan.environment,
            active.course.word()
        ),
    )
    .hint(format!("fleetctl abort {}", active.number.0))
}

/// What goes back one by one goes back at once.
fn hastened(by: &str, request: &RollBack, active: &Rollout) -> Wanted {
    let reason = by_and_why(by, "hastened", request.reason.as_deref());
    let nodes = active.steps.iter().filter(|(_, step)| !step.phase.is_settled());
    Wanted {
        app: active.plan.app.clone(),
        environment: active.plan.environment.clone(),
        kind: once_more(active),
        nodes: nodes.map(|(id, _)| id.clone()).collect(),
        strategy: active.plan.strategy.clone(),
        ends: Some(active.number),
        left_out: vec![],
        undoes: false,
        reason,
    }
}

fn of_rollout(state: &State, by: &str, request: &RollBack, rollout: &Rollout) -> Result<Wanted, Refusal> {
    if rollout.is_catch_up() {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!(
                "rollout {} brought nodes to what their environment wants",
                rollout.number
            ),
        )
        .hint("fleetctl rollback without a number takes back what the environment wants"));
    }
    let Some(release) = rollout.release().filter(|_| rollout.is_forward()) else {
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
    let plan = &rollout.plan;
    let nodes: BTreeSet<NodeId> = if rollout.is_ended() {
        let active = state.active_rollout(&plan.app, &plan.environment);
        if let Some(active) = active {
            return Err(is_active(active));
        }
        runs_or_may_run(state, rollout, release)
    } else {
        let moved = rollout
            .steps
            .iter()
            .filter(|(_, step)| Scope::AllThatMoved.takes(step));
        moved.map(|(id, _)| id.clone()).collect()
    };
    let undoes = has_something_to_undo(state, rollout);
    if nodes.is_empty() && rollout.is_ended() && !undoes {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("no node runs what rollout {} brought", rollout.number),
        )
        .hint("fleetctl status"));
    }
    let to = request.to.as_ref();
    Ok(Wanted {
        app: plan.app.clone(),
        environment: plan.environment.clone(),
        kind: RolloutKind::Rollback {
            parent: Some(rollout.number),
            leave: Some(release.clone()),
            to: to
                .map(|version| Ok(find_release(state, &plan.app, version)?.release.clone()))
                .transpose()?,
        },
        nodes,
        strategy: plan.strategy.clone(),
        ends: Some(rollout.number).filter(|_| !rollout.is_ended()),
        left_out: vec![],
        undoes,
        reason,
    })
}

/// Those that run it, and those that may without having said so yet.
fn runs_or_may_run(state: &State, rollout: &Rollout, release: &ReleaseRef) -> BTreeSet<NodeId> {
    let app = &rollout.plan.app;
    rollout
        .steps
        .iter()
        .filter(|(id, step)| {
            let current = state.nodes.get(*id).and_then(|node| node.current(app));
            current == Some(release) || step.is_in_flight()
        })
        .map(|(id, _)| id.clone())
        .collect()
}

fn of_environment(
    state: &State,
    by: &str,
    request: &RollBack,
    app: AppName,
    environment: EnvironmentName,
) -> Result<Wanted, Refusal> {
    let (_, within) = find_environment(state, Some(&environment))?;
    let to = match &request.to {
        Some(version) => Some(find_release(state, &app, version)?.release.clone()),
        None => None,
    };
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
    Ok(Wanted {
        app,
        environment,
        kind: RolloutKind::Rollback {
            parent: None,
            leave: None,
            to,
        },
        nodes,
        strategy,
        reason: by_and_why(by, "rolled back", request.reason.as_deref()),
        left_out: vec![],
        undoes: false,
        ends: None,
    })
}
