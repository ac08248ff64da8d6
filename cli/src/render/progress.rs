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
        let mut news = Vec::new();
        for (wave, before) in waves_that_moved(last.as_ref(), view) {
            wave_news(wave, before, view, &mut news);
        }
        step_news(last.as_ref(), view, &mut news);
        // A view may bring much at once: it reads in the order in which it happened.
        news.sort_by_key(|news| (news.at, news.wave, news.order));
        for news in &news {
            lines.add(news.told_at, &news.what);
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
                lines.add(None, &format!("waits: {}", waiting.what));
            }
        }
    }
}

struct Lines {
    number: RolloutNumber,
    lines: Vec<String>,
}

impl Lines {
    fn add(&mut self, at: Option<Timestamp>, what: &str) {
        let time = at.map_or_else(|| " ".repeat(9), clock);
        self.lines.push(format!("{time} {} {what}", self.number));
    }
}

/// What comes first of all that happened at the same time: one wave's steps move
/// between its beginning and its end, and the next wave begins after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    WaveStarted,
    StepMoved,
    WaveVerified,
    WaveEnded,
}

struct News {
    /// When it happened, or the earliest that it can have.
    at: Timestamp,
    wave: usize,
    order: Order,
    told_at: Option<Timestamp>,
    what: String,
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

fn wave_news(wave: &WaveView, before: WaveStateView, view: &RolloutView, news: &mut Vec<News>) {
    let mut add = |at: Timestamp, order, told_at, what: String| {
        news.push(News {
            at,
            wave: wave.wave,
            order,
            told_at,
            what,
        });
    };
    let name = name(wave, view);
    if before == WaveStateView::Pending {
        let at = wave.started_at.unwrap_or(view.started_at);
        add(at, Order::WaveStarted, Some(at), started(wave, view));
    }
    let steps = view.steps.iter().filter(|step| step.wave == wave.wave);
    let last_step = steps.map(|step| step.since).max().unwrap_or(view.started_at);
    match wave.state {
        WaveStateView::Pending | WaveStateView::Running => {}
        WaveStateView::Baking if wave.bake_until.is_none_or(|until| until <= last_step) => {}
        WaveStateView::Baking => {
            let until = wave
                .bake_until
                .map_or(String::new(), |until| format!(" until {}", clock(until)));
            add(
                last_step,
                Order::WaveVerified,
                None,
                format!("{name} bakes{until}"),
            );
        }
        WaveStateView::Passed => {
            let at = wave.passed_at.unwrap_or(last_step);
            add(at, Order::WaveEnded, wave.passed_at, format!("{name} passed"));
        }
        WaveStateView::Failed => add(last_step, Order::WaveEnded, None, format!("{name} failed")),
    }
}

fn name(wave: &WaveView, view: &RolloutView) -> String {
    format!("wave {} of {}", wave.wave, view.waves.len())
}

fn started(wave: &WaveView, view: &RolloutView) -> String {
    let nodes = rollouts::count(wave.nodes.len(), "node");
    format!("{} starts: to {}, {nodes}", name(wave, view), wave.reach)
}

fn step_news(last: Option<&RolloutView>, view: &RolloutView, news: &mut Vec<News>) {
    let before: BTreeMap<_, &StepView> = last
        .map(|last| last.steps.iter().map(|step| (&step.node, step)).collect())
        .unwrap_or_default();
    for step in &view.steps {
        let (phase, unreachable) = before
            .get(&step.node)
            .map_or((Phase::Pending, false), |step| (step.phase, step.unreachable));
        let mut add = |at, told_at, what: &str| {
            news.push(News {
                at,
                wave: step.wave,
                order: Order::StepMoved,
                told_at,
                what: format!("{} {what}", step.node),
            });
        };
        if unreachable && !step.unreachable {
            add(step.since, None, "reachable again");
        }
        if phase != step.phase {
            let why = match &step.failure {
                Some(failure) if phase.is_settled() || !is_aftermath(phase) => {
                    format!(": {}", failure.message)
                }
                _ => String::new(),
            };
            add(step.since, Some(step.since), &format!("{}{why}", step.phase));
        }
        if step.unreachable && !unreachable {
            // It was after the last that was heard of the node, and lasts.
            add(Timestamp(u64::MAX), None, "unreachable");
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
    lines.add(view.ended_at, &what);
}
