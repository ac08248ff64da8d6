//! The fleet on a whole terminal: what `fleetctl top` shows.
//!
//! ```text
//!  News ─take→ Model ─picture→ cells ─terminal→ what differs from the cells before
//!  Key ─on_key→ Model
//! ```
//!
//! All of it but [`terminal`] is functions of what is given to them: the same model at the
//! same time on the same size is the same picture. It only looks; nothing in it acts.

mod alerts;
mod ascii;
pub mod colours;
mod environments;
mod events;
mod fleet;
mod footer;
mod groups;
mod header;
mod help;
pub mod keys;
mod layout;
pub mod model;
mod nodes;
mod pages;
mod panel;
mod rollouts;
mod sheet;
mod standing;
mod story;
pub mod terminal;
mod text;
mod waves;

use fleet_proto::time::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use self::layout::{Panels, layout};
use self::model::{Model, Page};
use self::panel::{lines, rule};

/// `here` is this machine's time.
pub fn picture(model: &Model, here: Timestamp, area: Rect, buffer: &mut Buffer) {
    let panels = Panels::new(model, here, area.width);
    let parts = layout(model, &panels, area);
    let colours = model.setting.colours;
    header::draw(model, here, parts.header, buffer);
    footer::draw(model, parts.footer, buffer);
    if model.page != Page::Fleet {
        let between = Rect {
            y: area.y + parts.header.height,
            height: area.height.saturating_sub(2),
            ..area
        };
        return pages::draw(model, here, between, buffer);
    }
    lines(&panels.alerts, parts.alerts, buffer, colours);
    panels.environments.draw(parts.environments, buffer, colours);
    panels.rollouts.draw(parts.rollouts, buffer, colours);
    nodes::draw(model, parts.nodes, buffer);
    if !parts.events.is_empty() {
        rule("events", parts.events, buffer, colours);
        let inner = Rect {
            y: parts.events.y + 1,
            height: parts.events.height - 1,
            ..parts.events
        };
        let rows = usize::from(inner.height);
        lines(&events::lines(model, rows), inner, buffer, colours);
    }
}
