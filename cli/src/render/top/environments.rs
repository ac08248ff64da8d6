//! What is wanted where, and how much of it is so.

use fleet_proto::view::EnvironmentAppView;
use ratatui::text::Line;

use super::colours::Mood;
use super::model::Model;
use super::panel::{Panel, span};
use super::text::{clip, grouped, width as width_of};

const HEADS: [&str; 7] = [
    "environment",
    "app",
    "wanted",
    "healthy",
    "unavailable",
    "behind",
    "runs",
];

struct Row {
    cells: [String; 7],
    moods: [Mood; 7],
}

pub fn panel(model: &Model, width: usize) -> Panel {
    let mut rows = vec![Row {
        cells: HEADS.map(str::to_owned),
        moods: [Mood::Quiet; 7],
    }];
    let environments = model.fleet.iter().flat_map(|fleet| &fleet.status.environments);
    for view in environments {
        let name = view.environment.to_string();
        if view.apps.is_empty() {
            let mut cells = [const { String::new() }; 7];
            [cells[0], cells[1]] = [name.clone(), "no release yet".to_owned()];
            rows.push(Row {
                cells,
                moods: [Mood::Plain; 7],
            });
        }
        rows.extend(view.apps.iter().map(|app| row(&name, app)));
    }
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| width_of(&row.cells[column]));
        cells.max().unwrap_or(0)
    });
    let lines = rows.iter().map(|row| line(row, widths, width, model)).collect();
    Panel {
        title: "environments".to_owned(),
        lines,
    }
}

fn row(environment: &str, app: &EnvironmentAppView) -> Row {
    let mut versions: Vec<(&String, &usize)> = app.versions.iter().collect();
    versions.sort_by_key(|(_, nodes)| std::cmp::Reverse(**nodes));
    let versions: Vec<String> = versions
        .iter()
        .map(|(version, nodes)| format!("{version} on {}", grouped(**nodes)))
        .collect();
    let if_any = |number: usize, mood| if number > 0 { mood } else { Mood::Plain };
    let healthy = if app.healthy == app.nodes {
        Mood::Good
    } else {
        Mood::Plain
    };
    Row {
        cells: [
            environment.to_owned(),
            app.app.to_string(),
            app.desired
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            format!("{}/{}", grouped(app.healthy), grouped(app.nodes)),
            grouped(app.unavailable),
            grouped(app.behind),
            versions.join(", "),
        ],
        moods: [
            Mood::Strong,
            Mood::Plain,
            Mood::Plain,
            healthy,
            if_any(app.unavailable, Mood::Bad),
            if_any(app.behind, Mood::Warn),
            Mood::Plain,
        ],
    }
}

/// Where it does not fit, what runs is cut before any figure is.
fn line(row: &Row, widths: [usize; 7], room: usize, model: &Model) -> Line<'static> {
    let mut line = Line::default();
    line.push_span(" ");
    let mut left = room.saturating_sub(1);
    for (column, cell) in row.cells.iter().enumerate() {
        let cell = clip(cell, left);
        let pad = (widths[column] + 2)
            .saturating_sub(width_of(&cell))
            .min(left - width_of(&cell));
        left -= width_of(&cell) + pad;
        line.push_span(span(cell, model.setting.colours.style(row.moods[column])));
        line.push_span(" ".repeat(pad));
    }
    line
}
