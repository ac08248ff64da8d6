//! Pods come and go. A node that is a pod's expires some minutes after it is gone: its
//! certificate is worth nothing any more, it counts in no plan, and nobody waits for it.

use fleet_proto::time::Timestamp;

use super::event::Event;
use super::input::Settings;
use super::node::{Connection, Node};
use super::state::State;

/// Those whose time is over.
pub(super) fn expired_now(state: &State, settings: &Settings, now: Timestamp) -> Vec<Event> {
    // A state that is older than the fleet does not know who is gone.
    if state.is_outdated() {
        return vec![];
    }
    // While no coordinator ran nobody could come back to one.
    let not_before = state.in_charge_since.plus(settings.unreachable_after_restart);
    let gone_since = |node: &Node| match node.connection {
        Connection::Unreachable { since } => Some(since),
        _ => None,
    };
    let is_over = |since: &Timestamp| since.plus(settings.ephemeral_expiry).max(not_before) <= now;
    let over: Vec<Event> = state
        .expiring
        .iter()
        .filter_map(|id| Some((id, gone_since(state.nodes.get(id)?)?)))
        .filter(|(_, since)| is_over(since))
        .map(|(id, gone_since)| Event::NodeExpired {
            node: id.clone(),
            gone_since,
        })
        .collect();
    // Where nobody at all is there it is the network that has gone, and not the pods.
    if !over.is_empty() && !state.nodes.values().any(Node::is_connected) {
        return vec![];
    }
    over
}
