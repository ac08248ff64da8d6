//! Plans that follow from how the fleet stands, and from no intent.

use std::collections::BTreeSet;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::quantity::{Amount, Span};
use fleet_proto::release::Strategy;
use fleet_proto::waves::WaveSpec;

use super::{Plan, Wave};
use crate::rollout::state::Release;

/// A rollback's plan: one wave, everybody who has something to leave.
pub fn plan_back(
    app: &AppName,
    environment: &EnvironmentName,
    nodes: &BTreeSet<NodeId>,
    strategy: &Strategy,
) -> Plan {
    let everybody = Wave {
        reach: "100%".to_owned(),
        nodes: nodes.iter().cloned().collect(),
        bake: Span::ZERO,
    };
    Plan {
        app: app.clone(),
        environment: environment.clone(),
        waves: if nodes.is_empty() { vec![] } else { vec![everybody] },
        dropped: vec![],
        held_back: vec![],
        left_out: vec![],
        strategy: Strategy {
            waves: WaveSpec::all(),
            bake: vec![Span::ZERO],
            ..strategy.clone()
        },
        canary: None,
        healthy_deadline: Span::ZERO,
        migration: None,
    }
}

/// A catch-up's plan: everybody who is behind, in one wave, within the limits of the
/// release's own strategy.
pub fn plan_catch_up(
    app: &AppName,
    environment: &EnvironmentName,
    nodes: Vec<NodeId>,
    release: &Release,
) -> Plan {
    let bake = release.strategy.bake_of_wave(0);
    Plan {
        app: app.clone(),
        environment: environment.clone(),
        waves: vec![Wave {
            reach: "100%".to_owned(),
            nodes,
            bake,
        }],
        dropped: vec![],
        held_back: vec![],
        left_out: vec![],
        strategy: Strategy {
            waves: WaveSpec::all(),
            bake: vec![bake],
            // Each node stands for itself: the release has proven itself elsewhere.
            max_failures: Amount::Percent(100),
            max_unreachable: Amount::Percent(100),
            ..release.strategy.clone()
        },
        canary: None,
        healthy_deadline: release.healthy_deadline,
        // Whatever it needed was done when the others got it.
        migration: None,
    }
}
