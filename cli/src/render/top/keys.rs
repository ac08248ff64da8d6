//! What each key does to where the person looks. None of them does anything to the fleet.

use super::layout::grid_room;
use super::model::{Focus, Model, Page};
use super::nodes::sheet_of;
use super::sheet::Sight;

/// How far a page key goes.
const PAGE_LINES: usize = 10;
/// A longer search is a mistake of the hand.
const FILTER_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Tab,
    Backspace,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L: what others wrote on the screen goes.
    Redraw,
}

/// What is to be done beside drawing anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    None,
    Quit,
    Suspend,
    Redraw,
    /// The page of a node was opened.
    AskNode,
}

impl Model {
    pub fn on_key(&mut self, key: Key) -> Effect {
        match key {
            Key::Interrupt => return Effect::Quit,
            Key::Suspend => return Effect::Suspend,
            Key::Redraw => return Effect::Redraw,
            _ if self.filter.is_typed => self.type_filter(key),
            Key::Char('q') => return Effect::Quit,
            Key::Char('?') if self.page == Page::Keys => self.open(Page::Fleet),
            Key::Char('?') => self.open(Page::Keys),
            _ if self.page == Page::Fleet => return self.on_fleet(key),
            _ => self.on_page(key),
        }
        Effect::None
    }

    fn open(&mut self, page: Page) {
        self.page = page;
        self.scroll = 0;
        self.asked = None;
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Enter => self.filter.is_typed = false,
            Key::Escape => {
                self.filter.is_typed = false;
                self.filter.text.clear();
            }
            Key::Backspace if self.filter.text.is_empty() => self.filter.is_typed = false,
            Key::Backspace => drop(self.filter.text.pop()),
            Key::Char(c) if self.filter.text.len() < FILTER_MAX => self.filter.text.push(c),
            _ => {}
        }
        self.arrange();
    }

    fn on_fleet(&mut self, key: Key) -> Effect {
        match key {
            Key::Tab => {
                let to = match self.focus {
                    Focus::Rollouts => Focus::Nodes,
                    Focus::Nodes => Focus::Rollouts,
                };
                self.focus_on(to);
            }
            Key::Char('g') => {
                self.grouping = Some(self.grouping().other());
                self.arrange();
            }
            Key::Char('/') => {
                self.filter.is_typed = true;
                self.focus_on(Focus::Nodes);
            }
            Key::Escape if !self.filter.text.is_empty() => {
                self.filter.text.clear();
                self.arrange();
            }
            Key::Escape => self.focus_on(Focus::Rollouts),
            Key::Enter => return self.enter(),
            _ => match self.focus {
                Focus::Rollouts => self.move_in_rollouts(key),
                Focus::Nodes => self.move_in_nodes(key),
            },
        }
        Effect::None
    }

    fn focus_on(&mut self, focus: Focus) {
        self.focus = focus;
        if focus == Focus::Nodes && self.place().is_none() {
            self.select_place(0);
        }
    }

    fn enter(&mut self) -> Effect {
        match self.focus {
            Focus::Rollouts => {
                if let Some(number) = self.chosen().map(|view| view.number) {
                    self.open(Page::Rollout(number));
                }
            }
            Focus::Nodes => {
                if let Some(node) = self.node.clone().filter(|_| self.place().is_some()) {
                    self.open(Page::Node(node));
                    return Effect::AskNode;
                }
            }
        }
        Effect::None
    }

    fn move_in_rollouts(&mut self, key: Key) {
        let listed: Vec<_> = self.listed().iter().map(|view| view.number).collect();
        let Some(chosen) = self.chosen().map(|view| view.number) else {
            return;
        };
        let at = listed.iter().position(|number| *number == chosen).unwrap_or(0);
        let to = match key {
            Key::Up | Key::Char('k') => at.saturating_sub(1),
            Key::Down | Key::Char('j') => at + 1,
            Key::Home => 0,
            Key::End => listed.len(),
            _ => return,
        };
        self.rollout = listed.get(to.min(listed.len() - 1)).copied();
        self.arrange();
    }

    fn move_in_nodes(&mut self, key: Key) {
        let last = self.shown().count().saturating_sub(1);
        let at = self.place().unwrap_or(0);
        let to = match key {
            Key::Left | Key::Char('h') => at.saturating_sub(1),
            Key::Right | Key::Char('l') => at + 1,
            Key::Home => 0,
            Key::End => last,
            Key::Up | Key::Char('k') => self.rows_away(at, -1),
            Key::Down | Key::Char('j') => self.rows_away(at, 1),
            Key::PageUp => self.rows_away(at, -PAGE_LINES.cast_signed()),
            Key::PageDown => self.rows_away(at, PAGE_LINES.cast_signed()),
            _ => return,
        };
        self.select_place(to.min(last));
    }

    /// The place so many rows further down, as the nodes are laid out on the screen.
    fn rows_away(&self, at: usize, rows: isize) -> usize {
        let sheet = sheet_of(self, grid_room(self), Sight::Each);
        let Some((row, cell)) = sheet.find(at) else {
            return at;
        };
        let to = row
            .saturating_add_signed(rows)
            .min(sheet.rows.len().saturating_sub(1));
        sheet.place(to, cell).unwrap_or(at)
    }

    fn select_place(&mut self, place: usize) {
        let node = self.shown().nth(place);
        let fleet = self.fleet.as_ref();
        self.node = node
            .and_then(|at| fleet?.status.nodes.get(at))
            .map(|view| view.node.clone());
    }

    fn on_page(&mut self, key: Key) {
        match key {
            Key::Escape | Key::Backspace | Key::Enter => self.open(Page::Fleet),
            Key::Up | Key::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            Key::Down | Key::Char('j') => self.scroll += 1,
            Key::PageUp => self.scroll = self.scroll.saturating_sub(PAGE_LINES),
            Key::PageDown | Key::Char(' ') => self.scroll += PAGE_LINES,
            Key::Home => self.scroll = 0,
            _ => {}
        }
        self.scroll = self.scroll.min(super::pages::scroll_max(self));
    }
}
