//! Why a rollout stands where it stands: the sentences of `fleetctl explain`, as far as
//! there is room.

use fleet_proto::session::Failure;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{RolloutStateView, RolloutView, StepView, WaitingView};
use ratatui::text::{Line, Span};

use super::colours::{Colours, Mood};
use super::fleet::Fleet;
use super::panel::span;
use super::text::{clean, wrap};
use crate::render::outcome::{log_tail, step_failure};
use crate::render::rollouts::{count, standing};
use crate::render::time::{clock, span as lasting};

/// Beyond these the nodes fail alike; the rollout's own page names them all.
const FAILURES_SHOWN: usize = 2;
const LOG_LINES_SHOWN: usize = 4;
const INDENT: &str = "   ";

pub fn lines(
    view: &RolloutView,
    fleet: &Fleet,
    here: Timestamp,
    width: usize,
    colours: Colours,
) -> Vec<Line<'static>> {
    let mut said = Vec::new();
    why(view, &mut said);
    for waiting in &view.waiting {
        said.push((Mood::Strong, waits(waiting, fleet.now(here))));
        let hint = waiting.hint.iter();
        said.extend(hint.map(|hint| (Mood::Good, format!("  hint: {hint}"))));
    }
    let parent = fleet.parent(view);
    // On the way back a node's failure is the one that it comes from.
    failures(view, parent, &mut said);
    if let Some(parent) = parent {
        let what = format!(
            "it takes back rollout {}, which {}",
            parent.number,
            standing(parent)
        );
        said.push((Mood::Plain, what));
        failures(parent, None, &mut said);
    } else if let Some(back) = view.rollback {
        said.push((Mood::Plain, format!("it led to rollback {back}")));
    }
    print(&said, width, colours)
}

/// The coordinator's words; its times as spans, for this is looked at while they pass.
fn waits(waiting: &WaitingView, now: Timestamp) -> String {
    let what = &waiting.what;
    match (waiting.until, waiting.since) {
        (Some(until), _) if until > now => {
            let left = lasting(until.since(now));
            format!("waits: {what}; {left} left, until {}", clock(until))
        }
        (Some(until), _) => format!("waits: {what}; it was due at {}", clock(until)),
        (None, Some(since)) => format!("waits: {what}; so for {}", lasting(now.since(since))),
        (None, None) => format!("waits: {what}"),
    }
}

fn why(view: &RolloutView, said: &mut Vec<(Mood, String)>) {
    if view.state == RolloutStateView::Running {
        return;
    }
    if view.why.is_some() {
        let mood = match view.state {
            RolloutStateView::Failed | RolloutStateView::Paused => Mood::Strong,
            _ => Mood::Plain,
        };
        said.push((mood, standing(view)));
    }
    let log = log_tail(&tail(&view.migration_log));
    said.extend(log.lines().skip(1).map(|line| (Mood::Plain, line.to_owned())));
}

fn failures(view: &RolloutView, besides: Option<&RolloutView>, said: &mut Vec<(Mood, String)>) {
    let is_told = |step: &StepView| {
        let others = besides.iter().flat_map(|other| &other.steps);
        let mut same = others.filter(|other| other.node == step.node && other.failure == step.failure);
        same.next().is_some()
    };
    let failed = view
        .steps
        .iter()
        .filter_map(|step| step.failure.as_ref().map(|failure| (step, failure)))
        .filter(|(step, _)| !is_told(step));
    let why = view.why.as_deref().unwrap_or_default();
    let mut more = 0;
    for (at, (step, failure)) in failed.enumerate() {
        if at >= FAILURES_SHOWN {
            more += 1;
            continue;
        }
        let log = tail(&failure.log_tail);
        // What the rollout said itself is not said again.
        let text = match why.contains(&failure.message) {
            true => log_tail(&log).replace("its log", &format!("the log of {}", step.node)),
            false => {
                let short = Failure {
                    log_tail: log,
                    ..failure.clone()
                };
                step_failure(&view.kind, step, &short)
            }
        };
        let lines = text.lines().filter(|line| !line.is_empty());
        said.extend(lines.map(|line| (Mood::Plain, line.to_owned())));
    }
    if more > 0 {
        said.push((Mood::Plain, format!("  and {}", count(more, "more node"))));
    }
}

fn tail(log: &[String]) -> Vec<String> {
    log[log.len().saturating_sub(LOG_LINES_SHOWN)..].to_vec()
}

/// What is indented stays so, and what is a log's line is not wrapped: its columns mean
/// something.
pub fn print(said: &[(Mood, String)], width: usize, colours: Colours) -> Vec<Line<'static>> {
    let room = width.saturating_sub(INDENT.len() + 1);
    let mut lines = Vec::new();
    for (mood, text) in said {
        let style = colours.style(*mood);
        let text = clean(text);
        let wrapped = match text.trim_start().starts_with("| ") {
            true => vec![text],
            false => {
                let indent = text.len() - text.trim_start().len();
                let inner = wrap(text.trim_start(), room.saturating_sub(indent), 2);
                let pad = " ".repeat(indent);
                inner.iter().map(|line| format!("{pad}{line}")).collect()
            }
        };
        for line in wrapped {
            lines.push(Line::from(vec![Span::raw(INDENT), span(line, style)]));
        }
    }
    lines
}
