//! Why a rollout stands where it stands, and what would change that.

use std::fmt::Write;

use fleet_proto::session::Phase;
use fleet_proto::view::{RolloutKindView, RolloutStateView, RolloutView, StepView, WaveStateView};

use super::outcome::{log_tail, step_failure};
use super::paint::Paint;
use super::rollouts::{count, headline};
use super::status::waiting;

fn is_passed_by(view: &RolloutView, step: &StepView) -> bool {
    let wave = view.waves.get(step.wave);
    step.phase == Phase::Pending && wave.is_some_and(|wave| wave.state == WaveStateView::Passed)
}

pub fn explain(view: &RolloutView, paint: Paint) -> String {
    let number = view.number.0;
    let mut text = format!("{}: {}", headline(view), paint.state(view.state));
    if let Some(why) = &view.why {
        let _infallible = write!(text, "\n{why}{}", log_tail(&view.migration_log));
    }
    let passed = view
        .waves
        .iter()
        .filter(|wave| wave.state == WaveStateView::Passed)
        .count();
    let _infallible = write!(text, "\n{passed} of {} passed", count(view.waves.len(), "wave"));
    for step in &view.steps {
        if let Some(failure) = &step.failure {
            text.push_str(&step_failure(&view.kind, step, failure));
        } else if step.unreachable {
            let _infallible = write!(text, "\n  {} cannot be reached; it was {}", step.node, step.phase);
        }
    }
    let passed_by: Vec<&str> = view
        .steps
        .iter()
        .filter(|step| is_passed_by(view, step))
        .map(|step| step.node.as_str())
        .collect();
    if !passed_by.is_empty() {
        let _infallible = write!(
            text,
            "\n  {} did not get it: cordoned or elsewhere when the wave passed",
            passed_by.join(", ")
        );
    }
    for left_out in &view.left_out {
        let _infallible = write!(text, "\n  {} is left out: {}", left_out.node, left_out.why);
    }
    for line in waiting(view) {
        let _infallible = write!(text, "\n{line}");
    }
    if let Some(rollback) = view.rollback {
        let _infallible = write!(
            text,
            "\nit led to rollback {rollback}: `fleetctl explain {}`",
            rollback.0
        );
    }
    if let Some(other) = view.superseded_by {
        let _infallible = write!(
            text,
            "\nrollout {other} took its place: `fleetctl explain {}`",
            other.0
        );
    }
    // What it waits for may have brought the better hint.
    if view.waiting.iter().any(|waiting| waiting.hint.is_some()) {
        return text;
    }
    let is_forward = !matches!(view.kind, RolloutKindView::Rollback { .. });
    let hint = match view.state {
        RolloutStateView::Running => {
            format!("`fleetctl pause {number}` stops it between steps, `fleetctl abort {number}` for good")
        }
        RolloutStateView::Paused if !is_forward => {
            format!("`fleetctl resume {number}` goes on, `fleetctl abort {number}` ends it")
        }
        RolloutStateView::Paused => format!(
            "`fleetctl resume {number}` goes on, `fleetctl abort {number}` ends it, `fleetctl rollback {number}` puts the nodes back"
        ),
        RolloutStateView::Held => format!("`fleetctl resume {number} --waves 100` takes it to every node"),
        RolloutStateView::Succeeded if !is_forward || view.waves.is_empty() => {
            "`fleetctl status` shows what runs now".to_owned()
        }
        RolloutStateView::Succeeded => format!("`fleetctl rollback {number}` would put the nodes back"),
        RolloutStateView::Failed | RolloutStateView::Aborted => {
            format!("`fleetctl events --rollout {number}` tells it in order")
        }
    };
    let _infallible = write!(text, "\nhint: {hint}");
    text
}
