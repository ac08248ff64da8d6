//! A rollout that paused for the sake of nodes that have expired since goes on by itself.

use fleet_proto::ids::NodeId;
use fleet_proto::time::Timestamp;

use super::Decision;
use crate::rollout::event::{Event, PauseCause};
use crate::rollout::node::{Connection, Node};
use crate::rollout::progress::Progress;
use crate::rollout::state::{Course, Rollout, State};

/// A person is asked where nodes are lost that may come back. A pod that expired does not.
pub(super) fn nobody_is_missed_any_more(
    state: &State,
    rollout: &Rollout,
    progress: &Progress,
    _now: Timestamp,
) -> Option<Decision> {
    let Course::Paused {
        cause: PauseCause::Unreachable,
        since,
        ..
    } = &rollout.course
    else {
        return None;
    };
    let has_expired_since =
        |node: &Node| matches!(node.connection, Connection::Expired { at } if at >= *since);
    let expired: Vec<NodeId> = rollout
        .steps
        .iter()
        .filter(|(id, step)| step.forgiven && state.nodes.get(*id).is_some_and(has_expired_since))
        .map(|(id, _)| id.clone())
        .collect();
    let strategy = &rollout.plan.strategy;
    let nodes = rollout.plan.nodes();
    // What else is over its budget waits for a person all the same.
    let is_within = progress.lost.len() <= strategy.max_unreachable.of_rounded_down(nodes)
        && progress.failed.len() <= strategy.max_failures.of_rounded_down(nodes);
    (is_within && !expired.is_empty()).then(|| {
        Decision::events(vec![Event::RolloutResumed {
            number: rollout.number,
            by: "fleet".to_owned(),
            forgiven: expired,
        }])
    })
}
