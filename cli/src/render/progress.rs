//! Progress without a terminal: one plain line for each thing that changed.

use std::collections::BTreeMap;

use fleet_proto::ids::RolloutNumber;
use fleet_proto::quantity::Span;
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{RolloutStateView, RolloutView, StepView, WaveStateView, WaveView};

use super::rollouts;
use super::time::clock;

/// While steps follow one another, what a rollout waits for is the next of them, and
/// says nothing new. A wait that lasts is worth a line.
const WAIT_TOLD_AFTER: Span = Span::from_secs(5);

#[derive(Default)]
pub struct Progress {
    last: BTreeMap<RolloutNumber, RolloutView>,
    waits: BTreeMap<(RolloutNumber, String), Wait>,
}

struct Wait {
    seen_at: Timestamp,
    told: bool,
}

impl Progress {
    /// What this view says that the one before did not; nothing is said twice, however
    /// often a view comes.
    pub fn changes(&mut self, view: &RolloutView, now: Timestamp) -> Vec<String> {
        let last = self.last.insert(view.number, view.clone());
        let mut lines = Lines {
            number: view.number,
            lines: Vec::new(),
        };
        if last.is_none() {
            let headline = rollouts::headline(view);
            lines.lines.push(format!("{} {headline}", clock(view.started_at)));
        }
        let moved = waves_that_moved(last.as_ref(), view);
        // Where a view brings much at once, it reads in the order in which it happened:
        // a wave starts, its nodes move, it passes, and then the next one starts.
        for wave in &view.waves {
            let before = moved.iter().find(|(moved, _)| moved.wave == wave.wave);
            if before.is_some_and(|(_, before)| *before == WaveStateView::Pending) {
                lines.add(wave.started_at.unwrap_or(view.started_at), &started(wave, view));
            }
            steps(last.as_ref(), view, wave.wave, &mut lines);
            if before.is_some() {
                wave_goes_on(wave, view, &mut lines);
            }
        }
        self.waiting(view, now, &mut lines);
        state(last.as_ref(), view, &mut lines);
        lines.lines
    }

    fn waiting(&mut self, view: &RolloutView, now: Timestamp, lines: &mut Lines) {
        let is_current = |what: &String| view.waiting.iter().any(|waiting| waiting.what == *what);
        self.waits
            .retain(|(number, what), _| *number != view.number || is_current(what));
        if view.state != RolloutStateView::Running {
            return;
        }
        for waiting in &view.waiting {
            let key = (view.number, waiting.what.clone());
            let wait = self.waits.entry(key).or_insert(Wait {
                seen_at: now,
                told: false,
            });
            if !wait.told && now.since(wait.seen_at) >= WAIT_TOLD_AFTER {
                wait.told = true;
                lines.add_untimed(&format!("waits: {}", waiting.what));
            }
        }
    }
}

struct Lines {
    number: RolloutNumber,
    lines: Vec<String>,
}

impl Lines {
    fn add(&mut self, at: Timestamp, what: &str) {
        self.lines.push(format!("{} {} {what}", clock(at), self.number));
    }

    fn add_untimed(&mut self, what: &str) {
        self.lines.push(format!("{:9} {} {what}", "", self.number));
    }
}

/// Each with the state that it was in.
fn waves_that_moved<'a>(
    last: Option<&RolloutView>,
    view: &'a RolloutView,
) -> Vec<(&'a WaveView, WaveStateView)> {
    let before = |wave: &WaveView| {
        last.and_then(|last| last.waves.iter().find(|before| before.wave == wave.wave))
            .map_or(WaveStateView::Pending, |before| before.state)
    };
    let moved = view.waves.iter().map(|wave| (wave, before(wave)));
    moved.filter(|(wave, before)| wave.state != *before).collect()
}

fn wave_goes_on(wave: &WaveView, view: &RolloutView, lines: &mut Lines) {
    let name = name(wave, view);
    match wave.state {
        WaveStateView::Pending | WaveStateView::Running => {}
        WaveStateView::Baking if view.strategy.bake_of_wave(wave.wave.saturating_sub(1)) == Span::ZERO => {}
        WaveStateView::Baking => {
            let until = wave
                .bake_until
                .map_or(String::new(), |until| format!(" until {}", clock(until)));
            lines.add_untimed(&format!("{name} bakes{until}"));
        }
        WaveStateView::Passed => match wave.passed_at {
            Some(at) => lines.add(at, &format!("{name} passed")),
            None => lines.add_untimed(&format!("{name} passed")),
        },
        WaveStateView::Failed => lines.add_untimed(&format!("{name} failed")),
    }
}

fn name(wave: &WaveView, view: &RolloutView) -> String {
    format!("wave {} of {}", wave.wave, view.waves.len())
}

fn started(wave: &WaveView, view: &RolloutView) -> String {
    let nodes = rollouts::count(wave.nodes.len(), "node");
    format!("{} starts: to {}, {nodes}", name(wave, view), wave.reach)
}

fn steps(last: Option<&RolloutView>, view: &RolloutView, wave: usize, lines: &mut Lines) {
    let before: BTreeMap<_, &StepView> = last
        .map(|last| last.steps.iter().map(|step| (&step.node, step)).collect())
        .unwrap_or_default();
    let mut steps: Vec<&StepView> = view.steps.iter().filter(|step| step.wave == wave).collect();
    steps.sort_by_key(|step| step.since);
    for step in steps {
        let (phase, unreachable) = before
            .get(&step.node)
            .map_or((Phase::Pending, false), |step| (step.phase, step.unreachable));
        if phase != step.phase {
            let why = match &step.failure {
                Some(failure) if phase.is_settled() || !is_aftermath(phase) => {
                    format!(": {}", failure.message)
                }
                _ => String::new(),
            };
            lines.add(step.since, &format!("{} {}{why}", step.node, step.phase));
        }
        if unreachable != step.unreachable {
            let word = if step.unreachable {
                "unreachable"
            } else {
                "reachable again"
            };
            lines.add_untimed(&format!("{} {word}", step.node));
        }
    }
}

/// The failure was told when it happened.
fn is_aftermath(phase: Phase) -> bool {
    matches!(phase, Phase::Failed | Phase::RollingBack)
}

fn state(last: Option<&RolloutView>, view: &RolloutView, lines: &mut Lines) {
    let before = last.map_or(RolloutStateView::Running, |last| last.state);
    if before == view.state {
        return;
    }
    let what = rollouts::standing(view);
    match view.ended_at {
        Some(at) => lines.add(at, &what),
        None => lines.add_untimed(&what),
    }
}
