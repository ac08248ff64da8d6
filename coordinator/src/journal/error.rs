//! What can go wrong with the journal, and what a person does about it.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(
        "another coordinator{} uses the state in {}\nhint: {}, or give this one a `state` of its own in its configuration",
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        .directory.display(),
        .pid.map_or_else(|| "stop it first".to_owned(), |pid| format!("stop it first with `kill {pid}`"))
    )]
    InUse { directory: PathBuf, pid: Option<u32> },

    #[error("cannot {what} {}", .path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },

    #[error("the journal's engine cannot {what}: {why}")]
    Engine { what: &'static str, why: String },

    #[error(
        "the journal in {} is damaged: {why}; nothing was changed\nhint: restore the directory from a backup; the coordinator asks the nodes whether that is too old",
        .directory.display()
    )]
    Damaged { directory: PathBuf, why: String },

    /// Somebody else wrote in between: what this writer believes is not so any more.
    #[error("an append after position {after} was refused: the journal ends at {end}")]
    NotTheEnd { after: u64, end: u64 },

    /// A newer coordinator took charge; this one must stop.
    #[error("an append in term {term} was refused: the journal has seen term {seen}")]
    OldTerm { term: u64, seen: u64 },

    #[error("a record weighs {bytes} bytes, the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },

    #[error(
        "the journal failed before and takes nothing more\nhint: look at the disk, then restart the coordinator"
    )]
    Failed,
}

pub(super) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.into();
    move |source| JournalError::File { what, path, source }
}
