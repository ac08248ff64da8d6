//! Files that something else serves, as a web server: a link is switched to them in one step,
//! and whoever reads through it finds the old files or the new.

use std::path::{Path, PathBuf};

use fleet_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::run_directory::RunDirectory;
use super::spec::Spec;
use super::standing::{Members, Standing};
use crate::durable::{self, FileError, failed};

#[derive(Debug, thiserror::Error)]
pub enum StaticError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is there and is no link\nhint: move it away; Fleet puts a link to the release's files there", .root.display())]
    NoLink { root: PathBuf },
    #[error("{} leads to {}, which is no release\nhint: remove it, or name another root", .root.display(), .target.display())]
    NotOurs { root: PathBuf, target: PathBuf },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    pub root: PathBuf,
    /// Below it are all releases of the app: a link that leads elsewhere is not Fleet's.
    pub slots: PathBuf,
}

impl LinkSpec {
    fn target(&self) -> Result<Option<PathBuf>, StaticError> {
        let root = self.root.clone();
        match std::fs::read_link(&root) {
            Ok(target) if target.starts_with(&self.slots) => Ok(Some(target)),
            Ok(target) => Err(StaticError::NotOurs { root, target }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                Err(StaticError::NoLink { root })
            }
            Err(error) => Err(failed("read", root)(error).into()),
        }
    }
}

/// The link itself, beside the one that holds.
pub fn prepare(run: &RunDirectory, spec: &Spec, link: &LinkSpec) -> Result<(), StaticError> {
    run.create()?;
    run.prepare_spec(spec)?;
    run.prepare_started(spec.fingerprint())?;
    link.target()?;
    durable::create_public_directory(durable::parent(&link.root))?;
    let new = durable::beside(&link.root, "fleet-new");
    if std::fs::read_link(&new).is_ok_and(|there| there == spec.directory) {
        return Ok(());
    }
    durable::remove(&new)?;
    let made = std::os::unix::fs::symlink(&spec.directory, &new);
    Ok(made.map_err(failed("create", &new))?)
}

pub fn start(run: &RunDirectory, spec: &Spec, link: &LinkSpec) -> Result<(), StaticError> {
    let leads_there = |link: &LinkSpec| {
        let lives = run.spec().map(|spec| spec.directory);
        link.target()
            .is_ok_and(|target| target.is_some() && target == lives)
    };
    if run.started() == Some(spec.fingerprint()) && leads_there(link) {
        return Ok(());
    }
    prepare(run, spec, link)?;
    run.forget_started()?;
    run.write_spec_durably(spec)?;
    let new = durable::beside(&link.root, "fleet-new");
    std::fs::rename(&new, &link.root).map_err(failed("switch", &link.root))?;
    durable::sync_directory(durable::parent(&link.root))?;
    Ok(run.note_started(spec.fingerprint())?)
}

/// Nothing is served from it any more. What leads elsewhere by now is another component's.
pub fn retire(run: &RunDirectory, link: &LinkSpec, directory: &Path) -> Result<(), StaticError> {
    run.forget_started()?;
    if link.target()?.is_some_and(|target| target == directory) {
        durable::remove(&link.root)?;
    }
    Ok(())
}

pub fn glance(run: &RunDirectory, link: &LinkSpec, directory: &Path) -> Option<Standing> {
    let spec = run.started()?;
    let found = link.target();
    let is_up = matches!(&found, Ok(Some(target)) if target == directory);
    let root = link.root.display();
    let how = match found {
        _ if is_up => None,
        Ok(Some(target)) => Some(format!("is not served: {root} leads to {}", target.display())),
        Ok(None) => Some(format!("is not served: {root} is not there")),
        Err(error) => Some(format!("is not served: {error}")),
    };
    let switched = std::fs::symlink_metadata(&link.root).and_then(|about| about.modified());
    let since = switched
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Some(Standing {
        spec,
        is_up,
        is_given_up: false,
        main: None,
        keeper: None,
        members: Members::None,
        restarts: 0,
        since: Timestamp(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))),
        last_exit: how,
    })
}
