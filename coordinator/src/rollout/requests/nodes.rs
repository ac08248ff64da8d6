//! Nodes: labelled, cordoned, revoked.

use fleet_proto::ids::NodeId;
use fleet_proto::labels::Labels;

use super::{Answer, must_be_few};
use crate::rollout::event::Event;
use crate::rollout::input::{Refusal, RefusalKind, Reply};
use crate::rollout::node::{Connection, Node};
use crate::rollout::state::State;

pub fn find_node<'a>(state: &'a State, id: &NodeId) -> Result<&'a Node, Refusal> {
    state.nodes.get(id).ok_or_else(|| {
        let known: Vec<String> = state.nodes.keys().map(ToString::to_string).collect();
        let refusal = Refusal::new(RefusalKind::NotFound, format!("there is no node {id}"));
        match fleet_proto::config::nearest(id.as_str(), &known) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal.hint("fleetctl nodes"),
        }
    })
}

pub(super) fn label(state: &State, by: &str, id: &NodeId, set: &Labels, remove: &[String]) -> Answer {
    let mut labels = find_node(state, id)?.labels.clone();
    for key in remove {
        labels.remove(key);
    }
    labels.extend(set.clone());
    must_be_few(&labels)?;
    let event = Event::NodeLabelled {
        node: id.clone(),
        labels,
        by: by.to_owned(),
    };
    Ok((vec![event], Reply::Done))
}

pub(super) fn revoke(state: &State, by: &str, id: &NodeId, reason: &str) -> Answer {
    // The name of one that has merely expired would be free.
    if matches!(find_node(state, id)?.connection, Connection::Revoked { .. }) {
        return Ok((vec![], Reply::Done));
    }
    let event = Event::NodeRevoked {
        node: id.clone(),
        by: by.to_owned(),
        reason: reason.to_owned(),
    };
    Ok((vec![event], Reply::Done))
}

/// Once more says it with another reason.
pub(super) fn cordon(state: &State, by: &str, id: &NodeId, reason: Option<&str>) -> Answer {
    let node = find_node(state, id)?;
    if node.is_revoked() {
        let what = if node.has_expired() {
            "has expired"
        } else {
            "was revoked"
        };
        return Err(Refusal::new(RefusalKind::Refused, format!("{id} {what}")));
    }
    let reason = reason.filter(|reason| !reason.is_empty());
    let known = node.cordon.as_ref();
    if known.is_some_and(|known| known.by == by && known.reason.as_deref() == reason) {
        return Ok((vec![], Reply::Done));
    }
    let event = Event::NodeCordoned {
        node: id.clone(),
        by: by.to_owned(),
        reason: reason.map(str::to_owned),
    };
    Ok((vec![event], Reply::Done))
}

pub(super) fn uncordon(state: &State, by: &str, id: &NodeId) -> Answer {
    let node = find_node(state, id)?;
    if node.service.drained {
        // What is brought to a node has to prove itself there, and nothing runs there.
        return Err(Refusal::new(RefusalKind::Refused, format!("{id} is drained"))
            .hint(format!("fleetctl node undrain {id}")));
    }
    if node.cordon.is_none() {
        return Ok((vec![], Reply::Done));
    }
    let event = Event::NodeUncordoned {
        node: id.clone(),
        by: by.to_owned(),
    };
    Ok((vec![event], Reply::Done))
}
