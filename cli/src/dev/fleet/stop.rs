//! Ending a fleet that nobody looks after any more: its `fleetctl dev` was killed, and
//! had no time to stop what it started.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Fleet, place};
use crate::dev::binaries::Binaries;
use crate::dev::layout::Layout;
use crate::dev::node::Node;
use crate::dev::stray;
use crate::error::Error;
use crate::render::screen::Screen;

/// What ran there, and runs no more.
#[derive(Debug, Serialize)]
pub struct Stopped {
    pub directory: PathBuf,
    pub ended: Vec<Ended>,
}

#[derive(Debug, Serialize)]
pub struct Ended {
    pub part: &'static str,
    pub pid: i32,
    pub program: PathBuf,
}

/// Ends what runs of the fleet in this directory, and nothing else.
pub async fn stop(directory: &Path, screen: &Screen) -> Result<Stopped, Error> {
    let nothing = |directory: &Path| Stopped {
        directory: directory.to_owned(),
        ended: Vec::new(),
    };
    let root = match directory.canonicalize() {
        Ok(root) => root,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(nothing(directory)),
        Err(error) => return Err(place::unusable(directory)(error)),
    };
    let layout = Layout::new(root.clone());
    // Everything that runs from there is ended: it must be ours, and not `/`.
    if !place::is_of_a_fleet(&layout)? {
        return Ok(nothing(&root));
    }
    let mut running = stray::find_dev(&root);
    running.extend(stray::find(&root));
    stray::stop_dev(&root).await;
    let abandoned = Fleet {
        // What is not told to stop is found all the same, and ended less gently.
        nodes: Node::existing(&layout).unwrap_or_default(),
        layout,
        binaries: Binaries::find()?,
        held: None,
        coordinator: None,
        agents: Vec::new(),
        temporary: None,
    };
    if !running.is_empty() {
        abandoned.tear_down(screen).await?;
    }
    let ended = running.into_iter().map(|stray| Ended {
        part: stray.part(),
        pid: stray.pid,
        program: stray.program,
    });
    Ok(Stopped {
        directory: root,
        ended: ended.collect(),
    })
}
