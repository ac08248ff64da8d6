//! A plan: who, when, under which conditions.

use std::fmt::Write;

use fleet_proto::view::{GateView, PlanView, VerdictView, WavePlanView};

use super::paint::Paint;
use super::rollouts::count;

/// More names than these make a wave's line unreadable; the number stands there anyway.
const NODES_NAMED: usize = 12;

/// The whole plan.
pub fn plan(plan: &PlanView, paint: Paint) -> String {
    let strategy = &plan.strategy;
    let mut text = brief(plan);
    let _infallible = write!(
        text,
        "\n  at once {}, unavailable {}, failures {}, unreachable {}; on failure {}",
        strategy.max_in_flight,
        strategy.max_unavailable,
        strategy.max_failures,
        strategy.max_unreachable,
        match strategy.on_failure {
            fleet_proto::release::OnFailure::Rollback => "roll back",
            fleet_proto::release::OnFailure::Pause => "pause",
        }
    );
    for left_out in &plan.left_out {
        let _infallible = write!(text, "\n  leaves out {}: {}", left_out.node, left_out.why);
    }
    for gate in &plan.gates {
        let _infallible = write!(text, "\n  gate {}", verdict(gate, paint));
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
    let mut text = format!(
        "app {}, environment {}, release {} ({})\n{} in {}",
        plan.app,
        plan.environment,
        plan.release,
        plan.release.digest.short(),
        count(plan.nodes, "node"),
        count(plan.waves.len(), "wave")
    );
    for wave in &plan.waves {
        let _infallible = write!(text, "\n  {}", wave_line(wave));
    }
    if plan.waves.is_empty() {
        let _infallible = write!(text, "\n  {}", nothing_moves(plan));
        return text;
    }
    if !plan.dropped.is_empty() {
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
            "\n  held back: {nodes}, until `fleetctl resume N --waves …`"
        );
    }
    text
}

fn nothing_moves(plan: &PlanView) -> String {
    let left_out = plan.left_out.len();
    match plan.left_out.first() {
        None => "nothing moves: no node is there".to_owned(),
        Some(first) if plan.left_out.iter().all(|node| node.why == first.why) => {
            format!("nothing moves, for {}: {}", count(left_out, "node"), first.why)
        }
        Some(first) => format!(
            "nothing moves: {} left out, {}: {}",
            count(left_out, "node"),
            first.node,
            first.why
        ),
    }
}

fn wave_line(wave: &WavePlanView) -> String {
    let domains: Vec<String> = wave
        .domains
        .iter()
        .map(|(name, nodes)| format!("{name} {nodes}"))
        .collect();
    let mut names: Vec<String> = wave
        .nodes
        .iter()
        .take(NODES_NAMED)
        .map(ToString::to_string)
        .collect();
    if wave.nodes.len() > NODES_NAMED {
        names.push(format!("and {} more", wave.nodes.len() - NODES_NAMED));
    }
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
        names.join(" ")
    )
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
