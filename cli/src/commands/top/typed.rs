//! What comes from the terminal and from whoever ends programs, as keys.

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_stream::StreamExt;

use crate::error::Error;
use crate::render::top::keys::Key;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    Key(Key),
    /// Columns and rows, from now on.
    Size((u16, u16)),
    /// A key without a meaning.
    Nothing,
    /// Nobody types any more, or the program is to end.
    End,
}

pub struct Typing {
    events: EventStream,
    ends: [Signal; 3],
}

pub fn typed() -> Result<Typing, Error> {
    let listen = |kind| signal(kind).map_err(Error::file("cannot listen for signals"));
    Ok(Typing {
        events: EventStream::new(),
        ends: [
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ],
    })
}

impl Typing {
    pub async fn next(&mut self) -> Result<Typed, Error> {
        let [interrupt, terminate, hangup] = &mut self.ends;
        let event = tokio::select! {
            event = self.events.next() => event,
            _ = interrupt.recv() => return Ok(Typed::End),
            _ = terminate.recv() => return Ok(Typed::End),
            _ = hangup.recv() => return Ok(Typed::End),
        };
        match event {
            None => Ok(Typed::End),
            Some(Err(error)) => Err(Error::file("cannot read from the terminal")(error)),
            Some(Ok(Event::Resize(columns, rows))) => Ok(Typed::Size((columns, rows))),
            Some(Ok(Event::Key(key))) => Ok(read(key).map_or(Typed::Nothing, Typed::Key)),
            Some(Ok(_)) => Ok(Typed::Nothing),
        }
    }
}

fn read(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return match event.code {
            KeyCode::Char('c') => Some(Key::Interrupt),
            KeyCode::Char('z') => Some(Key::Suspend),
            KeyCode::Char('l') => Some(Key::Redraw),
            _ => None,
        };
    }
    Some(match event.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Tab | KeyCode::BackTab => Key::Tab,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_whole() {
        let none = KeyModifiers::NONE;
        for (code, modifiers, expected) in [
            (KeyCode::Char('q'), none, Some(Key::Char('q'))),
            (KeyCode::Char('?'), KeyModifiers::SHIFT, Some(Key::Char('?'))),
            (KeyCode::Char('c'), KeyModifiers::CONTROL, Some(Key::Interrupt)),
            (KeyCode::Char('q'), KeyModifiers::CONTROL, None),
            (KeyCode::Esc, none, Some(Key::Escape)),
            (KeyCode::F(1), none, None),
        ] {
            assert_eq!(read(KeyEvent::new(code, modifiers)), expected, "{code:?}");
        }
    }
}
