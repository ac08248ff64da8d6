//! One node, for people.

use fleet_proto::ids::{AppName, NodeId};
use fleet_proto::session::Phase;
use fleet_proto::view::{ConnectionView, DrainView, NodeAppView, NodeView};

use crate::rollout::node::{Connection, Node, NodeApp};
use crate::rollout::state::State;

pub fn node(state: &State, id: &NodeId, node: &Node) -> NodeView {
    NodeView {
        node: id.clone(),
        labels: node.labels.clone(),
        platform: node.platform.clone(),
        environments: state
            .environments
            .iter()
            .filter(|(_, environment)| environment.select.matches(&node.labels))
            .map(|(name, _)| name.clone())
            .collect(),
        connection: connection(node.connection),
        cordon: node.why_let_alone(),
        drained: drained(node),
        enrolled_at: node.enrolled_at,
        facts: node.facts.clone(),
        vitals: None,
        agent_version: node.agent_version.clone(),
        apps: node
            .apps
            .iter()
            .map(|(name, app)| node_app(state, id, name, app))
            .collect(),
    }
}

fn drained(node: &Node) -> Option<DrainView> {
    node.service.drained.then(|| match node.service.is_done() {
        true => DrainView::Drained,
        false => DrainView::Draining,
    })
}

fn connection(connection: Connection) -> ConnectionView {
    match connection {
        Connection::Connected => ConnectionView::Connected,
        Connection::Silent { since, .. } => ConnectionView::Silent { since },
        Connection::Unreachable { since } => ConnectionView::Unreachable { since },
        Connection::Revoked { at } => ConnectionView::Revoked { at },
        Connection::Expired { at } => ConnectionView::Expired { at },
    }
}

fn node_app(state: &State, id: &NodeId, name: &AppName, app: &NodeApp) -> NodeAppView {
    let number = app.order.as_ref().map(|order| order.number);
    let phase: Option<Phase> = number
        .and_then(|number| state.rollouts.get(&number))
        .and_then(|rollout| rollout.steps.get(id))
        .map(|step| step.phase);
    NodeAppView {
        app: name.clone(),
        current: app.current.clone(),
        last_good: app.last_good.clone(),
        health: app.health.clone(),
        phase,
        rollout: number,
    }
}
