//! A program on a terminal of its own: what is on its screen, and keys for it.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

use crate::wait::wait_for;

pub struct Terminal {
    child: Child,
    keys: File,
    /// The program's side, which says in which mode the terminal is.
    slave: File,
    before: Termios,
    parser: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// With a terminal of this size (columns, rows) that it controls; killed when dropped.
    pub fn start(command: &Command, (columns, rows): (NonZeroU16, NonZeroU16)) -> anyhow::Result<Self> {
        let size = Winsize {
            ws_row: rows.get(),
            ws_col: columns.get(),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None)?;
        let slave = File::from(pty.slave);
        let before = tcgetattr(&slave)?;
        let mut controlled = Command::new("setsid");
        controlled
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                controlled.env(name, value);
            }
        }
        if let Some(directory) = command.get_current_dir() {
            controlled.current_dir(directory);
        }
        let child = controlled
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave.try_clone()?))
            .spawn()
            .context("cannot start setsid")?;
        let parser = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone()?;
        let read = Arc::clone(&parser);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // An error is how a terminal tells that nobody is at its other end.
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                let mut parser = read.lock().unwrap_or_else(PoisonError::into_inner);
                parser.process(&bytes[..count]);
            }
        });
        Ok(Self {
            child,
            keys,
            slave,
            before,
            parser,
        })
    }

    pub fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(
            self.parser
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .screen(),
        )
    }

    pub fn text(&self) -> String {
        self.look(vt100::Screen::contents)
    }

    pub fn wait_for(&self, words: &str, limit: Duration) -> anyhow::Result<()> {
        wait_for(&format!("`{words}` on the screen"), limit, || {
            self.text().contains(words).then_some(())
        })
        .with_context(|| format!("the screen:\n{}", self.text()))
    }

    pub fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.keys.write_all(keys.as_bytes())?)
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    pub fn wait_for_end(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let child = &mut self.child;
        let ended = wait_for("the program to end", limit, || child.try_wait().ok().flatten());
        ended.with_context(|| format!("the screen:\n{}", self.text()))
    }

    /// In the mode in which it was handed over, with a cursor, and with what was on it.
    pub fn is_as_before(&self) -> anyhow::Result<bool> {
        let as_it_was = tcgetattr(&self.slave)? == self.before;
        Ok(as_it_was && self.look(|screen| !screen.alternate_screen() && !screen.hide_cursor()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
