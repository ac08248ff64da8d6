//! One event as a sentence in the past tense.

mod author;
mod operator;
mod rollout;

use fleet_proto::ids::{EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::Health;
use fleet_proto::view::EventView;

use crate::rollout::event::{Event, Stamped};
use operator::tell_of_operator;
use rollout::tell_of_rollout;

/// What an event is about, and what it says.
struct Told {
    kind: &'static str,
    rollout: Option<RolloutNumber>,
    node: Option<NodeId>,
    message: String,
}

pub fn event(stamped: &Stamped) -> EventView {
    let told = tell(&stamped.event);
    EventView {
        position: stamped.position,
        at: stamped.at,
        kind: told.kind.to_owned(),
        rollout: told.rollout,
        node: told.node,
        by: author::of(&stamped.event).map(str::to_owned),
        message: told.message,
    }
}

fn of_fleet(kind: &'static str, message: String) -> Told {
    Told {
        kind,
        rollout: None,
        node: None,
        message,
    }
}

fn of_node(kind: &'static str, node: &NodeId, message: String) -> Told {
    Told {
        node: Some(node.clone()),
        ..of_fleet(kind, message)
    }
}

fn of_rollout(kind: &'static str, number: RolloutNumber, message: String) -> Told {
    Told {
        rollout: Some(number),
        ..of_fleet(kind, message)
    }
}

fn of_step(kind: &'static str, number: RolloutNumber, node: &NodeId, message: String) -> Told {
    Told {
        rollout: Some(number),
        ..of_node(kind, node, message)
    }
}

fn or_nothing(release: Option<&ReleaseRef>) -> String {
    release.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

fn tell(event: &Event) -> Told {
    match event {
        Event::TookCharge { term } => {
            of_fleet("took-charge", format!("a coordinator took charge, term {term}"))
        }
        Event::FoundOutdated { node, seen } => of_node(
            "found-outdated",
            node,
            format!("{node} has seen {seen}, which does not follow from this journal"),
        ),
        Event::TookOver { term, rollout } => of_fleet(
            "took-over",
            format!(
                "somebody put this coordinator in charge, from term {term} on and behind rollout {rollout}"
            ),
        ),
        Event::EnvironmentDefined {
            environment, select, ..
        } if select.is_empty() => of_fleet(
            "environment-defined",
            format!("environment {environment} takes every node"),
        ),
        Event::EnvironmentDefined {
            environment, select, ..
        } => of_fleet(
            "environment-defined",
            format!("environment {environment} takes nodes with {select}"),
        ),
        Event::ReleasePushed { push, by } => {
            let (app, release) = (&push.app, &push.release);
            of_fleet("release-pushed", format!("{by} pushed {app} {release}"))
        }
        Event::TokenCreated { token, by, .. } => of_fleet(
            "token-created",
            match (&token.node, token.uses) {
                (Some(node), _) => format!("{by} created join token {} for {node}", token.id),
                (None, uses) => {
                    let nodes = count(uses as usize, "node");
                    format!("{by} created join token {} for {nodes}", token.id)
                }
            },
        ),
        Event::TokenRevoked { token, by } => {
            of_fleet("token-revoked", format!("{by} revoked join token {token}"))
        }
        Event::AdminsDefined { .. }
        | Event::OperatorAdded { .. }
        | Event::OperatorRemoved { .. }
        | Event::AccessTokenCreated { .. }
        | Event::AccessTokenRevoked { .. } => tell_of_operator(event),
        Event::NodeEnrolled { node, token, .. } => of_node(
            "node-enrolled",
            node,
            format!("{node} enrolled with join token {token}"),
        ),
        Event::PodEnrolled { node, cluster, .. } => of_node(
            "pod-enrolled",
            node,
            format!("{node} enrolled by the word of cluster {cluster}"),
        ),
        Event::NodeExpired { node, gone_since } => of_node(
            "node-expired",
            node,
            format!("{node} expired, gone since {gone_since}"),
        ),
        Event::NodeLabelled { node, labels, by } => {
            let labels: Vec<String> = labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            of_node(
                "node-labelled",
                node,
                format!("{by} labelled {node} {}", labels.join(",")),
            )
        }
        Event::NodeRevoked { node, by, reason } => {
            let reason = if reason.is_empty() {
                String::new()
            } else {
                format!(": {reason}")
            };
            of_node("node-revoked", node, format!("{by} revoked {node}{reason}"))
        }
        Event::NodeCordoned { node, by, reason } => {
            let reason = reason
                .as_ref()
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            of_node("node-cordoned", node, format!("{by} cordoned {node}{reason}"))
        }
        Event::NodeUncordoned { node, by } => {
            of_node("node-uncordoned", node, format!("{by} uncordoned {node}"))
        }
        Event::NodeDraining { .. }
        | Event::NodeUndrained { .. }
        | Event::NodeDrained { .. }
        | Event::NodeServes { .. } => tell_of_service(event),
        Event::Halted {
            environment,
            by,
            reason,
        } => of_fleet(
            "halted",
            format!("{by} halted {}: {reason}", whole(environment.as_ref())),
        ),
        Event::Unhalted { environment, by } => of_fleet(
            "unhalted",
            format!("{by} unhalted {}", whole(environment.as_ref())),
        ),
        Event::NodeConnected {
            node, agent_version, ..
        } => of_node(
            "node-connected",
            node,
            format!("{node} connected, agent {agent_version}"),
        ),
        Event::NodeSilent { node, .. } => of_node("node-silent", node, format!("{node} fell silent")),
        Event::NodeUnreachable { node } => {
            of_node("node-unreachable", node, format!("{node} became unreachable"))
        }
        Event::NodeReported {
            node,
            app,
            current,
            health,
            ..
        } => {
            let health = match health {
                Health::Empty => "runs nothing".to_owned(),
                Health::Unknown => "health not known yet".to_owned(),
                Health::Healthy => "healthy".to_owned(),
                Health::Unhealthy { why } => format!("unhealthy: {why}"),
            };
            let message = format!("{node} reported {app} {}, {health}", or_nothing(current.as_ref()));
            of_node("node-reported", node, message)
        }
        Event::NodeActed { node, entry } => {
            let message = format!(
                "{node} went from {} to {} {} at {}: {}",
                or_nothing(entry.from.as_ref()),
                or_nothing(entry.to.as_ref()),
                entry.cause.word().replace('-', " "),
                entry.at,
                entry.message
            );
            of_node("node-acted", node, message)
        }
        _ => tell_of_rollout(event),
    }
}

fn tell_of_service(event: &Event) -> Told {
    match event {
        Event::NodeDraining {
            node,
            by,
            reason,
            over_limit,
            ..
        } => {
            let reason = reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let forced = over_limit
                .as_ref()
                .map(|over| format!(" (by force: that leaves {over})"))
                .unwrap_or_default();
            of_node(
                "node-draining",
                node,
                format!("{by} drains {node}{reason}{forced}"),
            )
        }
        Event::NodeUndrained { node, by, .. } => {
            of_node("node-undrained", node, format!("{by} undrained {node}"))
        }
        Event::NodeDrained { node, .. } => of_node("node-drained", node, format!("{node} is drained")),
        Event::NodeServes { node, .. } => of_node("node-serves", node, format!("{node} is in service")),
        // Named by the caller.
        other => of_fleet("event", format!("{other:?}")),
    }
}

fn whole(environment: Option<&EnvironmentName>) -> String {
    environment.map_or_else(|| "the fleet".to_owned(), |name| format!("environment {name}"))
}

fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}
