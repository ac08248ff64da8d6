//! Who is told to move now.

use fleet_proto::ids::{AppName, NodeId, RolloutNumber};
use fleet_proto::quantity::Amount;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::Order;
use fleet_proto::time::Timestamp;

use super::{Decision, sentences};
use crate::rollout::availability::Availability;
use crate::rollout::event::{Event, RolloutKind};
use crate::rollout::node::Node;
use crate::rollout::progress::Progress;
use crate::rollout::state::{Rollout, State};

/// Tells nodes to move, as many at once as the plan allows.
pub(super) fn issue_orders(
    state: &State,
    rollout: &Rollout,
    progress: &Progress,
    _now: Timestamp,
) -> Option<Decision> {
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
    if !wave.moving.is_empty() {
        decision.waiting.push(sentences::moving(rollout, progress));
    }
    if !wave.retrying.is_empty() {
        decision
            .waiting
            .push(sentences::retrying(rollout, &wave.retrying));
    }
    if !wave.unclear.is_empty() {
        decision.waiting.push(sentences::unclear(&wave.unclear));
    }
    (!decision.waiting.is_empty()).then_some(decision)
}

fn issue_to_ready(state: &State, rollout: &Rollout, progress: &Progress, decision: &mut Decision) {
    let in_flight_max = concurrency(rollout.plan.strategy.max_in_flight, rollout.plan.nodes());
    let mut in_flight = in_flight(state, rollout, progress);
    if in_flight >= in_flight_max {
        let gone = in_flight.saturating_sub(progress.unverified.len());
        decision.waiting.push(sentences::in_turn(
            progress.wave.ready.len(),
            in_flight,
            gone,
            in_flight_max,
        ));
        return;
    }
    let mut availability = Availability::of(state, rollout);
    let mut kept_back = 0;
    for id in &progress.wave.ready {
        let served = rollout.steps.get(id).is_some_and(|step| step.from.is_some());
        let node = state.nodes.get(id);
        let serves = served || node.is_some_and(|node| node.serves(&rollout.plan.app));
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
        let waiting = sentences::unavailable(state, &availability, kept_back, rollout);
        decision.waiting.push(waiting);
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
    amount.of_rounded_down(total).max(1)
}

fn first_order(state: &State, rollout: &Rollout, node: &NodeId) -> Option<Event> {
    let step = rollout.steps.get(node)?;
    let order = match &rollout.kind {
        RolloutKind::Forward { release } | RolloutKind::CatchUp { release } => Order::Deploy {
            release: release.clone(),
        },
        RolloutKind::Rollback { parent, leave, to } => Order::Revert {
            leave: leave
                .clone()
                .or_else(|| what_it_was_to_leave(state, *parent, node))
                .or_else(|| what_it_leaves(state.nodes.get(node)?, &rollout.plan.app)),
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

/// Where an earlier rollback is gone through once more.
fn what_it_was_to_leave(state: &State, parent: Option<RolloutNumber>, node: &NodeId) -> Option<ReleaseRef> {
    let parent = state
        .rollouts
        .get(&parent?)
        .filter(|parent| !parent.is_forward())?;
    match (&parent.kind, &parent.steps.get(node)?.order) {
        (_, Some(Order::Revert { leave, .. })) => leave.clone(),
        (RolloutKind::Rollback { leave, .. }, _) => leave.clone(),
        _ => None,
    }
}

/// What runs; but a node that is on its way back already goes on leaving what it was told
/// to leave, and not where that takes it.
fn what_it_leaves(node: &Node, app: &AppName) -> Option<ReleaseRef> {
    let stands = node.app(app)?;
    match stands.order.as_ref().map(|issued| &issued.order) {
        Some(Order::Revert {
            leave: Some(leave), ..
        }) if stands.busy => Some(leave.clone()),
        _ => stands.current.clone(),
    }
}
