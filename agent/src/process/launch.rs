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

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("nothing to launch")]
    Empty,
    #[error("cannot unblock signals")]
    Signals(#[source] nix::errno::Errno),
    #[error("cannot run `{}`", .program.to_string_lossy())]
    Exec {
        program: OsString,
        #[source]
        source: std::io::Error,
    },
}

/// Returns only to say why the app could not be started.
pub fn launch(command: &[OsString]) -> LaunchError {
    let [program, arguments @ ..] = command else {
        return LaunchError::Empty;
    };
    if let Err(errno) = SigSet::all().thread_unblock() {
        return LaunchError::Signals(errno);
    }
    let source = Command::new(program).args(arguments).exec();
    LaunchError::Exec {
        program: program.clone(),
        source,
    }
}
