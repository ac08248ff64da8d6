//! A plan: who, when, under which conditions.

use std::collections::BTreeMap;
use std::fmt::Write;

use fleet_proto::ids::NodeId;
use fleet_proto::view::{GateView, PlanView, VerdictView, WavePlanView};

use super::paint::Paint;
use super::rollouts::{count, nothing_moves};

/// More names than these make a wave's line unreadable; the number stands there anyway.
const NODES_NAMED: usize = 12;

/// The whole plan.
pub fn plan(plan: &PlanView, paint: Paint) -> String {
    let strategy = &plan.strategy;
    let mut text = brief(plan);
    let _infallible = write!(
        text,
        "\n  at once {}, unavailable {}{}, failures {}, unreachable {}; on failure {}",
        strategy.max_in_flight,
        strategy.max_unavailable,
        strategy
            .min_available
            .map_or_else(String::new, |least| format!(" and available {least}")),
        strategy.max_failures,
        strategy.max_unreachable,
        match strategy.on_failure {
            fleet_proto::release::OnFailure::Rollback => "roll back",
            fleet_proto::release::OnFailure::Pause => "pause",
        }
    );
    for (why, nodes) in left_out(plan) {
        let _infallible = write!(text, "\n  leaves out {}: {why}", named(&nodes));
    }
    for gate in &plan.gates {
        let _infallible = write!(text, "\n  gate {}", verdict(gate, paint));
        if let (false, Some(hint)) = (gate.verdict == VerdictView::Open, &gate.hint) {
            let _infallible = write!(text, "\n    hint: {hint}");
        }
    }
    let end = if plan.would_start {
        paint.good("would start now")
    } else {
        paint.waits("would not start now")
    };
    let _infallible = write!(text, "\n{end}");
    text
}

/// What a rollout says before it starts.
pub fn brief(plan: &PlanView) -> String {
    let scale = if plan.waves.is_empty() {
        nothing_moves(&plan.left_out, Some(&plan.release))
    } else {
        let reached: usize = plan.waves.iter().map(|wave| wave.nodes.len()).sum();
        let of_all = if plan.held_back.is_empty() {
            String::new()
        } else {
            format!(" of {}", plan.nodes)
        };
        format!(
            "{}{of_all} in {}",
            count(reached, "node"),
            count(plan.waves.len(), "wave"),
        )
    };
    let mut text = format!(
        "app {}, environment {}, release {} ({})\n{scale}",
        plan.app,
        plan.environment,
        plan.release,
        plan.release.digest.short(),
    );
    for wave in &plan.waves {
        let _infallible = write!(text, "\n  {}", wave_line(wave));
    }
    if !plan.dropped.is_empty() && !plan.waves.is_empty() {
        let _infallible = write!(
            text,
            "\n  left away, they add no node: {}",
            plan.dropped.join(", ")
        );
    }
    if !plan.held_back.is_empty() {
        let nodes = count(plan.held_back.len(), "node");
        let _infallible = write!(
            text,
            "\n  held back: {nodes}, until `fleetctl resume N --waves 100`"
        );
    }
    text
}

fn wave_line(wave: &WavePlanView) -> String {
    let domains: Vec<String> = wave
        .domains
        .iter()
        .map(|(name, nodes)| format!("{name} {nodes}"))
        .collect();
    let bake = if wave.bake.as_millis() == 0 {
        String::new()
    } else {
        format!(", bake {}", wave.bake)
    };
    format!(
        "wave {} to {}: {} ({}){bake}: {}",
        wave.wave,
        wave.reach,
        count(wave.nodes.len(), "node"),
        domains.join(", "),
        named(&wave.nodes)
    )
}

fn named(nodes: &[NodeId]) -> String {
    let mut names: Vec<String> = nodes.iter().take(NODES_NAMED).map(ToString::to_string).collect();
    if nodes.len() > NODES_NAMED {
        names.push(format!("and {} more", nodes.len() - NODES_NAMED));
    }
    names.join(" ")
}

/// Nodes with the same reason together: a whole fleet may have it.
fn left_out(plan: &PlanView) -> BTreeMap<&str, Vec<NodeId>> {
    let mut nodes: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    for left_out in &plan.left_out {
        nodes
            .entry(&left_out.why)
            .or_default()
            .push(left_out.node.clone());
    }
    nodes
}

fn verdict(gate: &GateView, paint: Paint) -> String {
    match &gate.verdict {
        VerdictView::Open => format!("{} {}", gate.gate, paint.good("open")),
        VerdictView::Waiting { why, until } => {
            let until = until.map_or(String::new(), |until| format!(" until {until}"));
            format!("{} {}{until}: {why}", gate.gate, paint.waits("waiting"))
        }
        VerdictView::Shut { why } => format!("{} {}: {why}", gate.gate, paint.bad("shut")),
    }
}

/// What opens the first gate that is shut.
pub fn opening_hint(plan: &PlanView) -> String {
    let shut = plan.gates.iter().filter(|gate| gate.verdict != VerdictView::Open);
    shut.filter_map(|gate| gate.hint.clone())
        .next()
        .unwrap_or_else(|| format!("`fleetctl plan {}` shows every gate", plan.release))
}

/// Why it would not start: every gate that is not open.
pub fn shut_gates(plan: &PlanView) -> String {
    let gates: Vec<String> = plan
        .gates
        .iter()
        .filter(|gate| gate.verdict != VerdictView::Open)
        .map(|gate| verdict(gate, Paint::PLAIN))
        .collect();
    if gates.is_empty() {
        "there is no node to move".to_owned()
    } else {
        gates.join("; ")
    }
}
