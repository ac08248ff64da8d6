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
