//! Is this state older than the fleet? A coordinator that was restored from an old copy of
//! its state, or that was frozen while another one took its place, would hand out numbers
//! that nodes have seen: what it orders would be taken for a repetition, and answered with
//! how something else went.
//!
//! Nodes say the highest fence that they have seen. Persist, then send: a fence that does
//! not follow from this state was given by somebody else, or by this coordinator in a time
//! that it does not remember. From then on it looks, and gives no orders.

use fleet_proto::fence::Fence;
use fleet_proto::ids::{AppName, NodeId, RolloutNumber};
use fleet_proto::session::AppStatus;

use super::decide::{self, Waiting};
use super::event::{Event, Outcome};
use super::input::{Refusal, RefusalKind, Request};
use super::state::{Rollout, State};

const HINT: &str = "if another coordinator is in charge, stop this one; if not, stop this one, run `fleet-coordinator take-over` (with the --config of `run`), and start it again";

/// What the nodes' fences say against this state.
pub(super) fn found<'a>(
    state: &State,
    id: &NodeId,
    fences: impl Iterator<Item = (&'a AppName, Fence)>,
) -> Vec<Event> {
    let is_known = state.nodes.get(id).is_some_and(|node| !node.is_revoked());
    let newest = fences
        .filter(|(app, seen)| is_known && seen.is_plausible() && !follows(state, id, app, *seen))
        .map(|(_, seen)| seen)
        .max_by_key(order);
    newest
        .filter(|seen| {
            state
                .outdated
                .get(id)
                .is_none_or(|known| order(known) < order(seen))
        })
        .map(|seen| Event::FoundOutdated {
            node: id.clone(),
            seen,
        })
        .into_iter()
        .collect()
}

/// What says most of how far others have come.
fn order(seen: &Fence) -> (RolloutNumber, u64, u32) {
    (seen.rollout, seen.term, seen.generation)
}

pub(super) fn fences(apps: &[AppStatus]) -> impl Iterator<Item = (&AppName, Fence)> {
    apps.iter().map(|status| (&status.app, status.fence_seen))
}

/// Can have been given by a coordinator with this state, or by one before it.
fn follows(state: &State, id: &NodeId, app: &AppName, seen: Fence) -> bool {
    if seen.term > state.term || seen.rollout >= state.next_rollout() {
        return false;
    }
    // Whatever was seen of numbers before a take-over, they are not given again.
    if seen.rollout <= state.taken_over {
        return true;
    }
    // Of a rollout that is forgotten, nobody is told anything any more.
    state
        .rollouts
        .get(&seen.rollout)
        .is_none_or(|rollout| is_of(rollout, id, app, seen))
}

/// The number is known; what was seen may be another rollout's that had it too.
fn is_of(rollout: &Rollout, id: &NodeId, app: &AppName, seen: Fence) -> bool {
    if rollout.plan.app != *app || seen.term < rollout.term {
        return false;
    }
    // One that has ended gives no orders. A machine that was set up from another one's disk
    // is no evidence: it was in no plan when that rollout was planned.
    let generation = match rollout.steps.get(id) {
        _ if rollout.is_ended() => return true,
        Some(step) => step.generation,
        None if rollout.plan.held_back.contains(id) => 0,
        None => return true,
    };
    seen.generation <= generation
}

/// What a node says of a step is of ours only if its number is.
pub(super) fn is_believable(state: &State, event: &Event) -> bool {
    match event {
        Event::StepMoved { number, node, .. } => {
            !state.outdated.contains_key(node) && *number > state.taken_over
        }
        _ => true,
    }
}

/// Time goes on, and orders wait.
pub(super) fn is_no_order(event: &Event) -> bool {
    matches!(event, Event::NodeUnreachable { .. })
}

/// A sentence, while it is so.
pub fn why(state: &State) -> Option<String> {
    let (node, seen) = state.outdated.iter().max_by_key(|(_, seen)| order(seen))?;
    let last = state.last_rollout();
    let order = if seen.rollout > last || seen.term > state.term {
        String::new()
    } else {
        format!(", order {}, which was not given here", seen.generation)
    };
    let others = match state.outdated.len() - 1 {
        0 => String::new(),
        1 => " (and 1 other node has too)".to_owned(),
        others => format!(" (and {others} other nodes have too)"),
    };
    Some(format!(
        "this coordinator's state ends at term {} and rollout {last}, but node {node} has seen term {} and \
         rollout {}{order}{others}: it was restored from an old copy, or another coordinator is in charge",
        state.term, seen.term, seen.rollout
    ))
}

pub fn waiting(state: &State) -> Option<Waiting> {
    why(state).map(|what| Waiting {
        what,
        since: None,
        until: None,
        hint: Some(HINT.to_owned()),
    })
}

/// Every request that could end in an order is refused. Who may come in, and who may not, is
/// answered as ever.
pub(super) fn must_not_be(state: &State, request: &Request) -> Result<(), Refusal> {
    let moves_nobody = matches!(
        request,
        Request::PushRelease(_)
            | Request::CreateToken { .. }
            | Request::RevokeToken { .. }
            | Request::AddOperator { .. }
            | Request::RemoveOperator { .. }
            | Request::CreateAccessToken { .. }
            | Request::RevokeAccessToken { .. }
            | Request::Enrol { .. }
            | Request::LabelNode { .. }
            | Request::RevokeNode { .. }
            | Request::CordonNode { .. }
            | Request::UncordonNode { .. }
            | Request::Halt { .. }
    );
    if moves_nobody {
        return Ok(());
    }
    must_give_orders(state)
}

/// A plan, too, would be of a fleet that is not as this state has it.
pub fn must_give_orders(state: &State) -> Result<(), Refusal> {
    match why(state) {
        Some(why) => Err(Refusal::new(RefusalKind::Refused, why).hint(HINT)),
        None => Ok(()),
    }
}

/// Goes on from behind all that was seen. What ran is over as it stands: it is not known
/// how far it came.
pub(super) fn take_over(state: &State) -> Result<Vec<Event>, Refusal> {
    if state.outdated.is_empty() {
        return Err(Refusal::new(
            RefusalKind::Refused,
            "there is nothing to take over: no node has said that it has seen more than this state knows",
        )
        .hint("start it with `fleet-coordinator run`; it asks every node that connects, and says so if it is outdated"));
    }
    let ended = state
        .active
        .iter()
        .filter_map(|number| state.rollouts.get(number));
    let mut events: Vec<Event> = ended
        .flat_map(|rollout| {
            let why = "the state was older than the fleet; how far it came is not known".to_owned();
            decide::end(rollout, Outcome::Aborted, Some(why), None)
        })
        .collect();
    let seen = state.outdated.values();
    let term = seen.clone().map(|seen| seen.term).fold(state.term, u64::max);
    let rollout = seen
        .map(|seen| seen.rollout)
        .fold(state.last_rollout(), RolloutNumber::max);
    events.push(Event::TookOver {
        term: term + 1,
        rollout,
    });
    Ok(events)
}
