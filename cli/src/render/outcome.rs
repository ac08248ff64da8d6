//! How it ended, in full sentences: what failed where, by which figure, and what to
//! do now.

use std::fmt::Write;

use fleet_proto::session::{Failure, Phase};
use fleet_proto::view::{RolloutKindView, RolloutStateView, RolloutView, StepView};

use super::error::Mistake;
use super::rollouts::{count, headline, kind, nothing_moves, standing, title};
use super::time::span;
use crate::exit::Exit;

/// Beyond these the nodes fail alike; `fleetctl explain` names them all.
const FAILURES_SHOWN: usize = 3;
/// All that an agent keeps: what is wrong stands above a trace of calls, and not at its end.
const LOG_LINES_SHOWN: usize = 20;

/// The good end, for stdout.
pub fn success(view: &RolloutView) -> String {
    if view.waves.is_empty() && view.state == RolloutStateView::Succeeded {
        let why = nothing_moves(&view.left_out, view.release.as_ref());
        return format!("{} succeeded: {why}", title(view));
    }
    let took = view.ended_at.map_or(String::new(), |at| {
        format!(" after {}", span(at.since(view.started_at)))
    });
    let mut text = format!("{} {}{took}", headline(view), view.state.word());
    if view.state == RolloutStateView::Held {
        let why = view.why.as_deref().unwrap_or("its waves reach no further");
        let _infallible = write!(
            text,
            "; {why}\nhint: `fleetctl resume {} --waves 100` takes it to every node",
            view.number.0
        );
    }
    text
}

/// Any other end, for stderr: its details are below, and in the view.
pub fn mistake(view: &RolloutView, rollback: Option<&RolloutView>) -> Mistake {
    Mistake::new(ended(view), hint(view, rollback), Exit::Failed)
}

fn ended(view: &RolloutView) -> String {
    let why = view.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    format!("{} {} {}{why}", kind(view), view.number, view.state.word())
}

/// The same in full, for people.
pub fn failure(view: &RolloutView, rollback: Option<&RolloutView>) -> String {
    let mut text = format!("error: {}{}", ended(view), log_tail(&view.migration_log));
    let failed: Vec<(&StepView, &Failure)> = view
        .steps
        .iter()
        .filter_map(|step| step.failure.as_ref().map(|failure| (step, failure)))
        .collect();
    for (step, failure) in failed.iter().take(FAILURES_SHOWN) {
        text.push_str(&step_failure(&view.kind, step, failure));
    }
    if failed.len() > FAILURES_SHOWN {
        let more = count(failed.len() - FAILURES_SHOWN, "more node");
        let _infallible = write!(
            text,
            "\n  and {more}; `fleetctl explain {}` names all {}",
            view.number.0,
            failed.len()
        );
    }
    if let Some(rollback) = rollback {
        let _infallible = write!(text, "\n  {}", rolled_back(rollback));
    }
    if let Some(hint) = hint(view, rollback) {
        let _infallible = write!(text, "\nhint: {hint}");
    }
    text
}

/// Node, check, figure, limit, and the last lines that the process wrote.
pub fn step_failure(kind: &RolloutKindView, step: &StepView, failure: &Failure) -> String {
    // Most messages name their check themselves.
    let check = failure
        .check
        .as_ref()
        .filter(|check| !failure.message.contains(check.as_str()));
    let check = check.map_or(String::new(), |check| format!(" {check}"));
    let mut text = format!("\n  {}{check}: {}", step.node, failure.message);
    let figures: Vec<String> = [("found", &failure.figure), ("limit", &failure.limit)]
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")))
        .collect();
    if !figures.is_empty() {
        let _infallible = write!(text, " ({})", figures.join(", "));
    }
    // On the way back that is what was to be, and the failure says how it went.
    if step.phase == Phase::RolledBack && !matches!(kind, RolloutKindView::Rollback { .. }) {
        text.push_str("; the node is back on what it ran before");
    }
    text.push_str(&log_tail(&failure.log_tail));
    text
}

pub fn log_tail(lines: &[String]) -> String {
    let skipped = lines.len().saturating_sub(LOG_LINES_SHOWN);
    let heading = (!lines.is_empty()).then(|| "\n    the last lines of its log:".to_owned());
    let lines = lines[skipped..].iter().map(|line| format!("\n    | {line}"));
    heading.into_iter().chain(lines).collect()
}

fn rolled_back(rollback: &RolloutView) -> String {
    format!("{} {}", headline(rollback), standing(rollback))
}

fn hint(view: &RolloutView, rollback: Option<&RolloutView>) -> Option<String> {
    let stuck = rollback
        .filter(|back| back.state != RolloutStateView::Succeeded)
        .unwrap_or(view);
    let number = stuck.number.0;
    match stuck.state {
        RolloutStateView::Paused => Some(format!(
            "`fleetctl resume {number}` goes on, `fleetctl abort {number}` ends it, `fleetctl rollback {number}` \
             puts the nodes back, `fleetctl explain {number}` tells more"
        )),
        RolloutStateView::Failed | RolloutStateView::Aborted => {
            Some(format!("`fleetctl explain {number}` tells more"))
        }
        _ => None,
    }
}

/// Ctrl-C while following: what to say, and the hint.
pub fn interrupted(view: &RolloutView) -> (String, Option<String>) {
    let number = view.number.0;
    let which = format!("{} {}", kind(view), view.number);
    if view.state.is_ended() {
        return (format!("{which} {} meanwhile", view.state.word()), None);
    }
    (
        format!("no longer following; {which} goes on without you"),
        Some(format!(
            "`fleetctl status {number} --watch` follows it again, `fleetctl abort {number}` ends it"
        )),
    )
}
