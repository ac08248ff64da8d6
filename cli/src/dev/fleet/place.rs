//! The directory that a development fleet lives in: usable, short enough, and not in use.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use crate::dev::layout::Layout;
use crate::dev::node;
use crate::dev::stray;
use crate::error::Error;

/// Linux has 108 bytes for a unix socket's path, and the last one ends it.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Makes the directory where it is not there yet; its path as processes will name it.
pub fn make(directory: &Path, nodes: usize) -> Result<PathBuf, Error> {
    let absolute = std::path::absolute(directory).map_err(unusable(directory))?;
    sockets_fit(&absolute, nodes)?;
    std::fs::create_dir_all(&absolute).map_err(unusable(directory))?;
    // What stands behind a link may be longer than the link.
    let root = absolute.canonicalize().map_err(unusable(directory))?;
    sockets_fit(&root, nodes)?;
    Ok(root)
}

/// Every agent listens at a socket in its state.
fn sockets_fit(root: &Path, nodes: usize) -> Result<(), Error> {
    let names = node::names(nodes);
    let longest = names.last().map(String::as_str).unwrap_or_default();
    let socket = Layout::new(root.to_owned()).socket(longest);
    let bytes = socket.as_os_str().len();
    if bytes <= SOCKET_PATH_BYTES_MAX {
        return Ok(());
    }
    Err(Error::usage(
        format!(
            "{} is too long a name: a node's socket would have a path of {bytes} bytes, and a unix socket's has \
             {SOCKET_PATH_BYTES_MAX} at most",
            root.display()
        ),
        "a shorter directory: `fleetctl dev --dir /tmp/fleet`",
    ))
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
