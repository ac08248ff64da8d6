//! Pods that come with the word of their cluster.

use fleet_proto::ids::ClusterName;
use fleet_proto::labels::Labels;

use super::tokens::{Newcomer, lost_its_answer, revoked_for_good};
use super::{Answer, must_be_few};
use crate::rollout::event::Event;
use crate::rollout::input::{Naming, Refusal, RefusalKind, Reply};
use crate::rollout::node::Node;
use crate::rollout::state::State;

/// More than any cluster may have, and few enough that one that goes mad does not fill the
/// state.
const PODS_MAX: usize = 20_000;

pub(super) fn enrol(
    state: &State,
    cluster: &ClusterName,
    labels: &Labels,
    naming: Naming,
    newcomer: &Newcomer<'_>,
) -> Answer {
    let node = newcomer.node;
    let known = state.nodes.get(node);
    let enrolled = Reply::Enrolled {
        labels: labels.clone(),
    };
    must_be_few(labels)?;
    if known.is_some_and(|known| is_of(known, cluster) && lost_its_answer(known, newcomer.key)) {
        return Ok((vec![], enrolled));
    }
    must_be_free(cluster, naming, newcomer, known)?;
    let is_there = |known: &&Node| is_of(known, cluster) && !known.is_revoked();
    if known.is_none() && state.nodes.values().filter(is_there).count() >= PODS_MAX {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("cluster {cluster} has {PODS_MAX} nodes, which is the limit"),
        )
        .hint("those that are gone expire; `ephemeral_expiry` in coordinator.toml says when"));
    }
    // What an operator has said of it since stands, as it does for other nodes.
    let kept = known
        .filter(|known| !known.has_expired())
        .map(|known| &known.labels);
    let event = Event::PodEnrolled {
        node: node.clone(),
        cluster: cluster.clone(),
        key: *newcomer.key,
        certificates_from: newcomer.certificates_from,
        labels: kept.cloned().unwrap_or_else(|| labels.clone()),
        platform: newcomer.platform.clone(),
    };
    Ok((vec![event], enrolled))
}

fn is_of(known: &Node, cluster: &ClusterName) -> bool {
    known.cluster.as_ref() == Some(cluster)
}

/// A pod that lost its identity is still that pod; nobody else takes the place of a node.
fn must_be_free(
    cluster: &ClusterName,
    naming: Naming,
    newcomer: &Newcomer<'_>,
    known: Option<&Node>,
) -> Result<(), Refusal> {
    let node = newcomer.node;
    let refuse = |why: String| Err(Refusal::new(RefusalKind::Refused, why));
    match known {
        None => Ok(()),
        Some(known) if known.has_expired() => Ok(()),
        Some(known) if known.is_revoked() => Err(revoked_for_good(node)),
        Some(known) if naming == Naming::Chosen || !is_of(known, cluster) => {
            refuse(format!("node {node} is enrolled already"))
        }
        // Whoever stole the token of a pod that is well gets nothing by it.
        Some(known) if known.is_connected() => {
            refuse(format!("node {node} is enrolled already, and connected"))
        }
        Some(_) => Ok(()),
    }
}
