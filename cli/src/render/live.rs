//! Progress on a terminal: a block of lines that is drawn over itself.

use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{RolloutKindView, RolloutStateView, RolloutView, StepView, WaveStateView, WaveView};

use super::rollouts;
use super::time::span;

const BAR: usize = 20;
const BAR_SHORT: usize = 8;

#[derive(Default)]
pub struct Live {
    drawn: usize,
}

impl Live {
    /// What to write so that the screen shows these rollouts and nothing older.
    pub fn frame(&mut self, views: &[&RolloutView], now: Timestamp, size: (usize, usize)) -> String {
        let (width, height) = size;
        let width = width.saturating_sub(1);
        let mut lines: Vec<String> = views.iter().flat_map(|view| block(view, now, width)).collect();
        // A block taller than the screen could not be drawn over: the newest part stays.
        let room = height.saturating_sub(2).max(1);
        if lines.len() > room {
            lines.drain(..lines.len() - room);
        }
        let mut frame = self.wipe();
        for line in &lines {
            frame.extend(line.chars().take(width));
            frame.push_str("\r\n");
        }
        self.drawn = lines.len();
        frame
    }

    /// Takes back what was drawn.
    pub fn wipe(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }
}

/// The first that fits; of the last one, as much as does. They say less and less, and
/// each says how it stands.
fn fitting<const N: usize>(candidates: [String; N], width: usize) -> String {
    let fits = candidates
        .iter()
        .position(|candidate| candidate.chars().count() <= width);
    let chosen = fits.unwrap_or(N.saturating_sub(1));
    candidates.into_iter().nth(chosen).unwrap_or_default()
}

fn head_line(view: &RolloutView, now: Timestamp, width: usize) -> String {
    let elapsed = span(view.ended_at.unwrap_or(now).since(view.started_at));
    let (kind, number, state) = (rollouts::kind(view), view.number, view.state.word());
    fitting(
        [
            format!("{}  {state}  {elapsed}", rollouts::headline(view)),
            format!("{}  {state}  {elapsed}", rollouts::title(view)),
            format!("{kind} {number} {}  {state}  {elapsed}", rollouts::target(view)),
            format!("{kind} {number}  {state}  {elapsed}"),
            format!("{number}  {state}"),
        ],
        width,
    )
}

fn block(view: &RolloutView, now: Timestamp, width: usize) -> Vec<String> {
    let mut lines = vec![head_line(view, now, width)];
    for wave in &view.waves {
        lines.push(wave_line(wave, view, width));
        if matches!(
            wave.state,
            WaveStateView::Running | WaveStateView::Baking | WaveStateView::Failed
        ) {
            lines.extend(moving(wave, view).map(|step| step_line(step, now, width)));
        }
    }
    if view.state == RolloutStateView::Running {
        lines.extend(
            view.waiting
                .iter()
                .map(|waiting| format!("  waits: {}", waiting.what)),
        );
    } else if let Some(why) = &view.why {
        lines.push(format!("  {why}"));
    }
    lines
}

fn steps_of<'a>(wave: &'a WaveView, view: &'a RolloutView) -> impl Iterator<Item = &'a StepView> {
    view.steps.iter().filter(|step| step.wave == wave.wave)
}

/// Neither waiting for their turn nor done.
fn moving<'a>(wave: &'a WaveView, view: &'a RolloutView) -> impl Iterator<Item = &'a StepView> {
    steps_of(wave, view)
        .filter(|step| !matches!(step.phase, Phase::Pending | Phase::Done) || step.unreachable)
}

fn wave_line(wave: &WaveView, view: &RolloutView, width: usize) -> String {
    let total = wave.nodes.len();
    // Put back is what a rollback wants, and what a rollout does not.
    let is_good = |phase| match view.kind {
        RolloutKindView::Forward | RolloutKindView::CatchUp => matches!(phase, Phase::Baking | Phase::Done),
        RolloutKindView::Rollback { .. } => matches!(phase, Phase::RolledBack | Phase::Done),
    };
    let good = steps_of(wave, view).filter(|step| is_good(step.phase)).count();
    let bar = |length: usize| {
        let filled = (good * length).checked_div(total).unwrap_or(length);
        "#".repeat(filled) + &"-".repeat(length - filled)
    };
    let word = match wave.state {
        WaveStateView::Pending => "pending",
        WaveStateView::Running => "running",
        WaveStateView::Baking => "baking",
        WaveStateView::Passed => "passed",
        WaveStateView::Failed => "failed",
    };
    let (number, reach, stands) = (wave.wave, &wave.reach, format!("{good}/{total} {word}"));
    fitting(
        [
            format!("  wave {number} {reach:>5} [{}] {stands}", bar(BAR)),
            format!("  wave {number} {reach:>5} [{}] {stands}", bar(BAR_SHORT)),
            format!("  wave {number} {reach:>5} {stands}"),
            format!("  wave {number} {stands}"),
            format!("{number} {stands}"),
        ],
        width,
    )
}

fn step_line(step: &StepView, now: Timestamp, width: usize) -> String {
    let unreachable = if step.unreachable { ", unreachable" } else { "" };
    let why = step
        .failure
        .as_ref()
        .map_or(String::new(), |failure| format!(": {}", failure.message));
    let (node, phase, lasts) = (&step.node, step.phase, span(now.since(step.since)));
    let stands = fitting(
        [
            format!("      {node:<12} {phase}{unreachable} {lasts}"),
            format!("  {node} {phase}{unreachable} {lasts}"),
            format!("  {node} {phase}{unreachable}"),
        ],
        width,
    );
    format!("{stands}{why}")
}
