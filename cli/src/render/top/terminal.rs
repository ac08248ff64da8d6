//! The terminal that is taken for a while, and given back as it was: at the end, after an
//! error, and before a panic says what it has to say.

use std::io::Stdout;

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use fleet_proto::time::Timestamp;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::model::Model;
use super::{ascii, picture};
use crate::error::Error;

pub struct Full {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    ascii: bool,
}

impl Full {
    pub fn open() -> Result<Self, Error> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        take().map_err(unusable)?;
        let terminal = Terminal::new(CrosstermBackend::new(std::io::stdout()));
        Ok(Self {
            terminal: terminal.map_err(unusable)?,
            ascii: ascii::is_wanted(),
        })
    }

    /// Columns and rows.
    pub fn size(&self) -> Result<(u16, u16), Error> {
        let size = self.terminal.size().map_err(unusable)?;
        Ok((size.width, size.height))
    }

    pub fn draw(&mut self, model: &Model, here: Timestamp) -> Result<(), Error> {
        let drawn = self.terminal.draw(|frame| {
            let area = frame.area();
            picture(model, here, area, frame.buffer_mut());
            if self.ascii {
                ascii::translate(frame.buffer_mut());
            }
        });
        drawn.map(drop).map_err(unusable)
    }

    /// The next picture is drawn in full, whatever is on the screen.
    pub fn forget(&mut self) -> Result<(), Error> {
        self.terminal.clear().map_err(unusable)
    }

    /// Ctrl-Z: gives the terminal back, sleeps, and takes it again.
    pub fn suspend(&mut self) -> Result<(), Error> {
        give_back();
        let asleep = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTSTP);
        take().map_err(unusable)?;
        asleep.map_err(|errno| unusable(errno.into()))?;
        self.forget()
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> std::io::Result<()> {
    enable_raw_mode()?;
    execute!(std::io::stdout(), EnterAlternateScreen, Hide)
}

/// Twice does no harm.
fn give_back() {
    let _nobody_to_tell = execute!(std::io::stdout(), LeaveAlternateScreen, Show);
    let _nobody_to_tell = disable_raw_mode();
}

fn unusable(error: std::io::Error) -> Error {
    Error::file("cannot draw on the terminal")(error)
}
