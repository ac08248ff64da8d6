//! Who gets how many rows. What matters most has its least first; then each grows to what it
//! wants, in turn; what has not even its least is left out.

use fleet_proto::time::Timestamp;
use ratatui::layout::Rect;

use super::model::Model;
use super::panel::Panel;
use super::{alerts, environments, nodes, rollouts};

/// Its title, what the letters mean, and a line for each of three waves.
const NODES_LEAST: usize = 5;
const EVENTS_LEAST: usize = 3;
/// Before the nodes have all that they could fill.
const EVENTS_FIRST: usize = 6;
const ENVIRONMENTS_LEAST: usize = 3;
const ENVIRONMENTS_MOST: usize = 7;
const ROLLOUTS_LEAST: usize = 4;
/// While one moves: its head, some waves, what it waits for.
const MOVING_LEAST: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub header: Rect,
    pub alerts: Rect,
    pub environments: Rect,
    pub rollouts: Rect,
    pub nodes: Rect,
    pub events: Rect,
    pub footer: Rect,
}

/// What fills the rows, for it says how many it wants.
pub struct Panels {
    pub alerts: Vec<ratatui::text::Line<'static>>,
    pub environments: Panel,
    pub rollouts: Panel,
}

impl Panels {
    pub fn new(model: &Model, here: Timestamp, width: u16) -> Self {
        let width = usize::from(width);
        Self {
            alerts: alerts::lines(model, here, width),
            environments: environments::panel(model, width),
            rollouts: rollouts::panel(model, here, width),
        }
    }
}

/// One of those that share the rows.
#[derive(Clone, Copy)]
struct Wish {
    least: usize,
    /// What it may grow to in each round.
    rounds: [usize; 3],
}

pub fn layout(model: &Model, panels: &Panels, area: Rect) -> Layout {
    let height = usize::from(area.height);
    let alerts = panels.alerts.len().min(height / 3);
    let between = height.saturating_sub(alerts + 2);
    let is_moving = model.listed().iter().any(|view| !view.state.is_ended());
    let rollouts = panels.rollouts.wanted();
    let environments = panels.environments.wanted();
    let nodes = nodes::wanted(model, usize::from(area.width));
    let events = model.events.len() + 1;
    let (least, most) = match is_moving {
        true => (MOVING_LEAST, height * 2 / 3),
        false => (ROLLOUTS_LEAST, height / 2),
    };
    let wish = |wanted: usize, least: usize, rounds: [usize; 3]| Wish {
        least: least.min(wanted),
        rounds: rounds.map(|most| most.min(wanted)),
    };
    let shares = [
        wish(rollouts, least, [most.min(height / 2 - height / 8), most, most]),
        wish(nodes, NODES_LEAST, [height / 3, nodes, nodes]),
        wish(environments, ENVIRONMENTS_LEAST, [ENVIRONMENTS_MOST; 3]),
        wish(events, EVENTS_LEAST, [EVENTS_FIRST, EVENTS_FIRST, events]),
    ];
    let [rollouts, nodes, environments, events] = share(between, shares);
    let mut y = area.y;
    let mut take = |rows: usize| {
        let rows = u16::try_from(rows).unwrap_or(u16::MAX);
        let rows = rows.min(area.bottom().saturating_sub(y));
        let taken = Rect {
            y,
            height: rows,
            ..area
        };
        y += rows;
        taken
    };
    let header = take(1);
    let alerts = take(alerts);
    let [environments, rollouts, nodes] = [environments, rollouts, nodes].map(&mut take);
    // What nobody wants is above the last line, so that it stays where it is.
    let events = take(events);
    let footer = Rect {
        y: area.bottom().saturating_sub(1).max(area.y),
        height: area.height.min(1),
        ..area
    };
    Layout {
        header,
        alerts,
        environments,
        rollouts,
        nodes,
        events,
        footer,
    }
}

fn share<const N: usize>(rows: usize, wishes: [Wish; N]) -> [usize; N] {
    let mut left = rows;
    let mut shares = [0; N];
    for (share, wish) in shares.iter_mut().zip(&wishes) {
        if wish.least <= left {
            *share = wish.least;
            left -= wish.least;
        }
    }
    for round in 0..3 {
        for (share, wish) in shares.iter_mut().zip(&wishes) {
            if *share > 0 {
                let more = wish.rounds[round].saturating_sub(*share).min(left);
                *share += more;
                left -= more;
            }
        }
    }
    shares
}

/// Where the cells of the nodes are.
pub fn grid_room(model: &Model) -> (usize, usize) {
    let here = model.fleet.as_ref().map_or(Timestamp(0), |fleet| fleet.seen_at);
    let panels = Panels::new(model, here, model.size.0);
    nodes::room(layout(model, &panels, whole(model)).nodes)
}

/// Where a page is: between the first line and the last.
pub fn page_area(model: &Model) -> Rect {
    let area = whole(model);
    Rect {
        y: area.y + 1,
        height: area.height.saturating_sub(2),
        ..area
    }
}

fn whole(model: &Model) -> Rect {
    Rect::new(0, 0, model.size.0, model.size.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_most_keeps_its_rows() {
        let wish = |least, most| Wish {
            least,
            rounds: [most; 3],
        };
        let wishes = [wish(7, 12), wish(4, 90), wish(3, 3), wish(3, 40)];
        for (rows, expected) in [
            (3, [0, 0, 3, 0]),
            (7, [7, 0, 0, 0]),
            (13, [9, 4, 0, 0]),
            (17, [7, 4, 3, 3]),
            (37, [12, 19, 3, 3]),
        ] {
            assert_eq!(share(rows, wishes), expected, "{rows}");
        }
    }
}
