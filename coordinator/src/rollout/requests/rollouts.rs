//! Starting a rollout, and acting on one.

use std::collections::BTreeSet;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::migration::MigrationStand;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::FailureClass;
use fleet_proto::view::LeftOut;
use fleet_proto::waves::WaveSpec;

use super::Answer;
use crate::rollout::decide::{self, Scope, in_doubt, supersede};
use crate::rollout::event::{Event, PauseCause, RolloutKind, RolloutStart, Urgency};
use crate::rollout::gate::{self, Asked, Verdict};
use crate::rollout::input::{Intent, Refusal, RefusalKind, Reply};
use crate::rollout::node::Node;
use crate::rollout::plan::{Plan, plan, widen};
use crate::rollout::progress::Progress;
use crate::rollout::state::{Course, MigrationRecord, Rollout, State, Step};

pub(super) fn start(state: &State, by: &str, intent: &Intent) -> Answer {
    if let Some(number) = started_before(state, intent) {
        return Ok((vec![], Reply::Rollout(number)));
    }
    start_planned(state, by, intent, plan(state, intent)?, !intent.select.is_empty())
}

/// Whether it would be let in at this moment; nothing comes of it.
pub fn would_start(state: &State, intent: &Intent) -> Result<(), Refusal> {
    let intent = Intent {
        request_id: None,
        ..intent.clone()
    };
    start(state, "nobody", &intent).map(|_| ())
}

/// As every way to begin a rollout forward ends.
pub(super) fn start_planned(
    state: &State,
    by: &str,
    intent: &Intent,
    (plan, release): (Plan, ReleaseRef),
    selected: bool,
) -> Answer {
    must_say_why(intent.insistence.urgency, intent.reason.as_deref())?;
    must_be_let_in(
        state,
        &Asked {
            app: &plan.app,
            environment: &plan.environment,
            release: Some(&release),
            back_to: &[],
            insistence: intent.insistence,
        },
    )?;
    must_move_somebody(state, &plan, &release)?;
    let number = state.next_rollout();
    let mut events = make_way(state, by, number, &plan)?;
    let start = RolloutStart {
        kind: RolloutKind::Forward { release },
        plan,
        by: by.to_owned(),
        reason: intent.reason.clone(),
        request_id: intent.request_id.clone(),
        urgency: intent.insistence.urgency,
        selected,
    };
    events.push(Event::RolloutStarted {
        number,
        rollout: Box::new(start),
    });
    Ok((events, Reply::Rollout(number)))
}

/// Whoever passes by what protects others says why.
pub(super) fn must_say_why(urgency: Urgency, reason: Option<&str>) -> Result<(), Refusal> {
    if urgency == Urgency::Ordinary || reason.is_some_and(|reason| !reason.trim().is_empty()) {
        return Ok(());
    }
    Err(
        Refusal::new(RefusalKind::Usage, "an emergency needs a reason, which is kept")
            .hint("--emergency --reason \"what is burning\""),
    )
}

/// Every gate before the rollout; one that is shut refuses it, one that waits holds it.
pub(super) fn must_be_let_in(state: &State, asked: &Asked<'_>) -> Result<(), Refusal> {
    for gate in gate::before_rollout(state, asked) {
        if let Verdict::Shut { why } = gate.verdict {
            let refusal = Refusal::new(RefusalKind::Refused, why);
            return Err(match gate.hint {
                Some(hint) => refusal.hint(hint),
                None => refusal,
            });
        }
    }
    Ok(())
}

pub(super) fn must_move_somebody(state: &State, plan: &Plan, release: &ReleaseRef) -> Result<(), Refusal> {
    let runs_it_well = |left_out: &&LeftOut| {
        let node = state.nodes.get(&left_out.node);
        node.is_some_and(|node| node.is_healthy(&plan.app) && node.current(&plan.app) == Some(release))
    };
    let stuck = plan.left_out.iter().find(|left_out| !runs_it_well(left_out));
    let (true, Some(first)) = (plan.nodes() == 0, stuck) else {
        return Ok(());
    };
    Err(Refusal::new(
        RefusalKind::Refused,
        format!(
            "no node can move: {} are left out, {}: {}",
            plan.left_out.len(),
            first.node,
            first.why
        ),
    )
    .hint("fleetctl nodes"))
}

/// Ends what is in the way of a rollout that may take its place.
fn make_way(state: &State, by: &str, number: RolloutNumber, plan: &Plan) -> Result<Vec<Event>, Refusal> {
    let mut events = end_catch_up(state, &plan.app, &plan.environment, number);
    let Some(active) = state.active_rollout(&plan.app, &plan.environment) else {
        return Ok(events);
    };
    must_take_over_all(active, plan)?;
    let why = format!("superseded by {number}, which {by} started");
    events.push(supersede(active, number, why));
    Ok(events)
}

/// Those that it had not brought along yet are looked at again when this is over.
pub(super) fn end_catch_up(
    state: &State,
    app: &AppName,
    environment: &EnvironmentName,
    number: RolloutNumber,
) -> Vec<Event> {
    state
        .active_beside(app, environment)
        .map(|catch_up| supersede(catch_up, number, format!("superseded by {number}")))
        .into_iter()
        .collect()
}

/// Nobody is left between two releases: a node that is on its way is in a wave of the new
/// rollout, or the old one has to be aborted, which puts it back.
fn must_take_over_all(active: &Rollout, plan: &Plan) -> Result<(), Refusal> {
    let planned: BTreeSet<&NodeId> = plan.waves.iter().flat_map(|wave| &wave.nodes).collect();
    let on_its_way = |step: &Step| match active.is_forward() {
        true => Scope::NotYetProven.takes(step),
        false => !step.phase.is_settled(),
    };
    let left = active
        .steps
        .iter()
        .find(|(id, step)| on_its_way(step) && !planned.contains(id));
    let Some((node, step)) = left else {
        return Ok(());
    };
    let number = active.number;
    Err(Refusal::new(
        RefusalKind::Refused,
        format!(
            "{number} cannot be superseded: {node} is {} in it and in no wave of this rollout",
            step.phase
        ),
    )
    .hint(format!("take in all nodes, or fleetctl abort {} first", number.0)))
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

pub(super) fn find(state: &State, number: RolloutNumber) -> Result<&Rollout, Refusal> {
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
        format!("rollout {} {} already", rollout.number, rollout.course.past()),
    );
    Err(match (&rollout.kind, rollout.rollback) {
        (_, Some(back)) => refusal.hint(format!("rollout {back} puts back what it left")),
        (RolloutKind::Forward { .. }, None) => {
            refusal.hint(format!("fleetctl rollback {} undoes it", rollout.number.0))
        }
        (RolloutKind::Rollback { .. } | RolloutKind::CatchUp { .. }, None) => refusal,
    })
}

pub(super) fn by_and_why(by: &str, what: &str, reason: Option<&str>) -> String {
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{what} by {by}: {reason}"),
        None => format!("{what} by {by}"),
    }
}

pub(super) fn pause(state: &State, by: &str, number: RolloutNumber, reason: Option<&str>) -> Answer {
    let rollout = find(state, number)?;
    must_be_open(rollout)?;
    match &rollout.course {
        // That nodes are missed may come to an end by itself; what a person says does not.
        Course::Running
        | Course::Paused {
            cause: PauseCause::Unreachable,
            ..
        } => {
            let event = Event::RolloutPaused {
                number,
                cause: PauseCause::Operator,
                why: by_and_why(by, "paused", reason),
                by: Some(by.to_owned()),
            };
            Ok((vec![event], Reply::Rollout(number)))
        }
        Course::Held { .. } => Err(Refusal::new(
            RefusalKind::Refused,
            format!("rollout {number} is held at the end of its waves, and moves nobody"),
        )
        .hint(format!("fleetctl abort {} ends it", number.0))),
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

/// What an operator who resumes accepts: nodes that failed through the release, nodes that
/// cannot be reached, and those of a wave without a success that nobody may bring it to.
fn forgiven(state: &State, rollout: &Rollout) -> Vec<NodeId> {
    // On the way back nobody is waited for anyway, and everybody is told to go; past those
    // that are ill there if a person says so.
    if !rollout.is_forward() {
        let over = rollout.steps.iter().filter(|(_, step)| step.phase.is_settled());
        return over.map(|(id, _)| id.clone()).collect();
    }
    let skipped = match &rollout.course {
        Course::Paused {
            cause: PauseCause::NobodyGood,
            ..
        } => Progress::of(state, rollout).wave.skipped,
        _ => vec![],
    };
    let skipped: BTreeSet<NodeId> = skipped.into_iter().collect();
    rollout
        .steps
        .iter()
        .filter(|(id, step)| {
            let gone = state.nodes.get(*id).is_none_or(Node::is_unreachable);
            let failed = step.failure.is_some() && !step.failed_as(FailureClass::Infrastructure);
            failed || skipped.contains(*id) || (gone && (!step.phase.is_settled() || step.failure.is_some()))
        })
        .map(|(id, _)| id.clone())
        .collect()
}

/// Wins from every state that is not an end.
pub(super) fn abort(state: &State, by: &str, number: RolloutNumber, reason: Option<&str>) -> Answer {
    let rollout = find(state, number)?;
    must_be_open(rollout)?;
    let why = by_and_why(by, "aborted", reason);
    let events = decide::abort(state, rollout, by, why);
    Ok((events, Reply::Rollout(number)))
}

/// A person has looked at the database, and says how it is. The rollout that waits for that
/// may be named, or the one that began it.
pub(super) fn resolve_migration(
    state: &State,
    by: &str,
    number: RolloutNumber,
    stand: MigrationStand,
) -> Answer {
    let rollout = find(state, number)?;
    let Some(record) = in_doubt(state, rollout) else {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("rollout {number} has no migration whose end nobody knows, and waits for none"),
        )
        .hint(format!("fleetctl explain {}", number.0)));
    };
    let mut events = vec![Event::MigrationMoved {
        number: record.rollout,
        act: record.act,
        stand,
        by: by.to_owned(),
        why: None,
        log_tail: vec![],
    }];
    events.extend(asked_about(state, &rollout.plan).map(|asked| answered(asked, record, stand, by)));
    Ok((events, Reply::Rollout(number)))
}

/// Paused to ask a person.
fn asked_about<'a>(state: &'a State, plan: &Plan) -> impl Iterator<Item = &'a Rollout> {
    let (app, environment) = (plan.app.clone(), plan.environment.clone());
    let active = state
        .active
        .iter()
        .filter_map(|number| state.rollouts.get(number));
    active.filter(move |rollout| {
        let asks = matches!(
            rollout.course,
            Course::Paused {
                cause: PauseCause::Migration,
                ..
            }
        );
        asks && rollout.plan.app == app && rollout.plan.environment == environment
    })
}

/// From here on it waits for nothing but the word to go on.
fn answered(rollout: &Rollout, record: &MigrationRecord, stand: MigrationStand, by: &str) -> Event {
    let was = match stand {
        MigrationStand::Done => "was done",
        _ => "was not done",
    };
    Event::RolloutPaused {
        number: rollout.number,
        cause: PauseCause::Operator,
        why: format!(
            "{by} says that the migration of {} ({}) {was}",
            record.release, record.act
        ),
        by: Some(by.to_owned()),
    }
}
