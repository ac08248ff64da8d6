//! What is above everything else: no news, no orders, a halt.

use fleet_proto::time::Timestamp;
use fleet_proto::view::HaltView;
use ratatui::text::Line;

use super::colours::Mood;
use super::model::{Link, Model};
use super::panel::span;
use super::text::{clean, wrap};
use crate::render::time::{ago, span as lasting};

/// Each of them; a reason of a page is in `fleetctl status`.
const LINES_EACH: usize = 2;

pub fn lines(model: &Model, here: Timestamp, width: usize) -> Vec<Line<'static>> {
    let mut told = Vec::new();
    let fleet = model.fleet.as_ref();
    if let Link::Lost { why, .. } = &model.link {
        let age = fleet.map_or(String::new(), |fleet| {
            format!("what is below is {} old; ", lasting(here.since(fleet.seen_at)))
        });
        told.push((Mood::Bad, format!("LOST: {age}{why}; trying again")));
    }
    let Some(fleet) = fleet else {
        return print(model, told, width);
    };
    let now = fleet.now(here);
    if let Some(outdated) = &fleet.status.coordinator.outdated {
        let hint = outdated
            .hint
            .as_ref()
            .map_or(String::new(), |hint| format!("; hint: {hint}"));
        told.push((Mood::Bad, format!("NO ORDERS ARE GIVEN: {}{hint}", outdated.what)));
    }
    let halted = |what: &str, unhalt: &str, halt: &HaltView| {
        let (since, by, reason) = (ago(halt.since, now), &halt.by, &halt.reason);
        (
            Mood::Warn,
            format!("HALTED: {what}, {since} by {by}: {reason}; hint: {unhalt}"),
        )
    };
    if let Some(halt) = &fleet.status.halt {
        told.push(halted("the whole fleet", "fleetctl unhalt", halt));
    }
    for view in &fleet.status.environments {
        if let Some(halt) = &view.halt {
            let name = &view.environment;
            let unhalt = format!("fleetctl unhalt --env {name}");
            told.push(halted(&format!("environment {name}"), &unhalt, halt));
        }
    }
    print(model, told, width)
}

fn print(model: &Model, told: Vec<(Mood, String)>, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (mood, text) in told {
        let style = model.setting.colours.style(mood);
        let wrapped = wrap(&clean(&text), width.saturating_sub(2), 2);
        for line in wrapped.into_iter().take(LINES_EACH) {
            let filled = format!(" {line:<room$} ", room = width.saturating_sub(2));
            lines.push(Line::from(span(filled, style)));
        }
    }
    lines
}
