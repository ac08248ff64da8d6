//! One turn: inputs in; events, answers and messages out. What the driver does around
//! it is append the events, and only then send.

use fleet_proto::fence::Fence;
use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Span;
use fleet_proto::session::{Command, ServiceStatus, ToAgent};
use fleet_proto::time::Timestamp;

use super::decide::decide;
use super::event::{Event, RolloutKind, Stamped};
use super::input::{Input, Refusal, Reply, Settings};
use super::node::{IssuedOrder, Node};
use super::reports::Stream;
use super::state::{IllegalEvent, State};
use super::{expire, outdated, reports, requests, service};

/// Rules that answer one another for ever would be a mistake in the rules; a turn that
/// takes more rounds than any rollout has waves and phases says so instead of hanging.
const ROUNDS_MAX: usize = 10_000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    pub events: Vec<Stamped>,
    /// One for each request among the inputs, in their order.
    pub answers: Vec<Result<Reply, Refusal>>,
    /// To be sent once the events are durable.
    pub messages: Vec<(NodeId, ToAgent)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    #[error("a decision does not follow from the state")]
    Illegal(#[from] IllegalEvent),
    #[error("the rules answered one another for {ROUNDS_MAX} rounds")]
    Endless,
}

/// What somebody decides while no coordinator runs on this state. Nothing else follows.
pub fn take_over(state: &mut State, now: Timestamp) -> Result<Result<Turn, Refusal>, TurnError> {
    let mut turn = Turn::default();
    let events = match outdated::take_over(state) {
        Ok(events) => events,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let now = now.max(state.at);
    record(state, events, now, &mut turn)?;
    Ok(Ok(turn))
}

/// Applies the inputs and all that follows from them to `state`.
pub fn turn(
    state: &mut State,
    inputs: &[Input],
    settings: &Settings,
    now: Timestamp,
) -> Result<Turn, TurnError> {
    let mut turn = Turn::default();
    // The journal's time never goes back, whatever the clock does.
    let now = now.max(state.at);
    let was_outdated = state.is_outdated();
    for input in inputs {
        take(state, input, settings, now, &mut turn)?;
    }
    if was_outdated && !state.is_outdated() {
        remind_everybody(state, &mut turn);
    }
    for _ in 0..ROUNDS_MAX {
        let mut events = expire::expired_now(state, settings, now);
        if events.is_empty() {
            events = decide(state, now);
        }
        if state.is_outdated() {
            events.retain(outdated::is_no_order);
        }
        if events.is_empty() {
            // What the turn itself took back again is not sent.
            turn.messages
                .retain(|(node, message)| still_stands(state, node, message));
            return Ok(turn);
        }
        record(state, events, now, &mut turn)?;
    }
    Err(TurnError::Endless)
}

fn take(
    state: &mut State,
    input: &Input,
    settings: &Settings,
    now: Timestamp,
    turn: &mut Turn,
) -> Result<(), TurnError> {
    let events = match input {
        Input::TakeCharge { environments, admins } => {
            let mut events = vec![Event::TookCharge { term: state.term + 1 }];
            if state.admins != *admins {
                let admins = admins.clone();
                events.push(Event::AdminsDefined { admins });
            }
            events.extend(
                environments
                    .iter()
                    .filter(|(name, definition)| {
                        let known = state.environments.get(*name);
                        known.map(|known| (&known.select, known.catch_up))
                            != Some((&definition.select, definition.catch_up))
                    })
                    .map(|(name, definition)| Event::EnvironmentDefined {
                        environment: name.clone(),
                        select: definition.select.clone(),
                        catch_up: definition.catch_up,
                    }),
            );
            events.append(&mut reports::silence_after_restart(state, settings, now));
            events
        }
        Input::Request { by, request } => match requests::answer(state, by, request, now) {
            Ok((events, reply)) => {
                turn.answers.push(Ok(reply));
                events
            }
            Err(refusal) => {
                turn.answers.push(Err(refusal));
                vec![]
            }
        },
        Input::NodeConnected { node, hello } => {
            let found = outdated::found(state, node, outdated::fences(&hello.apps));
            record(state, found, now, turn)?;
            let mut events = reports::connected(state, node, hello);
            for status in &hello.apps {
                events.append(&mut reports::status(state, node, status, Stream::New));
            }
            events.append(&mut reports::gone_apps(state, node, hello));
            if let Some(status) = hello.service {
                events.append(&mut service::reported(state, node, status));
            }
            record(state, events, now, turn)?;
            if state.nodes.get(node).is_some_and(Node::is_revoked) {
                send_away(node, turn);
                return Ok(());
            }
            remind_of_service(state, node, hello.service, turn);
            remind(state, node, hello.apps.iter(), turn);
            return Ok(());
        }
        Input::NodeStatus { node, status } => {
            let fences = outdated::fences(std::slice::from_ref(status));
            let found = outdated::found(state, node, fences);
            record(state, found, now, turn)?;
            reports::status(state, node, status, Stream::Known)
        }
        Input::NodeRefused { node, refusal } => {
            let seen = [(&refusal.app, refusal.seen)].into_iter();
            record(state, outdated::found(state, node, seen), now, turn)?;
            reports::refused(state, node, refusal)
        }
        Input::NodeHistory { node, entry } => {
            let events = reports::acted(state, node, entry);
            record(state, events, now, turn)?;
            let taken = ToAgent::HistoryTaken {
                through_sequence: entry.sequence,
            };
            turn.messages.push((node.clone(), taken));
            return Ok(());
        }
        Input::NodeService { node, status } => service::reported(state, node, *status),
        Input::NodeGone { node } => reports::gone(state, node, settings, now),
        Input::Tick => vec![],
    };
    record(state, events, now, turn)
}

fn record(state: &mut State, events: Vec<Event>, at: Timestamp, turn: &mut Turn) -> Result<(), TurnError> {
    for event in events {
        if !outdated::is_believable(state, &event) {
            continue;
        }
        let stamped = Stamped {
            position: state.position + 1,
            at,
            event,
        };
        state.apply(&stamped)?;
        send(state, &stamped.event, turn);
        turn.events.push(stamped);
    }
    Ok(())
}

/// The messages that an event asks for.
fn send(state: &State, event: &Event, turn: &mut Turn) {
    match event {
        Event::CommandIssued {
            number,
            node,
            generation,
            order,
        } => {
            let issued = IssuedOrder {
                number: *number,
                generation: *generation,
                order: order.clone(),
            };
            if let Some(rollout) = state.rollouts.get(number) {
                let command = command(state, rollout.plan.app.clone(), &issued);
                turn.messages.push((node.clone(), ToAgent::Command(command)));
            }
        }
        Event::NodeDraining { node, .. } | Event::NodeUndrained { node, .. } => {
            turn.messages.extend(service::message(state, node));
        }
        // Who came back meanwhile was told nothing; who knows it already answers, and that is all.
        Event::Unhalted { .. } => remind_everybody(state, turn),
        // While this wave bakes, the next one gets its bytes.
        Event::WaveBaking { number, wave, .. } => {
            let Some(rollout) = state.rollouts.get(number) else {
                return;
            };
            let (RolloutKind::Forward { release }, Some(next)) =
                (&rollout.kind, rollout.plan.waves.get(wave + 1))
            else {
                return;
            };
            turn.messages.extend(next.nodes.iter().map(|node| {
                let prefetch = ToAgent::Prefetch {
                    app: rollout.plan.app.clone(),
                    release: release.clone(),
                    environment: Some(rollout.plan.environment.clone()),
                };
                (node.clone(), prefetch)
            }));
        }
        _ => {}
    }
}

fn command(state: &State, app: fleet_proto::ids::AppName, issued: &IssuedOrder) -> Command {
    Command {
        fence: Fence {
            term: state.term,
            rollout: issued.number,
            generation: issued.generation,
        },
        app,
        environment: state
            .rollouts
            .get(&issued.number)
            .map(|rollout| rollout.plan.environment.clone()),
        order: issued.order.clone(),
    }
}

fn still_stands(state: &State, node: &NodeId, message: &ToAgent) -> bool {
    let ToAgent::Command(command) = message else {
        return true;
    };
    let stands = state.nodes.get(node).and_then(|node| node.app(&command.app));
    stands
        .and_then(|stands| stands.order.as_ref())
        .is_some_and(|issued| {
            let is_newest =
                (issued.number, issued.generation) == (command.fence.rollout, command.fence.generation);
            is_newest && may_be_sent(state, issued)
        })
}

/// A node that comes back hears again what it has not seen.
fn remind<'a>(
    state: &State,
    id: &NodeId,
    apps: impl Iterator<Item = &'a fleet_proto::session::AppStatus>,
    turn: &mut Turn,
) {
    let Some(node) = state.nodes.get(id).filter(|node| !node.is_revoked()) else {
        return;
    };
    let seen: std::collections::BTreeMap<_, _> = apps
        .map(|status| {
            (
                &status.app,
                (status.fence_seen.rollout, status.fence_seen.generation),
            )
        })
        .collect();
    for (app, stands) in &node.apps {
        let Some(issued) = stands.order.as_ref().filter(|issued| may_be_sent(state, issued)) else {
            continue;
        };
        if seen
            .get(app)
            .is_none_or(|seen| *seen < (issued.number, issued.generation))
        {
            let command = command(state, app.clone(), issued);
            turn.messages.push((id.clone(), ToAgent::Command(command)));
        }
    }
}

/// Before any order: a node that is drained carries orders out without a start.
fn remind_of_service(state: &State, id: &NodeId, seen: Option<ServiceStatus>, turn: &mut Turn) {
    let known = state.nodes.get(id).map(|node| node.service).unwrap_or_default();
    if seen.is_some_and(|seen| seen.sequence < known.sequence) {
        turn.messages.extend(service::message(state, id));
    }
}

/// It expired while it was on its way to the door; who knocks again is told why it stays shut.
fn send_away(id: &NodeId, turn: &mut Turn) {
    let away = ToAgent::GoAway {
        retry_after: Span::from_secs(1),
        why: format!("{id} was revoked, or has expired"),
    };
    turn.messages.push((id.clone(), away));
}

/// While an environment is halted nobody there is told anything, not even again; nor is
/// anybody by a state that is older than the fleet.
fn may_be_sent(state: &State, issued: &IssuedOrder) -> bool {
    let rollout = state.rollouts.get(&issued.number);
    !state.is_outdated() && rollout.is_none_or(|rollout| state.halts(rollout).is_none())
}

fn remind_everybody(state: &State, turn: &mut Turn) {
    let waits = |node: &Node| node.is_connected() && !node.service.is_done();
    let waiting = state.nodes.iter().filter(|(_, node)| waits(node));
    turn.messages
        .extend(waiting.filter_map(|(id, _)| service::message(state, id)));
    for rollout in state
        .active
        .iter()
        .filter_map(|number| state.rollouts.get(number))
    {
        for (id, step) in &rollout.steps {
            let node = state.nodes.get(id).filter(|node| node.is_connected());
            let stands = node.and_then(|node| node.app(&rollout.plan.app));
            let order = stands.and_then(|stands| stands.order.as_ref());
            let Some(issued) = order.filter(|issued| issued.number == rollout.number) else {
                continue;
            };
            if !step.phase.is_settled() && may_be_sent(state, issued) {
                let command = command(state, rollout.plan.app.clone(), issued);
                turn.messages.push((id.clone(), ToAgent::Command(command)));
            }
        }
    }
}
