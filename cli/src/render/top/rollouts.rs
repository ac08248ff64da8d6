//! Rollouts: those under way, or what came last; and how the chosen one stands.

use fleet_proto::time::Timestamp;
use fleet_proto::view::{RolloutKindView, RolloutStateView, RolloutView, WaveStateView};
use ratatui::text::Line;

use super::colours::Mood;
use super::model::{Focus, Model};
use super::panel::{Panel, span};
use super::text::{clip, fitting, width as width_of};
use super::{story, waves};
use crate::render::rollouts::{kind, target};
use crate::render::time::{ago, span as lasting};

/// The list is for choosing; how it stands is what one looks at.
const MOVING_SHOWN: usize = 4;
const QUIET_SHOWN: usize = 3;
/// Kept free for how far it is.
const PROGRESS_ROOM: usize = 14;

pub fn panel(model: &Model, here: Timestamp, width: usize) -> Panel {
    let listed = model.listed();
    let now = model.now(here);
    let moving = listed.iter().filter(|view| !view.state.is_ended()).count();
    let title = match moving {
        0 => "rollouts: none under way".to_owned(),
        moving => format!("rollouts: {moving} under way"),
    };
    let Some((chosen, fleet)) = model.chosen().zip(model.fleet.as_ref()) else {
        let none = " no rollout yet; `fleetctl rollout VERSION` starts one";
        return Panel {
            title: "rollouts".to_owned(),
            lines: vec![Line::from(clip(none, width))],
        };
    };
    let at = listed.iter().position(|view| view.number == chosen.number);
    let at = at.unwrap_or(0);
    let room = if moving > 0 {
        moving.min(MOVING_SHOWN)
    } else {
        QUIET_SHOWN
    };
    let from = (at + 1).saturating_sub(room);
    let mut lines = Vec::new();
    for view in listed.iter().skip(from).take(room) {
        lines.push(row(view, model, now, width, view.number == chosen.number));
        if view.number == chosen.number {
            if view.state != RolloutStateView::Succeeded {
                lines.extend(waves::lines(view, now, width, model.setting.colours));
            }
            lines.extend(story::lines(view, fleet, here, width, model.setting.colours));
        }
    }
    Panel { title, lines }
}

pub fn row(view: &RolloutView, model: &Model, now: Timestamp, width: usize, chosen: bool) -> Line<'static> {
    let colours = model.setting.colours;
    let mark = match chosen {
        true if model.focus == Focus::Rollouts => " ▸ ",
        true => " ▹ ",
        false => "   ",
    };
    let state = view.state.word();
    let room = width.saturating_sub(mark.chars().count() + width_of(state) + 4);
    let (what, number) = (what(view), view.number);
    let full = fitting(
        [
            format!("{}{number} {what} in {}", word(view), view.environment),
            format!("{number} {what} in {}", view.environment),
            format!("{number} {what}"),
        ],
        room.saturating_sub(PROGRESS_ROOM),
    );
    let how = how(view, now, room.saturating_sub(width_of(&full)));
    let style = match chosen {
        true => colours.style(Mood::Strong),
        false => colours.style(Mood::Plain),
    };
    Line::from(vec![
        span(mark, style),
        span(full, style),
        span("  ", colours.style(Mood::Plain)),
        span(state, colours.style(state_mood(view.state))),
        span("  ", colours.style(Mood::Plain)),
        span(how, colours.style(Mood::Plain)),
    ])
}

/// Where `what` does not say it.
fn word(view: &RolloutView) -> String {
    match view.kind {
        RolloutKindView::Forward | RolloutKindView::CatchUp => format!("{} ", kind(view)),
        RolloutKindView::Rollback { .. } => String::new(),
    }
}

fn what(view: &RolloutView) -> String {
    match view.kind {
        RolloutKindView::Forward | RolloutKindView::CatchUp => format!("{} {}", view.app, target(view)),
        RolloutKindView::Rollback { .. } => format!("{} back to {}", view.app, target(view)),
    }
}

fn how(view: &RolloutView, now: Timestamp, room: usize) -> String {
    let by = view.by.trim_start_matches("operator/");
    if let Some(ended) = view.ended_at {
        let took = lasting(ended.since(view.started_at));
        let ago = ago(ended, now);
        return fitting(
            [
                format!("{ago}, took {took}, by {by}"),
                format!("{ago}, took {took}"),
                ago,
            ],
            room,
        );
    }
    let passed = view
        .waves
        .iter()
        .filter(|wave| wave.state == WaveStateView::Passed);
    let (wave, waves) = ((passed.count() + 1).min(view.waves.len()), view.waves.len());
    let so_far = lasting(now.since(view.started_at));
    fitting(
        [
            format!("wave {wave} of {waves}, for {so_far}, by {by}"),
            format!("wave {wave} of {waves}, for {so_far}"),
            format!("wave {wave} of {waves}"),
        ],
        room,
    )
}

pub const fn state_mood(state: RolloutStateView) -> Mood {
    match state {
        RolloutStateView::Running => Mood::Busy,
        RolloutStateView::Paused | RolloutStateView::Held => Mood::Warn,
        RolloutStateView::Succeeded => Mood::Good,
        RolloutStateView::Failed | RolloutStateView::Aborted => Mood::Bad,
    }
}
