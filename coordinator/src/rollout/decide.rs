//! What follows from the state at this moment. Each rule is a function of its own, in
//! the order in which they win; a rule answers with events, or says what is waited for.

mod back;
mod sentences;

use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Amount;
use fleet_proto::release::OnFailure;
use fleet_proto::session::Order;
use fleet_proto::time::Timestamp;

use super::availability::{self, Availability};
use super::event::{Event, Outcome, PauseCause, RolloutKind};
use super::gate::{self, Verdict};
use super::progress::Progress;
use super::state::{Course, Rollout, State, Step};

pub use back::{Scope, put_back};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    pub events: Vec<Event>,
    pub waiting: Vec<Waiting>,
}

/// One thing that a rollout waits for. Every surface prints this very sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub what: String,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub hint: Option<String>,
}

impl Waiting {
    fn new(what: String) -> Self {
        Self {
            what,
            since: None,
            until: None,
            hint: None,
        }
    }
}

impl Decision {
    fn events(events: Vec<Event>) -> Self {
        Self {
            events,
            waiting: vec![],
        }
    }

    fn wait(waiting: Waiting) -> Self {
        Self {
            events: vec![],
            waiting: vec![waiting],
        }
    }
}

/// The next events, of one rollout at a time. Called again after they were applied, until
/// there are none.
pub fn decide(state: &State, now: Timestamp) -> Vec<Event> {
    let mut events = unreachable_now(state, now);
    // One rollout a round: what the next one decides builds on what this one did, as the
    // number of a rollback does.
    for rollout in state
        .active
        .iter()
        .filter_map(|number| state.rollouts.get(number))
    {
        if !events.is_empty() {
            break;
        }
        events = decide_rollout(state, rollout, now).events;
    }
    events
}

fn unreachable_now(state: &State, now: Timestamp) -> Vec<Event> {
    use super::node::Connection;
    state
        .silent
        .iter()
        .filter(|id| {
            state.nodes.get(*id).is_some_and(
                |node| matches!(node.connection, Connection::Silent { until, .. } if until <= now),
            )
        })
        .map(|id| Event::NodeUnreachable { node: id.clone() })
        .collect()
}

/// One rollout's next events, or what it waits for.
pub fn decide_rollout(state: &State, rollout: &Rollout, now: Timestamp) -> Decision {
    if rollout.is_ended() {
        return Decision::default();
    }
    let progress = Progress::of(state, rollout);
    let rules = [
        too_many_failures,
        too_many_lost,
        held_or_paused,
        too_long_without_progress,
        all_waves_passed,
        start_wave,
        issue_orders,
        bake,
        commit,
    ];
    rules
        .iter()
        .find_map(|rule| rule(state, rollout, &progress, now))
        .unwrap_or_else(|| Decision::events(vec![pass_wave(rollout)]))
}

/// Over the budget of failures of class `release`: strictly more than it.
fn too_many_failures(
    state: &State,
    rollout: &Rollout,
    progress: &Progress,
    _now: Timestamp,
) -> Option<Decision> {
    if !rollout.is_forward() {
        return None;
    }
    let strategy = &rollout.plan.strategy;
    let allowed = strategy.max_failures.of_rounded_down(rollout.plan.nodes());
    // A wave without a success fails the rollout only if the release is to blame for it.
    let in_wave = |id: &NodeId| {
        rollout
            .steps
            .get(id)
            .is_some_and(|step| step.wave == rollout.wave)
    };
    let barren = progress.wave.is_over_but_for_the_bake()
        && progress.wave.good() == 0
        && progress.failed.iter().any(in_wave)
        && !progress.lost.iter().any(in_wave)
        && rollout.wave < rollout.plan.waves.len();
    if progress.failed.len() <= allowed && !barren {
        return None;
    }
    let why = sentences::failures(rollout, &progress.failed, allowed);
    match strategy.on_failure {
        OnFailure::Rollback => Some(Decision::events(fail(state, rollout, why))),
        OnFailure::Pause => pause(rollout, PauseCause::Failures, why),
    }
}

/// Infrastructure says nothing about the release: pause, never roll back.
fn too_many_lost(state: &State, rollout: &Rollout, progress: &Progress, _now: Timestamp) -> Option<Decision> {
    if !rollout.is_forward() {
        return None;
    }
    let allowed = rollout
        .plan
        .strategy
        .max_unreachable
        .of_rounded_down(rollout.plan.nodes());
    let wave = &progress.wave;
    let barren = wave.is_over_but_for_the_bake()
        && wave.good() == 0
        && rollout.wave < rollout.plan.waves.len()
        && !is_accepted(rollout);
    if progress.lost.len() <= allowed && !barren {
        return None;
    }
    if progress.lost.is_empty() {
        let why = format!("no node of wave {} got good", rollout.wave + 1);
        return pause(rollout, PauseCause::NobodyGood, why);
    }
    let why = sentences::lost(state, rollout, &progress.lost, allowed);
    pause(rollout, PauseCause::Unreachable, why)
}

/// A person who resumed in spite of every single node of the wave meant it; but a rollout
/// that nobody took is not one that succeeded.
fn is_accepted(rollout: &Rollout) -> bool {
    let mut in_wave = rollout.steps.values().filter(|step| step.wave == rollout.wave);
    let is_last = rollout.wave + 1 == rollout.plan.waves.len();
    in_wave.all(|step| step.forgiven) && (!is_last || rollout.steps.values().any(Step::is_committed))
}

/// Pauses once; a rollout that is paused already stays as it is.
fn pause(rollout: &Rollout, cause: PauseCause, why: String) -> Option<Decision> {
    matches!(rollout.course, Course::Running).then(|| {
        Decision::events(vec![Event::RolloutPaused {
            number: rollout.number,
            cause,
            why,
        }])
    })
}

fn fail(state: &State, rollout: &Rollout, why: String) -> Vec<Event> {
    let back = put_back(state, rollout, Scope::AllThatMoved, "fleet", Some(why.clone()));
    end(rollout, Outcome::Failed, Some(why), back)
}

/// Ends the rollout, and starts the one that puts back what it leaves, if that is anything.
pub fn end(rollout: &Rollout, outcome: Outcome, why: Option<String>, back: Option<back::Back>) -> Vec<Event> {
    let mut events = vec![Event::RolloutEnded {
        number: rollout.number,
        outcome,
        why,
        rollback: back.as_ref().map(|back| back.number),
    }];
    events.extend(back.map(|back| back.event));
    events
}

fn held_or_paused(
    _state: &State,
    rollout: &Rollout,
    _progress: &Progress,
    _now: Timestamp,
) -> Option<Decision> {
    let number = rollout.number.0;
    match &rollout.course {
        Course::Held { since } => Some(Decision::wait(Waiting {
            since: Some(*since),
            hint: Some(format!("fleetctl resume {number} --waves 100")),
            ..Waiting::new(format!(
                "held: its waves have passed, {} nodes are not covered by any",
                rollout.plan.held_back.len()
            ))
        })),
        Course::Paused { why, since, cause } => Some(Decision::wait(Waiting {
            since: Some(*since),
            hint: Some(match cause {
                PauseCause::Operator => format!("fleetctl resume {number}"),
                PauseCause::NobodyGood => format!("fleetctl abort {number}"),
                _ => format!("fleetctl resume {number} to go on, fleetctl abort {number} to give up"),
            }),
            ..Waiting::new(match cause {
                PauseCause::Operator => why.clone(),
                _ => format!("paused: {why}"),
            })
        })),
        Course::Running | Course::Ended { .. } => None,
    }
}

/// Runs down only while nodes are on their way to being verified.
fn too_long_without_progress(
    _state: &State,
    rollout: &Rollout,
    progress: &Progress,
    now: Timestamp,
) -> Option<Decision> {
    let deadline = rollout.plan.strategy.progress_deadline;
    let late = !progress.unverified.is_empty() && now.since(rollout.progress_at) > deadline;
    if !late || !rollout.is_forward() {
        return None;
    }
    let why = sentences::no_progress(rollout, &progress.unverified, deadline);
    pause(rollout, PauseCause::ProgressDeadline, why)
}

fn all_waves_passed(
    state: &State,
    rollout: &Rollout,
    _progress: &Progress,
    _now: Timestamp,
) -> Option<Decision> {
    if rollout.wave < rollout.plan.waves.len() {
        return None;
    }
    let number = rollout.number;
    Some(Decision::events(if !rollout.plan.held_back.is_empty() {
        vec![Event::RolloutHeld { number }]
    } else if rollout.is_forward() {
        end(rollout, Outcome::Succeeded, None, None)
    } else {
        back::end_rollback(state, rollout)
    }))
}

fn start_wave(_state: &State, rollout: &Rollout, _progress: &Progress, now: Timestamp) -> Option<Decision> {
    if rollout.waves.get(rollout.wave)?.started_at.is_some() {
        return None;
    }
    let shut = gate::before_wave(rollout)
        .into_iter()
        .find(|gate| !gate.is_open());
    Some(match shut {
        None => Decision::events(vec![Event::WaveStarted {
            number: rollout.number,
            wave: rollout.wave,
        }]),
        Some(gate) => {
            let (why, until) = match gate.verdict {
                Verdict::Waiting { why, until } => (why, until),
                Verdict::Shut { why } => (why, None),
                Verdict::Open => (String::new(), Some(now)),
            };
            Decision::wait(Waiting {
                until,
                hint: gate.hint,
                ..Waiting::new(format!("gate {}: {why}", gate.name))
            })
        }
    })
}

/// Tells nodes to move, as many at once as the plan allows.
fn issue_orders(state: &State, rollout: &Rollout, progress: &Progress, _now: Timestamp) -> Option<Decision> {
    let wave = &progress.wave;
    let mut decision = Decision::default();
    if !wave.ready.is_empty() {
        issue_to_ready(state, rollout, progress, &mut decision);
    }
    if !decision.events.is_empty() {
        return Some(decision);
    }
    // A rollback goes on without those that cannot be reached: their order is in the
    // journal, and goes out when they come back, even long after the rollback has ended.
    let absent: Vec<NodeId> = wave
        .absent
        .iter()
        .filter(|id| rollout.is_forward() || state.nodes.get(*id).is_some_and(|node| !node.is_unreachable()))
        .cloned()
        .collect();
    if rollout.is_forward() {
        if !absent.is_empty() {
            decision.waiting.push(sentences::absent(&absent));
        }
    } else {
        let absent = wave.absent.iter();
        decision.events = absent.filter_map(|id| first_order(state, rollout, id)).collect();
        if !decision.events.is_empty() {
            return Some(decision);
        }
    }
    let moving: Vec<NodeId> = wave
        .moving
        .iter()
        .filter(|id| rollout.is_forward() || state.nodes.get(*id).is_some_and(|node| !node.is_unreachable()))
        .cloned()
        .collect();
    if !moving.is_empty() {
        decision.waiting.push(sentences::moving(rollout, &moving));
    }
    if !wave.unclear.is_empty() {
        decision.waiting.push(sentences::unclear(&wave.unclear));
    }
    (!decision.waiting.is_empty()).then_some(decision)
}

fn issue_to_ready(state: &State, rollout: &Rollout, progress: &Progress, decision: &mut Decision) {
    let in_flight_max = concurrency(rollout.plan.strategy.max_in_flight, rollout.plan.nodes());
    let mut availability = Availability::of(state, rollout);
    let mut in_flight = in_flight(state, rollout, progress);
    let mut kept_back = 0;
    for id in &progress.wave.ready {
        let serves = state
            .nodes
            .get(id)
            .is_some_and(|node| node.serves(&rollout.plan.app));
        // The way back goes on one by one past nodes that are ill and that it cannot help.
        let way_back = !rollout.is_forward() && in_flight == 0;
        if in_flight >= in_flight_max || !(way_back || availability.admits(id, serves)) {
            kept_back += 1;
            continue;
        }
        if let Some(order) = first_order(state, rollout, id) {
            availability.take(id, serves);
            in_flight += 1;
            decision.events.push(order);
        }
    }
    if kept_back > 0 && decision.events.is_empty() {
        decision.waiting.push(if in_flight >= in_flight_max {
            Waiting::new(format!(
                "{kept_back} nodes wait their turn: {in_flight} are in flight, the limit is {in_flight_max}"
            ))
        } else {
            sentences::unavailable(&availability, kept_back, rollout)
        });
    }
}

/// On the way back nobody waits for nodes that cannot be reached.
fn in_flight(state: &State, rollout: &Rollout, progress: &Progress) -> usize {
    if rollout.is_forward() {
        return progress.in_flight;
    }
    let reachable = |id: &&NodeId| state.nodes.get(*id).is_some_and(|node| !node.is_unreachable());
    progress.unverified.iter().filter(reachable).count()
}

/// At least one: a share that rounds down to nobody would never move.
pub fn concurrency(amount: Amount, total: usize) -> usize {
    availability::limit(amount, total).max(1)
}

fn first_order(state: &State, rollout: &Rollout, node: &NodeId) -> Option<Event> {
    let step = rollout.steps.get(node)?;
    let order = match &rollout.kind {
        RolloutKind::Forward { release } => Order::Deploy {
            release: release.clone(),
        },
        RolloutKind::Rollback { leave, to, .. } => Order::Revert {
            leave: leave.clone().or_else(|| {
                state
                    .nodes
                    .get(node)
                    .and_then(|node| node.current(&rollout.plan.app))
                    .cloned()
            }),
            to: to.clone(),
            why: rollout.reason.clone().unwrap_or_default(),
        },
    };
    Some(Event::CommandIssued {
        number: rollout.number,
        node: node.clone(),
        generation: step.generation + 1,
        order,
    })
}

/// All of the wave that can be good is; the bake begins, or goes on.
fn bake(_state: &State, rollout: &Rollout, _progress: &Progress, now: Timestamp) -> Option<Decision> {
    if !rollout.is_forward() {
        return None;
    }
    let wave = rollout.wave;
    let bake = rollout.plan.waves.get(wave)?.bake;
    match rollout.waves.get(wave)?.bake_until {
        None => Some(Decision::events(vec![Event::WaveBaking {
            number: rollout.number,
            wave,
            until: now.plus(bake),
        }])),
        Some(until) if now < until => Some(Decision::wait(Waiting {
            until: Some(until),
            ..Waiting::new(format!("wave {} bakes for {bake}", wave + 1))
        })),
        Some(_) => None,
    }
}

fn commit(state: &State, rollout: &Rollout, progress: &Progress, _now: Timestamp) -> Option<Decision> {
    let stand = &progress.wave;
    let events: Vec<Event> = stand
        .baking
        .iter()
        .filter(|id| state.nodes.get(*id).is_some_and(super::node::Node::is_connected))
        .filter_map(|id| {
            let step = rollout.steps.get(id)?;
            Some(Event::CommandIssued {
                number: rollout.number,
                node: id.clone(),
                generation: step.generation + 1,
                order: Order::Commit,
            })
        })
        .collect();
    if !events.is_empty() {
        return Some(Decision::events(events));
    }
    let waited_for = [&stand.baking[..], &stand.committing[..]].concat();
    (!waited_for.is_empty()).then(|| {
        Decision::wait(Waiting::new(format!(
            "{} to confirm the end of the bake",
            sentences::nodes(&waited_for)
        )))
    })
}

fn pass_wave(rollout: &Rollout) -> Event {
    Event::WavePassed {
        number: rollout.number,
        wave: rollout.wave,
    }
}
