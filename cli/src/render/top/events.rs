//! What happened last, the newest at the bottom.

use fleet_proto::view::EventView;
use ratatui::text::Line;

use super::colours::Mood;
use super::model::Model;
use super::panel::span;
use super::text::clean;
use crate::render::events::sentence;
use crate::render::time::clock;

/// As many as fit; where a rollout is asked for, those of it.
pub fn lines(model: &Model, rows: usize) -> Vec<Line<'static>> {
    let is_wanted = |event: &&EventView| {
        let listed = model.listed();
        model.setting.only.is_none()
            || event
                .rollout
                .is_some_and(|number| listed.iter().any(|view| view.number == number))
    };
    let newest = model.events.iter().rev().filter(is_wanted).take(rows);
    let mut lines: Vec<_> = newest.map(|event| line(event, model)).collect();
    lines.reverse();
    lines
}

pub fn line(event: &EventView, model: &Model) -> Line<'static> {
    let quiet = model.setting.colours.style(Mood::Quiet);
    Line::from(vec![
        span(format!(" {}  ", clock(event.at)), quiet),
        span(clean(&sentence(event)), ratatui::style::Style::new()),
    ])
}
