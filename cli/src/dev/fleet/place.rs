//! The directory that a development fleet lives in: usable, and not in use.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use crate::dev::layout::Layout;
use crate::dev::stray;
use crate::error::Error;

/// Makes the directory where it is not there yet; its path as processes will name it.
pub fn make(directory: &Path) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(directory).map_err(unusable(directory))?;
    directory.canonicalize().map_err(unusable(directory))
}

pub fn unusable(directory: &Path) -> impl FnOnce(IoError) -> Error {
    let name = directory.display().to_string();
    move |error| match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => Error::usage(
            format!("{name} is not a directory, nor can it be one: there is a file"),
            "name a directory that is empty or not there yet: `fleetctl dev --dir fleet`",
        ),
        _ => Error::file(format!("cannot use {name}"))(error),
    }
}

/// Empty, or a fleet of ours that does not run.
pub fn must_be_free(layout: &Layout) -> Result<(), Error> {
    let root = layout.root();
    if let Some(stray) = stray::find(root).first() {
        return Err(Error::refused(
            format!(
                "a fleet runs in {} already ({}, process {})",
                root.display(),
                stray.program.display(),
                stray.pid
            ),
            format!(
                "use it: `. '{}'`; end it: `fleetctl dev --stop --dir '{}'`; or name another directory",
                layout.env().display(),
                root.display()
            ),
        ));
    }
    is_of_a_fleet(layout).map(drop)
}

/// Whether a fleet was begun there; refuses a directory of something else.
pub fn is_of_a_fleet(layout: &Layout) -> Result<bool, Error> {
    let root = layout.root();
    let mut entries = root.read_dir().map_err(unusable(root))?;
    if entries.next().is_none() {
        return Ok(false);
    }
    if !root.join("logs").is_dir() {
        return Err(Error::refused(
            format!("{} holds something else than a development fleet", root.display()),
            "name a directory that is empty or not there yet: `fleetctl dev --dir fleet`",
        ));
    }
    Ok(layout.coordinator().is_dir() && layout.release_key().is_file())
}
