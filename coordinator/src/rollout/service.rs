//! Whether a node's apps run at all: drained for maintenance, and back in service.
//!
//! No order of any rollout: those are fenced by their rollout, and this holds across all
//! of them. So it has a number of its own, which rises with each word to the node; a node
//! says in its greeting which it has seen, and is told again what it has not.

use serde::{Deserialize, Serialize};

use fleet_proto::ids::NodeId;
use fleet_proto::session::{self, ServiceStatus, ToAgent};

use super::event::Event;
use super::state::State;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its apps are stopped, or will be when it hears of it.
    pub drained: bool,
    /// Rises with each drain and undrain.
    pub sequence: u64,
    /// The newest of these that the node said it has done.
    pub done: u64,
}

impl Service {
    pub fn is_done(self) -> bool {
        self.done == self.sequence
    }

    pub fn next(self) -> u64 {
        self.sequence.saturating_add(1)
    }
}

/// What is new in what a node says of it.
pub(super) fn reported(state: &State, id: &NodeId, status: ServiceStatus) -> Vec<Event> {
    let Some(node) = state.nodes.get(id).filter(|node| !node.is_revoked()) else {
        return vec![];
    };
    let known = node.service;
    let ServiceStatus { sequence, drained } = status;
    // Told by a coordinator whose state was lost: the node is as it says.
    let is_ahead = sequence > known.sequence || (sequence == known.sequence && drained && !known.drained);
    let has_done = sequence == known.sequence && drained == known.drained && !known.is_done();
    // Set up anew, and knows nothing of it.
    let has_forgotten = sequence < known.sequence && sequence < known.done;
    if !(is_ahead || has_done || has_forgotten) {
        return vec![];
    }
    let node = id.clone();
    vec![if drained {
        Event::NodeDrained { node, sequence }
    } else {
        Event::NodeServes { node, sequence }
    }]
}

/// The newest word to a node, if there is one and it may be given.
pub(super) fn message(state: &State, id: &NodeId) -> Option<(NodeId, ToAgent)> {
    let node = state.nodes.get(id).filter(|node| !node.is_revoked())?;
    // An agent from before this does not understand it, and would break the stream off.
    if state.is_outdated() || !node.can_be_drained || node.service.sequence == 0 {
        return None;
    }
    let service = session::Service {
        term: state.term,
        sequence: node.service.sequence,
        drained: node.service.drained,
    };
    Some((id.clone(), ToAgent::Service(service)))
}
