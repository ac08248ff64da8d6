//! Carrying out what [`crate::install`] decided. Nothing here decides anything.

pub mod admit;
pub mod changes;
pub mod converge;
pub mod download;
pub mod fetch;
pub mod hooks;
pub mod migrate;
pub mod room;

use fleet_proto::session::{Failure, FailureClass};

use crate::durable::{self, FileError};
use crate::facts;

/// An error with all that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // Some errors repeat their cause in their own words.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

/// Boxed, for it is large and mostly does not happen.
pub type Failed = Box<Failure>;

pub fn failure(class: FailureClass, message: impl Into<String>) -> Failed {
    Box::new(Failure {
        class,
        check: None,
        message: message.into(),
        figure: None,
        limit: None,
        log_tail: vec![],
    })
}

/// A disk that cannot be written says nothing about the release.
pub fn disk_failure(error: &FileError) -> Failed {
    let mut failure = failure(FailureClass::Infrastructure, chain(error));
    if error.is_no_room() {
        let free = facts::disk_free(durable::parent(&error.path));
        failure.message.push_str(&format!("; {free} are free there"));
        failure.figure = Some(free.to_string());
    }
    failure
}

/// Disk work, off the threads that keep the session alive.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(failure(FailureClass::Infrastructure, chain(&error))),
    }
}
