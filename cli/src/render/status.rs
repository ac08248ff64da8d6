//! What is so: environments, rollouts, nodes.

use std::fmt::Write;

use fleet_proto::view::{EnvironmentView, HaltView, RolloutView, StatusView, WaitingView};

use super::paint::Paint;
use super::table::Table;
use super::time::ago;
use super::{nodes, rollouts};

/// Older ones are in `fleetctl history`.
const ROLLOUTS_SHOWN: usize = 5;

pub fn status(status: &StatusView, paint: Paint) -> String {
    let now = status.coordinator.now;
    let mut text = halts(status, paint);
    text.push_str(&environments(&status.environments));
    let shown: Vec<&RolloutView> = status.rollouts.iter().take(ROLLOUTS_SHOWN).collect();
    let _infallible = write!(
        text,
        "\n{}\n{}",
        rollouts::table(&shown, now, paint),
        nodes::table(&status.nodes, now, paint)
    );
    if let Some(outdated) = &status.coordinator.outdated {
        let _infallible = write!(text, "\nno orders are given: {}", sentence(outdated));
    }
    for rollout in status.rollouts.iter().filter(|rollout| !rollout.state.is_ended()) {
        for line in waiting(rollout) {
            let _infallible = write!(text, "\n{} {line}", rollout.number);
        }
    }
    text
}

/// What stands still now, and what was about to move.
pub fn halted(status: &StatusView, paint: Paint) -> String {
    let mut text = halts(status, paint);
    if text.is_empty() {
        text = "nothing is halted\n".to_owned();
    }
    for rollout in status.rollouts.iter().filter(|rollout| !rollout.state.is_ended()) {
        let _infallible = writeln!(
            text,
            "{}: {}",
            rollouts::headline(rollout),
            paint.state(rollout.state)
        );
    }
    text.trim_end().to_owned()
}

/// Before everything else: nothing below moves.
fn halts(status: &StatusView, paint: Paint) -> String {
    let mut text = String::new();
    let now = status.coordinator.now;
    let mut tell = |what: String, unhalt: String, halt: &HaltView| {
        let _infallible = writeln!(
            text,
            "{}: {what}, {} by {}: {}\nhint: {unhalt}",
            paint.bad("halted"),
            ago(halt.since, now),
            halt.by,
            halt.reason
        );
    };
    if let Some(halt) = &status.halt {
        tell("the whole fleet".to_owned(), "fleetctl unhalt".to_owned(), halt);
    }
    for environment in &status.environments {
        let name = &environment.environment;
        if let Some(halt) = &environment.halt {
            tell(
                format!("environment {name}"),
                format!("fleetctl unhalt --env {name}"),
                halt,
            );
        }
    }
    text
}

fn environments(environments: &[EnvironmentView]) -> String {
    let mut table = Table::new(&[
        "environment",
        "app",
        "desired",
        "healthy",
        "unavailable",
        "behind",
        "runs",
    ]);
    for environment in environments {
        if environment.apps.is_empty() {
            table.row(vec![
                environment.environment.to_string(),
                "no release yet".to_owned(),
            ]);
        }
        for app in &environment.apps {
            let versions: Vec<String> = app
                .versions
                .iter()
                .map(|(version, nodes)| format!("{version} on {nodes}"))
                .collect();
            table.row(vec![
                environment.environment.to_string(),
                app.app.to_string(),
                app.desired
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), ToString::to_string),
                format!("{}/{}", app.healthy, app.nodes),
                app.unavailable.to_string(),
                app.behind.to_string(),
                versions.join(", "),
            ]);
        }
    }
    table.print()
}

/// One rollout, in full.
pub fn rollout(view: &RolloutView, now: fleet_proto::time::Timestamp, paint: Paint) -> String {
    let mut text = format!("{}: {}", rollouts::headline(view), paint.state(view.state));
    let reason = view
        .reason
        .as_ref()
        .map_or(String::new(), |reason| format!(", because: {reason}"));
    let _infallible = write!(
        text,
        "\nstarted {} by {}{reason}",
        ago(view.started_at, now),
        view.by
    );
    if let Some(why) = &view.why {
        let _infallible = write!(text, "\n{why}");
    }
    if let Some(rollback) = view.rollback {
        let _infallible = write!(
            text,
            "\nled to rollback {rollback}; `fleetctl status {}` shows it",
            rollback.0
        );
    }
    if let Some(other) = view.superseded_by {
        let _infallible = write!(text, "\n`fleetctl status {}` shows what took its place", other.0);
    }
    let mut table = Table::new(&["wave", "node", "phase", "since", "from", "failure"]);
    for step in &view.steps {
        let unreachable = if step.unreachable { ", unreachable" } else { "" };
        table.row(vec![
            step.wave.to_string(),
            step.node.to_string(),
            format!("{}{unreachable}", paint.phase(step.phase)),
            ago(step.since, now),
            step.from
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            step.failure
                .as_ref()
                .map_or_else(String::new, |failure| failure.message.clone()),
        ]);
    }
    let _infallible = write!(text, "\n\n{}", table.print());
    for line in waiting(view) {
        let _infallible = write!(text, "\n{line}");
    }
    text
}

pub fn waiting(view: &RolloutView) -> Vec<String> {
    view.waiting
        .iter()
        .map(|waiting| format!("waits: {}", sentence(waiting)))
        .collect()
}

fn sentence(waiting: &WaitingView) -> String {
    let until = waiting
        .until
        .map_or(String::new(), |until| format!(" until {until}"));
    let hint = waiting
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!("\nhint: {hint}"));
    let since = waiting
        .since
        .map_or(String::new(), |since| format!(" since {since}"));
    format!("{}{since}{until}{hint}", waiting.what)
}
