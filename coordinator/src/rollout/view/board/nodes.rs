//! Nodes in pages.

use fleet_proto::ids::{EnvironmentName, NodeId};
use fleet_proto::labels::Selector;
use fleet_proto::session::Health;
use fleet_proto::view::board::{
    ConnectionBoard, FactsBoard, NodeAppBoard, NodeBoard, NodesPage, ReleaseWord,
};
use fleet_proto::view::{ConnectionView, DrainView};

use super::Part;
use crate::rollout::node::{Connection, Node};
use crate::rollout::state::State;
use crate::rollout::view;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFilter {
    pub select: Selector,
    pub environment: Option<EnvironmentName>,
    /// `connected`, `unreachable`, …
    pub connection: Option<String>,
    /// `healthy`, `unhealthy`, …: of any app on it.
    pub health: Option<String>,
    /// In its name or its host's.
    pub text: Option<String>,
}

impl NodeFilter {
    fn takes(&self, state: &State, id: &NodeId, node: &Node) -> bool {
        let of_environment = |name: &EnvironmentName| {
            let environment = state.environments.get(name);
            environment.is_some_and(|environment| environment.select.matches(&node.labels))
        };
        let has_text = |text: &String| {
            let host = node.facts.as_ref().map(|facts| facts.hostname.as_str());
            id.as_str().contains(text.as_str()) || host.is_some_and(|host| host.contains(text.as_str()))
        };
        let mut apps = node.apps.values();
        self.select.matches(&node.labels)
            && self.environment.as_ref().is_none_or(of_environment)
            && self
                .connection
                .as_ref()
                .is_none_or(|word| word == connection_word(node.connection))
            && self
                .health
                .as_ref()
                .is_none_or(|word| apps.any(|app| word == health_word(&app.health)))
            && self.text.as_ref().is_none_or(has_text)
    }
}

pub const fn connection_word(connection: Connection) -> &'static str {
    match connection {
        Connection::Connected => "connected",
        Connection::Silent { .. } => "silent",
        Connection::Unreachable { .. } => "unreachable",
        Connection::Revoked { .. } => "revoked",
        Connection::Expired { .. } => "expired",
    }
}

pub const fn health_word(health: &Health) -> &'static str {
    match health {
        Health::Empty => "empty",
        Health::Unknown => "unknown",
        Health::Healthy => "healthy",
        Health::Unhealthy { .. } => "unhealthy",
    }
}

/// By name.
pub fn nodes(state: &State, filter: &NodeFilter, part: &Part<NodeId>) -> NodesPage {
    let found = || {
        state
            .nodes
            .iter()
            .filter(|(id, node)| filter.takes(state, id, node))
    };
    let is_after = |id: &NodeId| part.after.as_ref().is_none_or(|after| id > after);
    let mut rest = found().filter(|(id, _)| is_after(id));
    let items: Vec<NodeBoard> = rest
        .by_ref()
        .take(part.limit)
        .map(|(id, found)| node(state, id, found))
        .collect();
    let more = rest.next().is_some();
    let last = items.last().map(|node| node.node.to_string());
    NodesPage {
        next: last.filter(|_| more),
        total: found().count(),
        items,
    }
}

/// As of its newest heartbeat is added by whoever has that.
pub fn node(state: &State, id: &NodeId, found: &Node) -> NodeBoard {
    let view = view::node(state, id, found);
    let since = match view.connection {
        ConnectionView::Connected => None,
        ConnectionView::Silent { since } | ConnectionView::Unreachable { since } => Some(since),
        ConnectionView::Revoked { at } | ConnectionView::Expired { at } => Some(at),
    };
    NodeBoard {
        node: view.node,
        labels: view.labels,
        platform: view.platform.to_string(),
        environments: view.environments,
        connection: ConnectionBoard {
            state: connection_word(found.connection),
            since,
        },
        cordon: view.cordon,
        drained: view.drained.map(DrainView::word),
        enrolled_at: view.enrolled_at,
        agent_version: view.agent_version,
        facts: view.facts.as_ref().map(FactsBoard::from),
        vitals: None,
        apps: view
            .apps
            .into_iter()
            .map(|app| NodeAppBoard {
                app: app.app,
                current: app.current.as_ref().map(ReleaseWord::from),
                last_good: app.last_good.as_ref().map(ReleaseWord::from),
                health: health_word(&app.health),
                why: match app.health {
                    Health::Unhealthy { why } => Some(why),
                    _ => None,
                },
                phase: app.phase,
                rollout: app.rollout,
            })
            .collect(),
    }
}
