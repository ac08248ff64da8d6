//! A wave in one line: how far it is, as a bar and in words, and how long it bakes.

use std::collections::BTreeMap;

use fleet_proto::time::Timestamp;
use fleet_proto::view::{RolloutKindView, RolloutView, WaveStateView, WaveView};
use ratatui::text::{Line, Span};

use super::colours::{Colours, Mood};
use super::panel::span;
use super::standing::Standing;
use super::text::{clip, grouped, width as width_of};
use crate::render::time;

/// Around the one that moves; the others passed or wait alike.
const WAVES_SHOWN: usize = 6;

pub fn lines(view: &RolloutView, now: Timestamp, width: usize, colours: Colours) -> Vec<Line<'static>> {
    let is_passed = |wave: &WaveView| wave.state == WaveStateView::Passed;
    let current = view.waves.iter().position(|wave| !is_passed(wave));
    let current = current.unwrap_or(view.waves.len());
    let last = view.waves.len().saturating_sub(WAVES_SHOWN);
    let from = current.saturating_sub(2).min(last);
    let counts = counts(view);
    let shown = view.waves.iter().skip(from).take(WAVES_SHOWN);
    shown
        .map(|wave| line(wave, view, counts.get(&wave.wave), now, width, colours))
        .collect()
}

type Counts = BTreeMap<Standing, usize>;

fn counts(view: &RolloutView) -> BTreeMap<usize, Counts> {
    let mut counts: BTreeMap<usize, Counts> = BTreeMap::new();
    for step in &view.steps {
        let wave = counts.entry(step.wave).or_default();
        *wave.entry(Standing::of_step(step, view)).or_default() += 1;
    }
    counts
}

fn line(
    wave: &WaveView,
    view: &RolloutView,
    counts: Option<&Counts>,
    now: Timestamp,
    width: usize,
    colours: Colours,
) -> Line<'static> {
    let nothing = Counts::new();
    let counts = counts.unwrap_or(&nothing);
    let total = wave.nodes.len();
    let is_good = |standing: &Standing| matches!(standing, Standing::Good | Standing::Baking);
    let good: usize = counts
        .iter()
        .filter(|(standing, _)| is_good(standing))
        .map(|(_, count)| count)
        .sum();
    let mut line = Line::default();
    line.push_span(format!("   wave {:<2} {:>5} ", wave.wave, clip(&wave.reach, 5)));
    let bar_length = match width {
        0..56 => 0,
        56..100 => 16,
        _ => 30,
    };
    if bar_length > 0 {
        let is_rollback = matches!(view.kind, RolloutKindView::Rollback { .. });
        line.spans
            .extend(bar(counts, total, bar_length, is_rollback, colours));
        line.push_span(" ");
    }
    let (word, mood) = stands(wave, now);
    line.push_span(format!("{}/{} ", grouped(good), grouped(total)));
    line.push_span(span(word, colours.style(mood)));
    let others: Vec<String> = counts
        .iter()
        .filter(|(standing, count)| **standing != Standing::Good && **count != total)
        .map(|(standing, count)| format!("{} {}", grouped(*count), standing.word()))
        .collect();
    if !others.is_empty() {
        let left = width.saturating_sub(line.spans.iter().map(|span| width_of(&span.content)).sum());
        line.push_span(clip(&format!("  {}", others.join(", ")), left));
    }
    line
}

fn stands(wave: &WaveView, now: Timestamp) -> (String, Mood) {
    match (wave.state, wave.bake_until) {
        (WaveStateView::Pending, _) => ("pending".to_owned(), Mood::Quiet),
        (WaveStateView::Running, _) => ("running".to_owned(), Mood::Busy),
        (WaveStateView::Baking, Some(until)) if until > now => (
            format!("baking, {} left", time::span(until.since(now))),
            Mood::Busy,
        ),
        (WaveStateView::Baking, _) => ("baking".to_owned(), Mood::Busy),
        (WaveStateView::Passed, _) => ("passed".to_owned(), Mood::Good),
        (WaveStateView::Failed, _) => ("failed".to_owned(), Mood::Bad),
    }
}

/// Good, baking, on its way, wrong, to come: five marks that differ without colour.
fn bar(
    counts: &Counts,
    total: usize,
    length: usize,
    is_rollback: bool,
    colours: Colours,
) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    let sum = |wanted: &dyn Fn(Standing) -> bool| -> usize {
        let fitting = counts.iter().filter(|(standing, _)| wanted(**standing));
        fitting.map(|(_, count)| count).sum()
    };
    // Going back is what a rollback does, and what a rollout does when it is bad.
    let is_busy = |standing: Standing| match standing {
        Standing::Baking => false,
        Standing::RollingBack => is_rollback,
        standing => standing.mood() == Mood::Busy,
    };
    let is_wrong =
        |standing: Standing| matches!(standing.mood(), Mood::Bad | Mood::Warn) && !is_busy(standing);
    let parts = [
        (sum(&|standing| standing == Standing::Good), "█", Mood::Good),
        (sum(&|standing| standing == Standing::Baking), "▓", Mood::Good),
        (sum(&is_busy), "▒", Mood::Busy),
        (sum(&is_wrong), "X", Mood::Bad),
    ];
    let mut left = length;
    for (count, mark, mood) in parts {
        // One of ten thousand is a mark too: it is there.
        let marks = (count * length)
            .checked_div(total)
            .unwrap_or(0)
            .max(usize::from(count > 0))
            .min(left);
        left -= marks;
        spans.push(span(mark.repeat(marks), colours.style(mood)));
    }
    spans.push(span("░".repeat(left), colours.style(Mood::Quiet)));
    spans
}
