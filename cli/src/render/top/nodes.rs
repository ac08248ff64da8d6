//! The grid of nodes: a letter each, in groups, and what the letters mean.

use std::collections::BTreeMap;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use super::colours::Mood;
use super::fleet::Fleet;
use super::model::{Focus, Model};
use super::panel::{rule, span};
use super::sheet::{Row, Shape, Sheet, Sight, sheet};
use super::standing::Standing;
use super::text::{clip, grouped};
use crate::render::nodes::labels;

/// The title, and what the letters mean.
const ABOVE: usize = 2;

/// Rows that it would fill with a letter for each node.
pub fn wanted(model: &Model, width: usize) -> usize {
    let sheet = sheet_of(model, (width, usize::MAX), Sight::Each);
    sheet.rows.len().max(1) + ABOVE
}

/// The columns and rows that cells have in an area of this size.
pub fn room(area: Rect) -> (usize, usize) {
    let rows = usize::from(area.height).saturating_sub(ABOVE);
    (usize::from(area.width).saturating_sub(2), rows)
}

pub fn sheet_of(model: &Model, room: (usize, usize), sight: Sight) -> Sheet {
    let names = model.fleet.iter().flat_map(|fleet| &fleet.status.nodes);
    let longest = names.map(|node| node.node.as_str().len()).max().unwrap_or(0);
    sheet(&model.groups, longest, room, sight)
}

pub fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    let Some(fleet) = &model.fleet else { return };
    if area.is_empty() {
        return;
    }
    let colours = model.setting.colours;
    let selected = model.place().filter(|_| model.focus == Focus::Nodes);
    let sight = if selected.is_some() {
        Sight::Each
    } else {
        Sight::Whole
    };
    let sheet = sheet_of(model, room(area), sight);
    rule(&title(model, fleet, &sheet), area, buffer, colours);
    let mut rows = area.rows().skip(1);
    let tally = tally(model, fleet, usize::from(area.width).saturating_sub(1));
    if let Some(row) = rows.next() {
        buffer.set_line(row.x + 1, row.y, &tally, row.width.saturating_sub(1));
    }
    let cursor = selected.and_then(|place| sheet.find(place));
    let height = usize::from(area.height).saturating_sub(ABOVE);
    let top = cursor.map_or(0, |(row, _)| sheet.top(row, height));
    for (at, (area, row)) in rows.zip(sheet.rows.iter().skip(top)).enumerate() {
        let cell = cursor.filter(|(row, _)| *row == top + at).map(|(_, cell)| cell);
        let line = line(model, fleet, &sheet, row, at == 0, cell);
        buffer.set_line(area.x + 1, area.y, &line, area.width.saturating_sub(1));
    }
    let below = sheet.rows.len().saturating_sub(top + height);
    if below > 0 {
        let more = format!(" {} more rows ", grouped(below));
        let width = u16::try_from(more.chars().count()).unwrap_or(u16::MAX);
        let x = area.right().saturating_sub(width).max(area.x);
        buffer.set_stringn(
            x,
            area.y,
            more,
            usize::from(area.width),
            colours.style(Mood::Quiet),
        );
    }
}

fn title(model: &Model, fleet: &Fleet, sheet: &Sheet) -> String {
    let by = model.grouping().word();
    let shown = model.shown().count();
    let all = fleet.status.nodes.len();
    let mut title = match shown == all {
        true => format!("nodes by {by}: {}", grouped(all)),
        false => format!("nodes by {by}: {} of {}", grouped(shown), grouped(all)),
    };
    if !model.filter.text.is_empty() {
        title.push_str(&format!(" that match {}", model.filter.text));
    }
    if sheet.each > 1 {
        title.push_str(&format!(", the worst of each {}", sheet.each));
    }
    if model.focus == Focus::Nodes
        && let Some((node, standing)) = model
            .selected_node()
            .and_then(|at| fleet.status.nodes.get(at).zip(fleet.standings.get(at)))
    {
        let labels = labels(&node.labels);
        title.push_str(&format!("  ▸ {} {} {labels}", node.node, standing.word()));
    }
    title
}

/// What the letters on the screen mean, and how many there are of each.
fn tally(model: &Model, fleet: &Fleet, room: usize) -> Line<'static> {
    let mut counts: BTreeMap<Standing, usize> = BTreeMap::new();
    for at in model.shown() {
        if let Some(standing) = fleet.standings.get(at) {
            *counts.entry(*standing).or_default() += 1;
        }
    }
    let mut line = Line::default();
    if counts.is_empty() {
        let none = match model.filter.text.is_empty() {
            true => "no node yet; `fleetctl token create` lets one in",
            false => "none; Esc shows all",
        };
        line.push_span(none);
    }
    let worded =
        |(standing, count): (&Standing, &usize)| format!(" {} {}  ", grouped(*count), standing.word());
    let width: usize = counts
        .iter()
        .map(worded)
        .map(|text| text.chars().count() + 1)
        .sum();
    for (standing, count) in &counts {
        let style = model.setting.colours.style(standing.mood());
        line.push_span(span(standing.letter().to_string(), style));
        // `?` tells what the letters mean where there is no room for words.
        line.push_span(match width <= room + 2 {
            true => worded((standing, count)),
            false => format!(" {}  ", grouped(*count)),
        });
    }
    line
}

fn line(
    model: &Model,
    fleet: &Fleet,
    sheet: &Sheet,
    row: &Row,
    is_first: bool,
    cursor: Option<usize>,
) -> Line<'static> {
    let colours = model.setting.colours;
    let Some(group) = model.groups.get(row.group) else {
        return Line::default();
    };
    let mut line = Line::default();
    let label = if row.from == 0 || is_first {
        group.name.as_str()
    } else {
        ""
    };
    let room = sheet.label.saturating_sub(2);
    line.push_span(span(
        format!("{:<room$}  ", clip(label, room)),
        colours.style(Mood::Quiet),
    ));
    let nodes = group.nodes.get(row.from..row.to).unwrap_or_default();
    for (at, cell) in nodes.chunks(sheet.each).enumerate() {
        let standings = cell.iter().filter_map(|at| fleet.standings.get(*at).copied());
        let standing = standings.min().unwrap_or(Standing::Unknown);
        let mut style = colours.style(standing.mood());
        let is_cursor = cursor == Some(at);
        if is_cursor {
            style = style.add_modifier(Modifier::REVERSED | Modifier::BOLD);
        }
        line.push_span(span(standing.letter().to_string(), style));
        match sheet.shape {
            Shape::Dense => {}
            Shape::Spaced => line.push_span(" "),
            Shape::Named(width) => {
                let name = cell.first().and_then(|at| fleet.status.nodes.get(*at));
                let name = name.map_or("", |view| view.node.as_str());
                let room = width.saturating_sub(4);
                let mark = if is_cursor { "▸" } else { " " };
                let style = if is_cursor { style } else { Style::new() };
                line.push_span(mark);
                line.push_span(span(clip(name, room), style));
                line.push_span(" ".repeat(room.saturating_sub(name.chars().count()) + 2));
            }
        }
    }
    line
}
