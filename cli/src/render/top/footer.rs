//! The last line: which keys there are just now, or what is searched for.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::colours::Mood;
use super::model::{Focus, Model, Page};
use super::text::fitting;

pub fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    let room = usize::from(area.width);
    let (text, mood) = match model.filter.is_typed {
        true => (
            format!(
                " nodes with /{}_   Enter keeps it, Esc shows all",
                model.filter.text
            ),
            Mood::Strong,
        ),
        false => (keys(model, room), Mood::Quiet),
    };
    buffer.set_stringn(area.x, area.y, text, room, model.setting.colours.style(mood));
}

fn keys(model: &Model, room: usize) -> String {
    if model.page != Page::Fleet {
        return fitting([" Esc back   ↑↓ scroll   q quit".to_owned()], room);
    }
    let other = model.grouping().other().word();
    let (arrows, tab) = match model.focus {
        Focus::Rollouts => ("↑↓ rollout", "nodes"),
        Focus::Nodes => ("←↑↓→ node", "rollouts"),
    };
    fitting(
        [
            format!(
                " q quit   ? keys   {arrows}   Enter open   Tab to the {tab}   g by {other}   / search nodes"
            ),
            format!(" q quit  ? keys  {arrows}  Enter open  Tab {tab}  g by {other}  /"),
            format!(" q quit  ? keys  {arrows}  Enter  Tab {tab}"),
            " q quit  ? keys".to_owned(),
        ],
        room,
    )
}
