//! The only file that writes to a terminal, a pipe or a file handle of this process, but
//! for [`super::top::terminal`], which takes a whole terminal for a while.
//!
//! Data goes to stdout, everything else to stderr. A reader that went away (`| head`)
//! is not an error; data that could not be written for any other reason is one.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use serde::Serialize;

use super::error::Mistake;
use super::paint::Paint;
use crate::error::Error;

/// Text is for people; JSON is for programs: the documents of the HTTP API, one a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Whoever reads stdout. What goes on for ever ends when nobody reads it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    There,
    Gone,
}

#[derive(Debug, Clone, Copy)]
pub struct Screen {
    pub format: Format,
    /// How stdout may be coloured.
    pub paint: Paint,
    /// stderr is a terminal that understands cursor movements.
    pub live: bool,
    /// There is a whole terminal, to draw on and to type at.
    pub full: bool,
}

impl Screen {
    pub fn of_this_process(format: Format) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            format,
            paint: Paint::new(std::io::stdout().is_terminal() && !dumb && !plain),
            live: std::io::stderr().is_terminal() && !dumb && format == Format::Text,
            full: std::io::stdout().is_terminal()
                && std::io::stdin().is_terminal()
                && !dumb
                && format == Format::Text,
        }
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// The terminal's width and height, or what most have.
    pub fn size(&self) -> (usize, usize) {
        terminal_size::terminal_size_of(std::io::stderr()).map_or((80, 24), |(width, height)| {
            (usize::from(width.0), usize::from(height.0))
        })
    }

    /// What was asked for.
    pub fn data(&self, text: &str) -> Result<Reader, Error> {
        write_out(line(text).as_bytes())
    }

    /// Everything that is not what was asked for.
    pub fn say(&self, text: &str) {
        let _nobody_to_tell = std::io::stderr().lock().write_all(line(text).as_bytes());
    }

    /// Why it was not done as asked; the last line that is said.
    pub fn fail(&self, mistake: &Mistake) {
        self.say(&match self.format {
            Format::Json => mistake.json(),
            Format::Text => mistake.text(),
        });
    }

    /// Bytes for stdout as they are: completions, and logs, in which an empty line is one.
    pub fn raw(&self, bytes: &[u8]) -> Result<Reader, Error> {
        write_out(bytes)
    }

    /// Cursor movements and all, for live progress.
    pub fn draw(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        let _reader_gone = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    /// A document as the coordinator wrote it, or `text` made from it.
    pub fn document(&self, json: &str, text: impl FnOnce(Paint) -> String) -> Result<Reader, Error> {
        match self.format {
            Format::Json => self.data(json),
            Format::Text => self.data(&text(self.paint)),
        }
    }

    /// The same for what is made here.
    pub fn value(&self, value: &impl Serialize, text: impl FnOnce(Paint) -> String) -> Result<Reader, Error> {
        let json = serde_json::to_string(value).unwrap_or_default();
        self.document(&json, text)
    }
}

fn line(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

/// Not through the standard library's stdout: that takes a file handle that cannot be
/// written to for one to which everything was written.
fn write_out(bytes: &[u8]) -> Result<Reader, Error> {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned();
    match stdout.and_then(|stdout| File::from(stdout).write_all(bytes)) {
        Ok(()) => Ok(Reader::There),
        Err(error) => not_written(error),
    }
}

/// Whether that matters.
pub fn not_written(error: std::io::Error) -> Result<Reader, Error> {
    match error.kind() {
        ErrorKind::BrokenPipe => Ok(Reader::Gone),
        _ => Err(Error::file("cannot write to stdout")(error)),
    }
}
