//! Nodes that are short of something, by their newest heartbeats: how many, and not which.
//! `fleetctl node show` says it of each.

use std::collections::BTreeMap;

use fleet_proto::exposition::Exposition;
use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::session::Heartbeat;

use crate::driver::Sessions;
use crate::rollout::node::Node;
use crate::rollout::state::State;

/// What is short, and the share in use above which one should hear of it: there is time to
/// act at the lower of the two of a disk, and hardly any at the upper one.
const LIMITS: [(&str, &str, f64); 4] = [
    ("cpu", "0.8", 0.8),
    ("memory", "0.9", 0.9),
    ("disk", "0.85", 0.85),
    ("disk", "0.95", 0.95),
];

#[derive(Debug, Default)]
pub(super) struct Strain {
    /// For each of the limits.
    over: BTreeMap<EnvironmentName, [u64; LIMITS.len()]>,
    restarting: BTreeMap<(AppName, EnvironmentName), u64>,
}

impl Strain {
    pub(super) fn of(state: &State, sessions: &Sessions) -> Self {
        let mut strain = Self::default();
        for environment in state.environments.keys() {
            strain.over.insert(environment.clone(), [0; LIMITS.len()]);
            for app in state.releases.keys() {
                strain.restarting.insert((app.clone(), environment.clone()), 0);
            }
        }
        sessions.each_heartbeat(|id, heartbeat| strain.count(state, id, heartbeat));
        strain
    }

    fn count(&mut self, state: &State, id: &NodeId, heartbeat: &Heartbeat) {
        let over = over(state.nodes.get(id), heartbeat);
        if !over.contains(&true) && heartbeat.restarting.is_empty() {
            return;
        }
        let environments = state.environments.iter();
        for (name, _) in environments.filter(|(_, within)| within.members.contains(id)) {
            if let Some(counts) = self.over.get_mut(name) {
                for (count, over) in counts.iter_mut().zip(over) {
                    *count += u64::from(over);
                }
            }
            for app in &heartbeat.restarting {
                // Of apps that are known here alone: a node cannot make up series.
                if let Some(count) = self.restarting.get_mut(&(app.clone(), name.clone())) {
                    *count += 1;
                }
            }
        }
    }

    pub(super) fn write(&self, text: &mut Exposition) {
        let mut strained = text.gauge(
            "fleet_nodes_strained",
            "Connected nodes that use more than this share of a resource.",
        );
        for (environment, counts) in &self.over {
            for ((resource, over, _), count) in LIMITS.iter().zip(counts) {
                let labels = [
                    ("environment", environment.as_str()),
                    ("resource", *resource),
                    ("over", *over),
                ];
                strained.value(&labels, *count);
            }
        }
        let mut restarting = text.gauge(
            "fleet_app_nodes_restarting",
            "Connected nodes on which the app was restarted again and again just now.",
        );
        for ((app, environment), count) in &self.restarting {
            let labels = [("app", app.as_str()), ("environment", environment.as_str())];
            restarting.value(&labels, *count);
        }
    }
}

fn over(node: Option<&Node>, heartbeat: &Heartbeat) -> [bool; LIMITS.len()] {
    let disk = node
        .and_then(|node| node.facts.as_ref())
        .map(|facts| facts.disk.0);
    LIMITS.map(|(resource, _, limit)| match resource {
        "cpu" => heartbeat.cpu_percent / 100.0 > limit,
        "memory" => heartbeat.memory_percent / 100.0 > limit,
        // An older agent did not say how large it is.
        _ => {
            disk.is_some_and(|disk| disk > 0 && (heartbeat.disk_free.0 as f64) < disk as f64 * (1.0 - limit))
        }
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use std::collections::BTreeSet;

    use fleet_proto::digest::Digest;
    use fleet_proto::exposition::Form;
    use fleet_proto::quantity::Bytes;
    use fleet_proto::session::Facts;
    use fleet_proto::time::Timestamp;
    use tokio::sync::mpsc;

    use super::*;
    use crate::driver::Ending;
    use crate::rollout::event::CatchUp;
    use crate::rollout::state::Environment;

    fn state(node: &NodeId) -> State {
        let platform = "linux/amd64".parse().unwrap();
        let mut known = Node::enrolled(&platform, Digest::of(b""), Timestamp(0), Timestamp(0));
        known.facts = Some(Facts {
            platform,
            hostname: "n1".into(),
            kernel: "6.1".into(),
            cpus: 4,
            memory: Bytes(1000),
            disk: Bytes(1000),
            disk_free: Bytes(1000),
            booted_at: Timestamp(0),
        });
        let mut state = State::default();
        state.nodes.insert(node.clone(), known);
        state.releases.entry("shop".parse().unwrap()).or_default();
        let environment = Environment {
            select: "".parse().unwrap(),
            desired: BTreeMap::new(),
            catch_up: CatchUp::Auto,
            halt: None,
            known_bad: BTreeMap::new(),
            behind: BTreeMap::new(),
            members: BTreeSet::from([node.clone()]),
            down: BTreeMap::new(),
            migrations: BTreeMap::new(),
        };
        state.environments.insert("prod".parse().unwrap(), environment);
        state
    }

    #[test]
    fn what_is_over_a_limit_is_counted_and_no_node_makes_up_series() {
        let node: NodeId = "n1".parse().unwrap();
        let state = state(&node);
        let sessions = Sessions::default();
        let (queue, _stream) = mpsc::channel(1);
        sessions.attach(node.clone(), queue, Ending::default());
        let heartbeat = Heartbeat {
            cpu_percent: f64::NAN,
            memory_percent: 91.0,
            disk_free: Bytes(100),
            releases: vec![],
            restarting: ["shop", "made-up"].map(|app| app.parse().unwrap()).into(),
        };
        sessions.note(&node, heartbeat);
        let mut text = Exposition::new(Form::Text);
        Strain::of(&state, &sessions).write(&mut text);
        let text = text.finish();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "fleet_nodes_strained{environment=\"prod\",resource=\"cpu\",over=\"0.8\"} 0",
                "fleet_nodes_strained{environment=\"prod\",resource=\"memory\",over=\"0.9\"} 1",
                "fleet_nodes_strained{environment=\"prod\",resource=\"disk\",over=\"0.85\"} 1",
                "fleet_nodes_strained{environment=\"prod\",resource=\"disk\",over=\"0.95\"} 0",
                "fleet_app_nodes_restarting{app=\"shop\",environment=\"prod\"} 1",
            ]
        );
    }
}
