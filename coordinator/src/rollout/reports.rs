//! What nodes say, as events. A report is a state, so the same one twice is one event.

use fleet_proto::fence::Fence;
use fleet_proto::ids::{AppName, NodeId};
use fleet_proto::migration::MigrationStand;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{
    AppStatus, Failure, FailureClass, Health, Hello, HistoryEntry, Order, Phase, Refusal, StepStatus,
};
use fleet_proto::time::Timestamp;

use super::event::Event;
use super::input::Settings;
use super::node::{Connection, NodeApp};
use super::state::{State, Step, moves};

/// A node cannot fill the state with apps that it makes up.
const APPS_PER_NODE_MAX: usize = 64;

/// The node's stream is there; what it says of its apps is reported separately.
pub(super) fn connected(state: &State, id: &NodeId, hello: &Hello) -> Vec<Event> {
    let Some(node) = state.nodes.get(id).filter(|node| !node.is_revoked()) else {
        return vec![];
    };
    let known = node.is_connected()
        && node.facts.as_ref() == Some(&hello.facts)
        && node.agent_version.as_ref() == Some(&hello.agent_version)
        && node.can_be_drained == hello.service.is_some();
    if known {
        return vec![];
    }
    vec![Event::NodeConnected {
        node: id.clone(),
        agent_version: hello.agent_version.clone(),
        facts: hello.facts.clone(),
        can_be_drained: hello.service.is_some(),
    }]
}

/// A greeting names every app of the node. One that it does not name is not there any
/// more, as on a node that was set up anew under its name.
pub(super) fn gone_apps(state: &State, id: &NodeId, hello: &Hello) -> Vec<Event> {
    let Some(node) = state.nodes.get(id).filter(|node| !node.is_revoked()) else {
        return vec![];
    };
    let is_named = |app: &AppName| hello.apps.iter().any(|status| status.app == *app);
    node.apps
        .iter()
        .filter(|(app, known)| !is_named(app) && (known.current.is_some() || known.last_good.is_some()))
        .map(|(app, _)| Event::NodeReported {
            node: id.clone(),
            app: app.clone(),
            current: None,
            last_good: None,
            health: Health::Empty,
            busy: false,
            left: None,
        })
        .collect()
}

/// Whether what was sent before may still arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Just begun: what an older one had not delivered is lost.
    New,
    Known,
}

/// On its way to another release, or will be when it hears what it was told.
fn is_busy(known: &NodeApp, status: &AppStatus, stream: Stream) -> bool {
    let seen = (status.fence_seen.rollout, status.fence_seen.generation);
    let is_moving = status
        .step
        .as_ref()
        .filter(|step| step.migration.is_none())
        .is_some_and(|step| step.phase != Phase::Baking && !step.phase.is_settled());
    let will_hear = known
        .order
        .as_ref()
        .is_some_and(|issued| moves(&issued.order) && seen < (issued.number, issued.generation));
    let may_hear = stream == Stream::Known && seen < known.told;
    is_moving || will_hear || may_hear
}

/// What the node put itself back from, or a person did, if nobody knew of it. What it says
/// of an order that is not its newest is from before that.
fn has_left<'a>(known: &NodeApp, status: &'a AppStatus) -> Option<&'a ReleaseRef> {
    let step = status.step.as_ref()?;
    let seen = (status.fence_seen.rollout, status.fence_seen.generation);
    let failure = step.failure.as_ref()?;
    let failed = step.failed.as_ref()?;
    let is_news = failure.class != FailureClass::Infrastructure
        && seen >= known.told
        && status.current.as_ref() != Some(failed)
        && !known.has_left(failed);
    is_news.then_some(failed)
}

pub(super) fn gone(state: &State, id: &NodeId, settings: &Settings, now: Timestamp) -> Vec<Event> {
    match state.nodes.get(id) {
        Some(node) if node.is_connected() => vec![Event::NodeSilent {
            node: id.clone(),
            until: now.plus(settings.unreachable_after),
        }],
        _ => vec![],
    }
}

/// A coordinator that has just started has no stream; nodes get time to come back.
pub(super) fn silence_after_restart(state: &State, settings: &Settings, now: Timestamp) -> Vec<Event> {
    let until = now.plus(settings.unreachable_after_restart);
    state
        .nodes
        .iter()
        .filter(|(_, node)| matches!(node.connection, Connection::Connected | Connection::Silent { .. }))
        .map(|(id, _)| Event::NodeSilent {
            node: id.clone(),
            until,
        })
        .collect()
}

pub(super) fn status(state: &State, id: &NodeId, status: &AppStatus, stream: Stream) -> Vec<Event> {
    let mut events = Vec::new();
    let Some(node) = state.nodes.get(id) else {
        return events;
    };
    if !node.apps.contains_key(&status.app) && node.apps.len() >= APPS_PER_NODE_MAX {
        return events;
    }
    let nothing = NodeApp::default();
    let known = node.apps.get(&status.app).unwrap_or(&nothing);
    // The words of an ill node change with every look; that it is ill is what counts.
    let health_changed = std::mem::discriminant(&known.health) != std::mem::discriminant(&status.health)
        // But that it is stopped on purpose says more than how ill it was before.
        || (node.service.drained && known.health != status.health);
    let busy = is_busy(known, status, stream);
    let left = has_left(known, status);
    let changed =
        (&known.current, &known.last_good, known.busy) != (&status.current, &status.last_good, busy);
    if changed || health_changed || left.is_some() {
        events.push(Event::NodeReported {
            node: id.clone(),
            app: status.app.clone(),
            current: status.current.clone(),
            last_good: status.last_good.clone(),
            health: status.health.clone(),
            busy,
            left: left.cloned(),
        });
    }
    if stream == Stream::New {
        events.extend(never_heard(state, id, status));
    }
    let reported = status.step.as_ref();
    events.extend(reported.and_then(|reported| match reported.migration {
        Some(stand) => migration(state, id, reported, stand),
        None => step(state, id, reported),
    }));
    events
}

/// It was told to migrate on a stream that is gone, and the order was taken back since: it
/// has not begun, and will not.
fn never_heard(state: &State, id: &NodeId, status: &AppStatus) -> Vec<Event> {
    let seen = (status.fence_seen.rollout, status.fence_seen.generation);
    let records = state
        .environments
        .values()
        .filter_map(|within| within.migrations.get(&status.app))
        .flat_map(|records| records.values())
        .filter(|record| record.node == *id && record.stand == MigrationStand::Started);
    records
        .filter_map(|record| {
            let run = state.rollouts.get(&record.rollout)?.migration.as_ref()?;
            let told = (record.rollout, run.generation);
            let order = state.nodes.get(id)?.app(&status.app)?.order.as_ref();
            let stands = order.is_some_and(|issued| (issued.number, issued.generation) == told);
            (run.node == *id && seen < told && !stands).then(|| Event::MigrationMoved {
                number: record.rollout,
                act: run.act,
                stand: MigrationStand::NotStarted,
                by: id.to_string(),
                why: Some("it never heard of it".to_owned()),
                log_tail: vec![],
            })
        })
        .collect()
}

/// Also of a rollout that has ended: what was done to a database stays done.
fn migration(state: &State, id: &NodeId, reported: &StepStatus, stand: MigrationStand) -> Option<Event> {
    let rollout = state.rollouts.get(&reported.rollout)?;
    let run = rollout.migration.as_ref()?;
    let is_of_it = run.node == *id && run.generation == reported.generation;
    let failure = reported.failure.as_ref();
    // Before it begins the node says so, and fetches; that is no end.
    let is_news = stand != run.stand && (stand.is_settled() || failure.is_some());
    let has_ended = reported.phase.is_settled();
    (is_of_it && has_ended && is_news).then(|| Event::MigrationMoved {
        number: rollout.number,
        act: run.act,
        stand,
        by: id.to_string(),
        why: failure.map(|failure| failure.message.clone()),
        log_tail: failure
            .map(|failure| failure.log_tail.clone())
            .unwrap_or_default(),
    })
}

fn step(state: &State, id: &NodeId, reported: &StepStatus) -> Option<Event> {
    let rollout = state.rollouts.get(&reported.rollout)?;
    let known = rollout.steps.get(id)?;
    if known.phase == reported.phase && known.failure == reported.failure {
        return None;
    }
    // It is to be tried again and was not told yet: what it says is from before.
    if known.phase == Phase::Pending {
        return None;
    }
    if !speaks_of_the_newest_order(known, reported) {
        return None;
    }
    // Nobody waits for that phase any more; what comes after it is news.
    let given_up = known.phase == Phase::Failed && known.overdue == Some(reported.phase);
    if given_up && reported.failure.is_none() {
        return None;
    }
    // What happens to a step after its rollout has ended is the next rollout's affair.
    if rollout.is_ended() && known.phase.is_settled() {
        return None;
    }
    Some(Event::StepMoved {
        number: rollout.number,
        node: id.clone(),
        phase: reported.phase,
        failure: reported.failure.clone(),
    })
}

/// A report about an older order is late, but for one: a node that failed in its bake
/// while it was being told that the bake is over.
fn speaks_of_the_newest_order(known: &Step, reported: &StepStatus) -> bool {
    reported.generation == known.generation
        || (reported.generation.checked_add(1) == Some(known.generation)
            && known.order == Some(Order::Commit)
            && reported.failure.is_some())
}

pub(super) fn refused(state: &State, id: &NodeId, refusal: &Refusal) -> Vec<Event> {
    let Fence {
        rollout: number,
        generation,
        ..
    } = refusal.refused;
    if let Some(event) = refused_migration(state, id, refusal) {
        return vec![event];
    }
    // A node that said anything of the order has accepted it: what it refuses is a copy.
    let is_news = |step: &&Step| {
        let told = match step.order {
            Some(Order::Deploy { .. }) => step.phase == Phase::Fetching,
            Some(Order::Revert { .. }) => step.phase == Phase::RollingBack,
            Some(Order::Commit) => step.phase == Phase::Baking,
            Some(Order::Migrate { .. }) | None => false,
        };
        step.generation == generation && told && step.failure.is_none()
    };
    let open = state.rollouts.get(&number).filter(|rollout| !rollout.is_ended());
    if open
        .and_then(|rollout| rollout.steps.get(id))
        .filter(is_news)
        .is_none()
    {
        return vec![];
    }
    let failure = Failure {
        class: FailureClass::Infrastructure,
        check: None,
        message: format!(
            "the agent refused the order ({}): {}; it has seen {}",
            refusal.refused, refusal.why, refusal.seen
        ),
        figure: None,
        limit: None,
        log_tail: vec![],
    };
    vec![
        Event::CommandRefused {
            number,
            node: id.clone(),
            refusal: refusal.clone(),
        },
        Event::StepMoved {
            number,
            node: id.clone(),
            phase: Phase::Failed,
            failure: Some(failure),
        },
    ]
}

pub(super) fn acted(state: &State, id: &NodeId, entry: &HistoryEntry) -> Vec<Event> {
    match state.nodes.get(id) {
        Some(node) if entry.sequence > node.history_taken => vec![Event::NodeActed {
            node: id.clone(),
            entry: entry.clone(),
        }],
        _ => vec![],
    }
}

/// What is refused was not begun.
fn refused_migration(state: &State, id: &NodeId, refusal: &Refusal) -> Option<Event> {
    let rollout = state.rollouts.get(&refusal.refused.rollout)?;
    let run = rollout.migration.as_ref()?;
    let is_of_it = run.node == *id && run.generation == refusal.refused.generation;
    // One that has begun refuses a copy.
    let is_news = is_of_it && run.stand == MigrationStand::Started && refusal.seen < refusal.refused;
    is_news.then(|| Event::MigrationMoved {
        number: rollout.number,
        act: run.act,
        stand: MigrationStand::NotStarted,
        by: id.to_string(),
        why: Some(format!("the agent refused the order: {}", refusal.why)),
        log_tail: vec![],
    })
}
