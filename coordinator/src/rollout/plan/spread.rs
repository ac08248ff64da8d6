//! The order in which nodes move, so that every prefix of it is spread over the failure
//! domains in proportion. Deterministic from the seed; another release, another order,
//! so that it is not always the same node that goes first.

use std::collections::BTreeMap;

use fleet_proto::ids::NodeId;
use fleet_proto::labels::Selector;

use crate::rollout::chance::Chance;
use crate::rollout::node::Node;

/// Nodes without the label are a domain of their own.
const NO_DOMAIN: &str = "";

pub(super) fn order(
    nodes: &[(&NodeId, &Node)],
    label: &str,
    canary: Option<&Selector>,
    seed: &str,
) -> Vec<NodeId> {
    let chance = Chance::seeded(seed);
    let is_canary = |node: &Node| canary.is_some_and(|selector| selector.matches(&node.labels));
    let mut domains: BTreeMap<(bool, &str), Vec<(u64, &NodeId)>> = BTreeMap::new();
    for (id, node) in nodes {
        let domain = node.labels.get(label).map_or(NO_DOMAIN, String::as_str);
        // `false` sorts first: canaries are a group of their own, ahead of the rest.
        domains
            .entry((!is_canary(node), domain))
            .or_default()
            .push((chance.of(id.as_str()), id));
    }
    let mut order = Vec::with_capacity(nodes.len());
    for ((group, domain), mut members) in domains {
        members.sort_unstable();
        let size = members.len() as u128;
        let tie = chance.of(domain);
        for (i, (_, id)) in members.into_iter().enumerate() {
            // Where in the whole this node stands: the middle of its share, as a
            // fixed-point fraction, so that equal fractions are equal everywhere.
            let place = ((2 * i as u128 + 1) << 64) / (2 * size);
            order.push((group, place, tie, id));
        }
    }
    order.sort_unstable();
    order.into_iter().map(|(_, _, _, id)| id.clone()).collect()
}
