//! The first line: whom this is from, and what time it is.

use fleet_proto::time::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::colours::Mood;
use super::model::{Link, Model};
use super::text::{fitting, width};
use crate::render::time::{clock, span};

pub fn draw(model: &Model, here: Timestamp, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let colours = model.setting.colours;
    let room = usize::from(area.width);
    let (said, mood) = match &model.link {
        Link::Lost { since, .. } => (
            format!(" coordinator lost for {} ", span(here.since(*since))),
            Mood::Bad,
        ),
        Link::Reached if model.fleet.is_none() => (" coordinator is asked ".to_owned(), Mood::Busy),
        Link::Reached => (" coordinator reached ".to_owned(), Mood::Good),
    };
    let times = times(model, model.now(here), room.saturating_sub(width(&said) + 1));
    let left = area.x + u16::try_from(width(&said)).unwrap_or(u16::MAX);
    let right = area
        .right()
        .saturating_sub(u16::try_from(width(&times)).unwrap_or(u16::MAX));
    buffer.set_stringn(area.x, area.y, &said, room, colours.style(mood));
    let between = usize::from(right.saturating_sub(left + 2));
    if between > 0 {
        buffer.set_stringn(
            left + 1,
            area.y,
            about(model, between),
            between,
            colours.style(Mood::Plain),
        );
    }
    buffer.set_stringn(right, area.y, &times, width(&times), colours.style(Mood::Strong));
}

/// As much of it as there is room for; the fleet's name is its address.
fn about(model: &Model, room: usize) -> String {
    let address = &model.setting.address;
    let host = address.trim_start_matches("https://");
    let scope = scope(model);
    let Some(fleet) = &model.fleet else {
        return fitting([address.clone(), host.to_owned()], room);
    };
    let coordinator = &fleet.status.coordinator;
    let term = format!("term {}", coordinator.term);
    let version = format!("version {}", coordinator.version);
    let fits = [
        format!("{address}  {term}  {version}{scope}"),
        format!("{address}  {term}{scope}"),
        format!("{host}  {term}{scope}"),
        format!("{host}  {term}"),
        term,
        String::new(),
    ];
    fitting(fits, room)
}

/// What is not shown is not there for whoever forgot that they asked for less.
fn scope(model: &Model) -> String {
    let app = model.setting.app.as_ref().map(|app| format!("app {app}"));
    let environment = model
        .setting
        .environment
        .as_ref()
        .map(|name| format!("in {name}"));
    let words: Vec<String> = [app, environment].into_iter().flatten().collect();
    match words.is_empty() {
        true => String::new(),
        false => format!("  only {}", words.join(" ")),
    }
}

/// Where one sits, and in UTC as everything else is told.
fn times(model: &Model, now: Timestamp, room: usize) -> String {
    let utc = clock(now);
    let local = i64::try_from(now.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map(|at| at.to_zoned(model.setting.zone.clone()));
    match local {
        Some(local) if local.offset().seconds() != 0 => {
            let here = local.strftime("%H:%M:%S %Z").to_string();
            fitting([format!("{here} = {utc} "), format!("{utc} ")], room)
        }
        _ => format!("{utc} "),
    }
}
