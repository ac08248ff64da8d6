//! A piece of the picture: a ruled title, and lines of which as many are shown as fit.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::colours::{Colours, Mood};
use super::text::clip;

pub struct Panel {
    pub title: String,
    pub lines: Vec<Line<'static>>,
}

impl Panel {
    /// Rows that it would fill.
    pub fn wanted(&self) -> usize {
        self.lines.len() + 1
    }

    pub fn draw(&self, area: Rect, buffer: &mut Buffer, colours: Colours) {
        if area.is_empty() {
            return;
        }
        rule(&self.title, area, buffer, colours);
        let inner = Rect {
            y: area.y + 1,
            height: area.height - 1,
            ..area
        };
        lines(&self.lines, inner, buffer, colours);
    }
}

/// Of more lines than there is room for, the first, and that there are others.
pub fn lines(lines: &[Line<'_>], area: Rect, buffer: &mut Buffer, colours: Colours) {
    let room = usize::from(area.height);
    for (row, line) in area.rows().zip(lines) {
        buffer.set_line(row.x, row.y, line, row.width);
    }
    if lines.len() > room
        && let Some(last) = area.rows().next_back()
    {
        let more = format!(" … {} more ", lines.len() - room);
        let width = u16::try_from(more.chars().count()).unwrap_or(u16::MAX);
        let x = last.right().saturating_sub(width).max(last.x);
        buffer.set_stringn(
            x,
            last.y,
            &more,
            usize::from(last.width),
            colours.style(Mood::Quiet),
        );
    }
}

/// `── rollouts ─────────`
pub fn rule(title: &str, area: Rect, buffer: &mut Buffer, colours: Colours) {
    let width = usize::from(area.width);
    let quiet = colours.style(Mood::Quiet);
    buffer.set_stringn(area.x, area.y, "─".repeat(width), width, quiet);
    let title = format!(" {} ", clip(title, width.saturating_sub(6)));
    buffer.set_stringn(
        area.x + 2,
        area.y,
        title,
        width.saturating_sub(2),
        colours.style(Mood::Strong),
    );
}

pub fn span(text: impl Into<Cow<'static, str>>, style: Style) -> Span<'static> {
    Span::styled(text, style)
}
