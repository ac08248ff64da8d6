//! Taking nodes back, as an operator wants it.

mod served;

use std::collections::BTreeSet;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::quantity::Amount;
use fleet_proto::release::{ReleaseRef, Strategy};
use fleet_proto::version::Version;
use fleet_proto::view::LeftOut;

use served::{must_have_served, newest_in_service, who_runs};

use super::Answer;
use super::retry::once_more;
use super::rollouts::{by_and_why, end_catch_up, find, must_be_let_in, must_say_why};
use crate::rollout::decide::{Scope, has_something_to_undo};
use crate::rollout::event::{Event, Outcome, RolloutKind, RolloutStart, Urgency};
use crate::rollout::gate::{Asked, Insistence, WithActive, WithKnownBad};
use crate::rollout::input::{Refusal, RefusalKind, Reply, RollBack};
use crate::rollout::plan::{Plan, find_app, find_environment, plan_back};
use crate::rollout::state::{Rollout, State, Step};
use crate::rollout::way_back::{self, Reach};

/// Ends what is active and puts its nodes back; or undoes a rollout that has ended, the
/// newest that is in service if none is named; or takes every node to `to`.
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
            by: Some(by.to_owned()),
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
    let active = state.active_rollout(&app, &environment);
    let is_urgent = request.urgency == Urgency::Emergency;
    match (active, &request.to) {
        (Some(active), None) if active.is_forward() => of_rollout(state, by, request, active),
        (Some(active), None) if is_urgent => Ok(hastened(by, request, active)),
        (Some(active), _) if !is_urgent => Err(is_active(active, request)),
        (active, Some(to)) => to_one_release(state, by, request, (app, environment), to, active),
        (_, None) => match newest_in_service(state, &app, &environment) {
            Some(newest) => of_rollout(state, by, request, newest),
            None => Err(nothing_to_leave(&app, &environment)),
        },
    }
}

fn is_active(active: &Rollout, request: &RollBack) -> Refusal {
    let plan = &active.plan;
    let number = active.number.0;
    let mut instead = vec![format!("fleetctl abort {number}")];
    if request.number.is_some() && active.is_forward() {
        instead.push(format!("fleetctl rollback {number}"));
    }
    instead.push("--emergency without a number, which ends it".to_owned());
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
    .hint(instead.join(", or "))
}

fn nothing_to_leave(app: &AppName, environment: &EnvironmentName) -> Refusal {
    Refusal::new(
        RefusalKind::Refused,
        format!("no node of {environment} runs a release of {app} that could be left"),
    )
    .hint("fleetctl status")
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
    let release = must_have_brought_one(rollout)?;
    let plan = &rollout.plan;
    let nodes = if rollout.is_ended() {
        let active = state.active_rollout(&plan.app, &plan.environment);
        if let Some(active) = active {
            return Err(is_active(active, request));
        }
        who_runs(state, rollout, release)
    } else {
        if let Some(to) = &request.to {
            return Err(goes_back_to_its_own(rollout, to));
        }
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
    let to = match &request.to {
        Some(version) => Some(must_have_served(state, &plan.app, &plan.environment, version)?),
        None => None,
    };
    Ok(Wanted {
        app: plan.app.clone(),
        environment: plan.environment.clone(),
        kind: RolloutKind::Rollback {
            parent: Some(rollout.number),
            leave: Some(release.clone()),
            to,
        },
        nodes,
        strategy: plan.strategy.clone(),
        ends: Some(rollout.number).filter(|_| !rollout.is_ended()),
        left_out: vec![],
        undoes,
        reason: by_and_why(by, "rolled back", request.reason.as_deref()),
    })
}

fn must_have_brought_one(rollout: &Rollout) -> Result<&ReleaseRef, Refusal> {
    let number = rollout.number;
    if rollout.is_catch_up() {
        let why = format!("rollout {number} brought nodes to what their environment wants");
        return Err(Refusal::new(RefusalKind::Refused, why)
            .hint("fleetctl rollback without a number takes back what the environment wants"));
    }
    let brought = rollout.release().filter(|_| rollout.is_forward());
    brought.ok_or_else(|| {
        let why = format!("rollout {number} is a rollback itself");
        Refusal::new(RefusalKind::Refused, why).hint("roll out the version that you want")
    })
}

fn goes_back_to_its_own(rollout: &Rollout, to: &Version) -> Refusal {
    let (number, course) = (rollout.number, rollout.course.word());
    Refusal::new(
        RefusalKind::Refused,
        format!("rollout {number} is {course}; its nodes go back to their own last good, not to {to}"),
    )
    .hint(format!("fleetctl rollback {}, without --to", number.0))
}

/// Every node that serves, or may soon.
fn to_one_release(
    state: &State,
    by: &str,
    request: &RollBack,
    (app, environment): (AppName, EnvironmentName),
    to: &Version,
    active: Option<&Rollout>,
) -> Result<Wanted, Refusal> {
    let to = must_have_served(state, &app, &environment, to)?;
    let (_, within) = find_environment(state, Some(&environment))?;
    let on_their_way = active.into_iter().chain(state.active_beside(&app, &environment));
    let on_their_way: BTreeSet<&NodeId> = on_their_way
        .flat_map(|rollout| rollout.steps.iter().filter(|(_, step)| Step::is_in_flight(step)))
        .map(|(id, _)| id)
        .collect();
    let nodes: BTreeSet<NodeId> = state
        .nodes_of(&within.select)
        .filter(|(id, node)| {
            on_their_way.contains(*id) || (node.serves(&app) && node.current(&app) != Some(&to))
        })
        .map(|(id, _)| id.clone())
        .collect();
    if nodes.is_empty() {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("no node of {environment} runs another release of {app} than {to}"),
        )
        .hint("fleetctl status"));
    }
    let newest = state.rollouts.values().rev();
    let newest = newest
        .filter(|rollout| !rollout.beside)
        .find(|rollout| rollout.plan.app == app && rollout.plan.environment == environment);
    Ok(Wanted {
        app,
        environment,
        kind: RolloutKind::Rollback {
            parent: None,
            leave: None,
            to: Some(to),
        },
        nodes,
        strategy: newest.map_or_else(Strategy::default, |newest| newest.plan.strategy.clone()),
        reason: by_and_why(by, "rolled back", request.reason.as_deref()),
        left_out: vec![],
        undoes: false,
        ends: active.map(|active| active.number),
    })
}
