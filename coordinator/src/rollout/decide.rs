//! What follows from the state at this moment. Each rule is a function of its own, in
//! the order in which they win; a rule answers with events, or says what is waited for.

mod back;
mod budgets;
mod catch_up;
mod expired;
mod migrate;
mod orders;
mod sentences;
mod trouble;

use fleet_proto::ids::RolloutNumber;
use fleet_proto::session::Order;
use fleet_proto::time::Timestamp;

use super::event::{Event, Outcome, PauseCause};
use super::gate::{self, Verdict};
use super::progress::Progress;
use super::state::{Course, Rollout, State};

use budgets::{gone_back_to_an_ill_one, too_long_without_progress, too_many_failures, too_many_lost};
use orders::issue_orders;
use trouble::{too_long_in_a_phase, try_again};

pub use back::{Scope, abort, put_back};
pub use migrate::{has_something_to_undo, in_doubt};
pub use orders::concurrency;

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
    if events.is_empty() {
        events = catch_up::start(state, now);
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
        halted,
        too_many_failures,
        too_many_lost,
        gone_back_to_an_ill_one,
        expired::nobody_is_missed_any_more,
        paused,
        held,
        try_again,
        too_long_in_a_phase,
        too_long_without_progress,
        migrate::contract,
        migrate::undo,
        all_waves_passed,
        migrate::migrate_up,
        start_wave,
        issue_orders,
        bake,
        commit,
    ];
    let mut decision = rules
        .iter()
        .find_map(|rule| rule(state, rollout, &progress, now))
        .unwrap_or_else(|| Decision::events(vec![pass_wave(rollout, &progress)]));
    for waiting in &mut decision.waiting {
        waiting.since.get_or_insert(rollout.progress_at);
    }
    decision
}

/// Ends the rollout, and starts the one that puts back what it leaves, if that is anything.
pub fn end(rollout: &Rollout, outcome: Outcome, why: Option<String>, back: Option<back::Back>) -> Vec<Event> {
    end_by(rollout, None, outcome, why, back)
}

/// As [`end`], where somebody wanted it.
fn end_by(
    rollout: &Rollout,
    by: Option<&str>,
    outcome: Outcome,
    why: Option<String>,
    back: Option<back::Back>,
) -> Vec<Event> {
    let mut events = vec![Event::RolloutEnded {
        number: rollout.number,
        outcome,
        why,
        rollback: back.as_ref().map(|back| back.number),
        superseded_by: None,
        by: by.map(str::to_owned),
    }];
    events.extend(back.map(|back| back.event));
    events
}

/// Ends the rollout in favour of another one.
pub fn supersede(rollout: &Rollout, by: RolloutNumber, why: String) -> Event {
    Event::RolloutEnded {
        number: rollout.number,
        outcome: Outcome::Aborted,
        why: Some(why),
        rollback: None,
        superseded_by: Some(by),
        by: None,
    }
}

/// Nothing moves, whatever else is so; only an emergency does.
fn halted(state: &State, rollout: &Rollout, _progress: &Progress, _now: Timestamp) -> Option<Decision> {
    let gate = gate::shut(state, rollout, gate::HALT)?;
    shut_gate(&[gate]).map(Decision::wait)
}

/// What the first gate that is not open says.
fn shut_gate(gates: &[gate::Gate]) -> Option<Waiting> {
    let gate = gates.iter().find(|gate| !gate.is_open())?;
    let (why, until) = match &gate.verdict {
        Verdict::Waiting { why, until } => (why.as_str(), *until),
        Verdict::Shut { why } => (why.as_str(), None),
        Verdict::Open => return None,
    };
    Some(Waiting {
        since: gate.since,
        until,
        hint: gate.hint.clone(),
        ..Waiting::new(format!("gate {}: {why}", gate.name))
    })
}

fn held(_state: &State, rollout: &Rollout, _progress: &Progress, _now: Timestamp) -> Option<Decision> {
    let Course::Held { since } = &rollout.course else {
        return None;
    };
    Some(Decision::wait(Waiting {
        since: Some(*since),
        hint: Some(format!("fleetctl resume {} --waves 100", rollout.number.0)),
        ..Waiting::new(format!(
            "held: its waves have passed, {} covered by none",
            match rollout.plan.held_back.len() {
                1 => "1 node is".to_owned(),
                more => format!("{more} nodes are"),
            }
        ))
    }))
}

/// At the first gate there is, whatever it was that shut it.
fn paused(state: &State, rollout: &Rollout, _progress: &Progress, _now: Timestamp) -> Option<Decision> {
    let gate = gate::shut(state, rollout, gate::PAUSE)?;
    let Course::Paused { why, since, cause } = &rollout.course else {
        return shut_gate(&[gate]).map(Decision::wait);
    };
    Some(Decision::wait(Waiting {
        since: gate.since,
        hint: Some(sentences::way_out_of_a_pause(state, rollout, *cause)),
        ..Waiting::new(match cause {
            PauseCause::Operator => why.clone(),
            PauseCause::Migration => format!(
                "paused: {why}{}",
                migrate::known_since(state, rollout, *since).unwrap_or_default()
            ),
            _ => format!("paused: {why}"),
        })
    }))
}

fn all_waves_passed(
    state: &State,
    rollout: &Rollout,
    progress: &Progress,
    _now: Timestamp,
) -> Option<Decision> {
    let all_passed = rollout.wave >= rollout.plan.waves.len();
    if !all_passed || (rollout.is_forward() && !progress.wave.is_over()) {
        return None;
    }
    let number = rollout.number;
    Some(Decision::events(if !rollout.plan.held_back.is_empty() {
        vec![Event::RolloutHeld { number }]
    } else if rollout.is_catch_up() {
        catch_up::end(rollout)
    } else if rollout.is_forward() {
        end(
            rollout,
            Outcome::Succeeded,
            migrate::contract_remains(state, rollout),
            None,
        )
    } else {
        back::end_rollback(state, rollout)
    }))
}

fn start_wave(state: &State, rollout: &Rollout, _progress: &Progress, _now: Timestamp) -> Option<Decision> {
    if rollout.waves.get(rollout.wave)?.started_at.is_some() {
        return None;
    }
    let gates = gate::before_wave(state, rollout);
    Some(match shut_gate(&gates) {
        Some(waiting) => Decision::wait(waiting),
        None => Decision::events(vec![Event::WaveStarted {
            number: rollout.number,
            wave: rollout.wave,
        }]),
    })
}

/// All of the wave that can be good is; the bake begins, or goes on.
fn bake(_state: &State, rollout: &Rollout, progress: &Progress, now: Timestamp) -> Option<Decision> {
    if !rollout.is_forward() || progress.wave.good() == 0 {
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

/// Tells nodes to keep the release, each after a whole bake of its own: one that came
/// late to its wave has not been looked at for as long as the others.
fn commit(state: &State, rollout: &Rollout, progress: &Progress, now: Timestamp) -> Option<Decision> {
    let stand = &progress.wave;
    let mut events = Vec::new();
    let mut late = Vec::new();
    let mut until: Option<Timestamp> = None;
    for id in &stand.baking {
        let Some(step) = rollout.steps.get(id) else {
            continue;
        };
        let baked = step.since.plus(rollout.plan.waves.get(step.wave)?.bake);
        if now < baked {
            until = Some(until.map_or(baked, |until| until.min(baked)));
            late.push(id.clone());
        } else if state.nodes.get(id).is_some_and(super::node::Node::is_connected) {
            events.push(Event::CommandIssued {
                number: rollout.number,
                node: id.clone(),
                generation: step.generation + 1,
                order: Order::Commit,
            });
        }
    }
    if !events.is_empty() {
        return Some(Decision::events(events));
    }
    if !late.is_empty() {
        let bakes = if late.len() == 1 { "bakes" } else { "bake" };
        return Some(Decision::wait(Waiting {
            until,
            ..Waiting::new(format!(
                "{} came late and {bakes} longer",
                sentences::nodes(&late)
            ))
        }));
    }
    let waited_for = [&stand.baking[..], &stand.committing[..]].concat();
    (!waited_for.is_empty()).then(|| {
        Decision::wait(Waiting::new(format!(
            "{} to confirm the end of the bake",
            sentences::nodes(&waited_for)
        )))
    })
}

fn pass_wave(rollout: &Rollout, progress: &Progress) -> Event {
    Event::WavePassed {
        number: rollout.number,
        wave: rollout.wave,
        skipped: progress.wave.skipped.clone(),
    }
}
