//! Pages that are opened and scrolled: one rollout, one node, the keys.

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::time::Timestamp;
use fleet_proto::view::NodeView;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::colours::Mood;
use super::layout::page_area;
use super::model::{Model, Page};
use super::panel::{lines as draw_lines, rule};
use super::{events, help, rollouts, story, waves};
use crate::render::explain::explain;
use crate::render::nodes::node as describe;
use crate::render::outcome::step_failure;
use crate::render::paint::Paint;

pub fn draw(model: &Model, here: Timestamp, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let colours = model.setting.colours;
    let (title, lines) = page(model, here, usize::from(area.width));
    rule(&title, area, buffer, colours);
    let inner = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    let from = model.scroll.min(lines.len());
    draw_lines(&lines[from..], inner, buffer, colours);
}

/// So far and no further: the last line stays on the screen.
pub fn scroll_max(model: &Model) -> usize {
    let here = model.fleet.as_ref().map_or(Timestamp(0), |fleet| fleet.seen_at);
    let area = page_area(model);
    let (_, lines) = page(model, here, usize::from(area.width));
    lines
        .len()
        .saturating_sub(usize::from(area.height).saturating_sub(1))
}

fn page(model: &Model, here: Timestamp, width: usize) -> (String, Vec<Line<'static>>) {
    match &model.page {
        Page::Rollout(number) => (format!("rollout {number}"), rollout(model, *number, here, width)),
        Page::Node(node) => (format!("node {node}"), node_page(model, node, here, width)),
        Page::Keys => ("keys".to_owned(), help::lines(model.setting.colours, width)),
        Page::Fleet => (String::new(), Vec::new()),
    }
}

fn rollout(model: &Model, number: RolloutNumber, here: Timestamp, width: usize) -> Vec<Line<'static>> {
    let Some(view) = model.fleet.as_ref().and_then(|fleet| fleet.rollout(number)) else {
        return vec![Line::from(format!(
            " it ended, and others after it; `fleetctl status {}` shows it",
            number.0
        ))];
    };
    let colours = model.setting.colours;
    let now = model.now(here);
    let mut lines = vec![rollouts::row(view, model, now, width, true)];
    lines.extend(waves::lines(view, now, width, colours));
    lines.push(Line::default());
    let mut said = Vec::new();
    if let Some(reason) = &view.reason {
        said.push((Mood::Plain, format!("because: {reason}")));
    }
    let text = explain(view, Paint::PLAIN);
    said.extend(text.lines().map(|line| (Mood::Plain, line.to_owned())));
    lines.extend(story::print(&said, width, colours));
    lines
}

fn node_page(model: &Model, node: &NodeId, here: Timestamp, width: usize) -> Vec<Line<'static>> {
    let colours = model.setting.colours;
    let fleet = model.fleet.as_ref();
    let Some((view, standing)) = fleet.and_then(|fleet| fleet.node(node)) else {
        return vec![Line::from(" it has left the fleet")];
    };
    let asked = model.asked.as_ref().filter(|asked| asked.node == *node);
    let full = NodeView {
        vitals: asked.and_then(|asked| asked.vitals.clone()),
        ..view.clone()
    };
    let text = describe(&full, model.now(here), Paint::PLAIN);
    let mut said = vec![(
        standing.mood(),
        format!("{} {}", standing.letter(), standing.word()),
    )];
    said.extend(text.lines().map(|line| (Mood::Plain, line.to_owned())));
    for rollout in fleet.iter().flat_map(|fleet| &fleet.status.rollouts) {
        for step in rollout.steps.iter().filter(|step| step.node == *node) {
            let what = format!("rollout {}, wave {}: {}", rollout.number, step.wave, step.phase);
            said.push((Mood::Plain, what));
            if let Some(failure) = &step.failure {
                let text = step_failure(&rollout.kind, step, failure);
                let lines = text.lines().filter(|line| !line.is_empty());
                said.extend(lines.map(|line| (Mood::Plain, line.to_owned())));
            }
        }
    }
    let mut lines = story::print(&said, width, colours);
    lines.push(Line::default());
    let its = model
        .events
        .iter()
        .filter(|event| event.node.as_ref() == Some(node));
    lines.extend(its.map(|event| events::line(event, model)));
    lines
}
