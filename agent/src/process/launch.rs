//! The last step before the app: a fresh signal mask, then the app's own program in
//! place of this one.
//!
//! A keeper blocks the signals that it waits for, and a child inherits that; an app
//! that could not be told to stop would be the result. Between fork and exec nothing
//! can be done without unsafe code, so a program of our own stands in between.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::SigSet;

use super::account::{AccountError, Become};

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("nothing to launch")]
    Empty,
    #[error("what to become cannot be read")]
    Become,
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("cannot unblock signals")]
    Signals(#[source] nix::errno::Errno),
    #[error("cannot run `{}`", .program.to_string_lossy())]
    Exec {
        program: OsString,
        #[source]
        source: std::io::Error,
    },
}

/// Returns to say why the app could not be started, or that it could be: where there is
/// something to become and nothing to run, that was to be tried.
pub fn launch(becoming: Option<&str>, command: &[OsString]) -> Result<(), LaunchError> {
    if let Err(errno) = SigSet::all().thread_unblock() {
        return Err(LaunchError::Signals(errno));
    }
    if let Some(text) = becoming {
        let becoming = Become::from_argument(text).ok_or(LaunchError::Become)?;
        becoming.take_on()?;
    }
    let [program, arguments @ ..] = command else {
        return becoming.map(drop).ok_or(LaunchError::Empty);
    };
    let source = Command::new(program).args(arguments).exec();
    Err(LaunchError::Exec {
        program: program.clone(),
        source,
    })
}
