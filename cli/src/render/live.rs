//! Progress on a terminal: a block of lines that is drawn over itself.

use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{RolloutKindView, RolloutStateView, RolloutView, StepView, WaveStateView, WaveView};

use super::rollouts;
use super::time::span;

const BAR: usize = 20;

#[derive(Default)]
pub struct Live {
    drawn: usize,
}

impl Live {
    /// What to write so that the screen shows these rollouts and nothing older.
    pub fn frame(&mut self, views: &[&RolloutView], now: Timestamp, size: (usize, usize)) -> String {
        let (width, height) = size;
        let mut lines: Vec<String> = views.iter().flat_map(|view| block(view, now)).collect();
        // A block taller than the screen could not be drawn over: the newest part stays.
        let room = height.saturating_sub(2).max(1);
        if lines.len() > room {
            lines.drain(..lines.len() - room);
        }
        let mut frame = self.wipe();
        for line in &lines {
            frame.extend(line.chars().take(width.saturating_sub(1)));
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

fn block(view: &RolloutView, now: Timestamp) -> Vec<String> {
    let elapsed = span(view.ended_at.unwrap_or(now).since(view.started_at));
    let mut lines = vec![format!(
        "{}  {}  {elapsed}",
        rollouts::headline(view),
        view.state.word()
    )];
    for wave in &view.waves {
        lines.push(wave_line(wave, view));
        if matches!(
            wave.state,
            WaveStateView::Running | WaveStateView::Baking | WaveStateView::Failed
        ) {
            lines.extend(moving(wave, view).map(|step| step_line(step, now)));
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

fn wave_line(wave: &WaveView, view: &RolloutView) -> String {
    let total = wave.nodes.len();
    // Put back is what a rollback wants, and what a rollout does not.
    let is_good = |phase| match view.kind {
        RolloutKindView::Forward => matches!(phase, Phase::Baking | Phase::Done),
        RolloutKindView::Rollback { .. } => matches!(phase, Phase::RolledBack | Phase::Done),
    };
    let good = steps_of(wave, view).filter(|step| is_good(step.phase)).count();
    let filled = (good * BAR).checked_div(total).unwrap_or(BAR);
    let bar = "#".repeat(filled) + &"-".repeat(BAR - filled);
    let word = match wave.state {
        WaveStateView::Pending => "pending",
        WaveStateView::Running => "running",
        WaveStateView::Baking => "baking",
        WaveStateView::Passed => "passed",
        WaveStateView::Failed => "failed",
    };
    format!(
        "  wave {} {:>5} [{bar}] {good}/{total} {word}",
        wave.wave, wave.reach
    )
}

fn step_line(step: &StepView, now: Timestamp) -> String {
    let unreachable = if step.unreachable { ", unreachable" } else { "" };
    let why = step
        .failure
        .as_ref()
        .map_or(String::new(), |failure| format!(": {}", failure.message));
    format!(
        "      {:<12} {}{unreachable} {}{why}",
        step.node,
        step.phase,
        span(now.since(step.since))
    )
}
