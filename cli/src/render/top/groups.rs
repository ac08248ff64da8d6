//! Nodes in groups: by the waves of a rollout, or by zone; and those that are searched for.

use std::collections::BTreeMap;

use fleet_proto::ids::NodeId;
use fleet_proto::view::{NodeView, RolloutView};

use super::fleet::Fleet;
use super::standing::Standing;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    Wave,
    Zone,
}

impl Grouping {
    pub const fn other(self) -> Self {
        match self {
            Self::Wave => Self::Zone,
            Self::Zone => Self::Wave,
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Wave => "wave",
            Self::Zone => "zone",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    /// Positions among the fleet's nodes.
    pub nodes: Vec<usize>,
}

/// In an order that does not change while one looks: waves as they come, zones by name,
/// nodes by name.
pub fn groups(fleet: &Fleet, grouping: Grouping, rollout: Option<&RolloutView>, filter: &str) -> Vec<Group> {
    let waves: BTreeMap<&NodeId, usize> = rollout
        .iter()
        .flat_map(|view| &view.waves)
        .flat_map(|wave| wave.nodes.iter().map(|node| (node, wave.wave)))
        .collect();
    // What is in no wave comes last, and so does what is in no zone.
    let key = |node: &NodeView| match grouping {
        Grouping::Wave => {
            let wave = waves.get(&node.node).copied().unwrap_or(usize::MAX);
            (wave, String::new())
        }
        Grouping::Zone => match node.labels.get("zone") {
            Some(zone) => (0, zone.clone()),
            None => (usize::MAX, String::new()),
        },
    };
    let mut groups: BTreeMap<(usize, String), Vec<usize>> = BTreeMap::new();
    let standings = fleet.standings.iter();
    for (at, (node, standing)) in fleet.status.nodes.iter().zip(standings).enumerate() {
        if matches(node, *standing, filter) {
            groups.entry(key(node)).or_default().push(at);
        }
    }
    let name = |key: (usize, String)| match (grouping, key) {
        (Grouping::Wave, (usize::MAX, _)) => "no wave".to_owned(),
        (Grouping::Wave, (wave, _)) => format!("wave {wave}"),
        (Grouping::Zone, (usize::MAX, _)) => "no zone".to_owned(),
        (Grouping::Zone, (_, zone)) => format!("zone {zone}"),
    };
    groups
        .into_iter()
        .map(|(key, nodes)| Group {
            name: name(key),
            nodes,
        })
        .collect()
}

/// Every word has to fit: a part of the name, a label as `zone=a`, or how the node stands.
fn matches(node: &NodeView, standing: Standing, filter: &str) -> bool {
    filter.split_whitespace().all(|word| {
        let is_label = word
            .split_once('=')
            .is_some_and(|(key, value)| node.labels.get(key).is_some_and(|label| label.starts_with(value)));
        is_label || node.node.as_str().contains(word) || standing.word().starts_with(word)
    })
}
